package engine

import (
	"context"
	"errors"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// labelPosition is the record of how far the labelling is: a position in the log.
const labelPosition = "labels"

// relabelSlice is how many versions one transaction of a re-labelling looks at.
const relabelSlice = 200

// maxRelabelTries is how often a slice gives way to others that write the same.
const maxRelabelTries = 20

// A labelState tells by which rules what is stored is labelled.
type labelState struct {
	Rules string `json:"rules,omitempty"` // [Labelling.Version] of the last labelling begun
	Done  bool   `json:"done,omitempty"`  // it has reached everything
	Mixed bool   `json:"mixed,omitempty"` // somebody wrote by other rules since it began
}

// noteWriter notes that somebody writes by some rules. It is called when a process
// takes up the record, that is before it writes behind any change of it.
func (s *labelState) noteWriter(version string) {
	if version != "" && s.Rules != "" && s.Rules != version {
		s.Mixed = true
	}
}

// A Labels tells how what is stored is labelled, as far as this process has heard.
type Labels struct {
	Pending bool // not all of it is labelled by the rules of this process
	Mine    bool // the last labelling begun was by the rules of this process
}

// Labels tells whether a [Engine.Relabel] is due.
func (e *Engine) Labels() Labels {
	s := e.current.Load().labels
	mine := s.Rules == e.labels.Version
	return Labels{Pending: e.labels.Version != "" && (!mine || !s.Done || s.Mixed), Mine: mine}
}

// A Relabelled tells how far a re-labelling is.
type Relabelled struct {
	Looked  int // versions looked at
	Changed int // of which so many have other labels now
}

// Relabel gives all that is stored the labels of the rules in force, old versions
// and deletions too. It does nothing when that is so. It walks the log, in slices
// and in memory that does not grow, and goes on where it was when it was
// interrupted. Others may read and write meanwhile, and several processes may do it
// together. What it has not reached is judged by the labels that it has.
//
// While processes of other rules write, it has to be done again when they have
// ended: [Engine.Labels] tells. When one of other rules begins a labelling of its
// own this one ends as a Conflict.
func (e *Engine) Relabel(ctx context.Context, progress func(Relabelled)) (done Relabelled, err error) {
	if _, _, err := e.Refresh(ctx); err != nil || !e.Labels().Pending {
		return done, err
	}
	err = e.changeIndex(ctx, func(w store.Writer, s *indexState) error {
		if s.Labels.Rules == e.labels.Version && !s.Labels.Done && !s.Labels.Mixed {
			return nil // go on
		}
		s.Labels = labelState{Rules: e.labels.Version}
		return w.DeleteRecord(indexKind, labelPosition)
	})
	limit, tries := relabelSlice, 0
	for more := true; more && err == nil; {
		more, err = e.relabelNext(ctx, limit, &done)
		switch {
		case errors.Is(err, store.ErrContention) && tries < maxRelabelTries: // less at once meets fewer others
			limit, tries, more, err = max(1, limit/2), tries+1, true, nil
		case err == nil:
			limit, tries = min(relabelSlice, 2*limit), 0
			if progress != nil {
				progress(done)
			}
		}
	}
	if err != nil {
		return done, err
	}
	return done, e.changeIndex(ctx, func(w store.Writer, s *indexState) error {
		if s.Labels.Rules != e.labels.Version {
			return errRulesChanged()
		}
		s.Labels.Done = true
		return w.DeleteRecord(indexKind, labelPosition)
	})
}

func errRulesChanged() error {
	return fhir.Errorf(fhir.Conflict, "Another process labels by other rules; all processes should have the same.")
}

// relabelNext does the next slice. It looks for what is to change on a snapshot,
// and changes that alone in a transaction; when another process was there first,
// what it found does not count.
func (e *Engine) relabelNext(ctx context.Context, limit int, done *Relabelled) (more bool, err error) {
	var from, to string
	var looked int
	var list []store.LogEntry
	err = e.View(ctx, func(tx *Tx) (err error) {
		list = nil
		if from, err = labelPositionOf(tx.reader); err != nil {
			return err
		}
		entries, err := tx.reader.Log(store.LogQuery{After: from, Limit: limit})
		if err != nil || len(entries) == 0 {
			return err
		}
		to = entries[len(entries)-1].Position
		looked = len(entries)
		list, err = tx.mislabelled(entries)
		return err
	})
	if err != nil || to == "" {
		return false, err
	}
	changed, over := 0, false
	err = e.Update(ctx, func(tx *Tx) error {
		changed, over = 0, false
		s, err := indexStateOf(tx.reader)
		if err != nil {
			return err
		}
		if s.Labels.Rules != e.labels.Version {
			return errRulesChanged()
		}
		if over = s.Labels.Done; over { // another process was quicker
			return nil
		}
		if at, err := labelPositionOf(tx.reader); err != nil || at != from {
			return err
		}
		for _, entry := range list {
			v, err := tx.reader.ResourceVersion(entry.Key, entry.Version)
			if err != nil {
				return err
			}
			next, err := tx.Relabel(v)
			if err != nil {
				return err
			}
			if next != v {
				changed++
			}
		}
		return tx.Writer().PutRecord(&store.Record{Kind: indexKind, Key: labelPosition, Value: []byte(to)})
	})
	if err == nil {
		done.Looked += looked
		done.Changed += changed
	}
	return err == nil && !over, err
}

func labelPositionOf(r store.Reader) (string, error) {
	record, err := r.Record(indexKind, labelPosition)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return string(record.Value), nil
}

// mislabelled gives those entries whose versions should have other labels, and the
// deletions behind them.
func (tx *Tx) mislabelled(entries []store.LogEntry) (list []store.LogEntry, err error) {
	keys := func(yield func(store.Key) bool) {
		for _, entry := range entries {
			if !yield(entry.Key) {
				return
			}
		}
	}
	if err := store.ReadResources(tx.reader, keys); err != nil {
		return nil, err
	}
	touched := map[store.Key]bool{}
	for _, entry := range entries {
		v, err := tx.reader.ResourceVersion(entry.Key, entry.Version)
		if err != nil {
			return nil, err
		}
		next, err := tx.labelled(v)
		if err != nil {
			return nil, err
		}
		if next != v || v.Deleted && touched[v.Key] {
			list, touched[v.Key] = append(list, entry), true
		}
	}
	return list, nil
}
