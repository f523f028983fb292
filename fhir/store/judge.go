package store

import "slices"

// A Judge judges versions by a condition on their own terms, like [Eval]. Most have
// no term under any of the names that it looks at: that is seen quickly, and what it
// says of all of these was found once.
type Judge struct {
	where Expr
	names []string // ascending; nil: each version is looked at
	none  bool     // what it says of a version with none of the names
}

// NewJudge makes a judge; false when the condition is also on other resources.
func NewJudge(where Expr) (*Judge, bool) {
	j := &Judge{where: where}
	if !j.learn(where) {
		return nil, false
	}
	if slices.Contains(j.names, ID) {
		j.names = nil
		return j, true
	}
	slices.Sort(j.names)
	var err error
	j.none, err = Eval(nil, &Version{}, where)
	return j, err == nil
}

// learn notes the names that a condition looks at.
func (j *Judge) learn(e Expr) bool {
	switch e := e.(type) {
	case nil:
		return true
	case And:
		return j.learnAll(e)
	case Or:
		return j.learnAll(e)
	case Not:
		return j.learn(e.Expr)
	case *Standing:
		return j.learn(e.Expr)
	}
	name, _, err := leaf(e)
	if err == nil && !slices.Contains(j.names, name) {
		j.names = append(j.names, name)
	}
	return err == nil
}

func (j *Judge) learnAll(list []Expr) bool {
	for _, e := range list {
		if !j.learn(e) {
			return false
		}
	}
	return true
}

// Holds tells whether the condition holds for a version.
func (j *Judge) Holds(v *Version) bool {
	if j.names != nil && !v.Terms.hasAny(j.names) {
		return j.none
	}
	ok, err := Eval(nil, v, j.where)
	return ok && err == nil
}

// hasAny tells whether there is a term under one of some names, which ascend.
func (t Terms) hasAny(names []string) bool {
	for rest := []byte(t); len(rest) > 0; {
		var name []byte
		name, rest = cut(rest)
		for string(name) > names[0] {
			if names = names[1:]; len(names) == 0 {
				return false
			}
		}
		if string(name) == names[0] {
			return true
		}
		_, rest = cut(rest)
	}
	return false
}
