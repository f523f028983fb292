package authserver

import (
	"context"
	"errors"

	"mypatients/fhir/store"
	"mypatients/smart"
)

// Standing tells what is left today of a grant that was used before: what is done
// in its name while no token is at hand rests on it. ok is false when it has ended:
// revoked, expired with its last token, or its client was removed.
//
// A backend service has no grant that lasts longer than a token. It stands by its
// registration, with the scopes that it held as far as it is still registered for
// them.
func (s *Server) Standing(ctx context.Context, held smart.Grant) (left smart.Grant, ok bool, err error) {
	err = s.config.Store.View(ctx, func(r store.Reader) error {
		left, ok = smart.Grant{}, false
		client, err := s.clientRecord(r, held.ClientID)
		if err != nil {
			return err
		}
		if held.Identity.Role == smart.System {
			left = held
			left.Scopes = held.Scopes.Narrow(smart.KnownScopes(client.Scope))
			ok = client.MayUse(smart.GrantClientCredentials)
			return nil
		}
		var g grantRecord
		if err := get(r, s.config.Now(), kindGrant, held.ID, &g); err != nil {
			return err
		}
		left, ok = g.grant(g.scopes(), held.Expires), g.ClientID == held.ClientID
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return smart.Grant{}, false, nil
	}
	return left, ok, err
}
