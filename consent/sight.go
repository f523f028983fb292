package consent

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// expr gives what the decision opens of one type: what the bases open, less what
// the patient's consents deny. A deny holds against every basis but the
// patient's own.
func (d *decision) expr(t fhir.Type) store.Expr { return d.opens(t).Expr }

// An opened condition has a key that equal ones have too.
type opened struct {
	store.Expr
	key string
}

func (d *decision) opens(t fhir.Type) opened {
	d.mu.Lock()
	defer d.mu.Unlock()
	if made, ok := d.exprs[t]; ok {
		return made
	}
	var own store.Or // what is judged by the asker alone
	var all store.Or
	for _, gr := range d.grants {
		if gr.judges == nil {
			own = append(own, gr.opens(t))
		} else {
			all = append(all, store.And{gr.opens(t), store.Not{Expr: d.denied(t, gr.judges...)}})
		}
	}
	e := simplify(append(all, store.And{own, store.Not{Expr: d.denied(t, d.asker)}}))
	made := opened{e, fmt.Sprintf("%#v", e)}
	d.exprs[t] = made
	return made
}

// denied gives what the patient's consents deny to any of some askers.
func (d *decision) denied(t fhir.Type, askers ...*asker) store.Expr {
	deny := store.Or{}
	if d.self {
		return deny
	}
	for _, a := range askers {
		for _, c := range d.consents {
			deny = append(deny, a.read(c, t).deny)
		}
	}
	return deny
}

// granted gives what the bases open.
func (d *decision) granted(t fhir.Type) store.Expr {
	var open store.Or
	for _, gr := range d.grants {
		open = append(open, gr.opens(t))
	}
	return simplify(open)
}

// writable gives what those bases open on which a record may be written.
func (d *decision) writable(t fhir.Type) store.Expr {
	var open store.Or
	for _, gr := range d.grants {
		if slices.Contains(writeBases, gr.basis.Code) {
			open = append(open, gr.opens(t))
		}
	}
	return simplify(open)
}

// A sighting is what one call may see: a person, the decisions that matter to
// the call, and the scopes.
type sighting struct {
	g         *Guard
	caller    *Caller
	person    *person
	now       time.Time
	decisions []*decision
	joined    *joined          // those about whom no decision need be taken; nil: none
	owners    []string         // of the resource that the call is about, if it is about one that exists
	want      smart.Permission // on the type that the call is about
	about     fhir.Type
	types     []fhir.Type // others that it is about
	ofOne     bool        // the call itself names one patient; one who has but one patient may name none
	behind    bool        // what is stored was indexed by an older form of our terms
	last      fhir.Type   // that was asked for
	lastSight store.Expr
	memo      map[fhir.Type]store.Expr // of the types before it
}

// sight is the [engine.Sight] of a call.
func (s *sighting) sight(t fhir.Type) store.Expr {
	if t == s.last && s.lastSight != nil {
		return s.lastSight
	}
	if e, ok := s.memo[t]; ok {
		return e
	}
	if e, ok := s.seenBefore(t); ok {
		return e
	}
	e := s.keep(t, simplify(store.And{s.scopes(t), s.ownership(t)}))
	if s.lastSight != nil { // most calls are about one type
		if s.memo == nil {
			s.memo = map[fhir.Type]store.Expr{}
		}
		s.memo[s.last] = s.lastSight
	}
	s.last, s.lastSight = t, e
	return e
}

// scopes gives what the scopes open. Types other than the one the call is about
// (included, chained) need read or search of their own.
func (s *sighting) scopes(t fhir.Type) store.Expr {
	if s.isAbout(t) {
		return s.g.scopeExpr(s.caller.Grant, t, s.want)
	}
	return store.Or{s.g.scopeExpr(s.caller.Grant, t, smart.MayRead), s.g.scopeExpr(s.caller.Grant, t, smart.MaySearch)}
}

// isAbout tells whether the call is about a type itself.
func (s *sighting) isAbout(t fhir.Type) bool { return t == s.about || slices.Contains(s.types, t) }

// ownership gives what the decisions open.
func (s *sighting) ownership(t fhir.Type) store.Expr {
	if t == "Subscription" {
		return s.ownSubscriptions()
	}
	if isDirectory(t) {
		return store.All()
	}
	if s.person.is(smart.System) {
		return s.g.policy.under(BasisSystem, engine.Everything)(t)
	}
	if s.person.is(smart.Staff) || s.person.is(smart.Admin) {
		return s.g.policy.under(BasisStaff, staffSee)(t)
	}
	if t == "Consent" && s.person.is(smart.Provider) {
		return s.ownConsents()
	}
	if t == "Consent" && s.person.is(smart.Sponsored) { // what families decide about their sponsor is between those
		return store.None()
	}
	owners := map[string][]string{}
	opens := map[string]store.Expr{}
	for _, d := range s.decisions {
		if e := d.opens(t); !isNone(e.Expr) {
			owners[e.key], opens[e.key] = append(owners[e.key], d.patient), e.Expr
		}
	}
	var open store.Or
	for _, k := range slices.Sorted(maps.Keys(owners)) {
		open = append(open, store.And{whose(t, owners[k]), opens[k]})
	}
	if s.joined != nil {
		open = append(open, s.joinedTo(t))
	}
	return s.withExceptions(t, open)
}

