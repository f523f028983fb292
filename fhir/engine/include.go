package engine

import (
	"errors"
	"maps"
	"slices"

	"mypatients/fhir"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// Bounds on what one page may drag along.
const (
	maxIncluded = 1000 // resources
	maxRounds   = 8    // of :iterate
)

// An includer collects what the includes of a search bring in.
type includer struct {
	tx    *Tx
	sight Sight
	max   int
	known map[store.Key]bool // matches, what is in, and what may not be seen
	found []*store.Version   // in order of discovery
}

// include follows _include and _revinclude from the matches of a page
// (https://hl7.org/fhir/R4/search.html#revinclude): :iterate is applied to what
// was included too, until there is nothing new. Every resource brought in must
// be allowed by the sight of its own type. More than 1000 are refused, as what
// is left out could not be told from what is not there.
func (tx *Tx) include(q *search.Query, matches []*store.Version, sight Sight) ([]*store.Version, error) {
	includes := q.Includes()
	if len(includes) == 0 || len(matches) == 0 {
		return nil, nil
	}
	in := &includer{tx: tx, sight: sight, max: maxIncluded, known: map[store.Key]bool{}}
	for _, v := range matches {
		in.known[v.Key] = true
	}
	from := matches
	for round := 0; len(from) > 0 && round < maxRounds; round++ {
		start := len(in.found)
		for _, i := range includes {
			if round > 0 && !i.Iterate {
				continue
			}
			if err := in.follow(i, from); err != nil {
				return nil, err
			}
		}
		from = slices.Clone(in.found[start:])
	}
	return in.found, nil
}

func (in *includer) follow(i search.Include, from []*store.Version) error {
	if i.Reverse {
		return in.reverse(i, from)
	}
	var targets []fhir.Key
	var unknown []store.Key
	for _, v := range from {
		for _, key := range i.Targets(v) {
			targets = append(targets, key)
			if !in.known[storeKey(key)] {
				unknown = append(unknown, storeKey(key))
			}
		}
	}
	if err := store.ReadResources(in.tx.reader, slices.Values(unknown)); err != nil {
		return err
	}
	for _, key := range targets {
		if err := in.target(key); err != nil {
			return err
		}
	}
	named := i.Canonicals(from)
	for _, t := range slices.Sorted(maps.Keys(named)) {
		if err := in.search(t, named[t]); err != nil {
			return err
		}
	}
	return nil
}

func (in *includer) target(key fhir.Key) error {
	if in.known[storeKey(key)] {
		return nil
	}
	in.known[storeKey(key)] = true
	v, err := in.tx.visible(key, in.sight)
	var e *fhir.Error
	switch {
	case errors.As(err, &e) && e.Kind == fhir.NotFound:
		return nil
	case err != nil:
		return err
	case v.Deleted:
		return nil
	}
	return in.add(v)
}

func (in *includer) reverse(i search.Include, from []*store.Version) error {
	for _, source := range i.Sources() {
		if err := in.search(source, i.Where(source, from)); err != nil {
			return err
		}
	}
	return nil
}

// search adds what is found of a type.
func (in *includer) search(t fhir.Type, where store.Expr) error {
	hits, err := in.tx.reader.Search(store.Query{
		Type:  string(t),
		Where: store.And{where, in.sight(t)},
		// one more than may come in, of those that are in already or not
		Limit: maxIncluded + len(in.known) + 1,
	})
	if err != nil {
		return err
	}
	for _, h := range hits {
		if in.known[h.Key] {
			continue
		}
		in.known[h.Key] = true
		if err := in.add(h.Version); err != nil {
			return err
		}
	}
	return nil
}

func (in *includer) add(v *store.Version) error {
	if len(in.found) == in.max {
		return fhir.Errorf(fhir.TooBig, "The includes of this page bring in more than %d resources; ask for a smaller _count.", in.max)
	}
	in.found = append(in.found, v)
	return nil
}
