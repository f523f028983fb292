package consent

import (
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// A joined panel is that of a provider with very many patients. It is a condition
// on index terms of the patient, their care teams and their consents, which is
// judged for the rows that a search meets: so a page costs the same for ten
// patients and for a hundred thousand.
//
// It opens what the bases PCP and care team open, of patients who deny nothing but
// whole types to every provider. About all others, and about those whose consents
// name the caller, a decision is taken, one by one; they are excepted from the
// join if they deny anything.
type joined struct {
	pcp    bool     // there are patients who name the caller as PCP
	team   bool     // there are care teams that the caller is in, at any time
	nested bool     // there are care teams in others
	late   []string // ids of the teams that have somebody in them for a time, and the caller now
}

// joinedPanel prepares the join, and lists those about whom decisions are to be
// taken: at any time, so that the list holds until somebody writes.
func (g *Guard) joinedPanel(tx *engine.Tx, p *person, until time.Time) (*panel, []string, time.Time, error) {
	j := &joined{}
	rests := append([]string{specialEpoch}, p.rests...)
	for _, k := range p.names() {
		rests = append(rests, panelEpoch(k))
	}
	for _, q := range []struct {
		t     fhir.Type
		where store.Expr
		any   *bool
		basis BasisCode
	}{
		{"Patient", referenceIn("general-practitioner", p.withOrgs()), &j.pcp, BasisPCP},
		{"CareTeam", onEver(g.members(p)), &j.team, BasisCareTeam},
		{"CareTeam", store.Exists{Name: termNested}, &j.nested, BasisCareTeam},
	} {
		if g.policy.off(q.basis) {
			continue
		}
		found, err := findSome(tx, q.t, q.where, 1)
		if err != nil {
			return nil, nil, time.Time{}, err
		}
		*q.any = len(found) > 0
	}
	if j.team {
		rests = append(rests, nestedEpoch)
	}
	if j.nested = j.nested && j.team; j.nested {
		more, end, err := g.lateTeams(tx, p, j)
		if err != nil {
			return nil, nil, time.Time{}, err
		}
		rests, until = append(rests, more...), earliest(until, tx.Now(), end)
	}
	patients, err := g.special(tx, p, j)
	return &panel{patients: patients, joined: j}, rests, until, err
}

// special lists the patients of whom the terms do not tell everything.
func (g *Guard) special(tx *engine.Tx, p *person, j *joined) ([]string, error) {
	patients := map[string]bool{}
	for _, where := range []store.Expr{
		store.In{Name: termActors, Values: p.names()},
		store.And{store.Prefix{Name: termActors, Prefix: "CareTeam/"}, store.Ref{Name: termActors, Type: "CareTeam", Where: g.inTeamEver(p, j, 0)}},
		store.And{store.Prefix{Name: termActors, Prefix: "Group/"}, store.Ref{Name: termActors, Type: "Group", Where: onEver(p.selves)}},
		store.And{store.Equal{Name: termOdd, Value: "1"}, rowwise(store.Ref{Name: store.Owner, Type: "Patient", Where: g.onPanelEver(p, j)})},
	} {
		found, err := findAll(tx, "Consent", store.And{active(), where})
		if err != nil {
			return nil, err
		}
		for _, v := range found {
			addOwners(patients, v)
		}
	}
	return sorted(patients), nil
}

// lateTeams looks for teams in which another is for a time, which terms cannot
// tell, and notes those that the caller is in now; they rest on the teams in them,
// until one of their times begins or ends.
func (g *Guard) lateTeams(tx *engine.Tx, p *person, j *joined) (rests []string, until time.Time, err error) {
	within := store.Ref{Name: termLate, Type: "CareTeam", Where: g.inTeamEver(p, j, 1)}
	teams, err := findAll(tx, "CareTeam", store.And{active(), store.Exists{Name: termLate}, within})
	if err != nil {
		return nil, time.Time{}, err
	}
	for _, team := range teams {
		m, err := g.memberOf(tx, p, team.Key.String())
		if err != nil {
			return nil, time.Time{}, err
		}
		if m.on {
			j.late = append(j.late, team.ID)
		}
		rests, until = append(rests, m.rests...), earliest(until, tx.Now(), m.until)
	}
	return rests, until, nil
}

// onPanel holds for the patients on whom the caller has the basis PCP or care team
// now, as decideProvider says.
func (g *Guard) onPanel(p *person, j *joined, now time.Time) store.Or {
	var any store.Or
	if j.pcp {
		any = append(any, g.isPCP(p))
	}
	if j.team {
		any = append(any, ofSubject(g.inTeam(p, j, now, 0)))
	}
	return any
}

// onPanelEver is [Guard.onPanel] at any time.
func (g *Guard) onPanelEver(p *person, j *joined) store.Or {
	var any store.Or
	if j.pcp {
		any = append(any, g.isPCP(p))
	}
	if j.team {
		any = append(any, ofSubject(g.inTeamEver(p, j, 0)))
	}
	return any
}

func (g *Guard) isPCP(p *person) store.Expr {
	return referenceIn("general-practitioner", p.withOrgs())
}

// ofSubject holds for the patients who are the subject of a team for which a
// condition holds. Most teams belong to their subject and to nobody else, and what
// belongs to somebody is found quickest.
func ofSubject(team store.Expr) store.Expr {
	subject := search.ReferenceTerm("patient", fhir.Key{Type: "Patient", ID: "x"}).Name
	guests := store.And{store.Exists{Name: termGuest}, team}
	return store.Or{
		store.Back{Type: "CareTeam", Name: store.Owner, Where: store.And{store.Not{Expr: store.Exists{Name: termGuest}}, team}},
		store.And{store.Back{Type: "CareTeam", Name: store.Owner, Where: guests}, store.Back{Type: "CareTeam", Name: subject, Where: guests}},
	}
}

// inTeam holds for the care teams that the caller is in now, also through a team
// in them.
func (g *Guard) inTeam(p *person, j *joined, now time.Time, depth int) store.Expr {
	in := onNow(g.members(p), now)
	if j.nested && depth < maxDepth {
		in = append(in, store.Ref{Name: termInner, Type: "CareTeam", Where: g.inTeam(p, j, now, depth+1)})
	}
	if len(j.late) > 0 {
		in = append(in, store.In{Name: store.ID, Values: j.late})
	}
	return store.And{active(), lasts(termWhole, now), in}
}

// inTeamEver is [Guard.inTeam] at any time.
func (g *Guard) inTeamEver(p *person, j *joined, depth int) store.Expr {
	in := onEver(g.members(p))
	if j.nested && depth < maxDepth {
		in = append(in, store.Ref{Name: termNested, Type: "CareTeam", Where: g.inTeamEver(p, j, depth+1)})
	}
	return store.And{active(), in}
}

// onNow holds for the teams or groups of which one of the keys is a member now.
func onNow(keys []string, now time.Time) store.Or {
	any := store.Or{}
	for _, k := range keys {
		any = append(any, lasts(termOn+k, now))
	}
	return any
}

// onEver holds for those of which one of the keys is a member at any time.
func onEver(keys []string) store.Or {
	any := store.Or{}
	for _, k := range keys {
		any = append(any, store.Exists{Name: termOn + k})
	}
	return any
}

// rowwise keeps the planners from making the other side of a condition their
// driver: it is known to be large.
func rowwise(e store.Expr) store.Expr { return store.Not{Expr: store.Not{Expr: e}} }

// joinedTo gives what the join opens of one type. The two bases are joined at once,
// unless the site has put either under a ceiling of its own.
func (s *sighting) joinedTo(t fhir.Type) store.Expr {
	pcp, team := s.g.policy.Bases[BasisPCP], s.g.policy.Bases[BasisCareTeam]
	if !pcp.lowers() && !team.lowers() {
		return s.joinedBy(t, s.joined, upTo(levelR)(t))
	}
	byPCP, byTeam := *s.joined, *s.joined
	byPCP.team, byTeam.pcp = false, false
	return simplify(store.Or{
		s.joinedBy(t, &byPCP, s.g.policy.under(BasisPCP, upTo(levelR))(t)),
		s.joinedBy(t, &byTeam, s.g.policy.under(BasisCareTeam, upTo(levelR))(t)),
	})
}

// joinedBy gives what some bases of a join open of one type, as far as they do.
func (s *sighting) joinedBy(t fhir.Type, j *joined, open store.Expr) store.Expr {
	now, p, g := s.now, s.person, s.g
	shut := store.Or{store.Exists{Name: termOdd}, lasts(termShut+"*", now), lasts(termShut+string(t), now)}
	patient := store.And{
		g.onPanel(p, j, now),
		store.Not{Expr: store.Back{Type: "Consent", Name: store.Owner, Where: store.And{active(), shut}}},
	}
	if t == "Patient" {
		return store.And{open, patient}
	}
	return store.And{open, rowwise(store.Ref{Name: store.Owner, Type: "Patient", Where: patient})}
}
