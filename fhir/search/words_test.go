package search_test

import (
	"testing"
)

func TestWords(t *testing.T) {
	r := registry(t).WithText()
	m := newModel(t, r, []byte(`{"resourceType":"Patient","id":"1","text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>Chronic <b>ásthma</b>, mild</p></div>"},"name":[{"family":"O'Neil"}]}
{"resourceType":"Patient","id":"2","name":[{"family":"Asthma"}],"gender":"male","managingOrganization":{"reference":"Organization/secret","display":"Mild Hospital"}}
{"resourceType":"Encounter","id":"e","status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/1"}}`))
	for query, want := range map[string]string{
		"Patient?_text=asthma":                  "1",
		"Patient?_text=ASTHMA+mild":             "1",
		"Patient?_text=asthma+severe":           "",
		"Patient?_text=severe,asthma":           "1",
		"Patient?_text=hospital":                "",
		"Patient?_content=asthma":               "1 2",
		"Patient?_content=mild+hospital":        "2",
		"Patient?_content=oneil":                "",
		"Patient?_content=neil":                 "1",
		"Patient?_content=secret":               "",
		"Patient?_content=generated":            "",
		"Patient?_content=asthma&gender=male":   "2",
		"Encounter?subject:Patient._text=mild":  "e",
		"Encounter?patient._content=neil":       "e",
		"Patient?_text=a":                       "! http._text",
		"Patient?_text=":                        "! http._text",
		"Patient?_text:exact=asthma":            "! http._text:exact",
		"Patient?_has:Encounter:patient:_id=e":  "1",
		"Patient?_has:Encounter:patient:_text=": "! http._has:Encounter:patient:_text",
	} {
		if got := answer(t, r, m, query); got != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
}
