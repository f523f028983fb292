package consent

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"mypatients/consent/age"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// A decision says what one caller may see of one patient's record. It is a value:
// good until a time boundary passes or the policy epoch of the patient or of the
// caller moves.
type decision struct {
	patient string  // "Patient/1"
	policy  *Policy // whose table of bases holds; nil: each opens all that it opens by itself
	bases   []Basis
	until   time.Time // when it must be taken again
	rests   []string  // keys of the resources it rests on, whose epochs it carries

	asker    *asker
	vouching []vouching // of sponsored staff
	self     bool
	grants   []grant
	consents []node // active consents of the patient
	teen     bool   // of a guardian: the patient is a teenager

	mu    sync.Mutex
	exprs map[fhir.Type]opened // by type, made when first needed
	seen  map[fhir.Type]seen   // by type, see seenBefore
}

// A grant is a basis with what it opens, less what the patient's consents deny
// to those by whom it is judged: the asker of the decision, unless it names others.
type grant struct {
	basis  Basis
	opens  func(fhir.Type) store.Expr
	judges []*asker
}

// permitted reports whether there is any basis at all.
func (d *decision) permitted() bool { return len(d.bases) > 0 }

// has reports whether there is a basis of a kind.
func (d *decision) has(code BasisCode) bool {
	return slices.ContainsFunc(d.bases, func(b Basis) bool { return b.Code == code })
}

// decide takes the decision for a caller and a patient: the one place where
// "may they" is answered. Denials follow in sight, per type.
func (g *Guard) decide(tx *engine.Tx, p *person, patient fhir.Key) (*decision, error) {
	now := tx.Now()
	d := &decision{patient: patient.String(), policy: &g.policy, rests: []string{patient.String()}, exprs: map[fhir.Type]opened{}}
	v, tree, err := live(tx, d.patient)
	if err != nil {
		return nil, err
	}
	if v == nil {
		return d, nil
	}
	d.until = earliest(p.until, now, nextMidnight(now, g.zone), g.rules.emancipation(tree))
	d.asker = g.newAsker(maps.Clone(p.actors), p.is(smart.Proxy) || p.is(smart.Patient), now)
	switch p.identity.Role {
	case smart.System:
		d.add(Basis{Code: BasisSystem}, engine.Everything)
		return d, nil
	case smart.Staff, smart.Admin:
		d.add(Basis{Code: BasisStaff}, onlyTypes(staffTypes))
		return d, nil
	case smart.Patient:
		err = g.decideSelf(p, d, tree, now)
	case smart.Proxy:
		err = g.decideProxy(tx, p, d, tree)
	case smart.Provider:
		err = g.decideProvider(tx, p, d, v)
	case smart.Sponsored:
		err = g.decideSponsored(tx, p, d, v)
	}
	if err != nil {
		return nil, err
	}
	if err := g.addConsents(tx, p, d, tree); err != nil {
		return nil, err
	}
	return d, nil
}

// newAsker makes the asker that consents are compared with. A provider asks to
// treat; the patient and guardians see a record at their own request.
func (g *Guard) newAsker(actors map[string]bool, family bool, now time.Time) *asker {
	a := &asker{actors: actors, known: map[string]bool{}, family: family, purpose: []string{"TREAT"}, now: now, zone: g.zone, base: g.base}
	if family {
		a.purpose = []string{"TREAT", "PATRQT", "FAMRQT", "PWATRNY"}
	}
	return a
}

// add adds a basis with what it opens by itself, as far as the site lets it; judges
// are those of a [grant].
func (d *decision) add(b Basis, opens func(fhir.Type) store.Expr, judges ...*asker) {
	if d.policy != nil {
		if d.policy.off(b.Code) {
			return
		}
		opens = d.policy.under(b.Code, opens)
	}
	if b.Code != BasisSponsored || !slices.Contains(d.bases, b) { // a sponsor can have several
		d.bases = append(d.bases, b)
	}
	d.grants = append(d.grants, grant{basis: b, opens: opens, judges: judges})
}

func (g *Guard) decideSelf(p *person, d *decision, patient node, now time.Time) error {
	if p.key == d.patient && g.hasOwnSay(patient, now) {
		d.self = true
		d.add(Basis{Code: BasisSelf}, engine.Everything)
	}
	return nil
}

