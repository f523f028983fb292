package engine_test

import (
	"bytes"
	"testing"

	"mypatients/fhir"
	"mypatients/fhir/engine"
)

// Whatever a file holds, each of its lines is imported or refused with its number,
// and the second time none is imported.
func FuzzLoadNDJSON(f *testing.F) {
	f.Add([]byte(ada + "\n" + ada + "\n\n" + pulse))
	f.Add([]byte("{\"resourceType\":\"Patient\",\"id\":\"a\"}\r\n{\"resourceType\":\"Patient\",\"id\":\"a\",\"active\":true}"))
	f.Add([]byte("{\n\"resourceType\":\"Patient\"}\n\xff\n[]\nnull"))
	f.Add([]byte(`{"id":"x","resourceType":"Patient","meta":{"versionId":"7","tag":[{"code":"a"}]}}`))
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := 0
		for line := range bytes.Lines(text) {
			if len(bytes.TrimSpace(line)) > 0 {
				lines++
			}
		}
		load := func() engine.LoadReport {
			last := 0
			l := w.NewLoader(engine.LoadOptions{Workers: 2, Slice: 3, Refused: func(r engine.Refusal) {
				if r.Line < 1 || r.Source != "f" || r.Err == nil {
					t.Errorf("got %+v", r)
				}
				if kind := fhir.KindOf(r.Err); kind == fhir.Internal || kind == fhir.Unavailable {
					t.Errorf("line %d is refused with %v", r.Line, r.Err)
				}
				last = max(last, r.Line)
			}})
			if err := l.LoadNDJSON(t.Context(), "f", bytes.NewReader(text)); err != nil {
				t.Fatalf("broken off: %v", err)
			}
			r := l.Report()
			if r.Created+r.Updated+r.Unchanged+r.Refused != lines {
				t.Fatalf("%+v of %d lines", r, lines)
			}
			return r
		}
		first, second := load(), load()
		if second.Refused != first.Refused || second.Created > 0 || lines == 1 && second.Updated > 0 {
			t.Fatalf("%+v and then %+v", first, second)
		}
	})
}
