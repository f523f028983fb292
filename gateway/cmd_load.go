package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"mypatients/fhir"
	"mypatients/fhir/engine"
)

// loadSlice is how many resources an import writes at once: what a table in memory
// of [config.Storage] with Bulk takes in one piece.
const loadSlice = 512

func loadCommand(ctx context.Context, env environment, args []string) error {
	c, set, err := configured(env, "load", args)
	if err != nil {
		return err
	}
	if set.NArg() == 0 {
		return failf("gateway load -config FILE PATH…", "load needs a file or a folder")
	}
	defer limitLoadMemory(env.lookup)()
	c.Storage.Bulk = true
	k, err := openCore(ctx, c, env.now, newLog(env.stderr, c.Log))
	if err != nil {
		return err
	}
	show := newProgress(env)
	var loader *engine.Loader
	loader = k.engine.NewLoader(engine.LoadOptions{
		Slice:    loadSlice,
		Progress: func(done, total int64) { show.update(done, total, loader.Report()) },
		Refused:  show.refused,
	})
	report, err := loader.Load(ctx, set.Args()...)
	show.finish()
	err = errors.Join(err, k.Close())
	fmt.Fprintf(env.stdout, "created %d, updated %d, unchanged %d, refused %d\n", report.Created, report.Updated, report.Unchanged, report.Refused)
	for _, path := range report.Skipped {
		fmt.Fprintf(env.stderr, "%s: skipped, it holds no FHIR resources\n", path)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return failf("run the same command again to go on", "the import was interrupted")
	case err != nil:
		return err
	case report.Refused > 0:
		return failf("correct them and run the same command again", "%d resources were refused; all others are imported", report.Refused)
	}
	return nil
}

// A progress shows how far an import is: a bar on a terminal, a line every five
// seconds elsewhere. It is used by one goroutine.
type progress struct {
	out  io.Writer
	now  func() time.Time
	bar  *progressbar.ProgressBar // nil without a terminal
	next time.Time                // of the next line
}

const progressEvery = 5 * time.Second

func newProgress(env environment) *progress {
	p := &progress{out: env.stderr, now: env.now, next: env.now().Add(progressEvery)}
	if env.terminal {
		p.bar = progressbar.NewOptions64(-1, progressbar.OptionSetWriter(env.stderr), progressbar.OptionShowBytes(true),
			progressbar.OptionSetDescription("importing"), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
	}
	return p
}

// update says what is done: it is on disk, and will be there whatever happens.
func (p *progress) update(done, total int64, sum engine.LoadReport) {
	if p.bar != nil {
		if total > 0 {
			p.bar.ChangeMax64(total)
		}
		_ = p.bar.Set64(done) // only drawing can fail
		return
	}
	if now := p.now(); !now.Before(p.next) {
		p.next = now.Add(progressEvery)
		resources := sum.Created + sum.Updated + sum.Unchanged
		fmt.Fprintf(p.out, "importing: %d %% of %d MB, %d resources done, %d refused\n", done*100/max(total, 1), total>>20, resources, sum.Refused)
	}
}

// refused names what was not imported; the texts are about form, not content.
func (p *progress) refused(r engine.Refusal) {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	place := r.Source
	if r.Line > 0 {
		place = fmt.Sprintf("%s:%d", r.Source, r.Line)
	}
	var known *fhir.Error
	if !errors.As(r.Err, &known) {
		fmt.Fprintf(p.out, "%s: %v\n", place, r.Err)
		return
	}
	for _, issue := range known.Issues {
		text := issue.Text
		if issue.Expression != "" {
			text = issue.Expression + ": " + text
		}
		fmt.Fprintf(p.out, "%s: %s\n", place, text)
	}
}

func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
