package store

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// The faults that [Terms.Check] finds, beside ErrNUL.
var (
	errOrder  = errors.New("store: index terms are not in order")
	errPacked = errors.New("store: index terms are not well packed")
)

// Check reports whether the terms are what [NewTerms] makes: well packed, in
// order, without repetitions, without NUL bytes. fits judges each of them.
func (t Terms) Check(fits func(name, value []byte) error) error {
	var lastName, lastValue []byte
	for rest := []byte(t); len(rest) > 0; {
		var name, value []byte
		var ok bool
		first := len(rest) == len(t)
		if name, rest, ok = unpack(rest); !ok {
			return errPacked
		}
		if value, rest, ok = unpack(rest); !ok {
			return errPacked
		}
		if bytes.IndexByte(name, 0) >= 0 || bytes.IndexByte(value, 0) >= 0 {
			return ErrNUL
		}
		if err := fits(name, value); err != nil {
			return err
		}
		c := bytes.Compare(lastName, name)
		if !first && (c > 0 || c == 0 && bytes.Compare(lastValue, value) >= 0) {
			return errOrder
		}
		lastName, lastValue = name, value
	}
	return nil
}

// unpack is cut, which tells whether there was a string, its length written in
// the shortest way.
func unpack(b []byte) (head, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) || w > 1 && n>>(7*(w-1)) == 0 {
		return nil, nil, false
	}
	return b[w : w+int(n)], b[w+int(n):], true
}
