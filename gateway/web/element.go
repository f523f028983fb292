package web

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"strings"

	"mypatients/fhir"
)

// The structs below are the few elements of resources that the pages show,
// under their names in FHIR R4. What they do not name is not read.

type codeable struct {
	Text   string `json:"text"`
	Coding []struct {
		System  string `json:"system"`
		Code    string `json:"code"`
		Display string `json:"display"`
	} `json:"coding"`
}

// String gives what a person can read of a concept.
func (c codeable) String() string {
	if c.Text != "" {
		return plain(c.Text)
	}
	for _, coding := range c.Coding {
		if coding.Display != "" {
			return plain(coding.Display)
		}
	}
	for _, coding := range c.Coding {
		return coding.Code
	}
	return ""
}

// plain takes off the tag that SNOMED CT puts behind its full names.
func plain(s string) string {
	for _, tag := range []string{"disorder", "finding", "morphologic abnormality", "occupation", "procedure", "qualifier value", "regime/therapy", "situation"} {
		if rest, ok := strings.CutSuffix(s, " ("+tag+")"); ok {
			return rest
		}
	}
	return s
}

// Code gives the first code, for codes that templates have words for.
func (c codeable) Code() string {
	if len(c.Coding) == 0 {
		return ""
	}
	return c.Coding[0].Code
}

func (c codeable) has(code string) bool {
	for _, coding := range c.Coding {
		if coding.Code == code {
			return true
		}
	}
	return false
}

type reference struct {
	Reference string `json:"reference"`
	Display   string `json:"display"`
}

type period struct {
	Start string `json:"start"`
	End   string `json:"end"`
}

type quantity struct {
	Value      json.Number `json:"value"`
	Comparator string      `json:"comparator"` // the value is known only to be below or above
	Unit       string      `json:"unit"`
	System     string      `json:"system"`
	Code       string      `json:"code"`
}

// ucum is the code of the unit for machines; the text where there is none, which
// for the common units is the same. It is empty for a code of another system.
func (q quantity) ucum() string {
	if q.Code != "" && q.System != "" && q.System != "http://unitsofmeasure.org" {
		return ""
	}
	return cmp.Or(q.Code, q.Unit)
}

// String writes a quantity with its unit as people write it.
func (q quantity) String() string {
	if q.Value == "" {
		return ""
	}
	return strings.TrimSpace(strings.TrimSpace(q.Comparator+" "+short(q.Value)) + " " + unit(q.Unit, q.Code))
}

// short cuts the digits that no instrument measured.
func short(n json.Number) string {
	whole, fraction, ok := strings.Cut(n.String(), ".")
	if !ok || strings.ContainsAny(fraction, "eE") || len(fraction) <= 2 {
		return n.String()
	}
	f, err := n.Float64()
	if err != nil {
		return n.String()
	}
	digits := 1
	if whole == "0" || whole == "-0" {
		digits = 3
	}
	return trimZeros(f, digits)
}

// unit spells the units that UCUM writes for machines.
func unit(text, code string) string {
	if text == "" {
		text = code
	}
	switch text {
	case "Cel":
		return "°C"
	case "[in_i]":
		return "in"
	case "[ft_i]":
		return "ft"
	case "[lb_av]":
		return "lb"
	case "[oz_av]":
		return "oz"
	case "mm[Hg]":
		return "mmHg"
	case "kg/m2":
		return "kg/m²"
	case "/min", "{#}/min":
		return "per minute"
	case "10*3/uL":
		return "×10³/µL"
	case "10*6/uL":
		return "×10⁶/µL"
	case "1":
		return ""
	}
	if strings.HasPrefix(text, "{") && strings.IndexByte(text, '}') == len(text)-1 { // a remark for machines, such as {score}
		return ""
	}
	return text
}

type humanName struct {
	Use    string   `json:"use"`
	Text   string   `json:"text"`
	Family string   `json:"family"`
	Given  []string `json:"given"`
	Prefix []string `json:"prefix"`
}

func (n humanName) String() string {
	if n.Text != "" {
		return n.Text
	}
	words := append(append([]string{}, n.Prefix...), n.Given...)
	return strings.TrimSpace(strings.Join(append(words, n.Family), " "))
}

// nameOf picks the name to show: the official or usual one, not an old one.
func nameOf(names []humanName) string {
	best := ""
	for _, n := range names {
		if n.Use == "official" || n.Use == "usual" {
			return n.String()
		}
		if best == "" && n.Use != "old" && n.Use != "maiden" {
			best = n.String()
		}
	}
	return best
}

type attachment struct {
	ContentType string `json:"contentType"`
	Data        string `json:"data"`
	Title       string `json:"title"`
}

// text gives the content of a plain-text attachment, "" for any other kind.
func (a attachment) text() string {
	if kind, _, _ := strings.Cut(a.ContentType, ";"); strings.TrimSpace(kind) != "text/plain" {
		return ""
	}
	b, err := base64.StdEncoding.DecodeString(a.Data)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(b), "�"))
}

// decode reads the matches of a page into values of one type. One that cannot be
// read is left out: it must not hide the others.
func decode[T any](p *fhir.Page) []T {
	var list []T
	for _, e := range p.Entries {
		if e.Resource == nil || e.Mode != "match" {
			continue
		}
		var value T
		if json.Unmarshal(e.Resource.JSON, &value) == nil {
			list = append(list, value)
		}
	}
	return list
}
