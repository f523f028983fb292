package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// What is stored is indexed by the registry of its day. A record tells which that
// was, so that a parameter is searched by only when everything is indexed by it.
const (
	indexKind   = "index"
	stateKey    = "state" // an indexState
	positionKey = "position"
)

// layout is the number of the form of the terms. It was 1 when quantities were
// compared as written and places had no terms, 2 when members of teams and what
// consents deny had none, and 3 when what is attached to a document had none.
const layout = 4

// maxDefinitions bounds the search parameters that can be added.
const maxDefinitions = 500

// An indexing tells by what resources are indexed.
type indexing struct {
	Layout int               `json:"layout"`
	Zone   string            `json:"zone"`             // of dates that name none
	Text   bool              `json:"text,omitempty"`   // words are indexed
	Custom map[string]string `json:"custom,omitempty"` // marks of added parameters, by "Type.name"
}

// An indexState is the record: what everything is indexed by, and what is being
// brought to everything.
type indexState struct {
	Done   indexing   `json:"done"`
	Doing  *indexing  `json:"doing,omitempty"`
	Labels labelState `json:"labels,omitzero"`
}

func (i indexing) equal(j indexing) bool {
	return i.Layout == j.Layout && i.Zone == j.Zone && i.Text == j.Text && maps.Equal(i.Custom, j.Custom)
}

// A current is the registry in force and what it was made from.
type current struct {
	registry *search.Registry
	state    []byte   // the record; nil: none is kept, everything is searched by
	target   indexing // what the configuration and the stored definitions ask for
	pending  []string // what is not searched by until a re-index, in words
	broken   []string // stored definitions that cannot be used
	labels   labelState
	stale    bool // the terms that Derive gives are not everywhere as they are now
}

// A Pending tells what a re-index is needed for.
type Pending struct {
	Parameters []string // "Patient.race": not searchable until then; or other changes, in words
	Broken     []string // "SearchParameter/1": cannot be used, for instance because two have one name
}

// Refresh reads the stored SearchParameters (those that are active) and puts them
// in force: new writes are indexed by them at once, searches find by them when a
// [Engine.Reindex] has reached everything. It is called at the start, and from time
// to time, since another process may have written one. It tells what a re-index is
// needed for; changed is true when that is not what the last call told.
func (e *Engine) Refresh(ctx context.Context) (p Pending, changed bool, err error) {
	before := e.current.Load()
	now := before
	err = e.store.Update(ctx, func(w store.Writer) (err error) {
		now, err = e.reload(w)
		return err
	})
	if err != nil {
		return Pending{}, false, foreign(err)
	}
	e.current.Store(now)
	return Pending{now.pending, now.broken}, !slices.Equal(before.pending, now.pending) || !slices.Equal(before.broken, now.broken), nil
}

// followIndex gives the registry that a transaction writes by: the one in force,
// which another process may have changed. The record is read in every transaction
// that writes, so that one that missed a change cannot be committed behind it.
func (e *Engine) followIndex(w store.Writer) (*current, error) {
	now := e.current.Load()
	if now.state == nil {
		return now, nil
	}
	r, err := w.Record(indexKind, stateKey)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(r.Value, now.state) {
		return now, nil
	}
	return e.reload(w)
}

// reload brings the record up to date and makes the registry that is in force when
// the transaction is committed.
func (e *Engine) reload(w store.Writer) (*current, error) {
	defs, broken, err := e.definitions(w)
	if err != nil {
		return nil, err
	}
	target := indexing{Layout: layout, Zone: e.configured.Zone().String(), Text: e.configured.Text(), Custom: map[string]string{}}
	for _, d := range defs {
		for _, t := range d.Types {
			target.Custom[string(t)+"."+d.Name] = d.Mark()
		}
	}
	state, old, err := readState(w, target, e.labels.Version)
	if err != nil {
		return nil, err
	}
	state.Done.keep(target)
	if state.Doing != nil {
		state.Doing.keep(target)
	}
	state.Labels.noteWriter(e.labels.Version)
	value, err := json.Marshal(state)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(value, old) {
		if err := w.PutRecord(&store.Record{Kind: indexKind, Key: stateKey, Value: value}); err != nil {
			return nil, err
		}
	}
	if now := e.current.Load(); bytes.Equal(now.state, value) && now.target.equal(target) && slices.Equal(now.broken, broken) {
		return now, nil
	}
	next := &current{state: value, target: target, broken: broken, labels: state.Labels}
	return next, next.compile(e.configured, defs, state)
}

// readState reads the record. Without one, a store that never held anything is
// indexed by all there is; any other by what was before records were kept.
func readState(w store.Writer, target indexing, labels string) (s indexState, value []byte, err error) {
	r, err := w.Record(indexKind, stateKey)
	switch {
	case err == nil:
		return s, r.Value, json.Unmarshal(r.Value, &s)
	case !errors.Is(err, store.ErrNotFound):
		return s, nil, err
	}
	entries, err := w.Log(store.LogQuery{Reverse: true, Limit: 1})
	if err != nil {
		return s, nil, err
	}
	s.Done = indexing{Layout: 1, Zone: "UTC"}
	if len(entries) == 0 {
		s.Done = target
		s.Done.Custom = maps.Clone(target.Custom)
		s.Labels = labelState{Rules: labels, Done: true}
	}
	return s, nil, nil
}

