package consent

import (
	"slices"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// An exportWalk goes through a file. Of those who are listed it takes some patients at
// a time, as what belongs to few is found quickest: so each page costs what these have,
// and all of them together what all have. Everybody else's is taken by id.
type exportWalk struct {
	patients []string // sorted; nil: no list
	from, to int      // those of them at hand
	after    string   // where what these have was left; empty: at its beginning
	done     bool
}

// How many patients are at hand at first, and at most: more and more of those who have
// little.
const (
	exportFew  = 4
	exportMany = 256
)

// walk begins with a type. The list holds for all of the file; what is seen of those on
// it is decided for each page.
func (p *exportPlan) walk(s *sighting, t fhir.Type) *exportWalk {
	w := &exportWalk{patients: p.listed}
	byOwner := p.g.engine.Registry().InCompartment(t) && (t != "Consent" || !s.person.is(smart.Provider))
	if p.x.Level != ExportGroup && w.patients == nil && s.joined == nil && !seesByRole(s.person.identity.Role) && byOwner {
		w.patients = []string{} // nothing is seen but by the decisions on these
		for _, d := range s.decisions {
			w.patients = append(w.patients, d.patient)
		}
		slices.Sort(w.patients)
		w.patients = slices.Compact(w.patients)
	}
	w.to = min(exportFew, len(w.patients))
	w.done = w.patients != nil && len(w.patients) == 0
	return w
}

// page gives the next page of a type: so many resources, if there are.
func (p *exportPlan) page(tx *engine.Tx, s *sighting, t fhir.Type, w *exportWalk, count int) (*fhir.Page, error) {
	page := &fhir.Page{Subset: p.subset(t)}
	for !w.done && len(page.Entries) < count {
		within := p.within(s, t)
		if w.patients != nil {
			within = whose(t, w.patients[w.from:w.to])
		}
		want := count - len(page.Entries)
		found, next, err := tx.Export(engine.ExportQuery{Type: t, Within: within, Since: p.query.Since, Filters: p.filters[t], After: w.after, Count: want}, s.sight)
		if err != nil {
			return nil, err
		}
		for _, e := range found.Entries {
			if !w.given(e.Resource) {
				page.Entries = append(page.Entries, e)
			}
		}
		w.step(next, len(found.Entries) <= want/4)
	}
	return page, nil
}

// step goes on: with what those at hand have left, or with the next of them.
func (w *exportWalk) step(next string, little bool) {
	if w.after = next; next != "" {
		return
	}
	size := max(exportFew, (w.to-w.from)/2)
	if little {
		size = min(2*(w.to-w.from), exportMany)
	}
	w.from, w.to = w.to, min(w.to+size, len(w.patients))
	w.done = w.from >= len(w.patients)
}

// given tells of what belongs to several patients that it was given with one of those
// before.
func (w *exportWalk) given(r *fhir.Resource) bool {
	if w.from == 0 || r.Type == "Patient" {
		return false
	}
	for owner := range store.Terms(r.Terms).Values(store.Owner) {
		if at, listed := slices.BinarySearch(w.patients, string(owner)); listed && at < w.from {
			return true
		}
	}
	return false
}