// staffSee gives what the desk sees of a type.
func staffSee(t fhir.Type) store.Expr {
	if t == "Consent" { // requests and invitations, not what the family decided beside them
		return store.In{Name: termKind, Values: []string{kindRequest, kindInvitation}}
	}
	return onlyTypes(staffTypes)(t)
}

// whose holds for what belongs to one of the patients. A Patient is opened by a
// basis on themself alone, not on somebody they are linked to.
func whose(t fhir.Type, patients []string) store.Expr {
	if t != "Patient" {
		return store.In{Name: store.Owner, Values: patients}
	}
	in := store.In{Name: store.ID}
	for _, p := range patients {
		in.Values = append(in.Values, idOf(p))
	}
	return in
}

// withExceptions adds what holds whatever the basis: notices are their
// recipients', a directive that is about a guardian is hidden from them, and a
// resource of several patients is shown only when none of them denies.
func (s *sighting) withExceptions(t fhir.Type, open store.Expr) store.Expr {
	all := store.And{open, store.Or{store.Not{Expr: store.Exists{Name: termShared}}, store.Not{Expr: s.deniedByAnOwner()}}}
	switch t {
	case "Consent":
		all = append(all, store.Not{Expr: store.In{Name: termDenies, Values: s.selves()}})
	case "Provenance": // who asked for what is between them and the family
		if s.person.treats() {
			target := search.ReferenceTerm("target", fhir.Key{Type: "Consent", ID: "x"})
			all = append(all, store.Not{Expr: store.Prefix{Name: target.Name, Prefix: "Consent/"}})
		}
	case "Binary":
		all = append(all, s.notHeldByHidden()...)
	case "Communication": // a notice tells of what others may not know of
		all = append(all, store.Or{store.Not{Expr: store.Equal{Name: termKind, Value: kindNotice}}, referenceIn("recipient", s.selves())})
	}
	return append(all, s.notAboutOrders(t)...)
}

// deniedByAnOwner holds for resources of which some owner's consents deny the
// caller anything at all: for a resource of several patients that is enough.
func (s *sighting) deniedByAnOwner() store.Expr {
	p := s.person
	p.known.deny.Do(func() {
		actors := append(p.names(), p.denied...)
		if p.treats() {
			actors = append(actors, "*")
		}
		p.known.denied = deniedTo(actors)
	})
	return p.known.denied
}

// deniedTo holds for resources of which some owner denies one of some actors
// anything.
func deniedTo(actors []string) store.Expr {
	denied := store.In{Name: termDenies, Values: slices.Compact(slices.Sorted(slices.Values(actors)))}
	return store.Ref{Name: store.Owner, Type: "Patient", Where: store.Back{Type: "Consent", Name: store.Owner, Where: store.And{active(), denied}}}
}

// ownConsents are the requests and invitations that name the provider: they see
// these, and no others.
func (s *sighting) ownConsents() store.Expr {
	return store.And{referenceIn("actor", s.selves()), store.In{Name: termKind, Values: []string{kindRequest, kindInvitation}}}
}

func (s *sighting) selves() []string {
	all := slices.Clone(s.person.selves)
	for _, k := range append([]string{s.person.key}, s.caller.Identity.Persons...) {
		if k != "" && !slices.Contains(all, k) {
			all = append(all, k)
		}
	}
	return all
}

var _ engine.Sight = (*sighting)(nil).sight

// simplify folds the constants of a condition away.
func simplify(e store.Expr) store.Expr {
	switch e := e.(type) {
	case store.And:
		parts, none := fold(e, isNone, func(part store.Expr) []store.Expr {
			inner, _ := part.(store.And)
			return inner
		})
		switch {
		case none:
			return store.None()
		case len(parts) == 1:
			return parts[0]
		}
		return store.And(parts)
	case store.Or:
		parts, all := fold(e, isAll, func(part store.Expr) []store.Expr {
			inner, _ := part.(store.Or)
			return inner
		})
		switch {
		case all:
			return store.All()
		case len(parts) == 1:
			return parts[0]
		}
		return store.Or(parts)
	case store.Not:
		inner := simplify(e.Expr)
		switch {
		case isAll(inner):
			return store.None()
		case isNone(inner):
			return store.All()
		}
		return store.Not{Expr: inner}
	}
	return e
}

// fold simplifies parts and takes in those of the same kind; settled tells that
// one of them alone settles the whole.
func fold(parts []store.Expr, settles func(store.Expr) bool, inner func(store.Expr) []store.Expr) (out []store.Expr, settled bool) {
	for _, part := range parts {
		part = simplify(part)
		if settles(part) {
			return nil, true
		}
		if same := inner(part); same != nil || isAll(part) || isNone(part) {
			out = append(out, same...)
		} else {
			out = append(out, part)
		}
	}
	return out, false
}

func isAll(e store.Expr) bool  { a, ok := e.(store.And); return ok && len(a) == 0 }
func isNone(e store.Expr) bool { o, ok := e.(store.Or); return ok && len(o) == 0 }
