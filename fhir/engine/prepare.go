package engine

import (
	"slices"

	"mypatients/fhir"
	"mypatients/fhir/profile"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// Prepared is a body that may be written: parsed, validated and indexed. It can
// be written more than once, and by several goroutines.
type Prepared struct {
	*fhir.Document
	terms []store.Term     // all but those that depend on id and time
	by    *search.Registry // that they are of
}

// Prepare parses, validates (R4's bindings and invariants too: see package
// profile), labels and indexes a body: all that can be done outside a transaction. The
// error is a [*fhir.Error] of kind Invalid, Unprocessable or TooBig with an issue
// for each fault.
func (e *Engine) Prepare(body []byte) (*Prepared, error) {
	doc, err := fhir.Parse(body, profile.Check)
	if err != nil {
		return nil, err
	}
	if err := e.label(doc); err != nil {
		return nil, err
	}
	if doc.Type == "SearchParameter" {
		if err := e.checkDefinition(doc.Tree); err != nil {
			return nil, err
		}
	}
	by := e.Registry()
	terms, err := e.index(by, doc.Type, doc.Tree)
	if err != nil {
		return nil, err
	}
	return &Prepared{doc, terms, by}, nil
}

// index gives the terms of a body by a registry: all but those that depend on id
// and time.
func (e *Engine) index(by *search.Registry, t fhir.Type, tree map[string]any) ([]store.Term, error) {
	terms, err := by.Index(t, tree, e.base)
	if err == nil && e.derive != nil {
		terms = append(terms, e.derive(t, tree, terms)...)
	}
	return terms, err
}

// Terms gives the index terms of the body, for those who must judge a write
// before it is made; those that depend on id and time are not among them.
func (p *Prepared) Terms() store.Terms { return store.NewTerms(slices.Clone(p.terms)) }

// Version gives what would be stored if the body were written as a version of a
// key, for those who must judge it before.
func (p *Prepared) version(key fhir.Key, number int64, tx *Tx) *store.Version {
	terms := p.terms
	if p.by != tx.registry { // the definitions changed since
		tree, err := p.tree()
		if err == nil {
			terms, err = tx.engine.index(tx.registry, p.Type, tree)
		}
		if err != nil {
			return &store.Version{Key: storeKey(key), Version: number} // put refuses it
		}
	}
	terms = slices.Concat(terms, search.StampTerms(key, tx.now))
	return &store.Version{
		Key:     storeKey(key),
		Version: number,
		Time:    tx.now,
		Terms:   store.NewTerms(terms),
		Body:    fhir.WithMeta(p.JSON, key.ID, number, tx.now),
	}
}

func storeKey(k fhir.Key) store.Key { return store.Key{Type: string(k.Type), ID: k.ID} }

// resource gives a version as the outside sees it. The bytes are shared.
func resource(v *store.Version) *fhir.Resource {
	return &fhir.Resource{
		Key:     fhir.Key{Type: fhir.Type(v.Type), ID: v.ID},
		Version: v.Version,
		Updated: v.Time,
		Deleted: v.Deleted,
		JSON:    v.Body,
		Terms:   v.Terms,
	}
}

// tree gives the decoded body, also of one that was trimmed.
func (p *Prepared) tree() (map[string]any, error) {
	if p.Tree != nil {
		return p.Tree, nil
	}
	return fhir.Tree(p.JSON)
}

// Trim drops the decoded body of what waits for its transaction and needs it no
// more: of many together it would take most of the memory.
func (p *Prepared) Trim() {
	doc := *p.Document
	doc.Tree = nil
	p.Document = &doc
}
