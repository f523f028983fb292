package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"mypatients/fhir/store"
)

// signOuts keeps as records of the store which sessions a provider can end, and
// which it has ended, so that all processes know. Names are hashed: they hold who
// somebody is at the provider. It is a web.SignOuts.
type signOuts struct {
	store store.Store
	now   func() time.Time
}

const (
	kindAlias     = "session-alias"   // alias and session → nothing
	kindSignedOut = "session-ended"   // session → nothing
	kindLogout    = "session-message" // message → nothing

	aliasPage = 100
)

func hashed(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// Begin implements web.SignOuts, as do the methods below.
func (s *signOuts) Begin(ctx context.Context, session string, aliases []string, until time.Time) error {
	return s.store.Update(ctx, func(w store.Writer) error {
		for _, alias := range aliases {
			if err := w.PutRecord(&store.Record{Kind: kindAlias, Key: hashed(alias) + " " + session, Expires: until}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *signOuts) End(ctx context.Context, aliases []string, until time.Time) (sessions []string, err error) {
	err = s.store.Update(ctx, func(w store.Writer) error {
		sessions = nil
		for _, alias := range aliases {
			prefix := hashed(alias) + " "
			for {
				found, err := w.Records(kindAlias, prefix, "", aliasPage)
				if err != nil {
					return err
				}
				for _, rec := range found {
					session := rec.Key[len(prefix):]
					sessions = append(sessions, session)
					if err := w.PutRecord(&store.Record{Kind: kindSignedOut, Key: session, Expires: until}); err != nil {
						return err
					}
					if err := w.DeleteRecord(kindAlias, rec.Key); err != nil {
						return err
					}
				}
				if len(found) < aliasPage {
					break
				}
			}
		}
		return nil
	})
	return sessions, err
}

func (s *signOuts) Ended(ctx context.Context, session string) (ended bool, err error) {
	err = s.store.View(ctx, func(r store.Reader) error {
		_, err := r.Record(kindSignedOut, session)
		ended = err == nil
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
	return ended, err
}

func (s *signOuts) Once(ctx context.Context, message string, until time.Time) (first bool, err error) {
	key := hashed(message)
	err = s.store.Update(ctx, func(w store.Writer) error {
		rec, err := w.Record(kindLogout, key)
		if first = errors.Is(err, store.ErrNotFound); err != nil && !first {
			return err
		}
		if !first && s.now().Before(rec.Expires) {
			return nil
		}
		first = true
		return w.PutRecord(&store.Record{Kind: kindLogout, Key: key, Expires: until})
	})
	return first, err
}
