package engine

import (
	"crypto/rand"
	"encoding/hex"
	"errors"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// put stores a version behind the newest, tells the hook, and gives the result.
func (tx *Tx) put(before, after *store.Version) (*fhir.Resource, error) {
	if after.Terms == nil {
		return nil, fhir.ElementErrorf(fhir.Unprocessable, after.Type, "The resource cannot be indexed by the search parameters of its type.")
	}
	if err := tx.checkSameName(after); err != nil {
		return nil, err
	}
	if err := tx.Writer().PutResource(after); err != nil {
		return nil, err
	}
	if hook := tx.engine.onWrite; hook != nil {
		if err := hook(tx, before, after); err != nil {
			return nil, err
		}
	}
	return resource(after), nil
}

// newest gives the newest version of a key, or nil.
func (tx *Tx) newest(key fhir.Key) (*store.Version, error) {
	v, err := tx.reader.Resource(storeKey(key))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return v, err
}

// AnyVersion as the version of an If-Match stands for *: there must be a resource,
// of whatever version; one that is deleted is none (RFC 9110 section 13.1.1).
const AnyVersion int64 = -1

// Matches compares an If-Match with the newest version; nil asks for nothing, and
// version 0 is that of what does not exist
// (https://hl7.org/fhir/R4/http.html#concurrency).
func Matches(match *int64, version int64, deleted bool) error {
	switch {
	case match == nil || *match == version:
		return nil
	case *match != AnyVersion:
		return fhir.Errorf(fhir.Precondition, "The resource has another version than the one named in If-Match.")
	case version == 0 || deleted:
		return fhir.Errorf(fhir.Precondition, "There is no such resource, and If-Match wants one.")
	}
	return nil
}

// checkMatch compares an If-Match with what is stored.
func checkMatch(v *store.Version, match *int64) error {
	if v == nil {
		return Matches(match, 0, false)
	}
	return Matches(match, v.Version, v.Deleted)
}

func number(v *store.Version) int64 {
	if v == nil {
		return 0
	}
	return v.Version
}

// NewID makes an id for a resource: a random UUID (version 4).
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: the program ends instead
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	text := hex.EncodeToString(b[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}
