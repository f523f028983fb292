package consent

import (
	"slices"

	"mypatients/fhir"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// A seen condition is the sight of one type that a decision gave to the call
// before: people ask for the same again and again.
type seen struct {
	person *person
	scopes smart.Scopes
	want   smart.Permission
	about  bool   // the call is about the type
	launch string // the launch patient
	behind bool
	store.Expr
}

// seenBefore gives the sight of a type as the decision keeps it. It is good for
// as long as the decision and the person, who are looked up for each call, and
// kept only of calls that rest on nothing else.
func (s *sighting) seenBefore(t fhir.Type) (store.Expr, bool) {
	if !s.restsOnOne(t) {
		return nil, false
	}
	d := s.decisions[0]
	d.mu.Lock()
	defer d.mu.Unlock()
	k, ok := d.seen[t]
	if !ok || k.person != s.person || k.want != s.want || k.about != s.isAbout(t) || k.launch != s.caller.Launch.Patient || k.behind != s.behind || !slices.EqualFunc(k.scopes, s.caller.Scopes, sameScope) {
		return nil, false
	}
	return k.Expr, true
}

// keep keeps the sight of a type, the newest of each, and gives it as it is kept.
func (s *sighting) keep(t fhir.Type, e store.Expr) store.Expr {
	if !s.restsOnOne(t) {
		return e
	}
	e = standing(e)
	d := s.decisions[0]
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen == nil {
		d.seen = map[fhir.Type]seen{}
	}
	d.seen[t] = seen{s.person, s.caller.Scopes, s.want, s.isAbout(t), s.caller.Launch.Patient, s.behind, e}
	return e
}

// standing makes of what a sight hides in a record one condition that stands. Whose the
// record is stays beside it, for the engines to begin with.
func standing(e store.Expr) store.Expr {
	var shows, hides store.And
	for _, part := range store.Parts(e) {
		switch part := part.(type) {
		case store.Not:
			hides = append(hides, part)
		case store.Or:
			if slices.ContainsFunc(part, isNot) {
				hides = append(hides, part)
			} else {
				shows = append(shows, part)
			}
		default:
			shows = append(shows, part)
		}
	}
	if hides == nil {
		return e
	}
	return append(shows, &store.Standing{Expr: hides})
}

func isNot(e store.Expr) bool { _, ok := e.(store.Not); return ok }

// restsOnOne tells whether the sight of a type rests on one decision, the person
// and plain scopes alone: not on the time, the client, or the search parameters
// that there are.
func (s *sighting) restsOnOne(t fhir.Type) bool {
	return len(s.decisions) == 1 && s.joined == nil && t != "Subscription" && t.Valid() &&
		!slices.ContainsFunc(s.caller.Scopes, func(sc smart.Scope) bool { return len(sc.Params) > 0 })
}

// sameScope compares scopes without parameters.
func sameScope(a, b smart.Scope) bool {
	return a.May == b.May && a.Level == b.Level && a.Type == b.Type
}
