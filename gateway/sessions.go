package main

import (
	"context"
	"errors"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// sessions keeps the browser sessions of the pages as records of the store, so
// that they outlive a restart and are shared by processes. The session manager
// hands in the hash of the cookie, never the cookie. It is an scs.CtxStore.
type sessions struct {
	store store.Store
	now   func() time.Time
}

const kindSession = "session"

func (s *sessions) FindCtx(ctx context.Context, token string) (data []byte, found bool, err error) {
	err = s.store.View(ctx, func(r store.Reader) error {
		record, err := r.Record(kindSession, token)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if s.now().Before(record.Expires) {
			data, found = record.Value, true
		}
		return nil
	})
	return data, found, away(err)
}

// away gives the error of a store that cannot be reached its kind.
func away(err error) error {
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrContention) {
		return &fhir.Error{Kind: fhir.Unavailable, Cause: err}
	}
	return err
}

func (s *sessions) CommitCtx(ctx context.Context, token string, data []byte, expires time.Time) error {
	return away(s.store.Update(ctx, func(w store.Writer) error {
		return w.PutRecord(&store.Record{Kind: kindSession, Key: token, Value: data, Expires: expires})
	}))
}

func (s *sessions) DeleteCtx(ctx context.Context, token string) error {
	return away(s.store.Update(ctx, func(w store.Writer) error { return w.DeleteRecord(kindSession, token) }))
}

func (s *sessions) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

func (s *sessions) Commit(token string, data []byte, expires time.Time) error {
	return s.CommitCtx(context.Background(), token, data, expires)
}

func (s *sessions) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }
