package store

// A Query asks for live resources of one type. The answer is found by walking
// indexes in the order asked for and ends after Limit rows; the condition is
// part of the walk, so no row is fetched only to be dropped by the caller.
type Query struct {
	Type  string
	Where Expr   // nil: all
	Sort  []Sort // empty: by id, ascending; ties are always broken by id, ascending
	After string // Position of the last row of the page before; empty: from the first
	Limit int    // more than 0, for Search
}

// A Sort orders by the values under a name: the smallest value of a resource
// when ascending, the largest when descending. Resources without one come last.
type Sort struct {
	Name       string
	Descending bool
}

// Two names are known to the engines.
const (
	// Owner names the keys ("Patient/1") of those whose record a resource belongs
	// to. Engines cluster rows by it: a search with an Equal or In on Owner costs
	// what the owners hold, whatever the store holds.
	Owner = "_owner"
	// ID names the resource's own id, in conditions and sorts. It is never among
	// the Terms.
	ID = "_id"
)

// An Expr is a condition on one resource, over its terms.
type Expr interface{ expr() }

// The conditions. A resource with several values under a name matches a leaf
// when one of the values does.
type (
	// And matches when all do; an empty And matches everything.
	And []Expr
	// Or matches when one does; an empty Or matches nothing.
	Or []Expr
	// Not matches when the inner condition does not.
	Not struct{ Expr Expr }

	// Equal matches a value.
	Equal struct{ Name, Value string }
	// In matches any of several values, however many.
	In struct {
		Name   string
		Values []string
	}
	// Prefix matches values that begin with Prefix.
	Prefix struct{ Name, Prefix string }
	// Contains matches values that hold Part anywhere.
	Contains struct{ Name, Part string }
	// Range matches From <= value < To; an empty To has no upper bound.
	Range struct{ Name, From, To string }
	// Span matches values that are two strings joined, the first of Split bytes:
	// head and tail must each lie in their range, as in Range.
	Span struct {
		Name             string
		Split            int
		HeadFrom, HeadTo string
		TailFrom, TailTo string
	}
	// Exists matches when there is any value.
	Exists struct{ Name string }

	// Ref matches when a value is the key of a live resource of Type for which
	// Where holds (nil: any).
	Ref struct {
		Name  string
		Type  string
		Where Expr
	}
	// Back matches when a live resource of Type, for which Where holds, has this
	// resource's key as a value under Name.
	Back struct {
		Type  string
		Name  string
		Where Expr
	}

	// Standing matches when the inner condition does, which must not change. It says
	// that many searches ask this, as the same pointer, and that it holds for nearly all
	// that they meet. An engine may remember by the pointer what it found of rows, and
	// look for a page without the condition first, if it then judges that by it.
	Standing struct{ Expr Expr }
)

func (And) expr()       {}
func (Or) expr()        {}
func (Not) expr()       {}
func (Equal) expr()     {}
func (In) expr()        {}
func (Prefix) expr()    {}
func (Contains) expr()  {}
func (Range) expr()     {}
func (Span) expr()      {}
func (Exists) expr()    {}
func (Ref) expr()       {}
func (Back) expr()      {}
func (*Standing) expr() {}

// All matches everything, None nothing.
func All() Expr  { return And{} }
func None() Expr { return Or{} }
