package subscription

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// The kinds of records.
const (
	kindCursor = "subscription-cursor" // where the log was read to
	kindHeld   = "subscription"        // id: a [Held]
	kindBy     = "subscription-by"     // owner, space, id
	kindOn     = "subscription-on"     // type, space, patient or "*", space, id
	kindQueue  = "subscription-queue"  // id, space, position in the log: an [Event]
	kindDue    = "subscription-due"    // id: a [Due]
)

// Anybody stands for all patients, as the one on whose record a subscription is.
const Anybody = "*"

// MaxQueue is how many events of a subscription wait at most.
const MaxQueue = 10_000

// A Held is a subscription that is served: what its resource does not say.
type Held struct {
	Owner   string      `json:"owner"`  // of the resource, as it is limited by
	Grant   smart.Grant `json:"-"`      // that it was made with
	Type    fhir.Type   `json:"type"`   // of the criteria
	On      string      `json:"on"`     // the one patient in whose record it can see anything, or [Anybody]
	Host    string      `json:"host"`   // of the endpoint
	Created time.Time   `json:"since"`  // when it was (last) written
	Access  access      `json:"access"` // Grant, as it is stored
}

// access is the part of a grant that outlives a token.
type access struct {
	ID, ClientID, ClientName string
	Identity                 smart.Identity
	Scopes                   string
	Launch                   smart.Context
	AuthTime                 time.Time
	ACR                      string
}

// An Event is a version that met the criteria.
type Event struct {
	Key     fhir.Key
	Version int64
	Logged  bool   // that its owner is told of it is in the audit log
	At      string `json:"-"` // its position
}

// A Due is the state of a subscription that has something to do.
type Due struct {
	Host     string    `json:"host"`
	Next     time.Time `json:"next"`            // not before; also until when a claim holds
	Claim    string    `json:"claim,omitempty"` // whose
	Attempts int       `json:"attempts,omitempty"`
	Since    time.Time `json:"since"`  // of the first attempt that failed; zero: the last one did not
	Pushed   int       `json:"pushed"` // counts events, so that to add one and to find none are at odds; see countEvery
}

