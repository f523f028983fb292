package label_test

import (
	"slices"
	"strings"
	"testing"

	"mypatients/consent/label"
)

// TestEveryRuleIsGood: each label is one, each code could be one of its system, and
// each rule finds what it names.
func TestEveryRuleIsGood(t *testing.T) {
	r := label.Standard()
	sensitivities := strings.Fields("ADOL ETHUD OPIOIDUD SUD PSY HIV STD SEX GENDER SDV")
	used := map[string]bool{}
	for _, rule := range r.List() {
		used[rule.Label] = true
		if !slices.Contains(sensitivities, rule.Label) {
			t.Errorf("%+v has a label that is not known", rule)
		}
		if rule.Reason == "" {
			t.Errorf("%+v has no reason", rule)
		}
		if len(rule.Reason) > 0 && !strings.Contains(rule.Reason, "no real codes") && !plausible(rule.System, rule.From) {
			t.Errorf("%s %s (%s) fails its check digit", rule.System, rule.From, rule.Reason)
		}
		for _, code := range []string{rule.From, rule.To} {
			if !slices.Contains(r.OfCode(rule.System, code), rule.Label) {
				t.Errorf("%+v does not find %s", rule, code)
			}
		}
	}
	for _, s := range sensitivities {
		if !used[s] {
			t.Errorf("no rule gives %s", s)
		}
	}
}

// plausible checks what a code says of itself: the check digits of LOINC (Luhn) and
// of SNOMED CT (Verhoeff), and that RxNorm's are numbers.
func plausible(system, code string) bool {
	switch system {
	case "http://loinc.org":
		return luhn(strings.ReplaceAll(code, "-", ""))
	case "http://snomed.info/sct":
		return verhoeff(code)
	case "http://www.nlm.nih.gov/research/umls/rxnorm":
		return strings.Trim(code, "0123456789") == ""
	}
	return true
}

func luhn(s string) bool {
	sum := 0
	for i := range len(s) {
		n := int(s[len(s)-1-i] - '0')
		if i%2 == 1 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return sum%10 == 0
}

func verhoeff(s string) bool {
	dihedral := func(a, b int) int {
		switch {
		case a < 5 && b < 5:
			return (a + b) % 5
		case a < 5:
			return (a+b-5)%5 + 5
		case b < 5:
			return (a-5-b+5)%5 + 5
		}
		return (a - b + 5) % 5
	}
	p := []int{1, 5, 7, 6, 2, 8, 3, 0, 9, 4}
	check := 0
	for i := range len(s) {
		n := int(s[len(s)-1-i] - '0')
		for range i % 8 {
			n = p[n]
		}
		check = dihedral(check, n)
	}
	return check == 0
}

func TestCodes(t *testing.T) {
	r := label.Standard()
	for _, c := range []struct{ system, code, want string }{
		{"http://hl7.org/fhir/sid/icd-10-cm", "F10.20", "ETHUD"},
		{"http://hl7.org/fhir/sid/icd-10-cm", "F1120", "OPIOIDUD"},
		{"urn:oid:2.16.840.1.113883.6.90", "f12.10", "SUD"},
		{"http://hl7.org/fhir/sid/icd-10-cm", "F17.210", ""},
		{"http://hl7.org/fhir/sid/icd-10-cm", "F32.1", "PSY"},
		{"http://hl7.org/fhir/sid/icd-10-cm", "F84.0", ""},
		{"http://hl7.org/fhir/sid/icd-10", "B24", "HIV"},
		{"http://hl7.org/fhir/sid/icd-10-cm", "Z21", "HIV"},
		{"http://hl7.org/fhir/sid/icd-10-cm", "Z22.4", "STD"},
		{"http://hl7.org/fhir/sid/icd-10-cm", "A56.01", "STD"},
		{"http://hl7.org/fhir/sid/icd-10-cm", "A65", ""},
		{"http://hl7.org/fhir/sid/icd-10-cm", "T74.12XA", "SDV"},
		{"http://hl7.org/fhir/sid/icd-10-cm", "Z30.011", "SEX"},
		{"http://hl7.org/fhir/sid/icd-10-cm", "O9A.311", "SDV SEX"},
		{"http://hl7.org/fhir/sid/icd-10-cm", "Z38.00", ""},
		{"http://hl7.org/fhir/sid/icd-10-cm", "J45", ""},
		{"http://hl7.org/fhir/sid/icd-10-cm", "F", ""},
		{"http://hl7.org/fhir/sid/icd-10-cm", "", ""},
		{"http://loinc.org", "56888-1", "HIV"},
		{"http://loinc.org", "29463-7", ""},
		{"http://www.nlm.nih.gov/research/umls/rxnorm", "6813", "OPIOIDUD"},
		{"http://hl7.org/fhir/sid/cvx", "62", ""},
		{"http://terminology.hl7.org/CodeSystem/service-type", "138", "PSY"},
		{"", "F10", ""},
	} {
		got := r.OfCode(c.system, c.code)
		slices.Sort(got)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s %s: got %v, want %s", c.system, c.code, got, c.want)
		}
	}
}

