package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestLoadTheWholeSet imports all 112 patients of testdata/synthea, forward
// references and all, and once more. It takes most of a minute, several times
// that under the race detector, so it runs when LONG is set.
func TestLoadTheWholeSet(t *testing.T) {
	if os.Getenv("LONG") == "" {
		t.Skip("takes long; set LONG=1")
	}
	config := production(t)
	for _, want := range []string{
		"created 89522, updated 0, unchanged 0, refused 0",
		"created 0, updated 0, unchanged 89522, refused 0",
	} {
		start := time.Now()
		status, out, errs := runCommand(t, secrets, "load", "-config", config, "testdata/synthea")
		if status != 0 || !strings.Contains(out, want) {
			t.Fatalf("got status %d, %q, %q; want %q", status, out, errs, want)
		}
		t.Logf("%s in %v", want, time.Since(start).Round(100*time.Millisecond))
	}
}
