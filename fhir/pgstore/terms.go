package pgstore

import (
	"bytes"
	"crypto/sha256"

	"mypatients/fhir/store"
)

// An element is how a term stands in the rows that searches judge: name, NUL,
// value, NUL. Elements sort as their terms do. As none of the parts holds a NUL,
// an element is less than a string s = name, NUL, x exactly if value < x; so the
// number of elements up to s is the number of values below x.

func element(name, value string) []byte {
	b := make([]byte, 0, len(name)+len(value)+2)
	b = append(b, name...)
	b = append(b, 0)
	b = append(b, value...)
	return append(b, 0)
}

// elementValue takes the value out of an element; nil stays nil.
func elementValue(name string, e []byte) *string {
	if len(e) < len(name)+2 {
		return nil
	}
	s := string(e[len(name)+1 : len(e)-1])
	return &s
}

// elements are those of a version, sorted.
func elements(terms store.Terms) [][]byte {
	list := make([][]byte, 0, 32)
	all := make([]byte, 0, len(terms)+64)
	for name, value := range terms.All() {
		from := len(all)
		all = append(all, name...)
		all = append(all, 0)
		all = append(all, value...)
		all = append(all, 0)
		list = append(list, all[from:len(all):len(all)])
	}
	return list
}

// noOwner is the owner of what has none.
const noOwner = "\x00"

// owners are those of a version's rows.
func owners(v *store.Version) (list []string) {
	if v == nil || v.Deleted {
		return nil
	}
	for owner := range v.Terms.Values(store.Owner) {
		list = append(list, string(owner))
	}
	if len(list) == 0 {
		return []string{noOwner}
	}
	return list
}

// headLen is how much of a value stands in the index.
const headLen = 1000

// split cuts a value into what stands in the index and what tells it apart.
func split(value []byte) (head, rest []byte) {
	if len(value) <= headLen {
		return value, []byte{}
	}
	sum := sha256.Sum256(value)
	return value[:headLen], sum[:]
}

// An entry is a row of the index.
type entry struct{ name, value, rest []byte }

func compareEntries(a, b entry) int {
	if c := bytes.Compare(a.name, b.name); c != 0 {
		return c
	}
	if c := bytes.Compare(a.value, b.value); c != 0 {
		return c
	}
	return bytes.Compare(a.rest, b.rest)
}

// entries are the rows of the index for a version.
func entries(v *store.Version) (list []entry) {
	if v == nil || v.Deleted {
		return nil
	}
	for name, value := range v.Terms.All() {
		if string(name) != store.Owner {
			head, rest := split(value)
			list = append(list, entry{name, head, rest})
		}
	}
	return list
}
