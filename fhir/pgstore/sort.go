package pgstore

import (
	"errors"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"mypatients/fhir/store"
)

// keyName names the column of the i-th sort.
func keyName(i int) string { return "k" + strconv.Itoa(i) }

// key is what a row a is sorted by: an element, which sorts as its value does, or
// the id, or NULL.
func (b *builder) key(a string, s store.Sort) string {
	if s.Name == store.ID {
		return a + `.id`
	}
	all := stretchOf(s.Name, "", "")
	from, to := b.width(a, all.from), b.width(a, all.to)
	at := from + ` + 1`
	if s.Descending {
		at = to
	}
	return `CASE WHEN ` + to + ` > ` + from + ` THEN ` + a + `.terms[` + at + `] END`
}

// keys are the columns of all sorts.
func (q *query) keys(b *builder, a string) (text string) {
	for i, s := range q.sorts {
		text += `, ` + b.key(a, s) + ` AS ` + keyName(i)
	}
	return text
}

// order is the order asked for, by the columns of a page. NULLs come last.
func (q *query) order(prefix string) string {
	var words []string
	for i, s := range q.sorts {
		word := prefix + keyName(i)
		if s.Descending {
			word += ` DESC NULLS LAST`
		}
		words = append(words, word)
	}
	return strings.Join(append(words, prefix+`id`), `, `)
}

// behind limits rows a to those behind the place where the page begins.
func (q *query) behind(b *builder, id, a string) string {
	if q.after == nil {
		return ``
	}
	text := id + ` > ` + b.bytes(q.after.ID)
	for i := len(q.sorts) - 1; i >= 0; i-- {
		s, value := q.sorts[i], q.after.Values[i]
		if value == nil { // nothing comes behind but what has no value either
			text = `(` + b.key(a, s) + ` IS NULL AND ` + text + `)`
			continue
		}
		at := *value
		if s.Name != store.ID {
			at = string(element(s.Name, *value))
		}
		at = b.bytes(at)
		word := ` > `
		if s.Descending {
			word = ` < `
		}
		key := b.key(a, s)
		text = `(CASE WHEN (` + key + `) IS NULL THEN true WHEN (` + key + `) = ` + at + ` THEN ` + text + ` ELSE (` + key + `)` + word + at + ` END)`
	}
	return ` AND ` + text
}

// errUnordered says that the index of a sort cannot be walked: of long values it has
// the heads alone.
var errUnordered = errors.New("pgstore: the index does not have all of each value")

// walkSort finds the page by walking the index of the first sort; last come the
// resources that have no value for it. When nobody has asked yet whether that index can
// be walked, it is asked with the page, as it mostly can.
func (q *query) walkSort(d driver) ([]store.Hit, error) {
	var list []store.Hit
	whole := true
	if q.after == nil || q.after.Values[0] != nil {
		var also []statement
		if d.unsure {
			also = append(also, q.asksWhole(&whole))
		}
		var err error
		list, err = q.hits(q.withValue, also...)
		if !whole && err == nil {
			q.store.long.Found(q.heads(), 1)
			err = errUnordered
		}
		if err != nil || q.failed || len(list) == q.limit {
			return list, err
		}
	}
	rest := *q
	rest.limit -= len(list)
	if rest.after != nil && rest.after.Values[0] != nil {
		rest.after = nil // all that have none are behind it
	}
	more, err := rest.hits(rest.withoutValue)
	q.failed = q.failed || rest.failed
	return append(list, more...), err
}

// allWhole tells whether all values of the first sort stand whole in the index.
func (q *query) allWhole(b *builder) string {
	return `NOT EXISTS (SELECT 1 FROM term t WHERE t.type = ` + b.bytes(q.typ) + ` AND t.name = ` + b.bytes(q.sorts[0].Name) + ` AND t.rest <> ''::bytea OFFSET 0)`
}

func (q *query) asksWhole(whole *bool) statement {
	b := build("l", q.typ)
	b.write(`SELECT `, q.allWhole(b))
	return statement{b.String(), b.args, func(rows pgx.Rows) error {
		for rows.Next() {
			if err := rows.Scan(whole); err != nil {
				return errCorrupt
			}
		}
		return nil
	}}
}

// heads names what is remembered of a sort whose index was found not to be whole.
func (q *query) heads() string { return "heads\x00" + q.typ + "\x00" + q.sorts[0].Name }

// withValue gives the page of those that have a value for the first sort. A
// resource with several is met several times, and counts where it is sorted.
func (q *query) withValue(b *builder) (string, error) {
	s := q.sorts[0]
	name := b.bytes(s.Name)
	where, err := b.condition(q.where, "l")
	if err != nil {
		return "", err
	}
	entries := `term t WHERE t.type = ` + b.bytes(q.typ) + ` AND t.name = ` + name
	direction, word := ``, ` >= `
	if s.Descending {
		direction, word = ` DESC`, ` <= `
	}
	if q.after != nil {
		entries += ` AND t.value` + word + b.bytes(*q.after.Values[0])
	}
	// Entries are put into their order before they are judged: of a thousand with one
	// value, backwards, only those that come first are.
	text := `SELECT t.id` + q.keys(b, "l") + ` FROM (SELECT t.id, t.value FROM ` + entries + ` ORDER BY t.value` + direction + `, t.id OFFSET 0) t, ` +
		b.judged(q.typ, `t.id`, "l") + ` WHERE (` + name + ` || '\x00'::bytea || t.value || '\x00'::bytea) = ` + b.key("l", s) + ` AND ` + where + q.behind(b, "t.id", "l") + ` ORDER BY t.value` + direction
	for i, other := range q.sorts[1:] {
		text += `, ` + keyName(i+1)
		if other.Descending {
			text += ` DESC NULLS LAST`
		}
	}
	return text + `, t.id LIMIT ` + b.arg(q.limit), nil
}

// withoutValue gives the page of those that have none.
func (q *query) withoutValue(b *builder) (string, error) {
	where, err := b.condition(q.where, "l")
	if err != nil {
		return "", err
	}
	text := `SELECT l.id` + q.keys(b, "l") + ` FROM live l WHERE l.type = ` + b.bytes(q.typ) + ` AND l.first AND NOT ` +
		b.any("l", stretchOf(q.sorts[0].Name, "", "")) + ` AND ` + where
	text += q.behind(b, "l.id", "l") + ` ORDER BY `
	for i, other := range q.sorts[1:] {
		text += keyName(i + 1)
		if other.Descending {
			text += ` DESC NULLS LAST`
		}
		text += `, `
	}
	return text + `l.id LIMIT ` + b.arg(q.limit), nil
}
