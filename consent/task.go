package consent

import (
	"errors"
	"fmt"
	"slices"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// A task is one interaction on its way, alone or as an entry of a transaction.
// It is checked by itself, settled on a snapshot (what do its criteria mean, what
// does it replace), composed and prepared outside of any transaction, and carried
// out inside one, which confirms what was settled.
type task struct {
	Write
	read    *Read // instead of a write
	at      int   // the number of the entry; -1: alone
	fullURL string
	action  string // for the log

	criteria *search.Query
	patch    *engine.Patch
	search   *search.Query // of a read that is one
	outcomes []SelectionOutcome

	// settled, anew on each attempt but for what a transaction found out
	match   *fhir.Resource // what the criteria mean; nil: nothing
	known   bool           // match is what a transaction found
	does    Method         // what it comes to: a conditional update may create, Found changes nothing
	key     fhir.Key       // of what is written; zero: nothing is
	newID   string         // of what is created
	base    *fhir.Resource // what a patch is applied to
	seen    int64          // the version that is replaced; 0: none
	heard   int64          // of a request: the answers so far, see lastAnswer
	labels  []any          // of that version
	clashes bool           // an update meant to create meets a resource that is there

	body     []byte
	prepared *engine.Prepared
	request  *AccessRequest // a Consent that a provider asks with
	patient  fhir.Key       // whom they ask about
	counted  bool

	// what the transaction came to
	found    *fhir.Resource // what the criteria turned out to mean, if foundNow
	foundNow bool
	openID   string // of the request that turned out to be open
	done     Done
}

// found is what a conditional creation comes to that matches something.
const found Method = "found"

func newTask(w Write) *task {
	return &task{Write: w, at: -1, action: string(w.Method), newID: engine.NewID()}
}

// conditional tells whether criteria say what is meant.
func (t *task) conditional() bool {
	if t.Method == Create {
		return t.Criteria != ""
	}
	return t.ID == ""
}

// wants is the permission that a method needs.
var wants = map[Method]smart.Permission{Create: smart.MayCreate, Update: smart.MayUpdate, Patch: smart.MayUpdate, Delete: smart.MayDelete}

// check does what needs no data: scopes, role, and the forms of criteria and
// patch. A patch tells by its tests what it finds, so it needs reading too.
func (g *Guard) check(c Caller, t *task) error {
	if t.read != nil {
		return g.checkRead(c, t)
	}
	if err := g.requireScope(c, t.Type, wants[t.Method]); err != nil {
		return err
	}
	if !mayWrite(c.Identity.Role, t.Type) {
		verb := "write"
		if t.Method == Delete {
			verb = "delete"
		}
		return fhir.Errorf(fhir.Forbidden, "This account does not %s resources of type %s.", verb, t.Type)
	}
	var err error
	if t.Method == Patch {
		if err := g.requireScope(c, t.Type, smart.MayRead); err != nil {
			return err
		}
		if t.patch, err = engine.ParsePatch(t.Body); err != nil {
			return err
		}
	}
	if t.conditional() {
		t.criteria, err = g.parseCriteria(c, t.Type, t.Criteria)
	}
	return err
}

// parseCriteria reads criteria of a caller who may search.
func (g *Guard) parseCriteria(c Caller, t fhir.Type, query string) (*search.Query, error) {
	if err := g.requireScope(c, t, smart.MaySearch); err != nil {
		return nil, err
	}
	return g.engine.ParseCriteria(t, query)
}

// match gives what criteria mean to a caller: what they could find by a search.
func (g *Guard) match(tx *engine.Tx, c Caller, criteria *search.Query) (*fhir.Resource, error) {
	t := criteria.Type
	s, err := g.look(tx, c, t, smart.MaySearch, g.searchPatients(c, t, criteria))
	if err != nil {
		return nil, err
	}
	return tx.Match(criteria, s.sight)
}

// needsData tells whether settling a task takes a look at the store.
func (t *task) needsData() bool {
	return t.read == nil && (t.criteria != nil && !t.known || t.Method == Update || t.Method == Patch)
}

// settle finds out, on a snapshot, what a task is about; tx is nil for one that
// needs none.
func (g *Guard) settle(tx *engine.Tx, c Caller, t *task) error {
	if t.read != nil {
		return nil
	}
	if t.criteria != nil && !t.known {
		var err error
		if t.match, err = g.match(tx, c, t.criteria); err != nil {
			return err
		}
	}
	if err := t.aim(); err != nil {
		return err
	}
	t.seen, t.labels, t.base = 0, nil, nil
	if t.Type == "Consent" && (t.does == Update || t.does == Patch) {
		var err error
		if t.heard, err = lastAnswer(tx.Reader(), t.key.ID); err != nil {
			return err
		}
	}
	switch t.does {
	case Update:
		return g.settleUpdate(tx, c, t)
	case Patch:
		return g.settlePatch(tx, c, t)
	}
	return nil
}

// aim says what a task does to what (https://hl7.org/fhir/R4/http.html#cond-update).
func (t *task) aim() error {
	t.does, t.clashes = t.Method, false
	t.key = fhir.Key{Type: t.Type, ID: t.ID}
	switch {
	case t.Method == Create && t.match != nil:
		t.does, t.key = found, t.match.Key
	case t.Method == Create:
		t.key.ID = t.newID
	case t.criteria == nil:
	case t.match != nil:
		t.key = t.match.Key
		if own := idOfBody(t.Body); t.Method == Update && own != "" && own != t.key.ID {
			return fhir.ElementErrorf(fhir.Invalid, string(t.Type)+".id", "The criteria match a resource with another id than the body's.")
		}
	case t.Method == Patch:
		return fhir.ErrNotFound()
	case t.Method == Delete:
		t.does, t.key = found, fhir.Key{}
	default: // an update of nothing creates it
		if t.key.ID = idOfBody(t.Body); t.key.ID == "" {
			t.does, t.key.ID = Create, t.newID
		}
		t.clashes = t.does == Update
	}
	return nil
}

func idOfBody(body []byte) string {
	compact, err := fhir.Compact(body)
	if err != nil {
		return "" // preparing it tells
	}
	return fhir.Header(compact).ID
}

// settleUpdate notes the version that is replaced and its security labels, which
// stay (https://hl7.org/fhir/R4/resource.html#Meta: labels are merged on update),
// so that an app that leaves meta out does not open what was closed. What is
// hidden, or free, is refused before anything is made of it and the body.
func (g *Guard) settleUpdate(tx *engine.Tx, c Caller, t *task) error {
	v, err := g.replaceable(tx, c, t.key, smart.MayUpdate)
	if v == nil || err != nil {
		return err
	}
	t.seen = v.Version
	if v.Deleted { // what was closed comes back closed
		if v, err = tx.Reader().ResourceVersion(v.Key, v.Version-1); err != nil {
			return err
		}
	}
	return g.keepLabels(t, v.Body)
}

// keepLabels notes the labels of a body that others than the rules gave.
func (g *Guard) keepLabels(t *task, body []byte) error {
	tree, err := fhir.Tree(body)
	for _, c := range node(tree).obj("meta").list("security") {
		if c.extension(g.rules.labelMark()) == nil {
			t.labels = append(t.labels, c.any())
		}
	}
	return err
}

// settlePatch reads what is patched, as the caller: a patch must not tell what
// reading would not.
func (g *Guard) settlePatch(tx *engine.Tx, c Caller, t *task) error {
	s, err := g.lookAt(tx, c, t.key, smart.MayRead)
	if err != nil {
		return err
	}
	if t.base, err = tx.Read(t.key, s.sight); err != nil {
		return err
	}
	t.seen = t.base.Version
	if err := t.matches(t.seen); err != nil {
		return err
	}
	return g.keepLabels(t, t.base.JSON)
}

// matches compares the newest version, 0 for none, with If-Match.
func (t *task) matches(version int64) error { return engine.Matches(t.IfMatch, version, false) }

// compose makes the body that is to be written.
func (t *task) compose() error {
	t.body, t.prepared = nil, nil
	switch t.does {
	case Create, Update:
		t.body = t.Body
	case Patch:
		var err error
		if t.body, err = t.patch.Apply(t.base); err != nil {
			return err
		}
	default:
		return nil
	}
	if t.criteria == nil && t.at < 0 || len(t.body) > fhir.MaxBody {
		return nil
	}
	compact, err := fhir.Compact(t.body)
	if err != nil {
		return nil // preparing it tells
	}
	t.body = compact
	if t.criteria != nil && t.does == Update && fhir.Header(compact).ID == "" && fhir.Header(compact).Type != "" {
		t.body = fhir.WithID(compact, t.key.ID)
	}
	return nil
}

// label adds the labels that stay. It comes after references are resolved, which
// may replace any address in a body, also that of a code system.
func (t *task) label() {
	if t.body != nil && len(t.labels) > 0 {
		t.body = fhir.AddSecurity(t.body, t.labels)
	}
}

// maxPolicy is how many bytes people may put into what every decision about a
// patient reads.
const maxPolicy = 100 << 10

// prepare parses and indexes the body.
func (g *Guard) prepare(c Caller, t *task) error {
	if t.does == found || t.does == Delete || t.read != nil {
		return nil
	}
	if slices.Contains(familyTypes, t.Type) && c.Identity.Role != smart.System && len(t.body) > maxPolicy {
		return &fhir.Error{Kind: fhir.TooBig, Issues: []fhir.Issue{{Code: "too-long", Text: fmt.Sprintf("A %s may have %d bytes.", t.Type, maxPolicy)}}}
	}
	p, err := g.engine.Prepare(t.body)
	if err != nil {
		return err
	}
	if err := refuseNotice(p.Terms()); err != nil {
		return err
	}
	if tag := fhir.Subsetted(p.Tree); tag >= 0 {
		return fhir.ElementErrorf(fhir.Unprocessable, fmt.Sprintf("%s.meta.tag[%d]", p.Type, tag), "This is a part of a resource only, as _summary and _elements give it; to store it would lose the rest.")
	}
	if p.Type != t.Type {
		return fhir.ElementErrorf(fhir.Invalid, "resourceType", "The body is a %s, the address says %s.", p.Type, t.Type)
	}
	if t.does != Create && p.ID != t.key.ID {
		return fhir.ElementErrorf(fhir.Invalid, string(t.Type)+".id", "The id of the body must be the id of the address.")
	}
	if t.Type == "Subscription" {
		if p, err = g.asSubscription(c, p); err != nil {
			return err
		}
	}
	t.prepared, t.body = p, nil
	if !slices.Contains([]fhir.Type{"Consent", "CareTeam", "Patient"}, t.Type) && t.at >= 0 {
		p.Trim()
	}
	if t.Type != "Consent" || t.does != Create || c.Identity.Role != smart.Provider {
		return nil
	}
	t.action = "request-access"
	req, err := g.asRequest(c, node(p.Tree))
	if err != nil {
		return err
	}
	t.patient, err = g.checkRequest(c, &req)
	t.request = &req
	return err
}

// errPassed says that what was settled is no longer so, and all is to be done
// again.
var errPassed = errors.New("consent: settled on a state that has passed")

// learn takes over what a transaction that failed found out.
func (t *task) learn() {
	if t.foundNow {
		t.match, t.known = t.found, true
	}
	if t.openID != "" {
		t.newID = t.openID
	}
}

// perform carries a task out inside a transaction that writes.
func (g *Guard) perform(tx *engine.Tx, c Caller, t *task) error {
	t.done, t.found, t.foundNow, t.openID = Done{}, nil, false, "" // this may be another run
	if t.read != nil {
		return g.performRead(tx, c, t)
	}
	if t.criteria != nil {
		now, err := g.match(tx, c, t.criteria)
		if err != nil {
			return err
		}
		if !sameKey(now, t.match) {
			t.found, t.foundNow = now, true
			return errPassed
		}
		t.found = now
	}
	switch t.does {
	case found:
		return g.performFound(tx, c, t)
	case Create:
		return g.performCreate(tx, c, t)
	case Delete:
		return g.performDelete(tx, c, t)
	}
	return g.performUpdate(tx, c, t)
}

func sameKey(a, b *fhir.Resource) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Key == b.Key
}

