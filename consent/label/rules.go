package label

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A Rule gives a label to a code, or to those from one to another.
type Rule struct {
	Label  string // a confidentiality, or a sensitivity of v3-ActCode
	System string // URL of the code system
	From   string // the code; of ICD-10 without the dot, for itself and all below it
	To     string // the last code; mostly From
	Reason string // in plain words
}

// A Label is a Coding of meta.security.
type Label struct{ System, Code string }

// Rules are all that hold at a site. They are never changed once made.
type Rules struct {
	list    []Rule
	codes   map[string]map[string][]string // labels by system and code
	classes []Rule                         // of ICD-10, where codes stand for those below
}

// files are those of data that hold rules.
var files = []string{"conditions.txt", "labs.txt", "medications.txt", "services.txt"}

const icd10 = "http://hl7.org/fhir/sid/icd-10-cm"

// systems are the short names of code systems in files of rules.
var systems = map[string]string{
	"sct":              "http://snomed.info/sct",
	"icd10":            icd10,
	"loinc":            "http://loinc.org",
	"rxnorm":           "http://www.nlm.nih.gov/research/umls/rxnorm",
	"cvx":              "http://hl7.org/fhir/sid/cvx",
	"ndc":              "http://hl7.org/fhir/sid/ndc",
	"cpt":              "http://www.ama-assn.org/go/cpt",
	"role":             "http://terminology.hl7.org/CodeSystem/v3-RoleCode",
	"service-type":     "http://terminology.hl7.org/CodeSystem/service-type",
	"service-category": "http://terminology.hl7.org/CodeSystem/service-category",
}

// aliases are other names that code systems go by. ICD-10 of other countries
// agrees with ICD-10-CM in the categories that the rules name.
var aliases = map[string]string{
	"urn:oid:2.16.840.1.113883.6.96":            systems["sct"],
	"urn:oid:2.16.840.1.113883.6.90":            icd10,
	"urn:oid:2.16.840.1.113883.6.3":             icd10,
	"http://hl7.org/fhir/sid/icd-10":            icd10,
	"http://hl7.org/fhir/sid/icd-10-us":         icd10,
	"http://fhir.de/CodeSystem/bfarm/icd-10-gm": icd10,
	"urn:oid:2.16.840.1.113883.6.1":             systems["loinc"],
	"urn:oid:2.16.840.1.113883.6.88":            systems["rxnorm"],
	"urn:oid:2.16.840.1.113883.12.292":          systems["cvx"],
	"urn:oid:2.16.840.1.113883.6.69":            systems["ndc"],
	"urn:oid:2.16.840.1.113883.6.12":            systems["cpt"],
}

// Standard gives the rules that are built in.
func Standard() *Rules { return builtIn() }

// builtIn is read once and never changed: it is part of the program.
var builtIn = sync.OnceValue(func() *Rules {
	var list []Rule
	for _, name := range files {
		err := eachLine(name, func(fields []string) error {
			more, err := parseRule(fields)
			list = append(list, more...)
			return err
		})
		if err != nil {
			panic("label: " + err.Error())
		}
	}
	return compile(list)
})

