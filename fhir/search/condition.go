package search

import (
	"time"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// Names of terms that are not search parameters of R4.
const (
	// Clinical names the clinically relevant time of a resource (effective, onset,
	// performed, period, authoredOn, date …), written as a date. Resources that
	// have none, like Patient, have no such term.
	Clinical = "_clinical"
	// LastUpdated names the time of the version, see [StampTerms].
	LastUpdated = "_lastUpdated"
)

// TokenTerm is the condition that a token parameter has a code; in that system,
// or in any when system is empty. For code elements (status, gender), which have
// no system of their own, system must be empty.
func TokenTerm(param, system, code string) store.Equal {
	if system == "" {
		return store.Equal{Name: param, Value: codeForm(code)}
	}
	return store.Equal{Name: param + "|", Value: tokenForm(system, code)}
}

// ReferenceTerm is the condition that a reference parameter names a resource on
// this server.
func ReferenceTerm(param string, key fhir.Key) store.Equal {
	return store.Equal{Name: param, Value: key.String()}
}

// DateOverlaps is the condition that a date parameter, or [Clinical], has a time
// in common with from <= t < to; a zero time leaves that side open.
func DateOverlaps(param string, from, to time.Time) store.Expr {
	s := store.Span{Name: param, Split: instantLen}
	if !to.IsZero() {
		s.HeadTo = instant(to)
	}
	if !from.IsZero() {
		s.TailFrom = after(instant(from))
	}
	return s
}

// DateWithin is the condition that a date parameter, or [Clinical], lies wholly
// in from <= t < to; a zero time leaves that side open.
func DateWithin(param string, from, to time.Time) store.Expr {
	s := store.Span{Name: param, Split: instantLen}
	if !from.IsZero() {
		s.HeadFrom = instant(from)
	}
	if !to.IsZero() {
		s.TailTo = after(instant(to))
	}
	return s
}

// StampTerms are the terms that depend on the key and the version and not on the
// content: [LastUpdated], and that a Patient owns itself. (The id needs no term,
// see [store.ID].) They go with those of [Registry.Index].
func StampTerms(key fhir.Key, updated time.Time) []store.Term {
	start := updated.UTC().Truncate(time.Millisecond)
	terms := []store.Term{{Name: LastUpdated, Value: instant(start) + instant(start.Add(time.Millisecond))}}
	if key.Type == "Patient" {
		terms = append(terms, store.Term{Name: store.Owner, Value: key.String()})
	}
	return terms
}
