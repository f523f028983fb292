package consent

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"mypatients/fhir"
	"mypatients/fhir/engine"
)

// A work is tasks that are done together or not at all: one that stands alone,
// or the entries of a transaction.
type work struct {
	tasks []*task // in the order in which they are carried out
	refs  *conditionals
}

// maxAttempts is how often a work is done over because others changed what it
// rests on, or because its own entries did.
const maxAttempts = 6

// carryOut does a work. The error is audited as that of the task at fault, which
// it names.
func (g *Guard) carryOut(ctx context.Context, c Caller, w *work) error {
	for _, t := range w.tasks {
		if err := g.check(c, t); err != nil {
			return g.failed(ctx, c, t, err)
		}
	}
	if err := affordable(w.tasks); err != nil {
		return g.failed(ctx, c, w.tasks[0], err)
	}
	for range maxAttempts {
		t, err := g.attempt(ctx, c, w)
		if !errors.Is(err, errPassed) {
			if err != nil {
				return g.failed(ctx, c, t, err)
			}
			return nil
		}
		for _, t := range w.tasks {
			t.learn()
		}
		w.refs.learn()
	}
	return g.failed(ctx, c, w.tasks[0], fhir.Errorf(fhir.Conflict, "Others changed the same data at the same time; nothing was stored."))
}

// failed audits a task that was refused and names its entry in the error.
func (g *Guard) failed(ctx context.Context, c Caller, t *task, err error) error {
	e := g.entry(c, t.action, t.Type)
	if !t.patient.IsZero() {
		e.Patients = []string{t.patient.String()}
	}
	key := t.key
	if t.read != nil {
		key = t.read.Key
	}
	e.about(key, fhir.Key{Type: t.Type, ID: t.ID})
	if t.prepared != nil {
		e.owners(t.prepared.Terms())
	}
	return g.refused(ctx, e, named(t, err))
}

// attempt does a work once and gives the task at fault. All that takes long is
// done between a snapshot and the transaction, which confirms what was settled
// on the snapshot, or is stale.
func (g *Guard) attempt(ctx context.Context, c Caller, w *work) (*task, error) {
	at, err := g.settleAll(ctx, c, w.tasks)
	if err != nil {
		return at, err
	}
	if at, err = overlap(w.tasks); err != nil {
		return at, err
	}
	for _, at = range w.tasks {
		if err := at.compose(); err != nil {
			return at, err
		}
	}
	if w.refs != nil {
		if at, err = g.resolve(ctx, c, w); err != nil {
			return at, err
		}
	}
	for _, at := range w.tasks {
		at.label()
	}
	if at, err = g.prepareAll(c, w.tasks); err != nil {
		return at, err
	}
	for _, at = range w.tasks {
		if err := g.beforehand(ctx, c, at); err != nil {
			return at, err
		}
	}
	err = g.engine.Update(ctx, func(tx *engine.Tx) error {
		at, err = g.together(tx, c, w)
		return err
	})
	var late *blamed
	if errors.As(err, &late) {
		at, err = late.task, late.error
	}
	return at, err
}

// settleAll settles all tasks on one snapshot, if any needs one.
func (g *Guard) settleAll(ctx context.Context, c Caller, tasks []*task) (at *task, err error) {
	settle := func(tx *engine.Tx) error {
		for _, at = range tasks {
			if err := g.settle(tx, c, at); err != nil {
				return err
			}
		}
		return nil
	}
	if slices.ContainsFunc(tasks, (*task).needsData) {
		err = g.engine.View(ctx, settle)
	} else {
		err = settle(nil)
	}
	return at, err
}

// beforehand does, once for a task, what must stay done though the work fails.
func (g *Guard) beforehand(ctx context.Context, c Caller, t *task) error {
	if t.counted {
		return nil
	}
	t.counted = true
	if t.request != nil {
		return g.countRequest(ctx, c)
	}
	return g.selectFor(ctx, c, t)
}

// together carries all tasks out in one transaction. A task that turns out to be
// stale does not end it: the others may be too, and all are to be learnt at once.
func (g *Guard) together(tx *engine.Tx, c Caller, w *work) (*task, error) {
	in := gather(tx, w)
	stale := false
	for _, t := range w.tasks {
		err := g.perform(tx, c, t)
		switch {
		case errors.Is(err, errPassed):
			stale = true
		case err != nil && stale:
			return t, errPassed
		case err != nil:
			return t, g.explain(tx, c, w, t, err)
		}
	}
	if stale {
		return w.tasks[0], errPassed
	}
	if t, err := g.confirm(tx, c, w); err != nil {
		return t, err
	}
	return w.tasks[0], fileAll(tx, in.audits)
}