// performFound gives what a conditional creation matches; finding it is a search.
func (g *Guard) performFound(tx *engine.Tx, c Caller, t *task) error {
	if t.done.Resource = t.found; t.found == nil {
		if err := t.matches(0); err != nil {
			return err
		}
		e := g.entry(c, "search", t.Type)
		e.When = tx.Now()
		return file(tx, e)
	}
	return g.auditWrite(tx, c, "search", t.found, nil)
}

func (g *Guard) performCreate(tx *engine.Tx, c Caller, t *task) (err error) {
	if t.IfMatch != nil {
		return t.matches(0)
	}
	if t.request != nil {
		if t.done.Resource, t.done.Created, err = g.request(tx, c, t.patient, *t.request, t.key.ID); err != nil {
			return err
		}
		if r := t.done.Resource; r.Key != t.key && t.fullURL != "" { // others may refer to it
			t.openID = r.ID
			return errPassed
		}
		return nil
	}
	if err := g.allowImage(tx, c, wants[t.Method], t.Type, t.prepared.Terms()); err != nil {
		return err
	}
	if err := g.checkPolicy(tx, c, t); err != nil {
		return err
	}
	if err := g.proveWrite(tx, c, t, node(t.prepared.Tree)); err != nil {
		return err
	}
	err = g.watched(tx, c, t, t.prepared.Terms(), func() (err error) {
		t.done.Resource, err = tx.Create(t.prepared, t.key.ID)
		return err
	})
	if err != nil {
		return err
	}
	t.done.Created = true
	return g.recordWrite(tx, c, string(Create), t.done.Resource)
}

