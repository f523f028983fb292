package store

import (
	"bytes"
	"fmt"
	"slices"
)

// Eval judges one version by a condition, without an index: the definition that
// engines must agree with. Ref and Back are looked up in r; a nil Expr holds.
func Eval(r Reader, v *Version, e Expr) (bool, error) {
	switch e := e.(type) {
	case nil:
		return true, nil
	case And:
		for _, part := range e {
			if ok, err := Eval(r, v, part); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	case Or:
		for _, part := range e {
			if ok, err := Eval(r, v, part); ok || err != nil {
				return ok, err
			}
		}
		return false, nil
	case Not:
		ok, err := Eval(r, v, e.Expr)
		return !ok && err == nil, err
	case *Standing:
		return Eval(r, v, e.Expr)
	case Ref:
		return evalRef(r, v, e)
	case Back:
		found, err := r.Search(Query{Type: e.Type, Limit: 1, Where: And{Equal{e.Name, v.Key.String()}, orAll(e.Where)}})
		return len(found) > 0, err
	default:
		return evalLeaf(v, e)
	}
}

func evalRef(r Reader, v *Version, e Ref) (bool, error) {
	prefix := []byte(e.Type + "/")
	for value := range v.Terms.Values(e.Name) {
		id, ok := bytes.CutPrefix(value, prefix)
		if !ok {
			continue
		}
		target, err := r.Resource(Key{e.Type, string(id)})
		if err == ErrNotFound || err == nil && target.Deleted {
			continue
		}
		if err != nil {
			return false, err
		}
		if ok, err := Eval(r, target, e.Where); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func evalLeaf(v *Version, e Expr) (bool, error) {
	name, match, err := leaf(e)
	if err != nil {
		return false, err
	}
	if name == ID {
		return match([]byte(v.ID)), nil
	}
	for value := range v.Terms.Values(name) {
		if match(value) {
			return true, nil
		}
	}
	return false, nil
}

// leaf gives the name that a leaf looks at and its test of one value.
func leaf(e Expr) (string, func([]byte) bool, error) {
	switch e := e.(type) {
	case Equal:
		return e.Name, func(v []byte) bool { return string(v) == e.Value }, nil
	case In:
		return e.Name, func(v []byte) bool { return slices.Contains(e.Values, string(v)) }, nil
	case Prefix:
		return e.Name, func(v []byte) bool { return bytes.HasPrefix(v, []byte(e.Prefix)) }, nil
	case Contains:
		return e.Name, func(v []byte) bool { return bytes.Contains(v, []byte(e.Part)) }, nil
	case Range:
		return e.Name, func(v []byte) bool { return between(v, e.From, e.To) }, nil
	case Span:
		return e.Name, func(v []byte) bool {
			return len(v) >= e.Split && between(v[:e.Split], e.HeadFrom, e.HeadTo) && between(v[e.Split:], e.TailFrom, e.TailTo)
		}, nil
	case Exists:
		return e.Name, func([]byte) bool { return true }, nil
	}
	return "", nil, fmt.Errorf("store: no such condition: %T", e)
}

func between(v []byte, from, to string) bool {
	return string(v) >= from && (to == "" || string(v) < to)
}

func orAll(e Expr) Expr {
	if e == nil {
		return All()
	}
	return e
}
