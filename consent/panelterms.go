package consent

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// The index terms by which the panel of a caller with very many patients is
// joined to what they search for, see wide.go. They say of a team or a consent
// what decide would read in its body.
const (
	// Of a CareTeam or Group, followed by the key of a member: a time for which it
	// counts, see lasting.
	termOn = "_on "
	// Of a CareTeam: "1" when it belongs to somebody who is in it and not its subject.
	termGuest = "_guest"
	// Of a CareTeam: its own period.
	termWhole = "_whole"
	// Of a CareTeam: a team in it, at any time; one that is in it for as long as it
	// exists; and one that is in it for a time.
	termNested = "_nested"
	termInner  = "_inner"
	termLate   = "_late"
	// Of a Consent, followed by a type or "*": a time for which it denies that to
	// every provider, and says nothing else.
	termShut = "_shut "
	// Of a Consent: "1" when it denies anything else, so that it must be read.
	termOdd = "_odd"
)

// moments are as long as the digits of the nanoseconds since 1970 until 2262.
const momentLen = 19

var (
	endless = strings.Repeat("9", momentLen)
	earlier = strings.Repeat("0", momentLen)
	latest  = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)
)

// moment writes a time so that it sorts; what lies before 1970 is 1970, what lies
// behind 2261 has no end.
func moment(t time.Time) string {
	switch {
	case !t.Before(latest):
		return endless
	case t.Year() < 1970:
		return earlier
	}
	digits := strconv.FormatInt(max(0, t.UnixNano()), 10)
	return earlier[len(digits):] + digits
}

// lasting is the term of a time: from when on, and until when.
func lasting(name string, w window) store.Term {
	until := endless
	if !w.end.IsZero() {
		until = moment(w.end)
	}
	return store.Term{Name: name, Value: moment(w.start) + until}
}

// lasts holds when one of the times under a name is now.
func lasts(name string, now time.Time) store.Expr {
	next := moment(now.Add(1))
	return store.Span{Name: name, Split: momentLen, HeadTo: next, TailFrom: next}
}

// during gives what two periods share; ok is false when one cannot be read.
func during(a, b window) (w window, ok bool) {
	w = window{start: a.start, end: earliest(a.end, time.Time{}, b.end)}
	if b.start.After(w.start) {
		w.start = b.start
	}
	return w, !a.bad && !b.bad
}

// teamTerms are the terms of a CareTeam; found are those of search.
func (r *Rules) teamTerms(team node, found []store.Term) (terms []store.Term) {
	for _, t := range found {
		if t.Name == store.Owner && t.Value != relativeTo(r.base, team.ref("subject")) {
			terms = append(terms, store.Term{Name: termGuest, Value: "1"})
			break
		}
	}
	whole := readPeriod(team.obj("period"), r.zone)
	if whole.bad {
		return terms
	}
	terms = append(terms, lasting(termWhole, whole))
	for _, m := range team.list("participant") {
		ref := relativeTo(r.base, m.ref("member"))
		key, err := fhir.ParseKey(ref)
		w := readPeriod(m.obj("period"), r.zone)
		if err != nil || w.bad {
			continue
		}
		switch both, _ := during(whole, w); {
		case key.Type == "CareTeam" && m["period"] == nil:
			terms = append(terms, store.Term{Name: termNested, Value: ref}, store.Term{Name: termInner, Value: ref})
		case key.Type == "CareTeam":
			terms = append(terms, store.Term{Name: termNested, Value: ref}, store.Term{Name: termLate, Value: ref})
		case isActor(key.Type):
			terms = append(terms, lasting(termOn+ref, both))
		}
	}
	return terms
}

// groupTerms are the terms of a Group, as inGroup reads it.
func (r *Rules) groupTerms(group node) (terms []store.Term) {
	if active, given := group["active"].(bool); given && !active {
		return nil
	}
	for _, m := range group.list("member") {
		ref := relativeTo(r.base, m.obj("entity").str("reference"))
		key, err := fhir.ParseKey(ref)
		w := readPeriod(m.obj("period"), r.zone)
		if inactive, _ := m["inactive"].(bool); err == nil && !inactive && !w.bad && isActor(key.Type) {
			terms = append(terms, lasting(termOn+ref, w))
		}
	}
	return terms
}

// isActor tells whether resources of a type may be what a provider is.
func isActor(t fhir.Type) bool {
	return slices.Contains([]fhir.Type{"Practitioner", "PractitionerRole", "Organization"}, t)
}

// denialTerms are the terms of a Consent that denies something.
func (r *Rules) denialTerms(consent node) []store.Term {
	root := consent.obj("provision")
	if _, denied := r.actorsOf(rootOf(consent), false, nil, nil); len(denied) == 0 && depth(root) <= maxDepth {
		return nil
	}
	odd := []store.Term{{Name: termOdd, Value: "1"}}
	w := readPeriod(root.obj("period"), r.zone)
	match, doubt := matchAction(root.list("action"))
	for name := range root {
		if !slices.Contains([]string{"id", "type", "period", "action", "class"}, name) {
			return odd
		}
	}
	switch {
	case rootOf(consent).str("type") != "deny", w.bad, root["action"] != nil && !match && !doubt,
		!consent.obj("scope").hasCoding(systemConsentScope, "patient-privacy"):
		return odd
	case root["class"] == nil:
		return []store.Term{lasting(termShut+"*", w)}
	}
	terms := []store.Term{}
	for _, c := range root.list("class") {
		if c.str("system") != systemResourceTypes {
			return odd
		}
		terms = append(terms, lasting(termShut+c.str("code"), w))
	}
	return terms
}
