package authserver

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"mypatients/fhir/store"
)

// keyOverlap is how long a key stays published after its successor took over:
// longer than any id_token lives and any client should cache.
const keyOverlap = 24 * time.Hour

// maxKeys bounds how many keys are read; more are never live unless somebody
// rotates that often within keyOverlap.
const maxKeys = 100

// A signingKey signs id_tokens with RS256.
type signingKey struct {
	id      string
	private *rsa.PrivateKey
}

// signingKeys remembers keys that were decrypted; a kid never changes its key.
type signingKeys struct {
	mu    sync.Mutex
	known map[string]*rsa.PrivateKey
}

// firstKey makes a key if there is none.
func (s *Server) firstKey(ctx context.Context) error {
	err := s.config.Store.View(ctx, func(r store.Reader) error {
		_, _, err := s.keys(r)
		return err
	})
	if !errors.Is(err, errNoKey) {
		return err
	}
	return s.addKey(ctx, true)
}

// RotateKeys makes a new key for signing id_tokens, in use from now on; those
// before stay published for a day.
func (s *Server) RotateKeys(ctx context.Context) error { return s.addKey(ctx, false) }

// addKey makes a key; onlyFirst leaves it out when another process was faster.
func (s *Server) addKey(ctx context.Context, onlyFirst bool) error {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	plain, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	public := sha256.Sum256(x509.MarshalPKCS1PublicKey(&private.PublicKey))
	now := s.config.Now()
	id := base64.RawURLEncoding.EncodeToString(public[:12])
	sealed := s.secrets.encrypt(id, plain)
	return s.config.Store.Update(ctx, func(w store.Writer) error {
		old, err := w.Records(kindKey, "", "", maxKeys)
		if err != nil {
			return err
		}
		for _, rec := range old {
			if expired(rec, now) {
				continue
			}
			if onlyFirst {
				return nil
			}
			if !rec.Expires.IsZero() {
				continue
			}
			until := &store.Record{Kind: kindKey, Key: rec.Key, Value: rec.Value, Expires: now.Add(keyOverlap)}
			if err := w.PutRecord(until); err != nil {
				return err
			}
		}
		return w.PutRecord(&store.Record{Kind: kindKey, Key: id, Value: sealed})
	})
}

var errNoKey = errors.New("authserver: no signing key")

// keys gives the published keys and the one of them that signs: it alone has no
// end yet.
func (s *Server) keys(r store.Reader) (live []signingKey, signer signingKey, err error) {
	records, err := r.Records(kindKey, "", "", maxKeys)
	if err != nil {
		return nil, signer, err
	}
	for _, rec := range records {
		if expired(rec, s.config.Now()) {
			continue
		}
		private, err := s.openKey(rec)
		if err != nil {
			return nil, signer, err
		}
		live = append(live, signingKey{rec.Key, private})
		if rec.Expires.IsZero() {
			signer = live[len(live)-1]
		}
	}
	if signer.private == nil {
		return nil, signer, errNoKey
	}
	return live, signer, nil
}

func (s *Server) openKey(rec *store.Record) (*rsa.PrivateKey, error) {
	s.signing.mu.Lock()
	defer s.signing.mu.Unlock()
	if private := s.signing.known[rec.Key]; private != nil {
		return private, nil
	}
	plain, err := s.secrets.decrypt(rec.Key, rec.Value)
	if err != nil {
		return nil, fmt.Errorf("authserver: the signing keys were sealed under another Key: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(plain)
	if err != nil {
		return nil, err
	}
	private, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("authserver: a signing key is not RSA")
	}
	if s.signing.known == nil || len(s.signing.known) > 2*maxKeys {
		s.signing.known = map[string]*rsa.PrivateKey{}
	}
	s.signing.known[rec.Key] = private
	return private, nil
}

// publicKeys is the JWK set (RFC 7517).
func (s *Server) publicKeys(ctx context.Context) (set jose.JSONWebKeySet, err error) {
	err = s.config.Store.View(ctx, func(r store.Reader) error {
		keys, _, err := s.keys(r)
		set = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
		for _, k := range keys {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: &k.private.PublicKey, KeyID: k.id, Algorithm: "RS256", Use: "sig"})
		}
		return err
	})
	return set, err
}

// signer gives the key that signs now.
func (s *Server) signer(ctx context.Context) (key signingKey, err error) {
	err = s.config.Store.View(ctx, func(r store.Reader) error {
		_, key, err = s.keys(r)
		return err
	})
	return key, err
}
