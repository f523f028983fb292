package pgstore

import (
	"fmt"
	"strconv"

	"mypatients/fhir/store"
)

// Conditions become SQL over one row a of live: its id and its elements, which
// are sorted, so that most conditions are two binary searches in them. None is
// ever NULL. Subqueries end with OFFSET 0, which keeps the planner from turning
// them into joins: each looks at a few rows that the row at hand leads to.

// width counts the elements below a place.
func (b *builder) width(a string, s []byte) string {
	return `width_bucket(` + b.arg(s) + `::bytea, ` + a + `.terms)`
}

// slice is the part of the elements from one place to another.
func (b *builder) slice(a string, from, to []byte) string {
	return a + `.terms[` + b.width(a, from) + ` + 1 : ` + b.width(a, to) + `]`
}

// A stretch is where the elements of a name lie with values from <= value < to.
type stretch struct{ from, to []byte }

func stretchOf(name, from, to string) stretch {
	s := stretch{from: append([]byte(name), 0)}
	if to == "" {
		s.to = append([]byte(name), 1)
	} else {
		s.to = append(append([]byte(name), 0), to...)
	}
	s.from = append(s.from, from...)
	return s
}

func prefixOf(name, prefix string) stretch {
	from := append(append([]byte(name), 0), prefix...)
	return stretch{from, store.Beyond(from)}
}

// any tells whether there is an element in a stretch.
func (b *builder) any(a string, s stretch) string {
	return `coalesce(` + a + `.terms[` + b.width(a, s.from) + ` + 1] < ` + b.arg(s.to) + `::bytea, false)`
}

// condition gives the SQL of an expression over a row a.
func (b *builder) condition(e store.Expr, a string) (string, error) {
	switch e := e.(type) {
	case nil:
		return `true`, nil
	case store.And:
		return b.several(e, a, ` AND `, `true`)
	case store.Or:
		return b.several(e, a, ` OR `, `false`)
	case store.Not:
		inner, err := b.condition(e.Expr, a)
		return `NOT ` + inner, err
	case *store.Standing:
		return b.condition(e.Expr, a)
	case store.Ref:
		return b.ref(e, a)
	case store.Back:
		return b.back(e, a)
	case store.Equal:
		if e.Name == store.ID {
			return `(` + a + `.id = ` + b.bytes(e.Value) + `)`, nil
		}
		return `(` + b.arg(element(e.Name, e.Value)) + `::bytea = ANY(` + a + `.terms))`, nil
	case store.In:
		return b.in(e, a), nil
	case store.Exists:
		if e.Name == store.ID {
			return `true`, nil
		}
		return b.any(a, stretchOf(e.Name, "", "")), nil
	case store.Prefix:
		if e.Name == store.ID {
			return b.between(a+`.id`, e.Prefix, string(store.Beyond([]byte(e.Prefix)))), nil
		}
		return b.any(a, prefixOf(e.Name, e.Prefix)), nil
	case store.Range:
		if e.Name == store.ID {
			return b.between(a+`.id`, e.From, e.To), nil
		}
		return b.any(a, stretchOf(e.Name, e.From, e.To)), nil
	case store.Contains:
		return b.each(a, e.Name, stretchOf(e.Name, "", ""), func(value string) string {
			return `position(` + b.bytes(e.Part) + ` IN ` + value + `) > 0`
		}), nil
	case store.Span:
		return b.span(e, a), nil
	}
	return "", fmt.Errorf("pgstore: no such condition: %T", e)
}

func (b *builder) several(list []store.Expr, a, word, none string) (string, error) {
	if len(list) == 0 {
		return none, nil
	}
	text := `(`
	for i, part := range list {
		one, err := b.condition(part, a)
		if err != nil {
			return "", err
		}
		if i > 0 {
			text += word
		}
		text += one
	}
	return text + `)`, nil
}

// between tells whether a string lies in a range; an empty to has no end.
func (b *builder) between(what, from, to string) string {
	text := `(` + what + ` >= ` + b.bytes(from)
	if to != "" {
		text += ` AND ` + what + ` < ` + b.bytes(to)
	}
	return text + `)`
}

// fewValues are compared one by one with each element.
const fewValues = 8

func (b *builder) in(e store.In, a string) string {
	values := make([][]byte, len(e.Values))
	for i, v := range e.Values {
		if values[i] = []byte(v); e.Name != store.ID {
			values[i] = element(e.Name, v)
		}
	}
	if len(values) == 0 {
		return `false`
	}
	list := b.list(values)
	switch {
	case e.Name == store.ID:
		return `((` + a + `.id IN (SELECT unnest(` + list + `))) IS TRUE)`
	case len(values) <= fewValues:
		return `(` + a + `.terms && ` + list + `)`
	}
	// "IS TRUE" keeps this a look-up in a table that is made once.
	v, s := b.alias(), stretchOf(e.Name, "", "")
	return `EXISTS (SELECT 1 FROM unnest(` + b.slice(a, s.from, s.to) + `) AS ` + v + `(e) WHERE (` + v + `.e IN (SELECT unnest(` + list + `))) IS TRUE OFFSET 0)`
}