// decideProxy gives a guardian the basis that the patient's age leaves them.
func (g *Guard) decideProxy(tx *engine.Tx, p *person, d *decision, patient node) error {
	band := g.bandOf(patient, tx.Now())
	if band == bandAdult {
		return nil
	}
	related, until, err := g.actingRelatedPerson(tx, p.identity, d.patient)
	d.until = earliest(d.until, tx.Now(), until)
	if err != nil || related == "" {
		return err
	}
	adult, _ := g.majority(patient)
	b := Basis{Code: BasisProxy, Source: related, Until: earliest(adult, time.Time{}, until)}
	if band == bandChild {
		d.add(b, engine.Everything)
		return nil
	}
	d.teen = true
	d.add(b, g.teenOpens)
	return nil
}

// teenOpens is what the guardian of a teenager sees.
func (g *Guard) teenOpens(t fhir.Type) store.Expr {
	open := store.And{store.Not{Expr: sensitiveAny(g.policy.TeenHidden)}}
	if t == "Encounter" {
		open = append(open, levelAtMost(levelN))
	}
	return open
}

// relationships that may act for a child (v3-RoleCode).
var guardianRoles = []string{"GUARD", "PRN", "MTH", "FTH", "NMTH", "NFTH", "ADOPTP", "ADOPTM", "ADOPTF", "PRNFOST", "MTHFOST", "FTHFOST", "STPPRN", "STPMTH", "STPFTH", "HPOWATT", "RESPRSN"}

// actingRelatedPerson finds the RelatedPerson as which an identity may act for a
// patient today: active, in period, of a relationship that allows it; and until
// when. When there is none, until is when there may be one, if that is known.
func (g *Guard) actingRelatedPerson(tx *engine.Tx, id smart.Identity, patient string) (key string, until time.Time, err error) {
	for _, ref := range append([]string{id.FHIRUser}, id.Persons...) {
		if !strings.HasPrefix(ref, "RelatedPerson/") {
			continue
		}
		_, tree, err := live(tx, ref)
		if err != nil {
			return "", time.Time{}, err
		}
		if end, ok := g.mayActFor(tree, patient, tx.Now()); ok {
			return ref, end, nil
		}
		until = earliest(until, tx.Now(), readPeriod(tree.obj("period"), g.zone).start)
	}
	return "", until, nil
}

// mayActFor judges a RelatedPerson apart from the patient's age.
func (g *Guard) mayActFor(related node, patient string, now time.Time) (until time.Time, ok bool) {
	if relativeTo(g.base, related.ref("patient")) != patient {
		return time.Time{}, false
	}
	w := readPeriod(related.obj("period"), g.zone)
	if active, given := related["active"].(bool); given && !active || !w.holds(now) {
		return time.Time{}, false
	}
	for _, r := range related.list("relationship") {
		for _, c := range r.list("coding") {
			if slices.Contains(guardianRoles, c.str("code")) {
				return w.end, true
			}
		}
	}
	return time.Time{}, false
}

// decideProvider finds the bases PCP and care team; grants come with consents.
func (g *Guard) decideProvider(tx *engine.Tx, p *person, d *decision, patient *store.Version) error {
	pcp, err := store.Eval(tx.Reader(), patient, referenceIn("general-practitioner", append(slices.Clone(p.selves), p.orgs...)))
	if err != nil {
		return err
	}
	if pcp {
		d.add(Basis{Code: BasisPCP}, upTo(levelR))
	}
	// A team is the patient's when they are its subject, not when they are in it.
	subject := search.ReferenceTerm("patient", fhir.Key{Type: "Patient", ID: patient.ID})
	teams, err := findAll(tx, "CareTeam", store.And{ownedBy(d.patient), subject, search.TokenTerm("status", "", "active")})
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, team := range teams {
		if err := g.decideCareTeam(tx, p, d, team, team.Key.String(), time.Time{}, seen, 0); err != nil {
			return err
		}
	}
	return nil
}

