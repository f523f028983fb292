package store_test

import (
	"reflect"
	"testing"

	"mypatients/fhir/store"
)

func ptr(s string) *string { return &s }

func TestPosition(t *testing.T) {
	for _, p := range []store.Place{
		{},
		{ID: "1"},
		{ID: "\x00\xff"},
		{Values: []*string{nil}, ID: "1"},
		{Values: []*string{ptr("")}, ID: ""},
		{Values: []*string{ptr("a"), nil, ptr("\x00\x01")}, ID: "x"},
		{Values: []*string{ptr(string(make([]byte, 1000)))}, ID: "long"},
	} {
		got, err := store.ParsePosition(p.Position(), len(p.Values))
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("got %+v, %v, want %+v", got, err, p)
		}
	}
}

func TestParsePositionRefuses(t *testing.T) {
	good := store.Place{Values: []*string{ptr("abc")}, ID: "1"}.Position()
	for _, c := range []struct {
		position string
		sorts    int
	}{
		{"", 1}, {"not base64!", 0}, {"AQ", 1}, {"Af8", 1}, {"AQVh", 1}, {good, 2}, {good + "=", 1},
		{"Af___________wE", 1}, // a length that does not fit an int
	} {
		if p, err := store.ParsePosition(c.position, c.sorts); err == nil {
			t.Errorf("%q for %d sorts is read as %+v", c.position, c.sorts, p)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	f.Add("AQNhYmMx", 1)
	f.Add("", 0)
	f.Fuzz(func(t *testing.T, s string, sorts int) {
		if sorts < 0 || sorts > 5 {
			return
		}
		p, err := store.ParsePosition(s, sorts)
		if err != nil {
			return
		}
		again, err := store.ParsePosition(p.Position(), sorts)
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%+v comes back as %+v, %v", p, again, err)
		}
	})
}