// checkPolicy holds what decisions rest on to what a caller may write of it.
func (g *Guard) checkPolicy(tx *engine.Tx, c Caller, t *task) error {
	switch t.Type {
	case "Consent":
		if err := g.checkReadable(tx, node(t.prepared.Tree)); err != nil {
			return err
		}
		return g.checkDirective(c, tx, node(t.prepared.Tree))
	case "CareTeam":
		return g.checkTeams(tx, c, node(t.prepared.Tree))
	case "Patient":
		if err := g.checkEmancipation(tx, c, t.key, node(t.prepared.Tree)); err != nil {
			return err
		}
		if err := g.notTheAge(tx, c, t.key, node(t.prepared.Tree)); err != nil {
			return err
		}
	}
	return g.notForOneself(tx, c, t.key, t.prepared.Terms())
}

func (g *Guard) performUpdate(tx *engine.Tx, c Caller, t *task) error {
	if t.Type == "Consent" {
		handled, r, err := g.updateConsent(tx, c, t)
		if t.done.Resource = r; handled || err != nil {
			return err
		}
	}
	if err := g.allowBefore(tx, c, t.key, smart.MayUpdate); err != nil {
		return err
	}
	now, owners, err := versionOf(tx, t.key)
	switch {
	case err != nil:
		return err
	case now != t.seen:
		return errPassed
	}
	if t.OnlyNew || t.clashes {
		if _, err := tx.Read(t.key, engine.Everything); err == nil {
			return t.taken()
		}
	}
	if err := g.allowImage(tx, c, smart.MayUpdate, t.Type, t.prepared.Terms()); err != nil {
		return err
	}
	if t.Type == "Consent" {
		if err := g.checkOldDirective(c, tx, t.key); err != nil {
			return err
		}
	}
	if err := g.checkPolicy(tx, c, t); err != nil {
		return err
	}
	if err := g.proveWrite(tx, c, t, node(t.prepared.Tree)); err != nil {
		return err
	}
	err = g.watched(tx, c, t, t.prepared.Terms(), func() (err error) {
		t.done.Resource, t.done.Created, err = tx.Update(t.prepared, t.IfMatch)
		return err
	})
	if err != nil {
		return err
	}
	return g.recordWrite(tx, c, string(t.Method), t.done.Resource, owners...)
}