// decideCareTeam adds a basis for membership of a team, or of a team in it. Only
// the outermost team must be the patient's; seen guards against cycles.
func (g *Guard) decideCareTeam(tx *engine.Tx, p *person, d *decision, team *store.Version, source string, until time.Time, seen map[string]bool, depth int) error {
	if seen[team.Key.String()] || depth > maxDepth {
		return nil
	}
	seen[team.Key.String()] = true
	d.rests = append(d.rests, team.Key.String())
	end, on, change := g.memberUntil(team, p, tx.Now())
	d.until = earliest(d.until, tx.Now(), change)
	if on {
		d.add(Basis{Code: BasisCareTeam, Source: source, Until: earliest(until, time.Time{}, end)}, upTo(levelR))
		return nil
	}
	nested, change := g.openNested(team, tx.Now())
	d.until = earliest(d.until, tx.Now(), change)
	for _, n := range nested {
		inner, _, err := live(tx, "CareTeam/"+n.id)
		if err != nil {
			return err
		}
		if inner == nil {
			continue
		}
		if err := g.decideCareTeam(tx, p, d, inner, source, earliest(until, time.Time{}, n.until), seen, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// A nestedTeam is a care team that is a member of another, and until when.
type nestedTeam struct {
	id    string
	until time.Time
}

// openNested lists the care teams that are members of an active team now, and
// when that may next change.
func (g *Guard) openNested(team *store.Version, now time.Time) (nested []nestedTeam, change time.Time) {
	tree, err := fhir.Tree(team.Body)
	if err != nil {
		return nil, time.Time{}
	}
	n := node(tree)
	whole := readPeriod(n.obj("period"), g.zone)
	change = earliest(change, now, whole.start, whole.end)
	if n.str("status") != "active" || !whole.holds(now) {
		return nil, change
	}
	for _, m := range n.list("participant") {
		key, err := fhir.ParseKey(relativeTo(g.base, m.ref("member")))
		if err != nil || key.Type != "CareTeam" {
			continue
		}
		w := readPeriod(m.obj("period"), g.zone)
		change = earliest(change, now, w.start, w.end)
		if w.holds(now) {
			nested = append(nested, nestedTeam{key.ID, earliest(whole.end, time.Time{}, w.end)})
		}
	}
	return nested, change
}

// addConsents reads the patient's active consents: those that permit the caller
// by name become bases; all of them are kept for their denials.
func (g *Guard) addConsents(tx *engine.Tx, p *person, d *decision, patient node) error {
	found, err := findAll(tx, "Consent", store.And{ownedBy(d.patient), search.TokenTerm("status", "", "active")})
	if err != nil {
		return err
	}
	sources := map[string]node{}
	for _, v := range found {
		tree, err := fhir.Tree(v.Body)
		if err != nil {
			return err
		}
		n := node(tree)
		root := n.obj("provision")
		d.asker.learnActors(tx, root)
		if p.treats() {
			if err := g.learn(tx, p, d.asker, d, root); err != nil {
				return err
			}
		}
		for _, v := range d.vouching {
			if err := g.learn(tx, v.person, v.asker, d, root); err != nil {
				return err
			}
		}
		if relativeTo(g.base, n.ref("patient")) != d.patient || isOtherScope(n) {
			continue
		}
		d.until = earliest(d.until, tx.Now(), boundaries(root, g.zone)...)
		if w := readPeriod(root.obj("period"), g.zone); !w.bad && !w.holds(tx.Now()) {
			continue // and nothing in it holds, whatever period of its own that has
		}
		g.reportFault(v.Key, n, d.asker.known)
		d.consents = append(d.consents, n)
		sources[v.Key.String()] = n
	}
	if !p.is(smart.Provider) {
		return nil
	}
	for _, source := range slices.Sorted(maps.Keys(sources)) {
		n := sources[source]
		limit := g.giverLimit(d, n, patient, tx.Now())
		if limit == nil || isModified(n) || !isPrivacy(n) || !d.asker.permitsSome(n.obj("provision"), frame{}, 1) {
			continue
		}
		code := BasisConsent
		if g.rules.kindOf(n) == kindInvitation {
			code = BasisInvitation
		}
		end := readPeriod(n.obj("provision").obj("period"), g.zone).end
		d.add(Basis{Code: code, Source: source, Until: end}, func(t fhir.Type) store.Expr {
			return store.And{d.asker.read(n, t).opens, limit(t)}
		})
	}
	return nil
}

// giverLimit gives what the people who gave a consent could give: nobody gives
// away what they do not see. It is nil when they can give nothing (any more).
// What a guardian gave ends when the patient is of age, and so does what the
// practice gave on the family's word before, unless the site keeps it until the
// patient has answered; what the patient gave with them is the patient's.
func (g *Guard) giverLimit(d *decision, consent, patient node, now time.Time) func(fhir.Type) store.Expr {
	var guardians []string
	practice := false
	for _, p := range consent.list("performer") {
		switch ref := relativeTo(g.base, p.str("reference")); {
		case ref == d.patient:
			return engine.Everything
		case strings.HasPrefix(ref, "RelatedPerson/"):
			guardians = append(guardians, ref)
		default:
			practice = true
		}
	}
	band := g.bandOf(patient, now)
	given, _, _ := dateSpan(consent.str("dateTime"), g.zone)
	family := guardians != nil || practice && g.bandOf(patient, given) != bandAdult
	switch {
	case band == bandAdult && family && !g.policy.KeepGuardianGrants:
		return nil
	case guardians != nil && g.policy.off(BasisProxy):
		return nil
	case guardians != nil:
		return g.policy.under(BasisProxy, g.guardiansLimit(d, guardians, band, now))
	case practice:
		return func(fhir.Type) store.Expr { return levelAtMost(levelN) }
	}
	return engine.Everything
}

// guardiansLimit gives what all of some guardians see: also after the patient's
// majority, which widens nothing.
func (g *Guard) guardiansLimit(d *decision, guardians []string, band ageBand, now time.Time) func(fhir.Type) store.Expr {
	var askers []*asker
	for _, guardian := range guardians {
		a := g.newAsker(map[string]bool{guardian: true}, true, now)
		a.known = d.asker.known
		askers = append(askers, a)
	}
	return func(t fhir.Type) store.Expr {
		open := store.And{}
		if band != bandChild {
			open = append(open, g.teenOpens(t))
		}
		for _, a := range askers {
			for _, c := range d.consents {
				open = append(open, store.Not{Expr: a.read(c, t).deny})
			}
		}
		return open
	}
}

// permitsSome reports whether a provision permits the asker anything by name, as
// far as that does not depend on the data.
func (a *asker) permitsSome(p node, in frame, depth int) bool {
	if depth > maxDepth {
		return false
	}
	permits := p.str("type") == "permit"
	p = inherit(p, in.node)
	asPermit, _, named := a.context(p)
	named = named || in.named
	if permits && asPermit && named {
		return true
	}
	for _, child := range p.list("provision") {
		f := frame{named: named}
		if (child.str("type") == "permit") == permits {
			f.node = p
		}
		if a.permitsSome(child, f, depth+1) {
			return true
		}
	}
	return false
}

// boundaries lists every start and end of a period in a provision tree.
func boundaries(p node, zone *time.Location) []time.Time {
	w := readPeriod(p.obj("period"), zone)
	times := []time.Time{w.start, w.end}
	for _, child := range p.list("provision") {
		times = append(times, boundaries(child, zone)...)
	}
	return times
}

func upTo(l level) func(fhir.Type) store.Expr {
	return func(t fhir.Type) store.Expr {
		if slices.Contains(providerHidden, t) {
			return store.None()
		}
		return levelAtMost(l)
	}
}

func onlyTypes(types []fhir.Type) func(fhir.Type) store.Expr {
	return func(t fhir.Type) store.Expr {
		if slices.Contains(types, t) {
			return store.All()
		}
		return store.None()
	}
}

func ownedBy(patient string) store.Expr { return store.Equal{Name: store.Owner, Value: patient} }

func exists(tx *engine.Tx, ref string) bool {
	v, _, err := live(tx, ref)
	return err == nil && v != nil
}

func nextMidnight(now time.Time, zone *time.Location) time.Time {
	y, m, d := now.In(zone).Date()
	return age.Midnight(y, m, d+1, zone)
}
