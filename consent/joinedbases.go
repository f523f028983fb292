package consent

import (
	"strconv"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// A join says that records are open, and the log is to say on which bases. They are
// looked up for the patients on a page, and kept as decisions are: with the epochs that
// they rest on, and until one of their times begins or ends.

// joinedBases gives the bases on which the join opens the records of some patients,
// by patient.
func (s *sighting) joinedBases(tx *engine.Tx, patients []string) (map[string][]Basis, error) {
	bases := map[string][]Basis{}
	if s.joined == nil || len(patients) == 0 {
		return bases, nil
	}
	me := whoIs(*s.caller)
	if err := s.g.readBasesAhead(tx, me, patients); err != nil {
		return nil, err
	}
	var missing []string
	for _, p := range patients {
		known, ok, err := s.g.bases.held(tx, about{who: me, patient: p})
		if err != nil {
			return nil, err
		}
		if bases[p] = known; !ok {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		return bases, nil
	}
	until, err := s.findBases(tx, missing, bases)
	if err != nil || s.joined.team && s.joined.nested { // they rest on other teams, too
		return bases, err
	}
	for _, p := range missing {
		if err := s.g.bases.keep(tx, about{who: me, patient: p}, bases[p], append([]string{p}, s.person.rests...), until); err != nil {
			return nil, err
		}
	}
	return bases, nil
}

// findBases looks up the bases of patients, and tells until when they are those. The
// planners are to begin with the patients, who are few.
func (s *sighting) findBases(tx *engine.Tx, patients []string, bases map[string][]Basis) (until time.Time, err error) {
	until = earliest(s.person.until, s.now, nextMidnight(s.now, s.g.zone))
	if s.joined.pcp {
		in := store.In{Name: store.ID}
		for _, p := range patients {
			in.Values = append(in.Values, idOf(p))
		}
		found, err := findAll(tx, "Patient", store.And{in, rowwise(s.g.isPCP(s.person))})
		if err != nil {
			return until, err
		}
		for _, v := range found {
			bases[v.Key.String()] = append(bases[v.Key.String()], Basis{Code: BasisPCP})
		}
	}
	if !s.joined.team {
		return until, nil
	}
	ever := store.And{referenceIn("patient", patients), s.g.inTeamEver(s.person, s.joined, 0)}
	teams, err := findAll(tx, "CareTeam", store.And{store.In{Name: store.Owner, Values: patients}, rowwise(ever)})
	if err != nil {
		return until, err
	}
	now := s.g.inTeam(s.person, s.joined, s.now, 0)
	subject := search.ReferenceTerm("patient", fhir.Key{Type: "Patient", ID: "x"}).Name
	for _, v := range teams {
		until = earliest(until, s.now, boundariesOf(v.Terms)...)
		on, err := store.Eval(tx.Reader(), v, now)
		if err != nil {
			return until, err
		}
		for p := range v.Terms.Values(subject) {
			if on {
				bases[string(p)] = append(bases[string(p)], Basis{Code: BasisCareTeam, Source: v.Key.String()})
			}
		}
	}
	return until, nil
}

// boundariesOf gives when the times among the terms of a team begin and end, as far as
// that is not always or never.
func boundariesOf(terms store.Terms) (list []time.Time) {
	for name, value := range terms.All() {
		if len(value) != 2*momentLen || string(name) != termWhole && !strings.HasPrefix(string(name), termOn) {
			continue
		}
		for _, digits := range []string{string(value[:momentLen]), string(value[momentLen:])} {
			if n, err := strconv.ParseInt(digits, 10, 64); err == nil && digits != endless && digits != earlier {
				list = append(list, time.Unix(0, n))
			}
		}
	}
	return list
}

// readBasesAhead reads in one go what the bases at hand rest on.
func (g *Guard) readBasesAhead(tx *engine.Tx, me who, patients []string) error {
	if !store.ReadsAhead(tx.Reader()) {
		return nil
	}
	epochs := map[string]bool{}
	for _, p := range patients {
		g.bases.peek(about{who: me, patient: p}, epochs)
	}
	return g.readEpochs(tx, epochs)
}

// A pageOf names a first page of a caller.
type pageOf struct {
	who
	kind  fhir.Type
	query string
}

// recall reads ahead what the bases rest on of those who were on a page when it was
// asked for last: people ask for the same again and again, and then all of it comes in
// the round trip of the search.
func (g *Guard) recall(tx *engine.Tx, c Caller, t fhir.Type, q *search.Query) error {
	if !store.ReadsAhead(tx.Reader()) || q.Cursor != "" {
		return nil
	}
	me := whoIs(c)
	patients, ok := g.shown.peek(pageOf{me, t, q.Applied.Encode()}, nil)
	if !ok {
		return nil
	}
	return g.readBasesAhead(tx, me, patients)
}

// remember notes who is on a page.
func (g *Guard) remember(tx *engine.Tx, c Caller, t fhir.Type, q *search.Query, patients []string) {
	const most, longest = 100, 1000
	if !store.ReadsAhead(tx.Reader()) || q.Cursor != "" || len(patients) > most {
		return
	}
	if query := q.Applied.Encode(); len(query) <= longest {
		g.shown.put(&cached[pageOf, []string]{key: pageOf{whoIs(c), t, query}, value: patients})
	}
}