// Hold enlists a subscription, or anew when it was changed: from now on events are
// kept for it. What waited for it stays. It is due at once.
func Hold(w store.Writer, id string, h Held) error {
	old, err := Get(w, id)
	if err != nil {
		return err
	}
	if old != nil {
		if err := unlist(w, id, old); err != nil {
			return err
		}
	}
	if err := begin(w); err != nil {
		return err
	}
	g := h.Grant
	h.Access = access{g.ID, g.ClientID, g.ClientName, g.Identity, g.Scopes.String(), g.Launch, g.AuthTime, g.ACR}
	if err := store.PutJSON(w, kindHeld, id, h, time.Time{}); err != nil {
		return err
	}
	if err := w.PutRecord(&store.Record{Kind: kindBy, Key: h.Owner + " " + id}); err != nil {
		return err
	}
	if err := w.PutRecord(&store.Record{Kind: kindOn, Key: string(h.Type) + " " + h.On + " " + id}); err != nil {
		return err
	}
	before, err := due(w, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return store.PutJSON(w, kindDue, id, Due{Host: h.Host, Next: h.Created, Pushed: before.Pushed}, time.Time{})
}

// begin sets the cursor to the end of the log, the first time.
func begin(w store.Writer) error {
	_, err := w.Record(kindCursor, "log")
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	last, err := w.Log(store.LogQuery{Reverse: true, Limit: 1})
	if err != nil {
		return err
	}
	at := ""
	if len(last) > 0 {
		at = last[0].Position
	}
	return SetCursor(w, at)
}

// Drop ends a subscription and what waits for it; none is no error.
func Drop(w store.Writer, id string) error {
	h, err := Get(w, id)
	if err != nil || h == nil {
		return err
	}
	if err := unlist(w, id, h); err != nil {
		return err
	}
	for {
		events, err := w.Records(kindQueue, id+" ", "", 500)
		if err != nil {
			return err
		}
		for _, rec := range events {
			if err := w.DeleteRecord(kindQueue, rec.Key); err != nil {
				return err
			}
		}
		if len(events) < 500 {
			break
		}
	}
	if err := w.DeleteRecord(kindDue, id); err != nil {
		return err
	}
	return w.DeleteRecord(kindHeld, id)
}

func unlist(w store.Writer, id string, h *Held) error {
	if err := w.DeleteRecord(kindBy, h.Owner+" "+id); err != nil {
		return err
	}
	return w.DeleteRecord(kindOn, string(h.Type)+" "+h.On+" "+id)
}

// Get gives a subscription that is served, or nil.
func Get(r store.Reader, id string) (*Held, error) {
	var h Held
	err := store.GetJSON(r, kindHeld, id, &h)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a := h.Access
	h.Grant = smart.Grant{ID: a.ID, ClientID: a.ClientID, ClientName: a.ClientName, Identity: a.Identity,
		Scopes: smart.KnownScopes(a.Scopes), Launch: a.Launch, AuthTime: a.AuthTime, ACR: a.ACR}
	return &h, nil
}

// Count tells how many subscriptions of an owner are served, besides one, up to a
// limit.
func Count(r store.Reader, owner, besides string, limit int) (int, error) {
	found, err := r.Records(kindBy, owner+" ", "", limit+1)
	n := 0
	for _, rec := range found {
		if rec.Key != owner+" "+besides {
			n++
		}
	}
	return min(n, limit), err
}

// On lists the subscriptions on a type in the record of a patient, or of
// [Anybody].
func On(r store.Reader, t fhir.Type, patient string) ([]string, error) {
	prefix := string(t) + " " + patient + " "
	var ids []string
	for after := ""; ; {
		found, err := r.Records(kindOn, prefix, after, 500)
		if err != nil {
			return nil, err
		}
		for _, rec := range found {
			after = rec.Key
			ids = append(ids, strings.TrimPrefix(rec.Key, prefix))
		}
		if len(found) < 500 {
			return ids, nil
		}
	}
}

// AnyOn reports whether there is a subscription on a type at all.
func AnyOn(r store.Reader, t fhir.Type) (bool, error) {
	found, err := r.Records(kindOn, string(t)+" ", "", 1)
	return len(found) > 0, err
}

// Cursor gives the position that the log was read to; begun is false when nobody
// ever subscribed.
func Cursor(r store.Reader) (at string, begun bool, err error) {
	rec, err := r.Record(kindCursor, "log")
	if errors.Is(err, store.ErrNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	return string(rec.Value), true, nil
}

// SetCursor moves it.
func SetCursor(w store.Writer, at string) error {
	return w.PutRecord(&store.Record{Kind: kindCursor, Key: "log", Value: []byte(at)})
}

// countEvery is after how many events it is looked whether more wait than may.
const countEvery = 1000

// Push adds an event for a subscription, if it is still served. full reports that it
// was not added, since more wait than may: an endpoint that takes each slowly is as
// good as one that is away.
func Push(w store.Writer, id string, e Event) (full bool, err error) {
	h, err := Get(w, id)
	if err != nil || h == nil {
		return false, err
	}
	d, err := due(w, id)
	if errors.Is(err, store.ErrNotFound) {
		d, err = Due{Host: h.Host}, nil
	}
	if err != nil {
		return false, err
	}
	if d.Pushed++; d.Pushed%countEvery == 0 {
		if full, err = Overflows(w, id); full || err != nil {
			return full, err
		}
	}
	if err := store.PutJSON(w, kindQueue, id+" "+e.At, e, time.Time{}); err != nil {
		return false, err
	}
	return false, store.PutJSON(w, kindDue, id, d, time.Time{})
}

// First gives the oldest event that waits for a subscription, or nil.
func First(r store.Reader, id string) (*Event, error) {
	found, err := r.Records(kindQueue, id+" ", "", 1)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	var e Event
	e.At = strings.TrimPrefix(found[0].Key, id+" ")
	return &e, json.Unmarshal(found[0].Value, &e)
}

// Overflows reports whether more events wait for a subscription than may.
func Overflows(r store.Reader, id string) (bool, error) {
	found, err := r.Records(kindQueue, id+" ", "", MaxQueue+1)
	return len(found) > MaxQueue, err
}

// Keep writes an event back.
func Keep(w store.Writer, id string, e Event) error {
	return store.PutJSON(w, kindQueue, id+" "+e.At, e, time.Time{})
}

// Pop removes an event.
func Pop(w store.Writer, id, at string) error { return w.DeleteRecord(kindQueue, id+" "+at) }

// A Waiting is a subscription that is due.
type Waiting struct{ ID, Host string }

// Ready lists subscriptions that are due at a time, and tells when the next will
// be; zero: none is known.
func Ready(r store.Reader, now time.Time) (list []Waiting, next time.Time, err error) {
	for after := ""; ; {
		found, err := r.Records(kindDue, "", after, 500)
		if err != nil {
			return nil, next, err
		}
		for _, rec := range found {
			var d Due
			if err := rec.DecodeJSON(&d); err != nil {
				return nil, next, err
			}
			after = rec.Key
			switch {
			case !now.Before(d.Next):
				list = append(list, Waiting{rec.Key, d.Host})
			case next.IsZero() || d.Next.Before(next):
				next = d.Next
			}
		}
		if len(found) < 500 {
			return list, next, nil
		}
	}
}

// Claim takes a subscription for a while; nil: it is not due, or another's.
func Claim(w store.Writer, id, claim string, now, until time.Time) (*Due, error) {
	d, err := due(w, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && now.Before(d.Next) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d.Claim, d.Next = claim, until
	return &d, store.PutJSON(w, kindDue, id, d, time.Time{})
}

// Mine gives the state of a subscription under a claim; nil: it is another's by
// now.
func Mine(r store.Reader, id, claim string) (*Due, error) {
	d, err := due(r, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && d.Claim != claim {
		return nil, nil
	}
	return &d, err
}

// SetDue writes the state of a subscription.
func SetDue(w store.Writer, id string, d Due) error {
	return store.PutJSON(w, kindDue, id, d, time.Time{})
}

// Idle notes that a subscription has nothing to do.
func Idle(w store.Writer, id string) error { return w.DeleteRecord(kindDue, id) }

func due(r store.Reader, id string) (Due, error) {
	var d Due
	return d, store.GetJSON(r, kindDue, id, &d)
}

// HostOf gives the host that an endpoint is at.
func HostOf(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	return u.Host
}