// each tells whether a test holds for a value in a stretch of a name.
func (b *builder) each(a, name string, s stretch, test func(value string) string) string {
	if name == store.ID {
		return `(` + test(a+`.id`) + `)`
	}
	v := b.alias()
	value := `substring(` + v + `.e FROM ` + strconv.Itoa(len(name)+2) + ` FOR length(` + v + `.e) - ` + strconv.Itoa(len(name)+2) + `)`
	return `(` + b.any(a, s) + ` AND EXISTS (SELECT 1 FROM unnest(` + b.slice(a, s.from, s.to) + `) AS ` + v + `(e) WHERE ` + test(value) + ` OFFSET 0))`
}

func (b *builder) span(e store.Span, a string) string {
	to := e.HeadTo
	if len(to) > e.Split {
		to = "" // a value may be longer than its head and so lie behind
	}
	return b.each(a, e.Name, stretchOf(e.Name, e.HeadFrom, to), func(value string) string {
		split := strconv.Itoa(e.Split)
		head := `substring(` + value + ` FROM 1 FOR ` + split + `)`
		tail := `substring(` + value + ` FROM ` + split + ` + 1)`
		return `CASE WHEN length(` + value + `) >= ` + split + ` THEN ` +
			b.between(head, e.HeadFrom, e.HeadTo) + ` AND ` + b.between(tail, e.TailFrom, e.TailTo) + ` ELSE false END`
	})
}

// judged is a row of live under a new name x, found by its id and judged.
func (b *builder) judged(typ, id, x string) string {
	return `LATERAL (SELECT l.id, l.terms FROM live l WHERE l.type = ` + b.bytes(typ) + ` AND l.id = ` + id + ` AND l.first OFFSET 0) ` + x
}

// ref follows the references under a name to the resources of a type.
func (b *builder) ref(e store.Ref, a string) (string, error) {
	v, x := b.alias(), b.alias()
	b.types[x] = e.Type
	s := prefixOf(e.Name, e.Type+"/")
	id := `substring(` + v + `.e FROM ` + strconv.Itoa(len(s.from)+1) + ` FOR length(` + v + `.e) - ` + strconv.Itoa(len(s.from)+1) + `)`
	text := `(` + b.any(a, s) + ` AND EXISTS (SELECT 1 FROM unnest(` + b.slice(a, s.from, s.to) + `) AS ` + v + `(e), ` + b.judged(e.Type, id, x)
	where, err := b.condition(e.Where, x)
	return text + ` WHERE ` + where + ` OFFSET 0))`, err
}

// back looks for resources of a type that name the row at hand: among those of
// the owners that the condition is limited to, or else by the index.
func (b *builder) back(e store.Back, a string) (string, error) {
	x, t := b.alias(), b.alias()
	key := `(` + b.bytes(b.types[a]+"/") + ` || ` + a + `.id)`
	b.types[x] = e.Type
	owners, limited := store.ValuesOf(e.Where, store.Owner)
	from, link := ``, ``
	switch {
	case e.Name == store.ID:
		from = `live ` + x + ` WHERE ` + x + `.type = ` + b.bytes(e.Type) + ` AND ` + x + `.id = ` + key + ` AND ` + x + `.first`
	case e.Name == store.Owner:
		from = `live ` + x + ` WHERE ` + x + `.owner = ` + key + ` AND ` + x + `.type = ` + b.bytes(e.Type)
	case limited && len(owners) <= fewOwners:
		from = owned(b, e.Type, owners, x) + ` WHERE true`
		link = ` AND (` + b.arg(append([]byte(e.Name), 0)) + `::bytea || ` + key + ` || '\x00'::bytea) = ANY(` + x + `.terms)`
	default:
		from = `term ` + t + `, ` + b.judged(e.Type, t+`.id`, x) + ` WHERE ` + t + `.type = ` + b.bytes(e.Type) + ` AND ` + t + `.name = ` + b.bytes(e.Name) +
			` AND ` + t + `.value = ` + key + ` AND ` + t + `.rest = ''::bytea`
	}
	where, err := b.condition(e.Where, x)
	return `EXISTS (SELECT 1 FROM ` + from + link + ` AND ` + where + ` OFFSET 0)`, err
}

// fewOwners is up to how many owners their rows are looked through for a
// reference.
const fewOwners = 20

func all(list []string) [][]byte {
	out := make([][]byte, len(list))
	for i, s := range list {
		out[i] = []byte(s)
	}
	return out
}
