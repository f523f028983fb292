// Package sponsor keeps the record of who works for whom: staff of a provider who
// have a login of their own and see what the provider sees, as long as the provider
// vouches for them. It keeps records on a store and decides nothing: what a
// sponsorship opens is for package consent to say.
//
// A sponsorship begins with a code that the provider hands over, holds from when it
// is taken up, and has to be confirmed every so often. When it is not, it sleeps:
// nothing is deleted, and a confirmation wakes it. Once ended it never comes back.
package sponsor

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"mypatients/fhir/store"
)

// A Sponsorship ties a member of staff to a provider.
type Sponsorship struct {
	ID        string    `json:"id"`
	Sponsor   string    `json:"sponsor"` // "Practitioner/1"
	Login     string    `json:"login"`   // of the sponsor; when it stands for them no more, the sponsorship is void
	Name      string    `json:"name"`    // of the member of staff, as the sponsor wrote it
	Email     string    `json:"email"`   // in small letters; only a login with this verified address takes it up
	Person    string    `json:"person,omitempty"`
	Account   string    `json:"account,omitempty"` // of the member of staff, once taken up
	Code      string    `json:"code"`              // keyed hash
	Invited   time.Time `json:"invited"`
	Expires   time.Time `json:"expires"` // of the code
	Confirmed time.Time `json:"confirmed,omitzero"`
	Until     time.Time `json:"until,omitzero"` // when it falls asleep
	Ended     time.Time `json:"ended,omitzero"`
}

// Awake reports whether a sponsorship holds: until its last moment, not on it.
func (s *Sponsorship) Awake(now time.Time) bool {
	return s.Person != "" && s.Ended.IsZero() && now.Before(s.Until)
}

// Kinds of records: sponsorships by id; their ids by sponsor, by person and by
// code; and when sponsors are to be reminded.
const (
	recordSponsorship = "sponsorship"
	recordBy          = "sponsorship-by"
	recordOf          = "sponsorship-of"
	recordCode        = "sponsorship-code"
	recordDue         = "sponsorship-due"
)

// The errors of moves that come too late.
var (
	ErrTaken = errors.New("sponsor: the code was used, or is over")
	ErrEnded = errors.New("sponsor: the sponsorship has ended")
)

// Offer records a new sponsorship that nobody has taken up, and gives it its id.
func Offer(w store.Writer, s *Sponsorship) error {
	s.ID = rand.Text()
	for _, rec := range []*store.Record{
		{Kind: recordBy, Key: s.Sponsor + " " + s.ID},
		{Kind: recordCode, Key: s.Code, Value: []byte(s.ID), Expires: s.Expires},
	} {
		if err := w.PutRecord(rec); err != nil {
			return err
		}
	}
	return put(w, s)
}

func put(w store.Writer, s *Sponsorship) error {
	return store.PutJSON(w, recordSponsorship, s.ID, s, time.Time{})
}

// Get gives a sponsorship, or store.ErrNotFound.
func Get(r store.Reader, id string) (*Sponsorship, error) {
	s := new(Sponsorship)
	return s, store.GetJSON(r, recordSponsorship, id, s)
}

// ByCode gives the sponsorship that a code is for, or store.ErrNotFound.
func ByCode(r store.Reader, code string) (*Sponsorship, error) {
	rec, err := r.Record(recordCode, code)
	if err != nil {
		return nil, err
	}
	return Get(r, string(rec.Value))
}

// By lists the sponsorships of a sponsor, at most limit.
func By(r store.Reader, sponsor string, limit int) ([]*Sponsorship, error) {
	return list(r, recordBy, sponsor, limit)
}

// maxOf is how many sponsorships a member of staff may have had.
const maxOf = 1000

// Of lists the sponsorships of a member of staff, also those that are over.
func Of(r store.Reader, person string) ([]*Sponsorship, error) {
	return list(r, recordOf, person, maxOf)
}

func list(r store.Reader, kind, of string, limit int) ([]*Sponsorship, error) {
	found, err := r.Records(kind, of+" ", "", limit)
	if err != nil {
		return nil, err
	}
	var all []*Sponsorship
	for _, rec := range found {
		s, err := Get(r, strings.TrimPrefix(rec.Key, of+" "))
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// TakeUp gives a sponsorship to a person; ErrTaken when it is theirs or another's
// already, has ended, or came too late.
func TakeUp(w store.Writer, s *Sponsorship, person, account string, now, until, remind time.Time) error {
	if s.Person != "" || !s.Ended.IsZero() || !now.Before(s.Expires) {
		return ErrTaken
	}
	s.Person, s.Account = person, account
	if err := w.PutRecord(&store.Record{Kind: recordOf, Key: person + " " + s.ID}); err != nil {
		return err
	}
	return Confirm(w, s, now, until, remind)
}

// Confirm has a sponsorship hold from now on until another time; its sponsor is due
// to be reminded before. ErrEnded when it has ended.
func Confirm(w store.Writer, s *Sponsorship, now, until, remind time.Time) error {
	if !s.Ended.IsZero() {
		return ErrEnded
	}
	s.Confirmed, s.Until = now, until
	if err := w.PutRecord(&store.Record{Kind: recordDue, Key: dueKey(remind) + " " + s.ID, Value: []byte(until.UTC().Format(time.RFC3339Nano))}); err != nil {
		return err
	}
	return put(w, s)
}

// End ends a sponsorship for good; ErrEnded when it has ended.
func End(w store.Writer, s *Sponsorship, now time.Time) error {
	if !s.Ended.IsZero() {
		return ErrEnded
	}
	s.Ended = now
	return put(w, s)
}

func dueKey(t time.Time) string { return fmt.Sprintf("%016x", uint64(t.UnixNano())) }

// Due gives the sponsorships of whose end the sponsor is to be told by now, at most
// limit at a time, and forgets that they were due. Those that were confirmed or
// ended meanwhile are not among them; more tells that others may be due.
func Due(w store.Writer, now time.Time, limit int) (due []*Sponsorship, more bool, err error) {
	found, err := w.Records(recordDue, "", "", limit)
	if err != nil {
		return nil, false, err
	}
	for _, rec := range found {
		at, id, _ := strings.Cut(rec.Key, " ")
		if at > dueKey(now) {
			return due, false, nil
		}
		if err := w.DeleteRecord(recordDue, rec.Key); err != nil {
			return nil, false, err
		}
		s, err := Get(w, id)
		if err != nil {
			return nil, false, err
		}
		if s.Awake(now) && s.Until.UTC().Format(time.RFC3339Nano) == string(rec.Value) {
			due = append(due, s)
		}
	}
	return due, len(found) == limit, nil
}
