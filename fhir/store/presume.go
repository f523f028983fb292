package store

import (
	"context"
	"errors"
	"sync"
)

// ErrPresumed says that a record is not what it was presumed to be.
var ErrPresumed = errors.New("store: a record is not what it was presumed to be")

// A Presumer is a Store of which each question costs a round trip, and which
// remembers what records held. Under a context of [Foresee] its Views go by that, and
// the next question compares it, in its own round trip and snapshot; when something
// has changed, that question and all after it fail with ErrPresumed. A View that has
// asked anything compares all that it presumed; one that went by its memory alone
// leaves it to the View behind it.
type Presumer interface {
	// Confirm compares what was presumed under a context and not compared yet. From
	// then on nothing is presumed under it. An Update does so before it begins.
	Confirm(ctx context.Context) error
}

// Foresee runs fn under a context in which the store may go by what it remembers of
// records. It returns when all of that was found to be so; if it was not, fn runs again
// and nothing is presumed. So what fn gives is good when Foresee returns, and as if
// it had run once, unless it has an effect without an Update or a [Confirm] before it.
func Foresee(ctx context.Context, s Store, fn func(context.Context) error) error {
	if _, ok := s.(Presumer); !ok || PresumptionsOf(ctx) != nil {
		return fn(ctx)
	}
	made := new(Presumptions)
	ahead := context.WithValue(ctx, presumptionsKey{}, made)
	err := fn(ahead)
	confirmed := Confirm(ahead, s)
	switch {
	case made.Failed():
		return fn(ctx)
	case confirmed != nil:
		return confirmed
	}
	return err
}

// Confirm is to be called under a context of [Foresee] before what cannot be undone.
func Confirm(ctx context.Context, s Store) error {
	if p, ok := s.(Presumer); ok && PresumptionsOf(ctx) != nil {
		return p.Confirm(ctx)
	}
	return nil
}

// Compare has a Reader compare what it presumed, in its snapshot: to be called before
// anything that was made of it is kept.
func Compare(r Reader) error {
	if c, ok := r.(interface{ Compare() error }); ok {
		return c.Compare()
	}
	return nil
}

type presumptionsKey struct{}

// PresumptionsOf gives those of a context; nil: nothing may be presumed under it.
func PresumptionsOf(ctx context.Context) *Presumptions {
	p, _ := ctx.Value(presumptionsKey{}).(*Presumptions)
	return p
}

// A Presumed record is taken to hold a value; nil: not to be there.
type Presumed struct {
	Kind, Key string
	Record    *Record
}

// Presumptions are what was presumed under a context. It is safe for concurrent use;
// of nil, nothing may be presumed.
type Presumptions struct {
	mu      sync.Mutex
	open    []Presumed
	settled bool
	failed  bool
}

// May tells whether anything may be presumed.
func (p *Presumptions) May() bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.settled && !p.failed
}

// Presume adds what is to be compared.
func (p *Presumptions) Presume(one Presumed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = append(p.open, one)
}

// Open gives what was not compared yet, in the order in which it was presumed.
func (p *Presumptions) Open() []Presumed {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open[:len(p.open):len(p.open)]
}

// Held notes that the first of them were compared, and are so.
func (p *Presumptions) Held(first int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = p.open[first:]
}

// Fail notes that something presumed is not so.
func (p *Presumptions) Fail() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = true
}

// Failed tells whether something presumed was found not to be so.
func (p *Presumptions) Failed() bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// Settle notes that nothing is to be presumed from now on.
func (p *Presumptions) Settle() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settled = true
}