// With gives the rules and those of a site's file; name is for errors, which tell
// the line. A line is
//
//	LABEL SYSTEM CODE reason
//
// LABEL is a confidentiality or a sensitivity. SYSTEM is the URL of a code system,
// or one of the short names that the built-in files use. FIRST..LAST may stand for
// CODE: of ICD-10 for all of these categories, elsewhere for codes that end in
// numbers. "drop LABEL SYSTEM CODE" takes a rule away, which must be there just so;
// "drop all" takes all away that came before. What follows "#" at the beginning of
// a line is a comment.
func (r *Rules) With(name string, text []byte) (*Rules, error) {
	list := slices.Clone(r.list)
	err := lines(name, string(text), func(fields []string) error {
		if fields[0] != "drop" {
			more, err := parseRule(fields)
			list = append(list, more...)
			return err
		}
		if len(fields) == 2 && fields[1] == "all" {
			list = nil
			return nil
		}
		gone, err := parseRule(append(fields[1:], "dropped"))
		if err != nil {
			return err
		}
		for _, g := range gone {
			same := func(x Rule) bool {
				return x.Label == g.Label && x.System == g.System && x.From == g.From && x.To == g.To
			}
			if !slices.ContainsFunc(list, same) {
				return fmt.Errorf("there is no rule %s", strings.Join(fields[1:], " "))
			}
			list = slices.DeleteFunc(list, same)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return compile(list), nil
}

// parseRule reads a line; one that names codes by numbers makes several rules.
func parseRule(fields []string) ([]Rule, error) {
	if len(fields) < 4 {
		return nil, errors.New("a rule is LABEL SYSTEM CODE and a reason")
	}
	r := Rule{Label: fields[0], System: systems[fields[1]], Reason: strings.Join(fields[3:], " ")}
	if r.System == "" {
		r.System = canonical(fields[1])
	}
	if !strings.Contains(r.System, ":") {
		return nil, fmt.Errorf("%s is no code system", fields[1])
	}
	if strings.ToUpper(r.Label) != r.Label || IsCaveat(r.Label) {
		return nil, fmt.Errorf("%s is no label", r.Label)
	}
	first, last, ranged := strings.Cut(fields[2], "..")
	if !ranged {
		last = first
	}
	if r.System == icd10 {
		r.From, r.To = bare(first), bare(last)
		if len(r.From) != len(r.To) || r.From > r.To || len(r.From) < 3 {
			return nil, fmt.Errorf("%s is no category of ICD-10, nor some in their order", fields[2])
		}
		return []Rule{r}, nil
	}
	if !ranged {
		r.From, r.To = first, first
		return []Rule{r}, nil
	}
	return numbered(r, first, last)
}

// maxNumbered is how many codes FIRST..LAST may stand for.
const maxNumbered = 1000

func numbered(r Rule, first, last string) ([]Rule, error) {
	head := strings.TrimRight(first, "0123456789")
	from, err := strconv.Atoi(first[len(head):])
	to, err2 := strconv.Atoi(strings.TrimPrefix(last, head))
	if err != nil || err2 != nil || !strings.HasPrefix(last, head) || to < from || to-from >= maxNumbered {
		return nil, fmt.Errorf("%s..%s are no numbered codes in their order", first, last)
	}
	var list []Rule
	for n := from; n <= to; n++ {
		one := r
		one.From = head + strconv.Itoa(n)
		one.To = one.From
		list = append(list, one)
	}
	return list, nil
}

// bare writes a code of ICD-10 without its dot.
func bare(code string) string { return strings.ToUpper(strings.ReplaceAll(code, ".", "")) }

func canonical(system string) string {
	if name, ok := aliases[system]; ok {
		return name
	}
	return system
}

func compile(list []Rule) *Rules {
	r := &Rules{list: list, codes: map[string]map[string][]string{icd10: {}}}
	for _, rule := range list {
		if rule.System == icd10 {
			r.classes = append(r.classes, rule)
			continue
		}
		if r.codes[rule.System] == nil {
			r.codes[rule.System] = map[string][]string{}
		}
		r.codes[rule.System][rule.From] = append(r.codes[rule.System][rule.From], rule.Label)
	}
	return r
}

// List gives all rules.
func (r *Rules) List() []Rule { return slices.Clone(r.list) }

// Version names the rules: it changes when what they give may change.
func (r *Rules) Version() string {
	h := sha256.New()
	for _, x := range r.list {
		fmt.Fprintf(h, "%s %s %s %s\n", x.Label, x.System, x.From, x.To)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// OfCode gives the labels of a code.
func (r *Rules) OfCode(system, code string) []string {
	codes, known := r.codes[canonical(system)]
	if !known {
		return nil
	}
	if canonical(system) != icd10 {
		return codes[code]
	}
	var found []string
	code = bare(code)
	for _, c := range r.classes {
		if n := len(c.From); len(code) >= n && code[:n] >= c.From && code[:n] <= c.To {
			found = append(found, c.Label)
		}
	}
	return found
}

// Of gives the labels of a resource by the codes in it, sorted. Its meta is not
// looked at.
func (r *Rules) Of(tree map[string]any) []Label {
	var found []string
	for name, value := range tree {
		if name != "meta" {
			found = r.inside(value, found)
		}
	}
	if found == nil {
		return nil
	}
	slices.Sort(found)
	var list []Label
	for _, code := range slices.Compact(found) {
		list = append(list, labelOf(code))
	}
	return list
}

func labelOf(code string) Label {
	if _, known := Level(code); known {
		return Label{Confidentiality, code}
	}
	return Label{ActCode, code}
}

// inside collects the labels of all Codings in a value.
func (r *Rules) inside(value any, found []string) []string {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			found = r.inside(item, found)
		}
	case map[string]any:
		if code, ok := v["code"].(string); ok {
			if system, ok := v["system"].(string); ok {
				found = append(found, r.OfCode(system, code)...)
			}
		}
		for _, item := range v {
			switch item.(type) {
			case []any, map[string]any:
				found = r.inside(item, found)
			}
		}
	}
	return found
}