// keep forgets what is no longer asked for: resources written from now on are not
// indexed by it.
func (i *indexing) keep(target indexing) {
	i.Text = i.Text && target.Text
	maps.DeleteFunc(i.Custom, func(name, mark string) bool { return target.Custom[name] != mark })
}

// compile makes the registry: it indexes by everything, and refuses to search by
// what is not everywhere yet. Dates are read in the zone in which they are indexed.
func (c *current) compile(base *search.Registry, defs []search.Definition, s indexState) error {
	zone := s.Done.Zone
	moving := s.Doing != nil && s.Doing.Zone != zone
	if moving {
		zone = s.Doing.Zone
	}
	in := base.Zone()
	if zone != in.String() {
		var err error
		if in, err = time.LoadLocation(zone); err != nil {
			return err
		}
	}
	all, err := base.In(in).With(defs...)
	if err != nil {
		return err
	}
	added := map[string]bool{}
	for name := range c.target.Custom {
		added[name] = s.Done.Custom[name] == ""
		if added[name] {
			c.pending = append(c.pending, name)
		}
	}
	slices.Sort(c.pending)
	if c.target.Text && !s.Done.Text {
		c.pending = append(c.pending, "_text", "_content")
	}
	if s.Done.Layout < 2 {
		c.pending = append(c.pending, "quantities", "Location.near")
	}
	if c.stale = s.Done.Layout != layout || s.Done.Zone != c.target.Zone; s.Done.Layout != layout {
		c.pending = append(c.pending, "what decisions rest on, without which a provider of very many patients waits longer, and people see no Binary")
	}
	if s.Done.Zone != c.target.Zone {
		c.pending = append(c.pending, "dates without a zone, which are taken as of "+s.Done.Zone)
	}
	c.registry = all
	if len(c.pending) > 0 || moving {
		c.registry = all.Holding(!s.Done.Text, func(t fhir.Type, p *search.Param) bool {
			return added[string(t)+"."+p.Name] || moving && p.Kind == search.Date && p.Name != search.LastUpdated ||
				s.Done.Layout < 2 && (p.NeedsUnits() || p.Kind == search.Special)
		})
	}
	return nil
}

// definitions reads the stored SearchParameters that are active. Those that tell
// of parameters of R4 are none of ours; of two with one name the first counts.
func (e *Engine) definitions(r store.Reader) (defs []search.Definition, broken []string, err error) {
	all := e.configured
	err = eachDefinition(r, func(key store.Key, d search.Definition) {
		if e.configured.Defines(d) {
			return
		}
		more, err := all.With(d)
		if err != nil || len(defs) == maxDefinitions {
			broken = append(broken, key.String())
			return
		}
		all, defs = more, append(defs, d)
	})
	return defs, broken, err
}

// eachDefinition reads the stored SearchParameters that are active.
func eachDefinition(r store.Reader, visit func(store.Key, search.Definition)) error {
	const page = 200
	after := ""
	for {
		hits, err := r.Search(store.Query{Type: "SearchParameter", Where: search.TokenTerm("status", "", "active"), After: after, Limit: page})
		if err != nil {
			return err
		}
		for _, h := range hits {
			tree, err := fhir.Tree(h.Body)
			if err != nil {
				return err
			}
			visit(h.Key, search.ReadDefinition(tree))
			after = h.Position
		}
		if len(hits) < page {
			return nil
		}
	}
}

// checkDefinition refuses a SearchParameter that is active and cannot be used.
func (e *Engine) checkDefinition(tree map[string]any) error {
	d := search.ReadDefinition(tree)
	if tree["status"] != "active" || e.configured.Defines(d) {
		return nil
	}
	if _, err := e.configured.With(d); err != nil {
		return err
	}
	return e.configured.Check(d)
}

// checkSameName refuses a SearchParameter whose name another active one has for
// one of its types.
func (tx *Tx) checkSameName(v *store.Version) error {
	if v.Type != "SearchParameter" || v.Deleted {
		return nil
	}
	tree, err := fhir.Tree(v.Body)
	if err != nil {
		return err
	}
	d := search.ReadDefinition(tree)
	if tree["status"] != "active" || tx.engine.configured.Defines(d) {
		return nil
	}
	taken := false
	err = eachDefinition(tx.reader, func(key store.Key, other search.Definition) {
		taken = taken || key != v.Key && strings.EqualFold(other.Name, d.Name) &&
			slices.ContainsFunc(d.Types, func(t fhir.Type) bool { return slices.Contains(other.Types, t) })
	})
	if err == nil && taken {
		err = fhir.ElementErrorf(fhir.Unprocessable, "SearchParameter.code", "Another SearchParameter has this name for one of the types.")
	}
	return err
}
