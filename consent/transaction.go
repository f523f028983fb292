package consent

import (
	"context"
	"fmt"
	"net/url"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/smart"
)

// A Step is one entry of a transaction: a write or a read.
type Step struct {
	FullURL string
	Write   Write
	Read    *Read // nil: it is a write
}

// A Read is what GET asks for inside a transaction: a resource, one version of
// it, or a search of its type.
type Read struct {
	Key     fhir.Key // without an ID: a search
	Version int64    // 0: the newest
	Values  url.Values
	Lenient bool
}

// Done is what came of a Step.
type Done struct {
	Written            // Resource is also what was read
	Page    *fhir.Page // of a search
}

// Transaction carries out all steps or none
// (https://hl7.org/fhir/R4/http.html#transaction), in the order that R4 says, each
// as it would be alone after those before it; what came of them is in the order
// in which they were given. References between them, also conditional ones, are
// resolved. An error names the entry at fault.
//
// Two steps about one resource are refused, also if criteria lead there. Attempts
// that are limited count though the transaction fails.
func (g *Guard) Transaction(ctx context.Context, c Caller, steps []Step) ([]Done, error) {
	tasks := make([]*task, len(steps))
	fullURLs := map[string]int{}
	for i, s := range steps {
		t := newTask(s.Write)
		t.at, t.fullURL, t.read = i, s.FullURL, s.Read
		if s.Read != nil {
			t.Type, t.action = s.Read.Key.Type, "read"
		}
		if first, twice := fullURLs[s.FullURL]; twice && s.FullURL != "" {
			return nil, fhir.ElementErrorf(fhir.Invalid, entryName(i)+".fullUrl", "The entries %d and %d have the same fullUrl.", first, i)
		}
		fullURLs[s.FullURL] = i
		tasks[i] = t
	}
	if len(tasks) == 0 {
		return nil, nil
	}
	if err := g.carryOut(ctx, c, &work{tasks: byOrder(tasks), refs: &conditionals{}}); err != nil {
		return nil, err
	}
	done := make([]Done, len(tasks))
	for i, t := range tasks {
		done[i] = t.done
	}
	return done, nil
}

// maxLookUps bounds what a transaction looks up, and with it for how long it keeps
// other writers waiting: reads, criteria and conditional references count one,
// searches ten, and what has a chain or _has five hundred.
const maxLookUps = 10_000

// affordable refuses a transaction that looks up more; its tasks were checked.
func affordable(tasks []*task) error {
	n := 0
	for _, t := range tasks {
		switch {
		case t.search != nil:
			n += costOf(t.search, 10)
		case t.criteria != nil:
			n += costOf(t.criteria, 1)
		case t.read != nil:
			n++
		}
	}
	if n > maxLookUps {
		return errCostly()
	}
	return nil
}

func costOf(q *search.Query, plain int) int {
	if q.Joins() {
		return 500
	}
	return plain
}

func errCostly() error {
	return &fhir.Error{Kind: fhir.TooBig, Issues: []fhir.Issue{{Code: "too-costly",
		Text: fmt.Sprintf("A transaction may look up %d things, where a search counts for ten and one with a chain for 500; send a batch, or several transactions.", maxLookUps)}}}
}

// checkRead is check for a read.
func (g *Guard) checkRead(c Caller, t *task) error {
	r := t.read
	if t.Type == "AuditEvent" {
		return fhir.Errorf(fhir.Unsupported, "AuditEvents are not read inside a transaction.")
	}
	if r.Key.ID != "" {
		return g.mayRead(c, r.Key)
	}
	t.action = "search"
	if err := g.requireScope(c, t.Type, smart.MaySearch); err != nil {
		return err
	}
	var err error
	t.search, r.Values, err = g.parseSearch(c, t.Type, r.Values, r.Lenient, engine.MaxWriteJoins)
	return err
}

// selectFor is Patient Selection for a search in a transaction.
func (g *Guard) selectFor(ctx context.Context, c Caller, t *task) (err error) {
	if t.search != nil {
		t.outcomes, err = g.selection(ctx, c, t.Type, t.read.Values)
	}
	return err
}

func (g *Guard) performRead(tx *engine.Tx, c Caller, t *task) (err error) {
	e := g.entry(c, t.action, t.Type)
	e.When = tx.Now()
	r := t.read
	if t.search != nil {
		if t.done.Page, err = g.searchIn(tx, &c, e, t.Type, t.search); err != nil {
			return err
		}
		g.finishPage(c, t.Type, t.done.Page, t.outcomes)
		for _, entry := range t.done.Page.Entries {
			if err := weigh(tx, entry.Resource); err != nil {
				return err
			}
		}
		return file(tx, e)
	}
	t.done.Resource, err = g.readIn(tx, c, e, r.Key, func(sight engine.Sight) (*fhir.Resource, error) {
		if r.Version > 0 {
			return tx.VRead(r.Key, r.Version, sight)
		}
		return tx.Read(r.Key, sight)
	})
	if err != nil {
		return err
	}
	if err := weigh(tx, t.done.Resource); err != nil {
		return err
	}
	return file(tx, e)
}

// weigh keeps what one transaction reads in bounds: it is held in memory.
func weigh(tx *engine.Tx, r *fhir.Resource) error {
	in := gatheringOf(tx)
	if r != nil {
		in.size += len(r.JSON)
	}
	if in.size > fhir.MaxBody {
		return fhir.Errorf(fhir.TooBig, "The reads of a transaction may bring %d MB.", fhir.MaxBody>>20)
	}
	return nil
}

// conditionals are the conditional references of a transaction, by their text.
type conditionals struct {
	list []*conditional
	by   map[string]*conditional
	cost int // of looking them up
}

// A conditional is a reference by criteria, and what it leads to as far as is
// known. While that is nothing a key that nobody has stands for it.
type conditional struct {
	criteria *search.Query
	first    *task  // that has it
	element  string // in the resource of first
	key      fhir.Key
	nobody   fhir.Key

	known  bool     // key is what a transaction found
	learnt fhir.Key // what the last one found, if it was another
	stale  bool
}

func (r *conditional) target() fhir.Key {
	if r.key.IsZero() {
		return r.nobody
	}
	return r.key
}

// awaited adds the keys that stand for what is not there yet.
func (r *conditionals) awaited(coming map[string]bool) {
	for _, ref := range r.list {
		if ref.key.IsZero() {
			coming[ref.nobody.String()] = true
		}
	}
}

// resolve finds the conditional references of all bodies, settles them on a
// snapshot, and puts into the bodies what their references mean.
func (g *Guard) resolve(ctx context.Context, c Caller, w *work) (*task, error) {
	if t, err := g.findConditionals(c, w); err != nil {
		return t, err
	}
	if len(w.refs.list) > 0 {
		var at *task
		err := g.engine.View(ctx, func(tx *engine.Tx) error {
			for _, ref := range w.refs.list {
				if ref.known {
					continue
				}
				at = ref.first
				found, err := g.match(tx, c, ref.criteria)
				if err != nil {
					return ref.named(err)
				}
				ref.key = matched(found)
			}
			return nil
		})
		if err != nil {
			return at, err
		}
	}
	refs := engine.NewReferences(func(ref fhir.Reference) (fhir.Key, error) { return w.refs.by[ref.Text].target(), nil })
	for _, t := range w.tasks {
		if t.read != nil || t.key.IsZero() || t.does == Delete {
			continue
		}
		version := t.seen + 1
		if t.does == found {
			version = t.match.Version
		}
		refs.Add(t.fullURL, t.key, version)
	}
	for _, t := range w.tasks {
		if t.body == nil {
			continue
		}
		var err error
		if t.body, err = refs.Rewrite(t.fullURL, t.body); err != nil {
			return t, err
		}
	}
	return nil, nil
}

func matched(r *fhir.Resource) fhir.Key {
	if r == nil {
		return fhir.Key{}
	}
	return r.Key
}

// learn takes over what a transaction that failed found out.
func (r *conditionals) learn() {
	if r == nil {
		return
	}
	for _, ref := range r.list {
		if ref.stale {
			ref.key, ref.known, ref.stale = ref.learnt, true, false
		}
	}
}

// findConditionals lists the conditional references of the bodies.
func (g *Guard) findConditionals(c Caller, w *work) (*task, error) {
	if w.refs.by == nil {
		w.refs.by = map[string]*conditional{}
	}
	for _, t := range w.tasks {
		if t.body == nil {
			continue
		}
		for link := range fhir.Links(t.body) {
			if link.Kind != fhir.LinkReference {
				continue
			}
			ref := fhir.ParseReference(link.Value())
			if ref.Form != fhir.Conditional || w.refs.by[ref.Text] != nil {
				continue
			}
			found := &conditional{first: t, element: link.Expression(t.Type), nobody: fhir.Key{Type: ref.Key.Type, ID: engine.NewID()}}
			var err error
			if found.criteria, err = g.parseCriteria(c, ref.Key.Type, ref.Query); err != nil {
				return t, found.named(err)
			}
			w.refs.by[ref.Text] = found
			w.refs.list = append(w.refs.list, found)
			if w.refs.cost += costOf(found.criteria, 1); w.refs.cost > maxLookUps {
				return t, errCostly()
			}
		}
	}
	return nil, nil
}

// named names the element of the reference in an error of its criteria.
func (r *conditional) named(err error) error {
	known, ok := err.(*fhir.Error)
	if !ok {
		return err
	}
	out := &fhir.Error{Kind: known.Kind, Cause: known.Cause}
	for _, issue := range known.Issues {
		if issue.Expression != "" {
			issue.Text = fmt.Sprintf("%s: %s", issue.Expression, issue.Text)
		}
		issue.Expression = r.element
		out.Issues = append(out.Issues, issue)
	}
	return out
}

// confirm settles the conditional references again, when all is written.
func (g *Guard) confirm(tx *engine.Tx, c Caller, w *work) (*task, error) {
	if w.refs == nil {
		return nil, nil
	}
	var at *task
	stale := false
	for _, ref := range w.refs.list {
		at, ref.stale = ref.first, false
		found, err := g.match(tx, c, ref.criteria)
		switch {
		case err != nil:
			return at, ref.named(err)
		case found == nil && ref.key.IsZero():
			return at, &fhir.Error{Kind: fhir.Unprocessable, Issues: []fhir.Issue{{Code: "not-found", Expression: ref.element,
				Text: "Nothing matches this conditional reference."}}}
		case matched(found) != ref.key:
			ref.learnt, ref.stale, stale = matched(found), true, true
		}
	}
	if stale {
		return at, errPassed
	}
	return nil, nil
}
