package authserver

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"sync"
	"time"

	"mypatients/fhir/store"
)

// The kinds of our records, and what their keys are.
const (
	kindClient  = "oauth.client"  // client id
	kindOrigin  = "oauth.origin"  // origin, space, client id
	kindPending = "oauth.pending" // hash of the id
	kindLaunch  = "oauth.launch"  // hash of the handle
	kindCode    = "oauth.code"    // hash of the code
	kindToken   = "oauth.token"   // hash of the access token
	kindGrant   = "oauth.grant"   // grant id, the hash of the refresh family
	kindIndex   = "oauth.index"   // what it is found by, encoded; space; grant id
	kindEnded   = "oauth.ended"   // session, login or client that was ended, while codes of it may be under way
	kindJTI     = "oauth.jti"     // hash of client id and jti
	kindKey     = "oauth.key"     // kid
)

// secrets derives everything that Config.Key stands for.
type secrets struct {
	macs sync.Pool // of hash.Hash, keyed; making one costs more than using it
	seal cipher.AEAD
}

func newSecrets(key []byte) (*secrets, error) {
	if len(key) != 32 {
		return nil, fmt.Errorf("authserver: Key has %d bytes, not 32", len(key))
	}
	hashing, err := hkdf.Key(sha256.New, key, nil, "oauth hash", 32)
	if err != nil {
		return nil, err
	}
	seal, err := hkdf.Key(sha256.New, key, nil, "oauth seal", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(seal)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	s := &secrets{seal: aead}
	s.macs.New = func() any { return hmac.New(sha256.New, hashing) }
	return s, err
}

// key gives the record key of a secret: 192 bits of its keyed hash, so that two
// kinds never share one.
func (s *secrets) key(kind, secret string) string {
	sum := s.mac(kind, secret)
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}

func (s *secrets) mac(kind, secret string) []byte {
	mac := s.macs.Get().(hash.Hash)
	defer s.macs.Put(mac)
	mac.Reset()
	b := make([]byte, 0, 128)
	b = append(append(append(b, kind...), 0), secret...)
	mac.Write(b)
	return mac.Sum(b[:0])
}

// encrypt seals a value for the place it is kept at.
func (s *secrets) encrypt(place string, plain []byte) []byte {
	nonce := randomBytes(s.seal.NonceSize())
	return s.seal.Seal(nonce, nonce, plain, []byte(place))
}

func (s *secrets) decrypt(place string, sealed []byte) ([]byte, error) {
	n := s.seal.NonceSize()
	if len(sealed) < n {
		return nil, errors.New("authserver: sealed value too short")
	}
	return s.seal.Open(nil, sealed[:n], sealed[n:], []byte(place))
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	return b
}

// newSecret gives 256 random bits in characters that need no escaping anywhere.
func newSecret() string { return base64.RawURLEncoding.EncodeToString(randomBytes(32)) }

// get reads a JSON value; store.ErrNotFound when there is none or it has expired.
func get(r store.Reader, now time.Time, kind, key string, value any) error {
	rec, err := r.Record(kind, key)
	if err != nil {
		return err
	}
	if expired(rec, now) {
		return store.ErrNotFound
	}
	return rec.DecodeJSON(value)
}

func expired(rec *store.Record, now time.Time) bool {
	return !rec.Expires.IsZero() && !now.Before(rec.Expires)
}

// page is how many records one step of a listing reads.
const page = 200

// list gives all records under a prefix of keys, in steps.
func (s *Server) list(ctx context.Context, kind, prefix string) ([]*store.Record, error) {
	var all []*store.Record
	after := ""
	for {
		var part []*store.Record
		err := s.config.Store.View(ctx, func(r store.Reader) error {
			var err error
			part, err = r.Records(kind, prefix, after, page)
			return err
		})
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
		if len(part) < page {
			return all, nil
		}
		after = part[len(part)-1].Key
	}
}
