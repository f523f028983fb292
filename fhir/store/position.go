package store

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
)

// A Place is what a Position says: where a row stands in the order of a query.
// Both engines write positions through it, so that they look alike.
type Place struct {
	Values []*string // one for each Sort; nil where the resource has no value
	ID     string
}

// Position packs a place into an opaque string.
func (p Place) Position() string {
	var b []byte
	for _, v := range p.Values {
		if v == nil {
			b = append(b, 0)
			continue
		}
		b = append(b, 1)
		b = binary.AppendUvarint(b, uint64(len(*v)))
		b = append(b, *v...)
	}
	return base64.RawURLEncoding.EncodeToString(append(b, p.ID...))
}

// ParsePosition reads a position of a query with so many sorts.
func ParsePosition(s string, sorts int) (Place, error) {
	bad := errors.New("store: not a position of this query")
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return Place{}, bad
	}
	var p Place
	for range sorts {
		if len(b) == 0 {
			return Place{}, bad
		}
		if b[0] == 0 {
			p.Values = append(p.Values, nil)
			b = b[1:]
			continue
		}
		n, w := binary.Uvarint(b[1:])
		if w <= 0 || n > uint64(len(b)-1-w) {
			return Place{}, bad
		}
		v := string(b[1+w : 1+w+int(n)])
		p.Values = append(p.Values, &v)
		b = b[1+w+int(n):]
	}
	p.ID = string(b)
	return p, nil
}
