package authserver

import (
	"context"

	"mypatients/fhir/store"
	"mypatients/smart"
)

// current tells what a person is today; ok is false when they may no longer act
// in the role in which they gave a grant. Backend services have no person. The
// look at every request is the guard's, who reads what a person is anyway.
func (s *Server) current(ctx context.Context, id smart.Identity) (now smart.Identity, ok bool, err error) {
	if s.config.Current == nil || id.Login == "" {
		return id, true, nil
	}
	return s.config.Current(ctx, id)
}

// holder tells what the person is today who gave a grant, or store.ErrNotFound.
// It asks before the transaction that uses the answer, since the question goes to
// others.
func (s *Server) holder(ctx context.Context, grantID string) (id smart.Identity, ok bool, err error) {
	var g grantRecord
	err = s.config.Store.View(ctx, func(r store.Reader) error {
		return get(r, s.config.Now(), kindGrant, grantID, &g)
	})
	if err != nil {
		return smart.Identity{}, false, err
	}
	return s.current(ctx, g.Identity)
}
