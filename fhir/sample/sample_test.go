package sample_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"mypatients/fhir/badgerstore"
	"mypatients/fhir/engine"
	"mypatients/fhir/sample"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// What grows is what importing would have stored.
func TestGrowIsLikeImporting(t *testing.T) {
	registry, err := search.R4()
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC) }
	open := func() (store.Store, *engine.Loader) {
		s, err := badgerstore.Open(badgerstore.Config{Dir: t.TempDir(), Now: now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		e, err := engine.New(engine.Config{Store: s, Registry: registry, Now: now, Base: "https://ehr.example.org/fhir"})
		if err != nil {
			t.Fatal(err)
		}
		return s, e.NewLoader(engine.LoadOptions{})
	}
	// patient 2 is a copy of patient 0, so what tells them apart must be the id only
	text := bytes.ReplaceAll(sample.Patients(0, 1), []byte(sample.ID(0)), []byte(sample.ID(2)))
	grown, loader := open()
	if err := loader.LoadNDJSON(t.Context(), "two", bytes.NewReader(sample.Patients(0, 2))); err != nil {
		t.Fatal(err)
	}
	if r := loader.Report(); r.Created != 2*sample.Resources {
		t.Fatalf("got %+v", r)
	}
	if err := sample.Grow(t.Context(), grown, 2, 4); err != nil {
		t.Fatal(err)
	}
	imported, loader := open()
	if err := loader.LoadNDJSON(t.Context(), "copy", bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(text)) {
		key := store.Key{}
		_, rest, _ := strings.Cut(line, `"resourceType":"`)
		key.Type, rest, _ = strings.Cut(rest, `"`)
		_, rest, _ = strings.Cut(rest, `"id":"`)
		key.ID, _, _ = strings.Cut(rest, `"`)
		a, b := get(t, grown, key), get(t, imported, key)
		if !bytes.Equal(a.Body, b.Body) || !bytes.Equal(a.Terms, b.Terms) || a.Version != b.Version {
			t.Errorf("%s:\n got %s %q\nwant %s %q", key, a.Body, a.Terms, b.Body, b.Terms)
		}
		seen++
	}
	if seen != sample.Resources {
		t.Errorf("compared %d, want %d", seen, sample.Resources)
	}
}

func get(t *testing.T, s store.Store, key store.Key) (v *store.Version) {
	t.Helper()
	err := s.View(t.Context(), func(r store.Reader) (err error) {
		v, err = r.Resource(key)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return v
}

func TestRenewKeepsReferencesTogether(t *testing.T) {
	const id = "057aa36e-b892-9964-75b9-ffb46b097e34"
	text := []byte(`{"id":"` + id + `","reference":"Patient/` + id + `","other":"not-a-uuid 1234567-b892-9964-75b9-ffb46b097e34"}`)
	before := string(text)
	sample.Renew(text, 0)
	if string(text) != before {
		t.Errorf("copy 0 is %s", text)
	}
	sample.Renew(text, 7)
	renewed := string(text[7 : 7+36])
	if renewed == id || renewed[8:] != id[8:] || strings.ReplaceAll(before, id, renewed) != string(text) {
		t.Errorf("got %s", text)
	}
}
