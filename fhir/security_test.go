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
