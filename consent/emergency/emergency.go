// Package emergency keeps the record of emergency accesses ("break-glass"): who
// opened whose record without a basis, why, until when, and what the privacy
// officers made of it. It keeps records on a store and decides nothing: who may
// begin one, and what it opens, is for package consent to say.
//
// A session is bound to the grant with which it was begun, that is to one session
// of the portal or one authorization of one app, and to one patient. It is not
// bound to the person: whoever breaks the glass sits before a screen and says why,
// while other apps that hold tokens of theirs may be fetching all they can get in
// the background. Signing out ends the grant, so nothing of an emergency is left to
// who signs in next, even when the session was not ended.
package emergency

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"mypatients/fhir/store"
)

// A Policy is what a site decides about emergency access. The zero value allows
// none.
type Policy struct {
	Enabled     bool
	Length      time.Duration // of a session
	SignedIn    time.Duration // how long ago the sign-in may be of those on whom no rule for a step-up lies
	Ceiling     string        // the highest confidentiality it opens: a code of v3-Confidentiality
	Never       []string      // sensitivities of v3-ActCode that stay shut whatever happens, with all that they comprise
	Roles       []string      // codes of PractitionerRole.code or specialty, one of which the provider must hold; none: any provider whom the site has checked
	OptOutsHold bool          // a deny for everybody holds in an emergency too; one that names the provider always does
	PerHour     int           // sessions that a login may begin in an hour
}

// Default is a policy with the defaults of a site, still switched off.
func Default() Policy {
	return Policy{Length: time.Hour, SignedIn: 15 * time.Minute, Ceiling: "R", PerHour: 5}
}

// How a session ended that ended before its time.
const (
	ByProvider = "provider" // who began it
	BySignOut  = "sign-out"
	ByOfficer  = "officer" // an administrator
)

// A Session is one emergency access. It is kept for good.
type Session struct {
	ID      string    `json:"id"` // newest first
	Login   string    `json:"login"`
	Name    string    `json:"name,omitempty"` // of the login
	Person  string    `json:"person"`         // "Practitioner/1"
	Grant   string    `json:"grant"`          // with which it was begun; the only one that it serves
	Client  string    `json:"client,omitempty"`
	Patient string    `json:"patient"` // "Patient/1"
	Reason  string    `json:"reason"`
	Record  string    `json:"record"` // the Consent that tells the family of it
	Began   time.Time `json:"began"`
	Ends    time.Time `json:"ends"`
	Ended   time.Time `json:"ended,omitzero"` // before its time
	EndedBy string    `json:"endedBy,omitempty"`
	Review  *Review   `json:"review,omitempty"`
}

// A Review is a privacy officer's judgement of a session.
type Review struct {
	Justified bool      `json:"justified"`
	Comment   string    `json:"comment"`
	Login     string    `json:"login"`
	Name      string    `json:"name,omitempty"`
	When      time.Time `json:"when"`
}

// Over reports whether a session opens nothing any more: it ends on its last
// moment, not after it.
func (s *Session) Over(now time.Time) bool { return !s.Ended.IsZero() || !now.Before(s.Ends) }

// Kinds of records: sessions by id, and the ids by grant and patient, by patient,
// and of those that wait for review.
const (
	recordSession = "emergency"
	recordOf      = "emergency-of"
	recordOn      = "emergency-on"
	recordOpen    = "emergency-open"
)

// The errors of moves that come too late.
var (
	ErrOver     = errors.New("emergency: the session is over")
	ErrReviewed = errors.New("emergency: the session was reviewed")
)

// Begin records a new session and gives it its id.
func Begin(w store.Writer, s *Session) error {
	var r [6]byte
	rand.Read(r[:]) // never fails
	s.ID = fmt.Sprintf("%016x%s", uint64(math.MaxInt64-s.Began.UnixNano()), hex.EncodeToString(r[:]))
	for _, rec := range []*store.Record{
		{Kind: recordOf, Key: s.Grant + " " + s.Patient, Value: []byte(s.ID), Expires: s.Ends},
		{Kind: recordOn, Key: s.Patient + " " + s.ID},
		{Kind: recordOpen, Key: s.ID},
	} {
		if err := w.PutRecord(rec); err != nil {
			return err
		}
	}
	return put(w, s)
}

func put(w store.Writer, s *Session) error {
	return store.PutJSON(w, recordSession, s.ID, s, time.Time{})
}

// Get gives a session, or store.ErrNotFound.
func Get(r store.Reader, id string) (*Session, error) {
	s := new(Session)
	return s, store.GetJSON(r, recordSession, id, s)
}

// maxOf is how many sessions of one grant are looked at.
const maxOf = 100

// Of lists the last session of a grant on each patient.
func Of(r store.Reader, grant string) ([]*Session, error) {
	found, err := r.Records(recordOf, grant+" ", "", maxOf)
	if err != nil {
		return nil, err
	}
	return load(r, found, func(rec *store.Record) string { return string(rec.Value) })
}

// On lists the sessions on a patient, newest first, at most limit.
func On(r store.Reader, patient string, limit int) ([]*Session, error) {
	found, err := r.Records(recordOn, patient+" ", "", limit)
	if err != nil {
		return nil, err
	}
	return load(r, found, func(rec *store.Record) string { return strings.TrimPrefix(rec.Key, patient+" ") })
}

// Unreviewed lists the sessions that nobody has reviewed, newest first, at most
// limit, after an id.
func Unreviewed(r store.Reader, after string, limit int) ([]*Session, error) {
	return list(r, recordOpen, after, limit)
}

// All lists all sessions, newest first, at most limit, after an id.
func All(r store.Reader, after string, limit int) ([]*Session, error) {
	return list(r, recordSession, after, limit)
}

func list(r store.Reader, kind, after string, limit int) ([]*Session, error) {
	found, err := r.Records(kind, "", after, limit)
	if err != nil {
		return nil, err
	}
	return load(r, found, func(rec *store.Record) string { return rec.Key })
}

func load(r store.Reader, found []*store.Record, id func(*store.Record) string) ([]*Session, error) {
	var all []*Session
	for _, rec := range found {
		s, err := Get(r, id(rec))
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// End ends a session before its time; ErrOver when it has ended.
func End(w store.Writer, s *Session, now time.Time, by string) error {
	if s.Over(now) {
		return ErrOver
	}
	s.Ended, s.EndedBy = now, by
	return put(w, s)
}

// Judge records a review; ErrReviewed when there is one.
func Judge(w store.Writer, s *Session, v Review) error {
	if s.Review != nil {
		return ErrReviewed
	}
	s.Review = &v
	if err := w.DeleteRecord(recordOpen, s.ID); err != nil {
		return err
	}
	return put(w, s)
}