// explain gives the reason why a task failed: perhaps only because a conditional
// reference leads nowhere, or elsewhere by now.
func (g *Guard) explain(tx *engine.Tx, c Caller, w *work, t *task, err error) error {
	at, refErr := g.confirm(tx, c, w)
	if errors.Is(refErr, errPassed) || refErr != nil && at == t {
		return refErr
	}
	return err
}

// A gathering is what the tasks of one work share inside their transaction: the
// keys of what they write, which count as there though their turn has not come
// (when one fails, all do), and the entries of the log.
type gathering struct {
	coming map[string]bool
	audits []*auditEntry
	size   int // of what was read, in bytes
}

type gatheringKey struct{}

func gather(tx *engine.Tx, w *work) *gathering {
	in := &gathering{coming: map[string]bool{}}
	for _, t := range w.tasks {
		if t.does == Create || t.does == Update {
			in.coming[t.key.String()] = true
		}
	}
	if w.refs != nil {
		w.refs.awaited(in.coming)
	}
	tx.Memo()[gatheringKey{}] = in
	return in
}

func gatheringOf(tx *engine.Tx) *gathering {
	in, _ := tx.Memo()[gatheringKey{}].(*gathering)
	return in
}

// isComing tells whether the transaction is going to write a resource.
func isComing(tx *engine.Tx, ref string) bool {
	in := gatheringOf(tx)
	return in != nil && in.coming[ref]
}

// prepareAll prepares the bodies on all cores and gives the first that fails.
func (g *Guard) prepareAll(c Caller, tasks []*task) (*task, error) {
	if len(tasks) == 1 {
		return tasks[0], g.prepare(c, tasks[0])
	}
	errs := make([]error, len(tasks))
	var next atomic.Int64
	var failed atomic.Bool
	var wait sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(tasks)) {
		wait.Go(func() {
			for !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= len(tasks) {
					return
				}
				if errs[i] = g.prepareApart(c, tasks[i]); errs[i] != nil {
					failed.Store(true)
				}
			}
		})
	}
	wait.Wait()
	for i, err := range errs {
		if err != nil {
			return tasks[i], err
		}
	}
	return tasks[0], nil
}

// prepareApart is prepare on a goroutine of its own, where a panic would end the
// program.
func (g *Guard) prepareApart(c Caller, t *task) (err error) {
	defer func() {
		if recover() != nil { // the value may hold data; the stack does not
			err = errors.New("consent: preparing a body panicked\n" + string(debug.Stack()))
		}
	}()
	return g.prepare(c, t)
}

// overlap refuses two tasks that are about one resource
// (https://hl7.org/fhir/R4/http.html#trules).
func overlap(tasks []*task) (*task, error) {
	about := map[fhir.Key]*task{}
	for _, t := range tasks {
		if t.read != nil || t.does == found {
			continue
		}
		if other := about[t.key]; other != nil {
			first, second := min(t.at, other.at), max(t.at, other.at)
			return t, fhir.ElementErrorf(fhir.Invalid, entryName(second)+".request.url",
				"The entries %d and %d of the transaction are about the same resource.", first, second)
		}
		about[t.key] = t
	}
	return tasks[0], nil
}

func entryName(at int) string { return "Bundle.entry[" + strconv.Itoa(at) + "]" }

// named puts the entry before the elements that an error names.
func named(t *task, err error) error {
	var known *fhir.Error
	if t.at < 0 || !errors.As(err, &known) {
		return err
	}
	entry := entryName(t.at)
	out := &fhir.Error{Kind: known.Kind, Cause: known.Cause}
	for _, issue := range known.Issues {
		issue.Expression = t.expression(entry, issue.Expression)
		out.Issues = append(out.Issues, issue)
	}
	return out
}

func (t *task) expression(entry, e string) string {
	rest, inside := strings.CutPrefix(e, string(t.Type))
	switch {
	case e == "":
		return entry
	case strings.HasPrefix(e, "Bundle.entry["):
		return e
	case inside && (rest == "" || rest[0] == '.' || rest[0] == '['):
		return entry + ".resource" + rest
	case strings.HasPrefix(e, "http.") && t.Method == Create && t.read == nil:
		return entry + ".request.ifNoneExist"
	case strings.HasPrefix(e, "http."):
		return entry + ".request.url"
	}
	return entry + ".resource"
}

// byOrder sorts tasks as a transaction is processed: deletions, creations,
// updates and patches, reads (https://hl7.org/fhir/R4/http.html#trules).
func byOrder(tasks []*task) []*task {
	rank := func(t *task) int {
		switch {
		case t.read != nil:
			return 3
		case t.Method == Delete:
			return 0
		case t.Method == Create:
			return 1
		}
		return 2
	}
	sorted := slices.Clone(tasks)
	slices.SortStableFunc(sorted, func(a, b *task) int { return cmp.Compare(rank(a), rank(b)) })
	return sorted
}
