package engine

import (
	"bytes"
	"slices"

	"mypatients/fhir"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// A Labelling is the security labels that the server itself gives
// (https://hl7.org/fhir/R4/security-labels.html). They stand in meta.security
// beside those that others wrote, each with an extension that marks it; whatever
// a client writes under that mark does not count.
type Labelling struct {
	Mark string // the URL of the extension; empty: the server gives none

	// Version changes when Of may give others; see [Engine.Relabel].
	Version string

	// Of gives the labels of a body by what it says, as Codings with the mark. It must
	// be a pure function.
	Of func(t fhir.Type, tree map[string]any) []any

	// More gives labels that a version has from others it refers to, and Ahead tells
	// which these are of a body with some terms, so that they can be read together.
	// Both may be nil.
	More  func(tx *Tx, v *store.Version) ([]any, error)
	Ahead func(t fhir.Type, terms []store.Term) []store.Key

	// Changed is called when a stored version has been given other labels; after is
	// what is stored now. It may be nil.
	Changed func(tx *Tx, before, after *store.Version) error

	// Settle is called when all of a transaction is written. It may be nil.
	Settle func(tx *Tx) error
}

// label gives a body the labels that it should have by what it says.
func (e *Engine) label(doc *fhir.Document) error {
	if e.labels.Mark == "" {
		return nil
	}
	drop, add := e.labels.compare(doc.Tree, e.labels.Of(doc.Type, doc.Tree))
	if len(drop) == 0 && len(add) == 0 {
		return nil
	}
	body, err := fhir.EditSecurity(doc.JSON, drop, add)
	if err != nil {
		return err
	}
	doc.JSON = body
	doc.Tree, err = fhir.Tree(body)
	return err
}

// compare tells which labels of a body, by their places, are the server's and not
// wanted, and which are wanted and not there. What somebody else wrote is there.
func (l Labelling) compare(tree map[string]any, want []any) (drop []int, add []any) {
	for i, has := range securityOf(tree) {
		if l.marked(has) && !slices.ContainsFunc(want, func(w any) bool { return sameLabel(w, has) && l.markOf(w) == l.markOf(has) && !l.foreign(tree, w) }) {
			drop = append(drop, i)
		}
	}
	for _, w := range want {
		there := slices.ContainsFunc(securityOf(tree), func(has any) bool { return sameLabel(w, has) && l.markOf(w) == l.markOf(has) })
		if !there && !l.foreign(tree, w) {
			add = append(add, w)
		}
	}
	return drop, add
}

// foreign tells whether somebody else gave a body this label.
func (l Labelling) foreign(tree map[string]any, label any) bool {
	return slices.ContainsFunc(securityOf(tree), func(has any) bool { return !l.marked(has) && sameLabel(has, label) })
}

func securityOf(tree map[string]any) []any {
	meta, _ := tree["meta"].(map[string]any)
	list, _ := meta["security"].([]any)
	return list
}

func (l Labelling) marked(label any) bool { return l.markOf(label) != nil }

// markOf gives the value of the mark, nil without one.
func (l Labelling) markOf(label any) any {
	coding, _ := label.(map[string]any)
	list, _ := coding["extension"].([]any)
	for _, e := range list {
		if ext, _ := e.(map[string]any); ext["url"] == l.Mark {
			if ext["valueCode"] == nil {
				return ""
			}
			return ext["valueCode"]
		}
	}
	return nil
}

// sameLabel compares system and code, which are what a label is
// (https://hl7.org/fhir/R4/resource.html#Meta).
func sameLabel(a, b any) bool {
	x, _ := a.(map[string]any)
	y, _ := b.(map[string]any)
	return x["system"] == y["system"] && x["code"] == y["code"]
}

// Relabel gives a stored version the labels of the server that it should have:
// those of what it says, and those it has from others. It makes no version (R4,
// Meta.security: labels may change without one). What comes back is the version as
// it is stored now.
func (tx *Tx) Relabel(v *store.Version) (*store.Version, error) {
	next, err := tx.labelled(v)
	if err != nil || next == v {
		return v, err
	}
	if err := tx.Writer().Rewrite(v.Key, v.Version, next.Terms, next.Body); err != nil {
		return nil, err
	}
	if changed := tx.engine.labels.Changed; changed != nil {
		err = changed(tx, v, next)
	}
	return next, err
}

// labelled gives a version as it should be: itself, when it is so already.
func (tx *Tx) labelled(v *store.Version) (*store.Version, error) {
	l := tx.engine.labels
	if l.Mark == "" {
		return v, nil
	}
	if v.Deleted {
		return tx.labelledDeletion(v)
	}
	tree, err := fhir.Tree(v.Body)
	if err != nil {
		return nil, err
	}
	key := fhir.Key{Type: fhir.Type(v.Type), ID: v.ID}
	want := l.Of(key.Type, tree)
	if l.More != nil {
		more, err := l.More(tx, v)
		if err != nil {
			return nil, err
		}
		for _, m := range more {
			if !slices.ContainsFunc(want, func(w any) bool { return sameLabel(w, m) }) {
				want = append(want, m)
			}
		}
	}
	drop, add := l.compare(tree, want)
	if len(drop) == 0 && len(add) == 0 {
		return v, nil
	}
	next := *v
	if next.Body, err = fhir.EditSecurity(v.Body, drop, add); err != nil {
		return nil, err
	}
	if tree, err = fhir.Tree(next.Body); err != nil {
		return nil, err
	}
	terms, err := tx.engine.index(tx.registry, key.Type, tree)
	if err != nil {
		return nil, err
	}
	next.Terms = store.NewTerms(append(terms, search.StampTerms(key, v.Time)...))
	return &next, nil
}

// labelledDeletion: a deletion is judged by the terms of the version before it.
func (tx *Tx) labelledDeletion(v *store.Version) (*store.Version, error) {
	before, err := tx.reader.ResourceVersion(v.Key, v.Version-1)
	if err != nil || bytes.Equal(before.Terms, v.Terms) {
		return v, err
	}
	next := *v
	next.Terms = before.Terms
	return &next, nil
}

// same tells whether a stored version is what a compact body would become, labels of
// the server apart.
func (e *Engine) same(v *store.Version, compact []byte) bool {
	stored := resource(v)
	if fhir.SameContent(stored, compact) {
		return true
	}
	mark := []byte(e.labels.Mark)
	if len(mark) == 0 || !bytes.Contains(v.Body, mark) && !bytes.Contains(compact, mark) {
		return false
	}
	bare := *stored
	bare.JSON = e.bare(v.Body)
	return fhir.SameContent(&bare, e.bare(compact))
}

// bare gives a compact body without labels of the server.
func (e *Engine) bare(body []byte) []byte {
	tree, err := fhir.Tree(body)
	if err != nil {
		return body
	}
	drop, _ := e.labels.compare(tree, nil)
	out, err := fhir.EditSecurity(body, drop, nil)
	if err != nil {
		return body
	}
	return out
}
