package search

import (
	"net/url"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// Options tell [Registry.Parse] how to read a query.
type Options struct {
	Lenient      bool      // leave out unknown parameters instead of refusing (Prefer: handling=lenient)
	Base         string    // the FHIR base URL without trailing slash; absolute references to it count as local
	MaxCount     int       // the most rows of a page; 0: 1000
	DefaultCount int       // the rows of a page when _count is not given; 0: 50
	MaxJoins     int       // the most joins of chains and _has, over all parameters and the types they may lead to; 0: 100
	Now          time.Time // for the prefix ap on dates; zero: ap means "overlaps"
}

// A Query is a search of one type, read and checked.
type Query struct {
	Type     fhir.Type
	Count    int        // rows of a page; 0 when only the total is asked for (_count=0, _summary=count)
	Total    string     // _total: "none", "estimate", "accurate"; empty when not given
	Summary  string     // _summary: "true", "text", "data", "count", "false"; empty when not given
	Elements []string   // _elements
	Cursor   string     // _cursor as it came: where the caller's page begins
	Applied  url.Values // exactly what was applied, for the self link, without _cursor

	registry *Registry
	where    []condition
	sort     []store.Sort
	owners   []string
	limited  bool
	includes []Include
	joins    bool
	joined   int // joins and values, as the limits of one query count them
	values   int
}

// Plan makes the query for the store: what was asked for, of what may be seen.
// sight is asked for the searched type and for every type that a chain or _has
// joins. Limit is Count, After is left for the caller to set.
//
// Conditions that need a look into other resources (_list, :in, :above …) hold for
// nothing: those who may look use [Query.PlanWith].
func (q *Query) Plan(sight func(fhir.Type) store.Expr) store.Query {
	return q.plan(&planning{registry: q.registry, sight: sight})
}

// PlanWith is [Query.Plan] for those who can look things up. Its error is that of
// a look-up, or a [fhir.Error] of kind Invalid that names the parameters for which
// something is missing.
func (q *Query) PlanWith(sight func(fhir.Type) store.Expr, sources Sources) (store.Query, error) {
	p := &planning{registry: q.registry, sight: sight, sources: sources}
	plan := q.plan(p)
	if p.err == nil {
		p.err = refuse(p.issues)
	}
	return plan, p.err
}

func (q *Query) plan(p *planning) store.Query {
	where := store.And{}
	if q.limited {
		where = append(where, equalAny(store.Owner, q.owners))
	}
	for _, c := range q.where {
		where = append(where, c(p))
	}
	where = append(where, p.sight(q.Type))
	return store.Query{Type: string(q.Type), Where: where, Sort: q.sort, Limit: q.Count}
}

// Joins reports whether the answer depends on resources other than those that are
// searched for: by chains, _has, includes, lists, value sets or hierarchies.
func (q *Query) Joins() bool { return q.joins || len(q.includes) > 0 }

// Cost tells how many joins and how many values a query has, of the 100 and the 2000 that
// one may have: for those who run several as one.
func (q *Query) Cost() (joins, values int) { return q.joined, q.values }

// Owners lists the patients ("Patient/1") whose records the query is limited to
// by its own conditions: patient=1, subject=Patient/1, Patient?_id=1. It is nil
// when the query is not limited so.
func (q *Query) Owners() []string {
	if !q.limited {
		return nil
	}
	return q.owners
}

// Includes lists what _include and _revinclude ask for, in their order.
func (q *Query) Includes() []Include { return q.includes }

// equalAny is Equal for one value, In for several.
func equalAny(name string, values []string) store.Expr {
	if len(values) == 1 {
		return store.Equal{Name: name, Value: values[0]}
	}
	return store.In{Name: name, Values: values}
}
