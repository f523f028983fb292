package engine

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// reindexSlice is how many resources one transaction of a re-index looks at.
const reindexSlice = 200

// A Reindexed tells how far a re-index is.
type Reindexed struct {
	Type    fhir.Type // that is being walked
	Looked  int       // resources looked at
	Changed int       // of which so many have new terms
}

// Reindex brings every resource to the terms of the registry and the SearchParameters
// as they are now, and puts in force what waited for it. It walks all resources
// in slices, in memory that does not grow, and goes on where it was when it was
// interrupted. Others may read and write at the same time: what they write is
// indexed anew already. When definitions change in the meantime it is a Conflict,
// and to be called again.
func (e *Engine) Reindex(ctx context.Context, progress func(Reindexed)) (Reindexed, error) {
	var done Reindexed
	if _, _, err := e.Refresh(ctx); err != nil {
		return done, err
	}
	target := e.current.Load().target
	at, err := e.beginReindex(ctx, target)
	if err != nil {
		return done, err
	}
	first, after, _ := strings.Cut(at, " ")
	for _, t := range fhir.Types() {
		if string(t) < first {
			continue
		}
		if string(t) != first {
			after = ""
		}
		done.Type = t
		if err := e.reindexType(ctx, t, after, target, &done, progress); err != nil {
			return done, err
		}
	}
	return done, e.endReindex(ctx, target)
}

func errDefinitionsChanged() error {
	return fhir.Errorf(fhir.Conflict, "The definitions of search parameters changed meanwhile; index again.")
}

// beginReindex notes what is to be done, and gives the position at which an
// interrupted re-index to the same end was.
func (e *Engine) beginReindex(ctx context.Context, target indexing) (at string, err error) {
	err = e.changeIndex(ctx, func(w store.Writer, s *indexState) error {
		at = ""
		if s.Doing != nil && s.Doing.equal(target) {
			r, err := w.Record(indexKind, positionKey)
			if err == nil {
				at = string(r.Value)
			}
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			return err
		}
		goal := target
		goal.Custom = maps.Clone(target.Custom)
		s.Doing = &goal
		return w.DeleteRecord(indexKind, positionKey)
	})
	return at, err
}

// endReindex puts in force what everything is now indexed by.
func (e *Engine) endReindex(ctx context.Context, target indexing) error {
	return e.changeIndex(ctx, func(w store.Writer, s *indexState) error {
		if s.Doing == nil || !s.Doing.equal(target) {
			return errDefinitionsChanged()
		}
		*s = indexState{Done: *s.Doing, Labels: s.Labels}
		return w.DeleteRecord(indexKind, positionKey)
	})
}

// changeIndex changes the record, and follows it.
func (e *Engine) changeIndex(ctx context.Context, change func(store.Writer, *indexState) error) error {
	var next *current
	err := e.store.Update(ctx, func(w store.Writer) error {
		s, err := indexStateOf(w)
		if err != nil {
			return err
		}
		if err := change(w, &s); err != nil {
			return err
		}
		if err := store.PutJSON(w, indexKind, stateKey, s, time.Time{}); err != nil {
			return err
		}
		next, err = e.reload(w)
		return err
	})
	if err == nil {
		e.current.Store(next)
	}
	return foreign(err)
}

func indexStateOf(r store.Reader) (s indexState, err error) {
	record, err := r.Record(indexKind, stateKey)
	if err != nil {
		return s, err
	}
	return s, record.DecodeJSON(&s)
}

// An outdated resource has other terms than it should.
type outdated struct {
	key     store.Key
	version int64
	terms   store.Terms
}

// reindexType walks the resources of a type behind a position.
func (e *Engine) reindexType(ctx context.Context, t fhir.Type, after string, target indexing, done *Reindexed, progress func(Reindexed)) error {
	for {
		var hits []store.Hit
		err := e.store.View(ctx, func(r store.Reader) (err error) {
			hits, err = r.Search(store.Query{Type: string(t), After: after, Limit: reindexSlice})
			return err
		})
		if err != nil || len(hits) == 0 {
			return foreign(err)
		}
		after = hits[len(hits)-1].Position
		var list []outdated
		for _, h := range hits {
			terms, err := e.termsOf(h.Version)
			if err != nil {
				return err
			}
			if !bytes.Equal(terms, h.Terms) {
				list = append(list, outdated{h.Key, h.Version.Version, terms})
			}
		}
		if err := e.putTerms(ctx, list, target, string(t)+" "+after); err != nil {
			return err
		}
		done.Looked += len(hits)
		done.Changed += len(list)
		if progress != nil {
			progress(*done)
		}
		if len(hits) < reindexSlice {
			return nil
		}
	}
}

// putTerms writes terms, of those resources that were not written meanwhile, and
// how far the walk is.
func (e *Engine) putTerms(ctx context.Context, list []outdated, target indexing, at string) error {
	return foreign(e.store.Update(ctx, func(w store.Writer) error {
		s, err := indexStateOf(w)
		if err != nil {
			return err
		}
		if s.Doing == nil || !s.Doing.equal(target) {
			return errDefinitionsChanged()
		}
		for _, o := range list {
			v, err := w.Resource(o.key)
			if err != nil {
				return err
			}
			if v.Version != o.version {
				continue
			}
			if err := w.Rewrite(o.key, o.version, o.terms, v.Body); err != nil {
				return err
			}
		}
		return w.PutRecord(&store.Record{Kind: indexKind, Key: positionKey, Value: []byte(at)})
	}))
}

// termsOf gives the terms that a stored version should have.
func (e *Engine) termsOf(v *store.Version) (store.Terms, error) {
	tree, err := fhir.Tree(v.Body)
	if err != nil {
		return nil, err
	}
	key := fhir.Key{Type: fhir.Type(v.Type), ID: v.ID}
	terms, err := e.index(e.Registry(), key.Type, tree)
	if err != nil {
		return nil, err
	}
	return store.NewTerms(append(terms, search.StampTerms(key, v.Time)...)), nil
}
