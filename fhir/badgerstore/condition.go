package badgerstore

import (
	"bytes"
	"fmt"

	"mypatients/fhir/store"
)

// A condition is a store.Expr made ready to be judged many times within one
// search: on a version, or on many rows of a block at once. It means what
// store.Eval says.
type condition interface {
	row(s *searcher, v *store.Version) (bool, error)
	// rows gives those of the rows among which hold.
	rows(s *searcher, b *block, among bits) (bits, error)
	// effort orders the parts of an And: cheap ones first.
	effort() int
}

type (
	all   []condition
	some  []condition
	not   struct{ inner condition }
	match struct {
		name  string
		leaf  store.Expr
		set   map[string]struct{} // the values of an In, made when it begins to pay
		asked int
	}
	ref struct {
		name   string
		typ    string
		prefix []byte
		where  inner
		known  map[string]bool // by id: whether the target holds
	}
	back struct {
		expr  store.Back
		where inner
	}
)

// An inner condition is made ready when the first row gets so far as to ask for it,
// which few do.
type inner struct {
	expr  store.Expr
	ready condition
}

func (i *inner) condition() (condition, error) {
	var err error
	if i.ready == nil {
		i.ready, err = compile(i.expr)
	}
	return i.ready, err
}

func compile(e store.Expr) (condition, error) {
	switch e := e.(type) {
	case nil:
		return all(nil), nil
	case store.And:
		parts, err := compileAll(e)
		return all(parts), err
	case store.Or:
		parts, err := compileAll(e)
		return some(parts), err
	case store.Not:
		inner, err := compile(e.Expr)
		return not{inner}, err
	case store.Ref:
		return &ref{e.Name, e.Type, []byte(e.Type + "/"), inner{expr: e.Where}, nil}, nil
	case store.Back:
		return &back{e, inner{expr: e.Where}}, nil
	case *store.Standing:
		return &standing{e, inner{expr: e.Expr}}, nil
	}
	return compileLeaf(e)
}

// compileAll gives the parts, the cheap ones first. There are few, and each search does
// this.
func compileAll[E ~[]store.Expr](list E) ([]condition, error) {
	parts, efforts := make([]condition, len(list)), make([]int, 0, 16)
	for n, e := range list {
		part, err := compile(e)
		if err != nil {
			return nil, err
		}
		effort := part.effort()
		efforts = append(efforts, effort)
		for ; n > 0 && efforts[n-1] > effort; n-- {
			parts[n], efforts[n] = parts[n-1], efforts[n-1]
		}
		parts[n], efforts[n] = part, effort
	}
	return parts, nil
}

func compileLeaf(e store.Expr) (condition, error) {
	name := ""
	switch e := e.(type) {
	case store.Equal:
		name = e.Name
	case store.In:
		name = e.Name
	case store.Prefix:
		name = e.Name
	case store.Contains:
		name = e.Name
	case store.Range:
		name = e.Name
	case store.Span:
		name = e.Name
	case store.Exists:
		name = e.Name
	default:
		return nil, fmt.Errorf("badgerstore: no such condition: %T", e)
	}
	return &match{name: name, leaf: e}, nil
}

// test judges one value.
func (c *match) test(v []byte) bool {
	switch e := c.leaf.(type) {
	case store.Equal:
		return string(v) == e.Value
	case store.In:
		return c.oneOf(e.Values, v)
	case store.Prefix:
		return len(v) >= len(e.Prefix) && string(v[:len(e.Prefix)]) == e.Prefix
	case store.Contains:
		return bytes.Contains(v, []byte(e.Part))
	case store.Range:
		return within(v, e.From, e.To)
	case store.Span:
		return inSpan(e, v)
	}
	return true // store.Exists
}

func within(v []byte, from, to string) bool {
	return string(v) >= from && (to == "" || string(v) < to)
}

