package consent_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
)

func (w *world) recent(g *consent.Guard, c consent.Caller) string {
	w.t.Helper()
	cards, err := g.RecentPatients(w.t.Context(), c)
	if err != nil {
		w.t.Fatal(err)
	}
	var ids []string
	for _, card := range cards {
		ids = append(ids, card.Patient.ID)
	}
	return strings.Join(ids, " ")
}

// What a provider opened is there again at the next sign-in, at any gateway, as long
// as they may see it; it is theirs alone, and few.
func TestRecentPatients(t *testing.T) {
	w := newWorld(t)
	one, two := w.with(t, func(*consent.Config) {}), w.with(t, func(*consent.Config) {})
	adams, opened := w.as("adams"), func(g *consent.Guard, c consent.Caller, id string) {
		t.Helper()
		if err := g.Opened(t.Context(), c, id); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.recent(one, adams); got != "" {
		t.Errorf("got %q before anything was opened", got)
	}
	opened(one, adams, "mateo")
	opened(two, adams, "sofia")
	if got := w.recent(one, adams); got != "sofia mateo" {
		t.Errorf("got %q", got)
	}
	opened(two, adams, "mateo")
	opened(one, adams, "mateo")
	again := w.as("adams")
	again.ID = "the session of another day"
	if got := w.recent(two, again); got != "mateo sofia" {
		t.Errorf("got %q", got)
	}
	// Neither an app nor another role adds to it, or reads it.
	app := w.app("adams", "user/*.rs", "")
	opened(one, app, "lily")
	opened(one, w.as("grace"), "mateo")
	for _, c := range []consent.Caller{app, w.as("grace"), w.as("baker"), w.as("okafor")} {
		if got := w.recent(one, c); got != "" {
			t.Errorf("%s sees %q", c.Identity.FHIRUser, got)
		}
	}
	// A patient of somebody else, and one who is lost, are not told of.
	opened(one, adams, "ava")
	opened(one, adams, "nobody")
	opened(one, adams, "../x")
	if got := w.recent(two, adams); got != "mateo sofia" {
		t.Errorf("got %q", got)
	}
	w.put(`{"resourceType":"Patient","id":"mateo","identifier":[{"system":%q,"value":"1001"}],"name":[{"family":"Rivera"}],"birthDate":"2018-01-05","generalPractitioner":[{"reference":"Practitioner/baker"}]}`, mrnSystem)
	if a, b := w.recent(one, adams), w.recent(two, adams); a != "sofia" || b != "sofia" {
		t.Errorf("got %q and %q", a, b)
	}
	var want []string
	for i := range 12 {
		id := fmt.Sprintf("child%02d", i)
		w.put(`{"resourceType":"Patient","id":%q,"birthDate":"2018-01-05","generalPractitioner":[{"reference":"Practitioner/adams"}]}`, id)
		opened(one, adams, id)
		want = append(want, id)
	}
	slices.Reverse(want)
	if got := w.recent(two, adams); got != strings.Join(want[:10], " ") {
		t.Errorf("got %q", got)
	}
	w.clock.pass(91 * 24 * time.Hour)
	if got := w.recent(one, w.as("adams")); got != "" {
		t.Errorf("after three months: %q", got)
	}
}
