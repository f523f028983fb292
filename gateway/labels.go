package main

import (
	"context"
	"os"
	"time"

	"mypatients/consent/label"
	"mypatients/fhir/engine"
)

// labelRules gives the rules by which records are labelled: those built in, and a
// site's own from a file, if it has any.
func labelRules(path string) (*label.Rules, error) {
	rules := label.Standard()
	if path == "" {
		return rules, nil
	}
	text, err := os.ReadFile(path)
	if err == nil {
		rules, err = rules.With(path, text)
	}
	if err != nil {
		return nil, failf("consent/label/data holds the rules that are built in, in the same form", "policy.labels: %v", err)
	}
	return rules, nil
}

// relabelEvery is how often it is looked whether processes of other rules have
// written what is to be labelled again.
const relabelEvery = time.Hour

// keepLabelled labels all records by the rules when these have changed, beside what
// else goes on. Until it has reached a record that record is judged by the labels it
// has; `gateway reindex` before starting leaves none behind.
func (k *core) keepLabelled(ctx context.Context) error {
	ticker := time.NewTicker(relabelEvery)
	defer ticker.Stop()
	for first := true; ; first = false {
		if l := k.engine.Labels(); l.Pending && (first || l.Mine) {
			if err := k.relabel(ctx); err != nil && ctx.Err() == nil {
				k.log.Error("re-labelling ended before it was done", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (k *core) relabel(ctx context.Context) error {
	k.log.Warn("the labelling rules have changed: records are being labelled anew")
	said := 0
	done, err := k.engine.Relabel(ctx, func(r engine.Relabelled) {
		if r.Looked >= said+100_000 {
			said = r.Looked
			k.log.Info("re-labelling", "looked", r.Looked, "changed", r.Changed)
		}
	})
	if err == nil {
		err = k.rules.FlowLabels(ctx)
	}
	if err == nil {
		k.log.Info("records are labelled by the rules", "looked", done.Looked, "changed", done.Changed)
	}
	return err
}
