package authserver

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"

	"mypatients/fhir/store"
	"mypatients/smart"
)

// MinSecret is the least length, in characters, of a client secret that was
// chosen elsewhere: 22 characters of base64 hold 128 bits.
const MinSecret = 22

// AddClient registers a client for an administrator. Without an id one is made,
// and so is a secret, when the client needs one and none is given. secret is
// what was made, to be shown this once; it is kept hashed. What is wrong with
// the client, an id that is taken too, is an [*smart.Error].
func (s *Server) AddClient(ctx context.Context, c smart.Client, given string) (id, secret string, err error) {
	if c.ID == "" {
		c.ID = rand.Text()
	}
	if c.AuthMethod == smart.AuthSecretBasic && len(c.SecretHash) == 0 {
		if given == "" {
			secret = newSecret()
			given = secret
		}
		if len(given) < MinSecret {
			return "", "", oauthError("invalid_client_metadata", "client_secret must have at least %d characters; leave it out to have one made", MinSecret)
		}
		c.SecretHash = hashSecret(given)
	}
	if err := s.checkClient(c); err != nil {
		return "", "", err
	}
	err = s.config.Store.Update(ctx, func(w store.Writer) error {
		_, err := s.clientRecord(w, c.ID)
		if err == nil {
			return oauthError("invalid_client_metadata", "client_id %q is taken", c.ID)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return s.putClient(w, &clientRecord{}, &clientRecord{Client: c, Created: s.config.Now()})
	})
	if err != nil {
		return "", "", err
	}
	return c.ID, secret, nil
}

// NewSecret replaces the secret of a client that has one. Tokens that were
// issued stay good; see EndClientGrants.
func (s *Server) NewSecret(ctx context.Context, id string) (secret string, err error) {
	secret = newSecret()
	err = s.config.Store.Update(ctx, func(w store.Writer) error {
		c, err := s.clientRecord(w, id)
		if errors.Is(err, store.ErrNotFound) {
			return invalidClient("The client is not known.")
		}
		if err != nil {
			return err
		}
		if c.AuthMethod != smart.AuthSecretBasic {
			return oauthError("invalid_client_metadata", "The client has no secret.")
		}
		old := *c
		c.SecretHash = hashSecret(secret)
		return s.putClient(w, &old, c)
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// EndClientGrants ends all that people granted to a client, and its backend
// tokens: the next request with any of them fails, and the codes that are still
// under way lead to nothing.
func (s *Server) EndClientGrants(ctx context.Context, id string) error {
	if err := s.endCodes(ctx, byClient(id)); err != nil {
		return err
	}
	return s.endAll(ctx, byClient(id))
}

// ClientGrants counts the grants of a client that live, up to limit.
func (s *Server) ClientGrants(ctx context.Context, id string, limit int) (n int, err error) {
	err = s.config.Store.View(ctx, func(r store.Reader) error {
		records, err := r.Records(kindIndex, byClient(id), "", limit)
		n = 0
		for _, rec := range records {
			if !expired(rec, s.config.Now()) {
				n++
			}
		}
		return err
	})
	return n, err
}

func hashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}
