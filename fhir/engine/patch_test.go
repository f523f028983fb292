package engine_test

import (
	"strings"
	"testing"

	"mypatients/fhir"
	"mypatients/fhir/engine"
)

func apply(t *testing.T, doc, patch string) (string, error) {
	t.Helper()
	p, err := engine.ParsePatch([]byte(patch))
	if err != nil {
		return "", err
	}
	body, err := p.Apply(&fhir.Resource{JSON: []byte(doc)})
	return string(body), err
}

func TestPatch(t *testing.T) {
	const doc = `{"resourceType":"Observation","id":"1","valueQuantity":{"value":1.20e0,"unit":"<m>"},"note":[{"text":"a"},{"text":"b"}],"a/b":1,"m~n":2}`
	for _, c := range []struct{ patch, old, new string }{
		{`[]`, "", ""},
		{`[{"op":"replace","path":"/valueQuantity/unit","value":"m"}]`, `"<m>"`, `"m"`}, // 1.20e0 stays
		{`[{"op":"add","path":"/note/0","value":{"text":"z"}}]`, `[{"text":"a"}`, `[{"text":"z"},{"text":"a"}`},
		{`[{"op":"add","path":"/note/-","value":{"text":"z"}}]`, `{"text":"b"}`, `{"text":"b"},{"text":"z"}`},
		{`[{"op":"remove","path":"/note/1"}]`, `,{"text":"b"}`, ``},
		{`[{"op":"move","from":"/note/1","path":"/note/0"}]`, `[{"text":"a"},{"text":"b"}]`, `[{"text":"b"},{"text":"a"}]`},
		{`[{"op":"copy","from":"/note/0/text","path":"/note/1/text"}]`, `"b"`, `"a"`},
		{`[{"op":"test","path":"/valueQuantity","value":{"unit":"<m>","value":1.20e0}}]`, "<m>", `\u003cm\u003e`}, // the same string
		{`[{"op":"replace","path":"/a~1b","value":7},{"op":"replace","path":"/m~0n","value":8}]`, `"a/b":1,"m~n":2`, `"a/b":7,"m~n":8`},
		{`[{"op":"add","path":"/note/0/text","value":null,"comment":"members that RFC 6902 does not know"}]`, `"a"`, `null`},
	} {
		want := strings.Replace(doc, c.old, c.new, 1)
		if got, err := apply(t, doc, c.patch); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", c.patch, got, err, want)
		}
	}
	for patch, at := range map[string]string{
		`[{"op":"remove","path":"/nothing"}]`: "[0]",
		`[{"op":"test","path":"/id","value":"1"},{"op":"test","path":"/id","value":"2"},{"op":"remove","path":"/x"}]`: "[1]",
		`[{"op":"replace","path":"/note/7","value":1}]`:                                                               "[0]",
		`[{"op":"replace","path":"/note/-1","value":1}]`:                                                              "[0]", // not of RFC 6902
		`[{"op":"add","path":"/id/deeper/still","value":1}]`:                                                          "[0]",
		`[{"op":"add","path":"/note/0/text/x","value":1}]`:                                                            "[0]",
		`[{"op":"copy","from":"/nothing","path":"/id"}]`:                                                              "[0]",
		`[{"op":"test","path":"/nothing/0/x","value":1}]`:                                                             "[0]",
	} {
		_, err := apply(t, doc, patch)
		known, ok := err.(*fhir.Error)
		if !ok || known.Kind != fhir.Unprocessable || known.Issues[0].Expression != at {
			t.Errorf("%s: got %v, want a refusal at %s", patch, err, at)
		}
	}
	_, err := apply(t, doc, `[{"op":"move","from":"/note","path":"/note/0"}]`)
	if fhir.KindOf(err) != fhir.Invalid {
		t.Errorf("into itself: got %v", err)
	}
}

func FuzzPatch(f *testing.F) {
	for _, seed := range []string{
		`[{"op":"add","path":"/a","value":null},{"op":"test","path":"/a/b","value":1}]`, `[{"op":"copy","from":"/note/0","path":"/note/-"}]`,
		`[{"op":"move","from":"/note/0","path":"/id"},{"op":"remove","path":"/id/text"}]`, `[{"op":"add","path":"/note/0/","value":[[]]},{"op":"add","path":"/note/0//0/0","value":{}}]`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, patch string) {
		body, err := apply(t, `{"resourceType":"Patient","id":"1","note":[{"text":"a"},null,[1]],"n":null}`, patch)
		if err != nil && fhir.KindOf(err) == fhir.Internal {
			t.Fatal(err)
		}
		if err == nil {
			if _, err := fhir.Compact([]byte(body)); err != nil {
				t.Errorf("%s makes %s: %v", patch, body, err)
			}
		}
	})
}
