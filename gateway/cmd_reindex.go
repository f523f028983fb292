package main

import (
	"context"
	"errors"
	"fmt"

	"mypatients/fhir/engine"
)

// reindexCommand brings everything stored to the search parameters and to the
// labelling rules as they are now. It can be interrupted and goes on where it was.
func reindexCommand(ctx context.Context, env environment, args []string) error {
	c, set, err := configured(env, "reindex", args)
	if err != nil {
		return err
	}
	if err := noMore(set); err != nil {
		return err
	}
	k, err := openCore(ctx, c, env.now, newLog(env.stderr, c.Log))
	if err != nil {
		return err
	}
	next := env.now().Add(progressEvery)
	done, err := k.engine.Reindex(ctx, func(r engine.Reindexed) {
		if now := env.now(); !now.Before(next) {
			next = now.Add(progressEvery)
			fmt.Fprintf(env.stderr, "indexing: %s, %d looked at, %d changed\n", r.Type, r.Looked, r.Changed)
		}
	})
	var labelled engine.Relabelled
	if err == nil {
		labelled, err = k.engine.Relabel(ctx, func(r engine.Relabelled) {
			if now := env.now(); !now.Before(next) {
				next = now.Add(progressEvery)
				fmt.Fprintf(env.stderr, "labelling: %d looked at, %d changed\n", r.Looked, r.Changed)
			}
		})
	}
	if err == nil {
		err = errors.Join(k.rules.FlowLabels(ctx), k.followDefinitions(ctx))
	}
	err = errors.Join(err, k.Close())
	if errors.Is(err, context.Canceled) {
		return failf("run the same command again to go on", "the indexing was interrupted")
	}
	if err == nil {
		fmt.Fprintf(env.stdout, "looked at %d, changed %d\n", done.Looked, done.Changed)
		if labelled.Looked > 0 {
			fmt.Fprintf(env.stdout, "labels: looked at %d versions, changed %d\n", labelled.Looked, labelled.Changed)
		}
	}
	return err
}

// followDefinitions puts the stored SearchParameters in force, and tells what
// cannot be searched by until a re-index.
func (k *core) followDefinitions(ctx context.Context) error {
	pending, changed, err := k.engine.Refresh(ctx)
	if err != nil || !changed {
		return err
	}
	if len(pending.Parameters) > 0 {
		k.log.Warn("re-index needed: some search parameters are not searchable until then, see: gateway reindex", "parameters", pending.Parameters)
	}
	if len(pending.Broken) > 0 {
		k.log.Warn("some stored search parameters cannot be used", "resources", pending.Broken)
	}
	return nil
}
