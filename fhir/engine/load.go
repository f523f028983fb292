package engine

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"mypatients/fhir"
)

// LoadOptions tune a [Loader]; the zero value is good.
type LoadOptions struct {
	Workers int // goroutines that parse; 0: one for each core
	Slice   int // resources of one transaction; 0: 160

	// Progress is called after every durable slice, by the goroutine that called
	// Load, with the bytes of the sources that are done and the bytes of all (0 when
	// that is not known). Compressed files count as they lie on the disk, about;
	// [Loader.Report] has the exact number of resources.
	Progress func(done, total int64)

	// Refused is called for everything that is refused, in the order of the
	// sources, and may be nil.
	Refused func(Refusal)
}

// A Refusal tells what was not imported, and why.
type Refusal struct {
	Source string // the file, as it was named
	Line   int    // from 1; in a Bundle the number of the entry; 0: the source as a whole
	Err    error  // a *fhir.Error, or what reading said
}

// A LoadReport sums up what a [Loader] did.
type LoadReport struct {
	Created   int
	Updated   int
	Unchanged int
	Refused   int
	Skipped   []string // files of folders that hold no FHIR resource
}

// A Loader imports NDJSON, Bundles and single resources. Each resource is
// written under the id that it has, as an update or a creation; one that equals
// the newest version is left alone, which is found out without parsing. So a
// second run changes nothing, and a run that was broken off is resumed by
// running it again. References may lead to what comes later, or never.
//
// What is refused is reported and the rest imported. Memory does not grow with
// the size of NDJSON sources; a Bundle is held in memory as a whole.
type Loader struct {
	engine *Engine
	opt    LoadOptions

	report  LoadReport
	read    atomic.Int64 // bytes of the sources
	total   int64
	commits atomic.Int64 // slices written by this loader
	fresh   atomic.Bool  // the last batch that was compared was all new

	conditional map[string]fhir.Key // what conditional references led to
}

// NewLoader makes a loader. It is used by one goroutine.
func (e *Engine) NewLoader(opt LoadOptions) *Loader {
	if opt.Workers <= 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	if opt.Slice <= 0 {
		opt.Slice = 160
	}
	return &Loader{engine: e, opt: opt, conditional: map[string]fhir.Key{}}
}

// Report gives the sums so far.
func (l *Loader) Report() LoadReport { return l.report }

// A line is one resource on its way in.
type line struct {
	number int
	raw    []byte
	doc    *Prepared
	err    error
	same   int64 // the version that it equals; 0: none
}

// A batch is a run of lines of one source, handed to a worker and then, in the
// order of the source, to the writer.
type batch struct {
	source string
	lines  []line
	bytes  int   // of the lines
	weight int64 // what it counts of maxInFlight
	seen   int64 // commits when the worker compared
	offset int64 // bytes of the sources that end with it
	ready  chan struct{}
	err    error // the store failed
}

// What may be on its way between reading and writing: enough that the workers
// need not wait while a slice is written to disk, and little memory.
const (
	maxBatches  = 64
	maxInFlight = 8 << 20 // bytes of lines; one line may be more, alone
)

// feed runs the pipeline over what produce sends: parsing on all workers,
// writing in order.
func (l *Loader) feed(ctx context.Context, produce func(context.Context, func(*batch) error) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work := make(chan *batch, maxBatches)
	order := make(chan *batch, maxBatches)
	inFlight := semaphore.NewWeighted(maxInFlight)
	var wait sync.WaitGroup
	for range l.opt.Workers {
		wait.Go(func() {
			for b := range work {
				l.prepare(ctx, b)
				close(b.ready)
			}
		})
	}
	var failed error
	wait.Go(func() {
		defer close(work)
		defer close(order)
		failed = produce(ctx, func(b *batch) error {
			b.ready = make(chan struct{})
			b.weight = min(int64(b.bytes)+1, maxInFlight)
			if err := inFlight.Acquire(ctx, b.weight); err != nil {
				return err
			}
			select {
			case order <- b:
			case <-ctx.Done():
				return ctx.Err()
			}
			work <- b // workers always go on until it is closed
			return nil
		})
	})
	err := l.write(ctx, order, func(b *batch) { inFlight.Release(b.weight) })
	cancel()
	for range order { // let the producer go
	}
	wait.Wait()
	return errors.Join(err, onlyOwn(failed, err))
}

// onlyOwn drops the producer's error when it only followed the writer's.
func onlyOwn(err, cause error) error {
	if cause != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// prepare compares the lines with what is stored and parses those that differ.
// After a batch that was all new it looks at the first line only: most likely all
// are new again, and what is not is seen when it is written.
func (l *Loader) prepare(ctx context.Context, b *batch) {
	b.seen = l.commits.Load()
	err := l.engine.View(ctx, func(tx *Tx) error {
		for i := range b.lines {
			one := &b.lines[i]
			if err := tx.compare(one); err != nil {
				return err
			}
			if i == 0 && one.same == 0 && l.fresh.Load() {
				return nil
			}
		}
		l.fresh.Store(!slices.ContainsFunc(b.lines, func(one line) bool { return one.same != 0 }))
		return nil
	})
	if err != nil {
		b.err = err
		return
	}
	for i := range b.lines {
		if one := &b.lines[i]; one.err == nil && one.same == 0 {
			l.parse(one)
		}
	}
}

// parse makes a line fit to be written.
func (l *Loader) parse(one *line) {
	doc, err := l.engine.Prepare(one.raw)
	if err == nil && doc.ID == "" {
		err = fhir.ElementErrorf(fhir.Invalid, string(doc.Type)+".id", "A resource to be imported needs an id.")
	}
	if err != nil {
		one.err = err
		return
	}
	doc.Tree = nil // indexed; half of the memory
	one.doc = doc
}

// compare notes whether a line equals the newest version.
func (tx *Tx) compare(one *line) error {
	one.same = 0
	if one.err != nil {
		return nil
	}
	compact, err := fhir.Compact(one.raw)
	if err != nil { // no JSON: the parser says what is wrong
		return nil
	}
	key := fhir.Header(compact)
	if !key.Type.Valid() || !fhir.ValidID(key.ID) {
		return nil
	}
	v, err := tx.newest(key)
	if err != nil || v == nil || v.Deleted {
		return err
	}
	if tx.engine.same(v, compact) {
		one.same = v.Version
	}
	return nil
}
