package engine

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// A debt is what a transaction owes to the integrity of references: it is settled
// when all is written, so that what refers to each other can come in any order.
type debt struct {
	key      fhir.Key
	mentions []fhir.Mention // of what was written
	gone     bool           // it was deleted instead
	eye      *Eye           // who wrote; nil: the server itself
}

// An Eye says what of the store may be known to who writes. To a caller a hidden
// resource is one that is not there: a reference to it is refused in the same
// words, and one from it does not hold up a deletion.
type Eye struct {
	Sees  func(fhir.Key) (bool, error) // whether a resource that is there may be known
	Sight Sight                        // the same as a condition

	// Blame, when set, is shown the refusal of a write that it watched and gives
	// what is answered.
	Blame func(error) error
}

// WatchedBy has the references of the writes that follow judged by what may be
// known; nil, and what was there before, is the server's own sight. They are
// judged when the transaction ends.
func (tx *Tx) WatchedBy(eye *Eye) { tx.eye = eye }

// owe notes a write or a deletion, if the engine was told to care.
func (tx *Tx) owe(d debt) {
	if tx.engine.integrity && !tx.loose {
		d.eye = tx.eye
		tx.debts = append(tx.debts, d)
	}
}

// settle refuses references of what was written to resources that this server
// should have and has not, and the deletion of what is still referred to.
func (tx *Tx) settle() error {
	for _, d := range tx.debts {
		tx.eye = d.eye
		err := tx.settleOne(d)
		if err != nil && d.eye != nil && d.eye.Blame != nil {
			err = d.eye.Blame(err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) settleOne(d debt) error {
	if d.gone {
		return tx.unreferenced(d.key)
	}
	issues, err := tx.dangling(d.key, d.mentions)
	if err == nil && len(issues) > 0 {
		err = &fhir.Error{Kind: fhir.Unprocessable, Issues: issues}
	}
	return err
}

// maxDangling is how many references are told of.
const maxDangling = 50

// dangling gives an issue for each reference that leads nowhere. key is the
// resource's own: it may refer to itself.
func (tx *Tx) dangling(key fhir.Key, mentions []fhir.Mention) ([]fhir.Issue, error) {
	var issues []fhir.Issue
	for _, m := range mentions {
		target, local := m.Reference.Local(tx.engine.base)
		if !local || target == key && m.Reference.Version == "" {
			continue
		}
		there, err := tx.refersTo(target, m.Reference.Version)
		if err != nil {
			return nil, err
		}
		if !there && len(issues) < maxDangling {
			issues = append(issues, fhir.Issue{Code: "not-found", Expression: m.At.Expression(string(key.Type)),
				Text: "There is no such resource here to refer to."})
		}
	}
	slices.SortFunc(issues, func(a, b fhir.Issue) int { return strings.Compare(a.Expression, b.Expression) })
	return issues, nil
}

// refersTo reports whether a reference leads to something that is there, and may
// be known to be.
func (tx *Tx) refersTo(target fhir.Key, version string) (bool, error) {
	v, err := tx.newest(target)
	if err != nil || v == nil || v.Deleted {
		return false, err
	}
	if tx.eye != nil {
		if seen, err := tx.eye.Sees(target); err != nil || !seen {
			return false, err
		}
	}
	if version == "" {
		return true, nil
	}
	number, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		return false, nil
	}
	old, err := tx.reader.ResourceVersion(storeKey(target), number)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && !old.Deleted, err
}

// unreferenced refuses the deletion of what others refer to.
func (tx *Tx) unreferenced(key fhir.Key) error {
	if v, err := tx.newest(key); err != nil || v == nil || !v.Deleted {
		return err // written again since
	}
	referred, err := tx.isReferred(key)
	if err != nil || !referred {
		return err
	}
	return fhir.Errorf(fhir.Conflict, "Other resources refer to this one.")
}

// isReferred asks the index of every type for references to a resource from others.
func (tx *Tx) isReferred(key fhir.Key) (bool, error) {
	for _, t := range fhir.Types() {
		for _, p := range tx.registry.Params(t) {
			if p.Kind != search.Reference {
				continue
			}
			where := store.And{search.ReferenceTerm(p.Name, key)}
			if t == key.Type {
				where = append(where, store.Not{Expr: store.Equal{Name: store.ID, Value: key.ID}})
			}
			if tx.eye != nil {
				where = append(where, tx.eye.Sight.closed()(t))
			}
			hits, err := tx.reader.Search(store.Query{Type: string(t), Limit: 1, Where: where})
			if err != nil || len(hits) > 0 {
				return len(hits) > 0, err
			}
		}
	}
	return false, nil
}

// Integral reports whether the engine cares for referential integrity.
func (e *Engine) Integral() bool { return e.integrity }
