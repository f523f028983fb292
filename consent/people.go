package consent

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// card shows a patient to whom a decision permits it.
func (g *Guard) card(v *store.Version, d *decision, now time.Time) (*Card, error) {
	tree, err := fhir.Tree(v.Body)
	if err != nil {
		return nil, err
	}
	return g.cardFrom(v.ID, tree, d, now), nil
}

func (g *Guard) cardFrom(id string, patient node, d *decision, now time.Time) *Card {
	band := g.bandOf(patient, now)
	return &Card{
		Patient: fhir.Key{Type: "Patient", ID: id}, Name: humanName(patient.list("name")), MRN: g.mrnOf(patient),
		BirthDate: patient.str("birthDate"), Gender: patient.str("gender"),
		OfAge: band == bandAdult, Teen: band == bandTeen, Bases: d.bases, Until: lastEnd(d.bases),
	}
}

// lastEnd gives when the last of several bases ends; zero: no end is known.
func lastEnd(bases []Basis) time.Time {
	var last time.Time
	for _, b := range bases {
		if b.Until.IsZero() {
			return time.Time{}
		}
		if b.Until.After(last) {
			last = b.Until
		}
	}
	return last
}

// humanName writes a name as people do: the official one, or the first.
func humanName(names []node) string {
	if len(names) == 0 {
		return ""
	}
	best := names[0]
	for _, n := range names {
		if n.str("use") == "official" {
			best = n
			break
		}
	}
	if best.str("text") != "" {
		return best.str("text")
	}
	parts := append(best.strs("prefix"), best.strs("given")...)
	parts = append(parts, best.str("family"))
	return strings.TrimSpace(strings.Join(append(parts, best.strs("suffix")...), " "))
}

// patientsPage is how many patients a page of [Guard.MyPatients] has.
const patientsPage = 20

// MyPatients lists the patients that the caller may see now, by family name: a
// provider's, a guardian's children, or the patient themself. The next page begins
// where next says; that is empty on the last one.
func (g *Guard) MyPatients(ctx context.Context, c Caller, from string) (cards []Card, next string, err error) {
	values := url.Values{}
	if from != "" {
		values.Set("_cursor", from)
	}
	return g.patients(ctx, c, values)
}

// ThePatients lists those of some patients whom the caller may see now.
func (g *Guard) ThePatients(ctx context.Context, c Caller, ids []string) ([]Card, error) {
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !fhir.ValidID(id) })
	if len(ids) == 0 {
		return nil, nil
	}
	cards, _, err := g.patients(ctx, c, url.Values{"_id": {strings.Join(ids, ",")}})
	return cards, err
}

func (g *Guard) patients(ctx context.Context, c Caller, values url.Values) (cards []Card, next string, err error) {
	e := g.entry(c, "list-patients", "Patient")
	if err := g.requireScope(c, "Patient", smart.MaySearch); err != nil {
		return nil, "", g.refused(ctx, e, err)
	}
	values.Set("_sort", "family")
	values.Set("_count", strconv.Itoa(patientsPage))
	purpose := "patients " + callerKey(c)
	if values.Has("_cursor") {
		position, ok := g.openText(purpose, values.Get("_cursor"))
		if !ok {
			return nil, "", g.refused(ctx, e, fhir.Errorf(fhir.Invalid, "This page link is not valid for this caller."))
		}
		values.Set("_cursor", position)
	}
	q, err := g.engine.Registry().Parse("Patient", values, g.searchOptions(false))
	if err != nil {
		return nil, "", g.refused(ctx, e, err)
	}
	err = g.engine.View(ctx, func(tx *engine.Tx) (err error) {
		e.Returned, e.Patients, e.Bases = nil, nil, nil
		cards, next, err = g.patientsIn(tx, c, e, q)
		return err
	})
	if err != nil {
		return nil, "", g.refused(ctx, e, err)
	}
	if next != "" {
		next = g.sealText(purpose, next)
	}
	return cards, next, g.auditor.write(ctx, e)
}

// patientsIn gives the cards of a page, and where the next one begins.
func (g *Guard) patientsIn(tx *engine.Tx, c Caller, e *auditEntry, q *search.Query) (cards []Card, next string, err error) {
	s, err := g.look(tx, c, "Patient", smart.MaySearch, g.searchPatients(c, "Patient", q))
	if err != nil || s.person.is(smart.System) || s.person.is(smart.Staff) || s.person.is(smart.Admin) {
		return nil, "", err
	}
	page, err := tx.Search(q, s.sight)
	if err != nil {
		return nil, "", err
	}
	e.from(s.person)
	shown := make([]string, len(page.Entries))
	for i, entry := range page.Entries {
		shown[i] = entry.Resource.Key.String()
	}
	if err := g.readAhead(tx, c, shown); err != nil {
		return nil, "", err
	}
	for _, entry := range page.Entries {
		d, err := g.cachedDecision(tx, c, s.person, entry.Resource.Key.String())
		if err != nil {
			return nil, "", err
		}
		tree, err := decode(entry.Resource)
		if err != nil {
			return nil, "", err
		}
		e.concern(d)
		e.returned(entry.Resource)
		cards = append(cards, *g.cardFrom(entry.Resource.ID, tree, d, tx.Now()))
	}
	values, err := url.ParseQuery(page.Next)
	return cards, values.Get("_cursor"), err
}

// visibleCard gives the card of a patient, nil when the caller may not see them.
func (g *Guard) visibleCard(tx *engine.Tx, c Caller, patient string) (*Card, *decision, error) {
	d, err := g.decisionFor(tx, c, patient, smart.MayRead)
	if err != nil || !d.permitted() {
		return nil, d, err
	}
	v, err := tx.Reader().Resource(store.Key{Type: "Patient", ID: idOf(patient)})
	if err != nil {
		return nil, nil, err
	}
	card, err := g.card(v, d, tx.Now())
	return card, d, err
}

