package store_test

import (
	"strings"
	"testing"

	"mypatients/fhir/store"
)

func TestLong(t *testing.T) {
	var l store.Long
	if l.Is("a") {
		t.Error("nothing was found yet")
	}
	l.Found("a")
	if !l.Is("a") || l.Is("b") {
		t.Error("a was found, and b was not")
	}
	times := 1
	for ; l.Is("a"); times++ {
		if times > 1_000_000 {
			t.Fatal("it is believed for ever")
		}
	}
	name := strings.Repeat("x", 1<<20)
	if l.Found(name); l.Is(name) {
		t.Error("a long name is kept")
	}
}
