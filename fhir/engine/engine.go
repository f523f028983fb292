package engine

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// A Sight says what may be seen of each type: a condition on index terms, put
// into the plan of every read, search, count, include, chain, sort and history.
// store.None() hides the type; store.All() shows all of it.
type Sight func(fhir.Type) store.Expr

// Everything is the sight of the server itself. Only consent (and loading) may use it.
func Everything(fhir.Type) store.Expr { return store.All() }

// closed makes silence a refusal: for the store, no condition means all.
func (s Sight) closed() Sight {
	return func(t fhir.Type) store.Expr {
		if s == nil {
			return store.None()
		}
		if where := s(t); where != nil {
			return where
		}
		return store.None()
	}
}

// Config is what an engine needs. Store, Registry and Now are
// required.
type Config struct {
	Store    store.Store
	Registry *search.Registry
	Now      func() time.Time

	// Base is the FHIR base URL without a trailing slash: absolute references to
	// it count as local.
	Base string

	// OnWrite is called inside the transaction for every version written, whatever
	// the way in; before is nil for a creation, after.Deleted for a deletion. An
	// error undoes the transaction. It may be nil.
	OnWrite func(tx *Tx, before, after *store.Version) error

	// Derive gives the index terms of a body beside those of search, which it is
	// shown. It must be a pure function. It may be nil.
	Derive func(t fhir.Type, tree map[string]any, found []store.Term) []store.Term

	// Labels are the security labels that the server itself gives.
	Labels Labelling

	// Integrity refuses writes whose references to this server lead nowhere, and
	// deletions of what is still referred to, as it is when the transaction ends.
	// Loading does not heed it.
	Integrity bool
}

// An Engine carries out interactions. It is safe for concurrent use.
type Engine struct {
	store      store.Store
	configured *search.Registry // without the stored SearchParameters
	current    atomic.Pointer[current]
	now        func() time.Time
	base       string
	onWrite    func(tx *Tx, before, after *store.Version) error

	integrity bool
	started   time.Time
	derive    func(t fhir.Type, tree map[string]any, found []store.Term) []store.Term
	labels    Labelling
}

// New makes an engine.
func New(c Config) (*Engine, error) {
	if c.Store == nil || c.Registry == nil || c.Now == nil {
		return nil, errors.New("engine: Store, Registry and Now are required")
	}
	if strings.HasSuffix(c.Base, "/") {
		return nil, errors.New("engine: Base must not end in a slash")
	}
	if c.Base != "" {
		if u, err := url.Parse(c.Base); err != nil || !u.IsAbs() {
			return nil, errors.New("engine: Base is not an absolute URL")
		}
	}
	e := &Engine{store: c.Store, configured: c.Registry, now: c.Now, base: c.Base,
		onWrite: c.OnWrite, derive: c.Derive, labels: c.Labels, integrity: c.Integrity, started: c.Now()}
	e.current.Store(&current{registry: c.Registry})
	return e, nil
}

// Registry gives the search parameters in force, see [Engine.Refresh].
func (e *Engine) Registry() *search.Registry { return e.current.Load().registry }

// Store gives the store that the engine works on, for what is kept beside resources.
func (e *Engine) Store() store.Store { return e.store }

// View runs fn on one snapshot.
func (e *Engine) View(ctx context.Context, fn func(*Tx) error) error {
	return foreign(e.store.View(ctx, func(r store.Reader) error {
		return fn(&Tx{engine: e, registry: e.Registry(), reader: r, now: e.stamp()})
	}))
}

// Foresee is [store.Foresee], with the errors of this package.
func (e *Engine) Foresee(ctx context.Context, fn func(context.Context) error) error {
	return foreign(store.Foresee(ctx, e.store, fn))
}

// Confirm is [store.Confirm], with the errors of this package.
func (e *Engine) Confirm(ctx context.Context) error { return foreign(store.Confirm(ctx, e.store)) }

// Update runs fn in a serializable transaction and returns when its writes are
// durable. fn may run again: see [store.Store].
func (e *Engine) Update(ctx context.Context, fn func(*Tx) error) error {
	before := e.current.Load()
	in := before
	var tx *Tx
	err := errCutShort
	defer func() { tx.end(err) }()
	err = e.store.Update(ctx, func(w store.Writer) (err error) {
		if in, err = e.followIndex(w); err != nil {
			return err
		}
		tx.end(errCutShort)
		tx = &Tx{engine: e, registry: in.registry, reader: w, writer: w, now: e.stamp()}
		if err := fn(tx); err != nil {
			return err
		}
		if settle := e.labels.Settle; settle != nil && tx.wrote {
			if err := settle(tx); err != nil {
				return err
			}
		}
		return tx.settle()
	})
	if err == nil && in != before {
		e.current.Store(in)
	}
	return foreign(err)
}

func (e *Engine) stamp() time.Time { return e.now().UTC().Truncate(time.Millisecond) }

// foreign gives the errors of the store their kinds; all others pass.
func foreign(err error) error {
	var known *fhir.Error
	kind, text := fhir.Internal, ""
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, store.ErrTooBig):
		kind, text = fhir.TooBig, "The transaction is too big; nothing was stored."
	case errors.Is(err, store.ErrContention):
		kind, text = fhir.Conflict, "Others changed the same data at the same time; nothing was stored."
	case errors.Is(err, store.ErrUnavailable):
		kind, text = fhir.Unavailable, "The database cannot be reached at the moment."
	default:
		return err
	}
	return &fhir.Error{Kind: kind, Issues: []fhir.Issue{{Text: text}}, Cause: err}
}

// A Tx is one transaction: a snapshot, and in an Update the means to write. It
// must be used by one goroutine at a time, and not after its function returned.
type Tx struct {
	engine   *Engine
	registry *search.Registry
	reader   store.Reader
	writer   store.Writer // nil in a View
	now      time.Time
	loose    bool // loading: references are not looked at
	eye      *Eye // nil: the server's own
	debts    []debt
	wrote    bool // the writer was handed out
	memo     map[any]any
	ended    []func(error)
}

// Now is the time of the transaction: UTC, whole milliseconds.
func (tx *Tx) Now() time.Time { return tx.now }

// Derived reports whether what is stored has the terms that Config.Derive gives
// now: not after an upgrade that changed them, until a [Engine.Reindex].
func (tx *Tx) Derived() bool { return !tx.engine.current.Load().stale }

// Reader gives the snapshot itself.
func (tx *Tx) Reader() store.Reader { return tx.reader }

// Writer gives the transaction itself. It panics in a View.
func (tx *Tx) Writer() store.Writer {
	if tx.writer == nil {
		panic("engine: no writer in a View")
	}
	tx.wrote = true
	return tx.writer
}

// Ended has a function called once this run of the transaction has ended: with nil
// when it is durable, with an error when it is not, or, if that is
// store.ErrUnavailable, when nobody knows.
func (tx *Tx) Ended(f func(error)) { tx.ended = append(tx.ended, f) }

// errCutShort is how a run ends that another follows on.
var errCutShort = errors.New("engine: the transaction was cut short")

func (tx *Tx) end(err error) {
	if tx == nil {
		return
	}
	for _, f := range tx.ended {
		f(err)
	}
	tx.ended = nil
}

// Wrote reports whether the transaction may have written: what is derived from
// its state is then good for itself alone, as it may yet be undone.
func (tx *Tx) Wrote() bool { return tx.wrote }

// Memo is a place for values that are good for this run of this transaction. Keys
// are of types of those who use it.
func (tx *Tx) Memo() map[any]any {
	if tx.memo == nil {
		tx.memo = map[any]any{}
	}
	return tx.memo
}
