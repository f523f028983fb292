package authserver

import (
	"context"
	"errors"
	"strings"
	"time"

	"mypatients/fhir/store"
	"mypatients/smart"
)

// A clientRecord is what we keep of a client beyond its registration.
type clientRecord struct {
	smart.Client
	Created      time.Time `json:"created"`
	Registration string    `json:"registration,omitempty"` // hash of the registration access token (RFC 7592)
	Statement    string    `json:"statement,omitempty"`    // software statement that it was registered with
	Vouched      bool      `json:"vouched,omitempty"`      // with nothing else: it changes only by another one
}

// PutClient creates or replaces a client. What is wrong with it is an
// [*smart.Error].
func (s *Server) PutClient(ctx context.Context, c smart.Client) error {
	if err := s.checkClient(c); err != nil {
		return err
	}
	return s.config.Store.Update(ctx, func(w store.Writer) error {
		old, err := s.clientRecord(w, c.ID)
		if errors.Is(err, store.ErrNotFound) {
			old, err = &clientRecord{Created: s.config.Now()}, nil
		}
		if err != nil {
			return err
		}
		return s.putClient(w, old, &clientRecord{Client: c, Created: old.Created, Registration: old.Registration, Statement: old.Statement, Vouched: old.Vouched})
	})
}

// checkClient checks a registration and its keys.
func (s *Server) checkClient(c smart.Client) error {
	if err := c.Check(); err != nil {
		return err
	}
	if len(c.JWKS) > 0 {
		if _, err := parseClientKeys(c.JWKS); err != nil {
			return oauthError("invalid_client_metadata", "jwks: %v", err)
		}
	}
	if c.JWKSURI != "" && !s.clients.mayFetch(c.JWKSURI) {
		return oauthError("invalid_client_metadata", "jwks_uri must be an https URL")
	}
	return nil
}

// putClient writes a client and the origins it runs in.
func (s *Server) putClient(w store.Writer, old, c *clientRecord) error {
	for _, origin := range old.Origins() {
		if err := w.DeleteRecord(kindOrigin, origin+" "+old.ID); err != nil {
			return err
		}
	}
	for _, origin := range c.Origins() {
		if err := w.PutRecord(&store.Record{Kind: kindOrigin, Key: origin + " " + c.ID}); err != nil {
			return err
		}
	}
	return store.PutJSON(w, kindClient, c.ID, c, time.Time{})
}

func (s *Server) clientRecord(r store.Reader, id string) (*clientRecord, error) {
	var c clientRecord
	if err := get(r, s.config.Now(), kindClient, id, &c); err != nil {
		return nil, err
	}
	return &c, nil
}

// client gives a client or store.ErrNotFound.
func (s *Server) client(ctx context.Context, id string) (c *clientRecord, err error) {
	if len(id) > smart.MaxClientID {
		return nil, store.ErrNotFound
	}
	err = s.config.Store.View(ctx, func(r store.Reader) error {
		c, err = s.clientRecord(r, id)
		return err
	})
	return c, err
}

// Client gives a client, or an [*smart.Error] invalid_client.
func (s *Server) Client(ctx context.Context, id string) (smart.Client, error) {
	c, err := s.client(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return smart.Client{}, invalidClient("The client is not known.")
	}
	if err != nil {
		return smart.Client{}, err
	}
	return c.Client, nil
}

// Clients lists all clients in the order of their ids.
func (s *Server) Clients(ctx context.Context) ([]smart.Client, error) {
	records, err := s.list(ctx, kindClient, "")
	if err != nil {
		return nil, err
	}
	clients := make([]smart.Client, len(records))
	for i, rec := range records {
		if err := rec.DecodeJSON(&clients[i]); err != nil {
			return nil, err
		}
	}
	return clients, nil
}

// RemoveClient removes a client and ends its grants. The registration goes
// first, so that nothing new is issued while the grants end.
func (s *Server) RemoveClient(ctx context.Context, id string) error {
	var c *clientRecord
	err := s.config.Store.Update(ctx, func(w store.Writer) (err error) {
		if c, err = s.clientRecord(w, id); err != nil {
			return err
		}
		for _, origin := range c.Origins() {
			if err := w.DeleteRecord(kindOrigin, origin+" "+id); err != nil {
				return err
			}
		}
		return w.DeleteRecord(kindClient, id)
	})
	if errors.Is(err, store.ErrNotFound) {
		return invalidClient("The client is not known.")
	}
	if err != nil {
		return err
	}
	if err := s.endAll(ctx, byClient(id)); err != nil || s.config.Removed == nil {
		return err
	}
	return s.config.Removed(ctx, c.Client)
}

// OriginAllowed reports whether a registered client runs in this web origin;
// http on a loopback address matches with any port.
func (s *Server) OriginAllowed(ctx context.Context, origin string) bool {
	o, ok := smart.CanonicalOrigin(origin)
	if !ok || strings.Contains(o, " ") {
		return false
	}
	found := false
	err := s.config.Store.View(ctx, func(r store.Reader) error {
		records, err := r.Records(kindOrigin, o+" ", "", 1)
		found = len(records) > 0
		return err
	})
	return err == nil && found
}