// taken refuses an update that should create and meets a resource.
func (t *task) taken() error {
	if t.OnlyNew {
		return fhir.Errorf(fhir.Precondition, "There is such a resource already, and If-None-Match wants none.")
	}
	return fhir.ElementErrorf(fhir.Conflict, string(t.Type)+".id", "The criteria match nothing, but there is a resource with the id of the body.")
}

func (g *Guard) performDelete(tx *engine.Tx, c Caller, t *task) error {
	if _, err := tx.Reader().Resource(store.Key{Type: string(t.key.Type), ID: t.key.ID}); err == store.ErrNotFound {
		return fhir.ErrNotFound()
	}
	if err := g.allowBefore(tx, c, t.key, smart.MayDelete); err != nil {
		return err
	}
	if t.Type == "Consent" {
		if err := g.checkOldDirective(c, tx, t.key); err != nil {
			return err
		}
	}
	if err := g.notForOneself(tx, c, t.key, nil); err != nil {
		return err
	}
	if err := g.proveWrite(tx, c, t, nil); err != nil {
		return err
	}
	err := g.watched(tx, c, t, nil, func() (err error) {
		t.done.Resource, err = tx.Delete(t.key, t.IfMatch)
		return err
	})
	if err != nil || t.done.Resource == nil {
		return err
	}
	return g.recordWrite(tx, c, string(Delete), t.done.Resource)
}
