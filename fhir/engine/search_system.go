package engine

import (
	"strconv"
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// SearchSystem gives a page of the resources of several types that match and may
// be seen (https://hl7.org/fhir/R4/http.html#search). The queries are those of
// [search.Registry.ParseSystem], one for each type. Without _sort the types come
// one after the other, in their order, each by id; with _sort all types make one
// order, in which equals come by type, then by id. Everything else is as in
// [Tx.Search]: totals are sums, includes begin at every match.
func (tx *Tx) SearchSystem(queries []*search.Query, sight Sight) (*fhir.Page, error) {
	if len(queries) == 0 {
		return nil, fhir.ElementErrorf(fhir.Invalid, "http._type", "A search needs a type.")
	}
	q := queries[0]
	subset := fhir.Subset{Summary: q.Summary, Elements: q.Elements}
	if err := subset.Check(); err != nil {
		return nil, err
	}
	s := &systemSearch{tx: tx, queries: queries, plans: map[int]store.Query{}, sight: sight.closed(), count: q.Count}
	if err := s.begin(q); err != nil {
		return nil, err
	}
	page := &fhir.Page{Applied: q.Applied.Encode(), Subset: subset}
	rows, err := s.rows()
	if err != nil {
		return nil, err
	}
	more := len(rows) > q.Count
	if more {
		rows = rows[:q.Count]
		if last := q.Count - 1; last >= 0 {
			page.Next = withCursor(page.Applied, strconv.Itoa(rows[last].at)+"."+rows[last].Position)
		}
	}
	matches := make([]*store.Version, len(rows))
	for i, row := range rows {
		matches[i] = row.Version
	}
	if err := tx.fill(page, q, matches, more, s.total, s.sight); err != nil {
		return nil, err
	}
	return page, nil
}

// A systemSearch is a search of several types at work.
type systemSearch struct {
	tx      *Tx
	queries []*search.Query
	plans   map[int]store.Query // made so far
	sight   Sight
	count   int
	sort    []store.Sort
	from    int    // the type, by its place in queries, that the page before ended in
	after   string // the position of its last row; empty: from the first
}

// A systemRow is a match, with the place of its type in the queries.
type systemRow struct {
	store.Hit
	at    int
	place store.Place
}

// Ids that come before and after all others.
const beforeIDs, afterIDs = "", "\x7f"

// begin settles the order and reads the cursor.
func (s *systemSearch) begin(q *search.Query) error {
	first, err := s.tx.Plan(q, s.sight)
	if err != nil {
		return err
	}
	s.sort = first.Sort
	if len(s.sort) == 0 && strings.HasPrefix(q.Applied.Get("_sort"), store.ID) {
		s.sort = []store.Sort{{Name: store.ID}} // by id, whatever the type
	}
	if q.Cursor == "" {
		return nil
	}
	bad := fhir.ElementErrorf(fhir.Invalid, "http._cursor", "This is not a place in the result of this search.")
	at, position, _ := strings.Cut(q.Cursor, ".")
	if s.from, err = strconv.Atoi(at); err != nil || s.from < 0 || s.from >= len(s.queries) {
		return bad
	}
	s.after = position
	if _, err := store.ParsePosition(position, len(s.sort)); err != nil {
		return bad
	}
	return nil
}

// plan gives what to ask the store for one type.
func (s *systemSearch) plan(at int) (store.Query, error) {
	if plan, ok := s.plans[at]; ok {
		return plan, nil
	}
	plan, err := s.tx.Plan(s.queries[at], s.sight)
	plan.Sort = s.sort
	s.plans[at] = plan
	return plan, err
}

// rows gives one row more than a page holds, if there is one.
func (s *systemSearch) rows() ([]systemRow, error) {
	if s.count == 0 {
		return nil, nil
	}
	if len(s.sort) > 0 {
		return s.merged()
	}
	var rows []systemRow
	for at := s.from; at < len(s.queries) && len(rows) <= s.count; at++ {
		plan, err := s.plan(at)
		if err != nil {
			return nil, err
		}
		plan.Limit = s.count + 1 - len(rows)
		if at == s.from {
			plan.After = s.after
		}
		hits, err := s.tx.reader.Search(plan)
		if err != nil {
			return nil, err
		}
		for _, h := range hits {
			rows = append(rows, systemRow{Hit: h, at: at})
		}
	}
	return rows, nil
}

// merged takes the smallest row of all types, one by one.
func (s *systemSearch) merged() ([]systemRow, error) {
	batch := max(4, 2*(s.count+1)/len(s.queries))
	batch = min(batch, s.count+1)
	var streams []*systemStream
	for at := range s.queries {
		plan, err := s.plan(at)
		if err != nil {
			return nil, err
		}
		stream := &systemStream{at: at, plan: plan}
		stream.plan.Limit = batch
		if s.after != "" {
			place, err := store.ParsePosition(s.after, len(s.sort))
			if err != nil {
				return nil, err
			}
			switch { // equals come by type
			case at < s.from:
				place.ID = afterIDs
			case at > s.from:
				place.ID = beforeIDs
			}
			stream.plan.After = place.Position()
		}
		if err := stream.fill(s.tx); err != nil {
			return nil, err
		}
		streams = append(streams, stream)
	}
	var rows []systemRow
	for len(rows) <= s.count {
		var least *systemStream
		for _, stream := range streams {
			if len(stream.rows) > 0 && (least == nil || s.compare(stream.rows[0].place, least.rows[0].place) < 0) {
				least = stream
			}
		}
		if least == nil {
			break
		}
		rows = append(rows, least.rows[0])
		if least.rows = least.rows[1:]; len(least.rows) == 0 {
			if err := least.fill(s.tx); err != nil {
				return nil, err
			}
		}
	}
	return rows, nil
}

// A systemStream gives the rows of one type, some at a time.
type systemStream struct {
	at   int
	plan store.Query
	rows []systemRow
	done bool
}

func (t *systemStream) fill(tx *Tx) error {
	if t.done {
		return nil
	}
	hits, err := tx.reader.Search(t.plan)
	if err != nil {
		return err
	}
	t.done = len(hits) < t.plan.Limit
	for _, h := range hits {
		place, err := store.ParsePosition(h.Position, len(t.plan.Sort))
		if err != nil {
			return err
		}
		t.rows = append(t.rows, systemRow{h, t.at, place})
		t.plan.After = h.Position
	}
	return nil
}

// compare orders rows of different types as the sort asks; what is without a
// value comes last.
func (s *systemSearch) compare(a, b store.Place) int {
	for i, sort := range s.sort {
		x, y := a.Values[i], b.Values[i]
		c := 0
		switch {
		case x == nil && y == nil:
		case x == nil:
			return 1
		case y == nil:
			return -1
		default:
			c = strings.Compare(*x, *y)
		}
		if sort.Descending {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

func (s *systemSearch) total() (int, error) {
	total := 0
	for at := range s.queries {
		plan, err := s.plan(at)
		if err != nil {
			return 0, err
		}
		n, err := s.tx.reader.Count(plan)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}
