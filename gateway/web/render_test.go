package web_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/gateway/web"
)

// Every page is well-formed with everything to show and with nothing, and what
// people write stays text.
func TestPagesRender(t *testing.T) {
	for _, text := range []string{
		"Mateo Rivera",
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `</title><svg onload=alert(1)>`, `</textarea><form action=//evil.example>`,
		`javascript:alert(1)`, "{{.}} `\\u003cscript\\u003e", "<!-- <![CDATA[ a\x00b\x1f", strings.Repeat("W", 300), "שלום José 👶🏽",
	} {
		t.Run(text[:min(len(text), 20)], func(t *testing.T) {
			pages, err := web.RenderSamples(text)
			if err != nil {
				t.Fatal(err)
			}
			if len(pages) < 100 {
				t.Fatalf("only %d pages", len(pages))
			}
			for name, body := range pages {
				checkHTML(t, name, body)
				if strings.Contains(body, "{{") && !strings.Contains(text, "{{") || strings.Contains(body, "ZgotmplZ") || strings.Contains(body, "<no value>") {
					t.Errorf("%s holds what should not reach a page:\n%s", name, body)
				}
				if len(body) > 150_000 {
					t.Errorf("%s has %d bytes", name, len(body))
				}
			}
			if strings.ContainsAny(text, "\x00{<") {
				return // an HTML parser changes or escapes these
			}
			doc, err := html.Parse(strings.NewReader(pages["record 0 provider"]))
			if err != nil || !strings.Contains(textOf(doc), text) && !strings.Contains(pages["record 0 provider"], html.EscapeString(text)) {
				t.Errorf("the record does not show %q", text)
			}
		})
	}
}

func textOf(n *html.Node) string { return text(n) }

