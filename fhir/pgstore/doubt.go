package pgstore

import "mypatients/fhir/store"

// A condition on other resources is made ready by the server for each statement, also
// when no row asks for it. "Not shared, or nobody denies it" is true of nearly all rows
// for its first half, which says what is not. So a page is first looked for without such
// conditions, which finds no less, and is told of each row whether the first halves hold.
// When they do for all, the page is the right one; else it is looked for with everything.

// easier gives a condition that holds whenever e does, and what holds for rows of which
// it does not say whether e does; nil if it always does.
func easier(e store.Expr) (easy store.And, doubt store.Or) {
	for _, part := range store.Parts(e) {
		either, _ := part.(store.Or)
		var plain store.Or
		for _, one := range either {
			if not, ok := one.(store.Not); ok && !joins(not) {
				plain = append(plain, one)
			}
		}
		if plain != nil && anyJoins(either) {
			doubt = append(doubt, store.Not{Expr: plain})
		} else {
			easy = append(easy, part)
		}
	}
	return easy, doubt
}

// joins tells whether a condition is about other resources.
func joins(e store.Expr) bool {
	switch e := e.(type) {
	case store.And:
		return anyJoins(e)
	case store.Or:
		return anyJoins(e)
	case store.Not:
		return joins(e.Expr)
	case store.Ref, store.Back:
		return true
	}
	return false
}

func anyJoins(list []store.Expr) bool {
	for _, e := range list {
		if joins(e) {
			return true
		}
	}
	return false
}
