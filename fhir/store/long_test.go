package store_test

import (
	"strings"
	"testing"

	"mypatients/fhir/store"
)

func TestLong(t *testing.T) {
	var l store.Long
	if l.Is("a", 1) {
		t.Error("nothing was found yet")
	}
	l.Found("a", 100)
	if !l.Is("a", 100) || !l.Is("a", 50) || l.Is("a", 101) || l.Is("b", 1) {
		t.Error("a was found to have 100, not more, and b was not found")
	}
	times := 1
	for ; l.Is("a", 100); times++ {
		if times > 1_000_000 {
			t.Fatal("it is believed for ever")
		}
	}
	name := strings.Repeat("x", 1<<20)
	if l.Found(name, 100); l.Is(name, 100) {
		t.Error("a long name is kept")
	}
}
