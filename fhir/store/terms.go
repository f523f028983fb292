package store

import (
	"encoding/binary"
	"iter"
	"slices"
	"strings"
)

// A Term is a name and a value that a resource is found by. Neither may hold a
// NUL byte. Values should be short: an engine may refuse a version with a longer
// one than its index takes (64 KB in Badger) with ErrTooBig.
type Term struct{ Name, Value string }

// Terms are the terms of one version, sorted, without repetitions, in a compact
// form that engines store as it is: for each term the length of the name as a
// uvarint, the name, the length of the value as a uvarint, the value.
type Terms []byte

// NewTerms packs terms; it sorts the slice it is given.
func NewTerms(list []Term) Terms {
	slices.SortFunc(list, func(a, b Term) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(a.Value, b.Value)
	})
	list = slices.Compact(list)
	size := 0
	for _, t := range list {
		size += len(t.Name) + len(t.Value) + 4
	}
	packed := make([]byte, 0, size)
	for _, t := range list {
		packed = binary.AppendUvarint(packed, uint64(len(t.Name)))
		packed = append(packed, t.Name...)
		packed = binary.AppendUvarint(packed, uint64(len(t.Value)))
		packed = append(packed, t.Value...)
	}
	return packed
}

// All gives the terms in order. The bytes belong to the Terms.
func (t Terms) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for rest := []byte(t); len(rest) > 0; {
			var name, value []byte
			name, rest = cut(rest)
			value, rest = cut(rest)
			if !yield(name, value) {
				return
			}
		}
	}
}

// Values gives the values under a name, in ascending order.
func (t Terms) Values(name string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for rest := []byte(t); len(rest) > 0; {
			var n, v []byte
			n, rest = cut(rest)
			if v, rest = cut(rest); string(n) > name || string(n) == name && !yield(v) {
				return
			}
		}
	}
}

// List unpacks the terms.
func (t Terms) List() []Term {
	var list []Term
	for n, v := range t.All() {
		list = append(list, Term{string(n), string(v)})
	}
	return list
}

func cut(b []byte) (head, rest []byte) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil
	}
	return b[w : w+int(n)], b[w+int(n):]
}