// Family pages have short sentences and none of the words that only we use.
func TestVoice(t *testing.T) {
	pages, err := web.RenderSamples("Mateo")
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range pages {
		if page, _, _ := strings.Cut(name, " "); slices.Contains([]string{"clients", "newclient", "client", "accounts", "account"}, page) {
			continue // between administrators and developers
		}
		doc, err := html.Parse(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		words := " " + strings.ToLower(text(doc)) + " "
		for _, bad := range []string{"fhir", "oauth", " scope", "consent", "provision", "observation", "resource", "resourcetype", "client", " 403", " null "} {
			if strings.Contains(words, bad) {
				t.Errorf("%s says %q", name, bad)
			}
		}
		if !strings.HasSuffix(name, "proxy") {
			continue
		}
		for sentence := range strings.FieldsFuncSeq(words, func(r rune) bool { return strings.ContainsRune(".?!:;", r) }) {
			if n := len(strings.Fields(sentence)); n > 60 { // headings and rows run together here
				t.Logf("%s: %d words: %s", name, n, sentence)
			}
		}
	}
}

func TestAge(t *testing.T) {
	at := func(s string) time.Time {
		d, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, c := range []struct{ now, birth, want string }{
		{"2026-03-10", "2018-03-10", "8 year"}, {"2026-03-09", "2018-03-10", "7 year"}, {"2026-03-10", "2024-03-11", "23 month"}, {"2026-03-10", "2026-01-01", "2 month"},
		{"2026-03-10", "2026-03-01", "9 day"}, {"2027-02-28", "2020-02-29", "6 year"}, {"2027-03-01", "2020-02-29", "7 year"}, {"2026-03-10", "2019", "7 year"},
		{"2026-03-10", "", "0"}, {"2026-03-10", "nonsense", "0"}, {"2026-03-10", "2027-01-01", "0"},
	} {
		if got := strings.TrimSpace(web.Age(at(c.now), c.birth)); got != c.want {
			t.Errorf("on %s, born %s: got %q, want %q", c.now, c.birth, got, c.want)
		}
	}
	for _, c := range []struct {
		now    string
		months int
		want   string
	}{{"2026-08-31", 6, "28 February 2027"}, {"2026-03-10", 6, "10 September 2026"}, {"2023-11-30", 3, "29 February 2024"}, {"2026-12-31", 1, "31 January 2027"}} {
		if got := web.MonthsOn(at(c.now), c.months); got != c.want {
			t.Errorf("%d months on from %s: got %q, want %q", c.months, c.now, got, c.want)
		}
	}
	now := at("2026-03-10")
	for _, c := range []struct {
		d    time.Duration
		want string
	}{{-30 * time.Second, "0 now true"}, {-5 * time.Minute, "5 minute true"}, {-26 * time.Hour, "1 day true"}, {15 * 24 * time.Hour, "2 week false"}, {-400 * 24 * time.Hour, "13 month true"}, {-800 * 24 * time.Hour, "2 year true"}} {
		if got := web.Ago(now, now.Add(c.d)); got != c.want {
			t.Errorf("%v: got %q, want %q", c.d, got, c.want)
		}
	}
	for in, want := range map[string]string{"2024": "2024", "2024-02": "February 2024", "2024-02-03": "3 February 2024", "2024-02-03T10:00:00+02:00": "3 February 2024", "": "", "soon": "soon"} {
		if got := web.Date(in); got != want {
			t.Errorf("date %q: got %q, want %q", in, got, want)
		}
	}
}

func TestParts(t *testing.T) {
	if got := web.TypesOf("problems", "immunizations"); !slices.Equal(got, []fhir.Type{"Patient", "Condition", "Immunization"}) {
		t.Errorf("types: %v", got)
	}
	if got := web.TypesOf("nonsense"); got != nil {
		t.Errorf("types of nothing known: %v", got)
	}
	if got := web.PartsOf("Patient", "Observation", "Basic"); !slices.Equal(got, []string{"results", "other"}) {
		t.Errorf("parts: %v", got)
	}
}

func TestValues(t *testing.T) {
	for _, c := range []struct{ body, value, flag, reference string }{
		{`{"valueQuantity":{"value":16.2345,"unit":"g/dL"},"referenceRange":[{"low":{"value":11},"high":{"value":14,"unit":"g/dL"}}]}`, "16.2 g/dL", "H", "11 – 14 g/dL"},
		{`{"valueQuantity":{"value":0.00123,"code":"10*3/uL"},"referenceRange":[{"low":{"value":1}}]}`, "0.001 ×10³/µL", "L", "≥ 1"},
		{`{"valueQuantity":{"value":9},"interpretation":[{"coding":[{"code":"N"}]}],"referenceRange":[{"high":{"value":1}}]}`, "9", "", "≤ 1"},
		{`{"valueCodeableConcept":{"text":"Negative (qualifier value)"},"interpretation":[{"coding":[{"code":"AA"}]}]}`, "Negative", "AA", ""},
		{`{"valueString":"seen"}`, "seen", "", ""}, {`{"valueInteger":0}`, "0", "", ""}, {`{"valueQuantity":{"value":1e400}}`, "1e400", "", ""}, {`{}`, "", "", ""},
	} {
		value, flag, reference, err := web.Value(c.body)
		if err != nil || value != c.value || flag != c.flag || reference != c.reference {
			t.Errorf("%s: got %q %q %q %v, want %q %q %q", c.body, value, flag, reference, err, c.value, c.flag, c.reference)
		}
	}
	for in, want := range map[float64]float64{0: 1, 0.3: 0.5, 7: 10, 12: 20, 2: 2} {
		if got := web.NiceStep(in); got != want {
			t.Errorf("step %v: got %v, want %v", in, got, want)
		}
	}
}

func TestVitals(t *testing.T) {
	now := time.Date(2026, 3, 10, 15, 0, 0, 0, time.UTC)
	one := func(code, name, when string) string {
		return `{"code":{"text":"` + name + `","coding":[{"code":"` + code + `"}]},"effectiveDateTime":"` + when + `","valueQuantity":{"value":1}}`
	}
	old := one("8287-5", "head", "2022-08-28")
	for _, tt := range []struct{ bodies, want []string }{
		{[]string{one("x", "other", "2026-01-02"), one("8867-4", "pulse", "2026-01-02"), one("29463-7", "weight", "2025-01-02"), old}, []string{"weight", "pulse", "other"}},
		{[]string{old}, []string{"head"}},
	} {
		got, err := web.Vitals(now, tt.bodies...)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("got %q %v, want %q", got, err, tt.want)
		}
	}
}

func TestLooksOfOneMinute(t *testing.T) {
	at := time.Date(2026, 3, 10, 15, 4, 50, 0, time.UTC)
	looks := []consent.Look{
		{When: at, Person: "A", What: "Patient", Action: "read", Why: []consent.BasisCode{consent.BasisPCP}},
		{When: at.Add(-20 * time.Second), Person: "A", What: "Observation", Action: "search", Why: []consent.BasisCode{consent.BasisConsent}},
		{When: at.Add(-2 * time.Minute), Person: "A", What: "Patient", Action: "read", Why: []consent.BasisCode{consent.BasisConsent}},
	}
	want := []string{"A[Patient Observation] [pcp consent]", "A[Patient] [consent]"}
	if got := web.Looks(looks); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