func TestResources(t *testing.T) {
	r := label.Standard()
	coding := func(system, code string) map[string]any { return map[string]any{"system": system, "code": code} }
	concept := func(c ...any) map[string]any { return map[string]any{"coding": c} }
	for name, c := range map[string]struct {
		tree map[string]any
		want []label.Label
	}{
		"nothing": {map[string]any{"code": concept(coding("http://loinc.org", "29463-7"))}, nil},
		"one of several codings": {map[string]any{"code": concept(coding("urn:local", "x"), coding("http://loinc.org", "2106-3"))},
			[]label.Label{{label.ActCode, "SEX"}}},
		"a reason, and what is contained": {map[string]any{"reasonCode": []any{concept(coding("http://snomed.info/sct", "5602001"))},
			"contained": []any{map[string]any{"code": concept(coding("http://www.nlm.nih.gov/research/umls/rxnorm", "1819"))}}},
			[]label.Label{{label.ActCode, "OPIOIDUD"}}},
		"not what meta says": {map[string]any{"meta": map[string]any{"tag": []any{coding("http://loinc.org", "2106-3")}}}, nil},
	} {
		if got := r.Of(c.tree); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestSiteRules(t *testing.T) {
	r := label.Standard()
	mine, err := r.With("site.txt", []byte("# ours\nADOL urn:hospital:clinic TEEN1..TEEN3  Teen clinics\nV urn:hospital:clinic VIP Important people\ndrop PSY loinc 44249-1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := mine.OfCode("urn:hospital:clinic", "TEEN2"); !slices.Equal(got, []string{"ADOL"}) {
		t.Errorf("got %v", got)
	}
	if got := mine.Of(map[string]any{"type": map[string]any{"system": "urn:hospital:clinic", "code": "VIP"}}); !slices.Equal(got, []label.Label{{label.Confidentiality, "V"}}) {
		t.Errorf("got %v", got)
	}
	if got := mine.OfCode("http://loinc.org", "44249-1"); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	if r.Version() == mine.Version() || len(r.OfCode("http://loinc.org", "44249-1")) == 0 {
		t.Error("the built-in rules changed, or the version did not")
	}
	alone, err := r.With("site.txt", []byte("drop all\nHIV loinc 55277-8 HIV status\n"))
	if err != nil || len(alone.List()) != 1 {
		t.Errorf("got %v, %v", alone, err)
	}
	again, err := r.With("site.txt", []byte("\n# nothing\n"))
	if err != nil || again.Version() != r.Version() {
		t.Error("the same rules have another version")
	}
}

func TestBadSiteRules(t *testing.T) {
	r := label.Standard()
	for text, want := range map[string]string{
		"PSY loinc":                  "site.txt:1: a rule is LABEL SYSTEM CODE and a reason",
		"\nPSY mine 1 reason":        "site.txt:2: mine is no code system",
		"psy loinc 1-8 reason":       "site.txt:1: psy is no label",
		"MASK loinc 1-8 reason":      "site.txt:1: MASK is no label",
		"PSY icd10 F2 reason":        "site.txt:1: F2 is no category of ICD-10, nor some in their order",
		"PSY icd10 F30..F20 reason":  "site.txt:1: F30..F20 is no category of ICD-10, nor some in their order",
		"PSY icd10 F30..F401 reason": "site.txt:1: F30..F401 is no category of ICD-10, nor some in their order",
		"PSY loinc 5..1 reason":      "site.txt:1: 5..1 are no numbered codes in their order",
		"PSY loinc 1..99999 reason":  "site.txt:1: 1..99999 are no numbered codes in their order",
		"drop PSY loinc 29463-7":     "site.txt:1: there is no rule PSY loinc 29463-7",
		"drop PSY":                   "site.txt:1: a rule is LABEL SYSTEM CODE and a reason",
	} {
		if _, err := r.With("site.txt", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestVocabulary(t *testing.T) {
	last := 0
	for _, code := range []string{"U", "L", "M", "N", "R", "V"} {
		level, known := label.Level(code)
		if !known || level != last+1 {
			t.Errorf("%s has the place %d", code, level)
		}
		last = level
	}
	if _, known := label.Level("X"); known {
		t.Error("X is known")
	}
	for code, want := range map[string]string{
		"SEX": "GENDER HIV SEX STD", "ETH": "ETH ETHUD OPIOIDUD SUD", "SUD": "ETH ETHUD OPIOIDUD SUD",
		"PSY": "MH PSY PSYTHPN", "HIV": "HIV", "unknown": "unknown",
	} {
		if got := strings.Join(label.Closure([]string{code}), " "); got != want {
			t.Errorf("%s: got %s, want %s", code, got, want)
		}
	}
	if all, known := label.Purpose("TREAT"); !known || strings.Join(all, " ") != "BTG CLINTRL COC ERTREAT ETREAT POPHLTH TREAT" {
		t.Errorf("TREAT comprises %v", all)
	}
	for code, want := range map[string]bool{"HMARKT": true, "BTG": true, "PurposeOfUse": true, "treat": false, "": false} {
		if _, known := label.Purpose(code); known != want {
			t.Errorf("purpose %q: known %v", code, known)
		}
	}
	if !label.IsCaveat("NOAUTH") || label.IsCaveat("PSY") {
		t.Error("caveats and sensitivities are mixed up")
	}
}
