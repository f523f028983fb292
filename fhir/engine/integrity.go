package engine

import (
	"errors"

	"mypatients/fhir"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// checkIntegrity refuses references of a body to resources that this server
// should have and has not, when the engine was told to care. key is the
// resource's own: it may refer to itself.
func (tx *Tx) checkIntegrity(p *Prepared, key fhir.Key) error {
	if !tx.engine.integrity || tx.loose {
		return nil
	}
	var issues []fhir.Issue
	err := eachReference(p.Tree, func(ref fhir.Reference) error {
		target, local := ref.Local(tx.engine.base)
		if !local || target == key {
			return nil
		}
		v, err := tx.reader.Resource(storeKey(target))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err != nil || v.Deleted {
			issues = append(issues, fhir.Issue{Code: "not-found", Expression: string(p.Type),
				Text: "There is no " + target.String() + " to refer to."})
		}
		return nil
	})
	if err != nil || len(issues) == 0 {
		return err
	}
	return &fhir.Error{Kind: fhir.Unprocessable, Issues: issues[:min(len(issues), 50)]}
}

// checkUnreferenced refuses the deletion of what others refer to.
func (tx *Tx) checkUnreferenced(key fhir.Key) error {
	if !tx.engine.integrity || tx.loose {
		return nil
	}
	for _, t := range fhir.Types() {
		for _, p := range tx.engine.registry.Params(t) {
			if p.Kind != search.Reference {
				continue
			}
			where := store.And{search.ReferenceTerm(p.Name, key)}
			if t == key.Type {
				where = append(where, store.Not{Expr: store.Equal{Name: store.ID, Value: key.ID}})
			}
			hits, err := tx.reader.Search(store.Query{Type: string(t), Limit: 1, Where: where})
			if err != nil {
				return err
			}
			if len(hits) > 0 {
				return fhir.Errorf(fhir.Conflict, "Other resources refer to this one.")
			}
		}
	}
	return nil
}

// eachReference calls fn for every Reference in a tree.
func eachReference(value any, fn func(fhir.Reference) error) error {
	switch value := value.(type) {
	case map[string]any:
		for name, item := range value {
			if text, ok := item.(string); ok && name == "reference" {
				if err := fn(fhir.ParseReference(text)); err != nil {
					return err
				}
				continue
			}
			if err := eachReference(item, fn); err != nil {
				return err
			}
		}
	case []any:
		for _, item := range value {
			if err := eachReference(item, fn); err != nil {
				return err
			}
		}
	}
	return nil
}
