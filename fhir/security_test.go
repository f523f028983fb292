package fhir_test

import (
	"testing"

	"mypatients/fhir"
)

func TestAddSecurity(t *testing.T) {
	label := map[string]any{"system": "s", "code": "R"}
	for _, tt := range []struct{ name, body, want string }{
		{"no meta", `{"resourceType":"Basic", "id":"1", "x": 1.50}`, `{"resourceType":"Basic","meta":{"security":[{"code":"R","system":"s"}]},"id":"1","x":1.50}`},
		{"no resourceType", `{}`, `{"meta":{"security":[{"code":"R","system":"s"}]}}`},
		{"other meta", `{"resourceType":"Basic","meta":{"profile":["p"]},"x":1.50}`, `{"resourceType":"Basic","meta":{"profile":["p"],"security":[{"code":"R","system":"s"}]},"x":1.50}`},
		{"there already", `{"meta":{"security":[{"system":"s","code":"R"}]}}`, `{"meta":{"security":[{"code":"R","system":"s"}]}}`},
		{"another label", `{"meta":{"security":[{"code":"V"}]}}`, `{"meta":{"security":[{"code":"V"},{"code":"R","system":"s"}]}}`},
		{"meta is no object", `{"meta":1}`, `{"meta":1}`},
		{"no JSON", `{"meta":`, `{"meta":`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(fhir.AddSecurity([]byte(tt.body), []any{label})); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestHeaderOfWhatIsNoJSON must not panic, whatever it is given.
func TestHeaderOfWhatIsNoJSON(t *testing.T) {
	whole := `{"resourceType":"Patient","id":"1","name":[{"family":"\"x\\"}]}`
	for end := range len(whole) {
		fhir.Header([]byte(whole[:end]))
	}
	if got := fhir.Header([]byte(whole)); got.String() != "Patient/1" {
		t.Errorf("got %v", got)
	}
}

func TestEditSecurity(t *testing.T) {
	label := map[string]any{"system": "s", "code": "c"}
	for _, tt := range []struct {
		body string
		drop []int
		add  []any
		want string
	}{
		{`{"resourceType":"Basic","x":1.50}`, nil, []any{label}, `{"resourceType":"Basic","meta":{"security":[{"code":"c","system":"s"}]},"x":1.50}`},
		{`{"resourceType":"Basic","id":"1","x":1}`, nil, []any{label}, `{"resourceType":"Basic","id":"1","meta":{"security":[{"code":"c","system":"s"}]},"x":1}`},
		{`{"id":"1","meta":{"profile":["p"]},"resourceType":"Basic"}`, nil, []any{label}, `{"id":"1","meta":{"security":[{"code":"c","system":"s"}],"profile":["p"]},"resourceType":"Basic"}`},
		{`{"meta":{}}`, nil, []any{label}, `{"meta":{"security":[{"code":"c","system":"s"}]}}`},
		{`{"meta":{"security":[{"system":"a","code":"1"},{"code":"2","system":"b"}],"tag":[]}}`, []int{0}, []any{label}, `{"meta":{"security":[{"code":"2","system":"b"},{"code":"c","system":"s"}],"tag":[]}}`},
		{`{"meta":{"tag":[1],"security":[{"code":"1"}]}}`, []int{0}, nil, `{"meta":{"tag":[1]}}`},
		{`{"meta":{"security":[{"code":"1"}],"tag":[1]}}`, []int{0}, nil, `{"meta":{"tag":[1]}}`},
		{`{"meta":{"a":1,"security":[{"code":"1"}],"tag":[1]}}`, []int{0}, nil, `{"meta":{"a":1,"tag":[1]}}`},
		{`{"meta":{"security":[{"code":"1"}]},"x":"[]"}`, []int{0}, nil, `{"meta":{},"x":"[]"}`},
		{`{"meta":{"tag":[1]}}`, []int{3}, nil, `{"meta":{"tag":[1]}}`},
	} {
		got, err := fhir.EditSecurity([]byte(tt.body), tt.drop, tt.add)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s, without %v, with %v:\ngot  %s, %v\nwant %s", tt.body, tt.drop, tt.add, got, err, tt.want)
		}
	}
	if _, err := fhir.EditSecurity([]byte(`{"meta":{"security":{"code":"x"}}}`), nil, []any{label}); err == nil {
		t.Error("labels that are no list were taken")
	}
}