func inSpan(e store.Span, v []byte) bool {
	return len(v) >= e.Split && within(v[:e.Split], e.HeadFrom, e.HeadTo) && within(v[e.Split:], e.TailFrom, e.TailTo)
}

// oneOf looks values up in a set when that begins to pay: a search within one record
// asks once or twice.
func (c *match) oneOf(values []string, v []byte) bool {
	if c.asked++; c.set == nil && (c.asked <= 8 || len(values) <= 4) {
		for _, s := range values {
			if s == string(v) {
				return true
			}
		}
		return false
	}
	if c.set == nil {
		c.set = make(map[string]struct{}, len(values))
		for _, s := range values {
			c.set[s] = struct{}{}
		}
	}
	_, ok := c.set[string(v)]
	return ok
}

func (c all) effort() int    { return total(c) }
func (c some) effort() int   { return total(c) }
func (c not) effort() int    { return c.inner.effort() }
func (c *match) effort() int { return 1 }
func (c *ref) effort() int   { return 100 + effortOf(c.where.expr) }
func (c *back) effort() int  { return 1000 + effortOf(c.where.expr) }

// effortOf is the effort of what is not made ready yet.
func effortOf(e store.Expr) (n int) {
	switch e := e.(type) {
	case nil:
		return 0
	case store.And:
		for _, part := range e {
			n += effortOf(part)
		}
		return n
	case store.Or:
		for _, part := range e {
			n += effortOf(part)
		}
		return n
	case store.Not:
		return effortOf(e.Expr)
	case *store.Standing:
		return effortOf(e.Expr)
	case store.Ref:
		return 100 + effortOf(e.Where)
	case store.Back:
		return 1000 + effortOf(e.Where)
	}
	return 1
}

func total(parts []condition) (n int) {
	for _, part := range parts {
		n += part.effort()
	}
	return n
}

func (c all) row(s *searcher, v *store.Version) (bool, error) {
	for _, part := range c {
		if ok, err := part.row(s, v); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (c all) rows(s *searcher, b *block, among bits) (bits, error) {
	for _, part := range c {
		if among.empty() {
			break
		}
		var err error
		if among, err = part.rows(s, b, among); err != nil {
			return bits{}, err
		}
	}
	return among, nil
}

func (c some) row(s *searcher, v *store.Version) (bool, error) {
	for _, part := range c {
		if ok, err := part.row(s, v); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func (c some) rows(s *searcher, b *block, among bits) (bits, error) {
	var found bits
	for _, part := range c {
		if among.empty() {
			break
		}
		hit, err := part.rows(s, b, among)
		if err != nil {
			return bits{}, err
		}
		found, among = found.with(hit), among.without(hit)
	}
	return found, nil
}

func (c not) row(s *searcher, v *store.Version) (bool, error) {
	ok, err := c.inner.row(s, v)
	return !ok && err == nil, err
}

func (c not) rows(s *searcher, b *block, among bits) (bits, error) {
	hit, err := c.inner.rows(s, b, among)
	if err != nil {
		return bits{}, err
	}
	return among.without(hit), nil
}

func (c *match) row(_ *searcher, v *store.Version) (bool, error) {
	if c.name == store.ID {
		return c.test([]byte(v.ID)), nil
	}
	for value := range v.Terms.Values(c.name) {
		if c.test(value) {
			return true, nil
		}
	}
	return false, nil
}

func (c *match) rows(_ *searcher, b *block, among bits) (found bits, _ error) {
	if c.name == store.ID {
		for i, id := range b.ids {
			if among.has(i) && c.test([]byte(id)) {
				found.set(i)
			}
		}
		return found, nil
	}
	var last cell
	known, held := false, false
	for _, cell := range b.column(c.name) {
		if !among.has(int(cell.row)) {
			continue
		}
		if !known || cell.start != last.start || cell.end != last.end {
			known, held, last = true, c.test(b.value(cell)), cell
		}
		if held {
			found.set(int(cell.row))
		}
	}
	return found, nil
}
