package authserver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"

	"mypatients/fhir/store"
	"mypatients/smart"
)

// credentials are what a request says about its client.
type credentials struct {
	basic     bool   // user and secret came in an Authorization header
	id        string // of the header, or client_id of the form
	formID    string // client_id of the form
	secret    string
	assertion string
}

// authenticateClient finds the client of a request. Who fails too often, from one
// address and for one client, waits: the rest of the world is not shut out.
func (s *Server) authenticateClient(ctx context.Context, c credentials) (*clientRecord, error) {
	who := network(AddressOf(ctx)) // of who sends ids that cannot be any: what is remembered stays short
	if len(c.id) <= smart.MaxClientID {
		who += " " + c.id
	}
	if c.assertion != "" {
		who += " " + claimedIssuer(c.assertion)
	}
	if s.limits.failures.spent(who) {
		return nil, tooMany("Too many failed attempts. Try again in a moment.")
	}
	client, err := s.checkClientOf(ctx, c)
	var e *smart.Error
	if errors.As(err, &e) && e.Code == "invalid_client" {
		s.limits.failures.take(who)
	}
	return client, err
}

// checkClientOf holds a client to the one way it was registered for (RFC 6749
// section 2.3). A public client only says who it is.
func (s *Server) checkClientOf(ctx context.Context, c credentials) (*clientRecord, error) {
	if c.assertion != "" {
		client, err := s.checkAssertion(ctx, c.assertion)
		if err != nil {
			return nil, err
		}
		if c.formID != "" && c.formID != client.ID {
			return nil, invalidClient("client_id is not the client of the assertion.")
		}
		return client, nil
	}
	if !c.basic && c.secret != "" {
		return nil, invalidClient("A secret must come by HTTP Basic.")
	}
	if c.basic && c.formID != "" && c.formID != c.id {
		return nil, invalidClient("client_id is not the client of the Authorization header.")
	}
	client, err := s.client(ctx, c.id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	refused := invalidClient("The client is not known, or its secret is wrong.")
	if err != nil {
		return nil, refused
	}
	switch client.AuthMethod {
	case smart.AuthNone:
		if c.secret != "" {
			return nil, refused
		}
	case smart.AuthSecretBasic:
		sum := sha256.Sum256([]byte(c.secret))
		if subtle.ConstantTimeCompare(sum[:], client.SecretHash) != 1 {
			return nil, refused
		}
	default:
		return nil, invalidClient("The client must authenticate with a client assertion.")
	}
	return client, nil
}