// PatientByMRN finds a patient whom the caller may see; NotFound otherwise.
func (g *Guard) PatientByMRN(ctx context.Context, c Caller, mrn string) (*Card, error) {
	return g.cardOf(ctx, c, func(tx *engine.Tx) (string, error) {
		v, err := g.findMRN(tx, mrn)
		if err != nil {
			return "", err
		}
		return v.Key.String(), nil
	})
}

// Patient gives the card of a patient whom the caller may see; NotFound
// otherwise.
func (g *Guard) Patient(ctx context.Context, c Caller, id string) (*Card, error) {
	return g.cardOf(ctx, c, func(*engine.Tx) (string, error) { return "Patient/" + id, nil })
}

func (g *Guard) cardOf(ctx context.Context, c Caller, find func(*engine.Tx) (string, error)) (*Card, error) {
	e := g.entry(c, "read", "Patient")
	if err := g.requireScope(c, "Patient", smart.MayRead); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	var card *Card
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		patient, err := find(tx)
		if err != nil {
			return err
		}
		var d *decision
		if card, d, err = g.visibleCard(tx, c, patient); err != nil {
			return err
		}
		if card == nil {
			return fhir.ErrNotFound()
		}
		e.concern(d)
		e.Returned = []string{patient}
		return nil
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return card, g.auditor.write(ctx, e)
}

// provider shows a provider, by the Practitioner and their active roles.
func (g *Guard) provider(tx *engine.Tx, key string) (ProviderView, error) {
	k, err := fhir.ParseKey(key)
	if err != nil || k.Type != "Practitioner" {
		return ProviderView{}, nil
	}
	v, n, err := live(tx, key)
	if err != nil || v == nil {
		return ProviderView{Key: k}, err
	}
	view := ProviderView{Key: k, Name: humanName(n.list("name")), SelfClaimed: g.selfClaimed(n)}
	for _, id := range n.list("identifier") {
		if id.str("system") == systemNPI {
			view.NPI = id.str("value")
		}
	}
	return view, g.addRoleTo(tx, &view)
}

// addRoleTo fills in specialty and organisation from the first active role.
func (g *Guard) addRoleTo(tx *engine.Tx, view *ProviderView) error {
	roles, err := findAll(tx, "PractitionerRole", search.ReferenceTerm("practitioner", view.Key))
	if err != nil {
		return err
	}
	for _, v := range roles {
		tree, err := fhir.Tree(v.Body)
		if err != nil {
			return err
		}
		role := node(tree)
		if active, given := role["active"].(bool); given && !active || !readPeriod(role.obj("period"), g.zone).holds(tx.Now()) {
			continue
		}
		for _, s := range append(role.list("specialty"), role.list("code")...) {
			view.Specialty = or(view.Specialty, textOf(s))
		}
		org := role.obj("organization")
		name, err := g.organizationName(tx, relativeTo(g.base, org.str("reference")))
		if err != nil {
			return err
		}
		view.Organization = or(view.Organization, or(name, org.str("display")))
	}
	return nil
}

// textOf writes a CodeableConcept for people.
func textOf(concept node) string {
	if s := concept.str("text"); s != "" {
		return s
	}
	for _, c := range concept.list("coding") {
		if s := c.str("display"); s != "" {
			return s
		}
	}
	return ""
}

func (g *Guard) organizationName(tx *engine.Tx, ref string) (string, error) {
	if !strings.HasPrefix(ref, "Organization/") {
		return "", nil
	}
	_, n, err := live(tx, ref)
	return n.str("name"), err
}

// maxDirectory is how many providers a look-up in the directory gives.
const maxDirectory = 20

// Directory finds providers by the beginning of a name, or by NPI.
func (g *Guard) Directory(ctx context.Context, c Caller, query string) ([]ProviderView, error) {
	e := g.entry(c, "search", "Practitioner")
	if err := g.requireScope(c, "Practitioner", smart.MaySearch); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	query = strings.TrimSpace(query)
	if query == "" {
		return nil, nil
	}
	var found []ProviderView
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		found = nil
		where, err := g.directoryQuery(query)
		if err != nil {
			return err
		}
		hits, err := tx.Reader().Search(store.Query{Type: "Practitioner", Where: where, Limit: maxDirectory})
		if err != nil {
			return err
		}
		for _, h := range hits {
			view, err := g.provider(tx, h.Key.String())
			if err != nil {
				return err
			}
			found = append(found, view)
		}
		return nil
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return found, g.auditor.write(ctx, e)
}

func (g *Guard) directoryQuery(query string) (store.Expr, error) {
	if ValidNPI(query) {
		return search.TokenTerm("identifier", systemNPI, query), nil
	}
	var all store.And
	for word := range strings.FieldsSeq(query) {
		word = strings.Trim(word, ".,")
		if word == "" || strings.EqualFold(word, "dr") {
			continue
		}
		q, err := g.engine.Registry().Parse("Practitioner", map[string][]string{"name": {escape(word)}}, search.Options{})
		if err != nil {
			return nil, err
		}
		all = append(all, q.Plan(engine.Everything).Where)
	}
	if len(all) == 0 {
		return store.None(), nil
	}
	// Who is not active any more, or not yet, is nobody to choose.
	q, err := g.engine.Registry().Parse("Practitioner", map[string][]string{"active:not": {"false"}}, search.Options{})
	if err != nil {
		return nil, err
	}
	return append(all, q.Plan(engine.Everything).Where), nil
}
