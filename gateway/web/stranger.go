package web

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"
)

// The session of a stranger, who has not signed in, is kept by their browser, sealed
// by us: whoever opens pages must not fill the store. It moves into the store when
// they sign in, under a cookie that nobody has seen before.

// A strangerSession is what is sealed.
type strangerSession struct {
	Values map[string]string `json:"values"`
	Until  time.Time         `json:"until"`
}

// sealOf makes what seals such sessions from the site's key.
func sealOf(key []byte) (cipher.AEAD, error) {
	if len(key) != 32 {
		return nil, errors.New("web: the key must have 32 bytes")
	}
	h := hmac.New(sha256.New, key)
	h.Write([]byte("web stranger"))
	block, err := aes.NewCipher(h.Sum(nil))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// strangerCookie is the name of the cookie.
func (s *site) strangerCookie() string {
	if s.https {
		return "__Host-stranger"
	}
	return "stranger"
}

// loadStranger takes up the session that the browser keeps. One that cannot be opened,
// or is over, is none: there is nobody to whom something would have to be said.
func (v *visit) loadStranger() {
	cookie, err := v.request.Cookie(v.site.strangerCookie())
	if err != nil {
		return
	}
	sealed, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil {
		return
	}
	text, err := v.site.seal.Open(nil, nil, sealed, nil)
	if err != nil {
		return
	}
	var kept strangerSession
	if json.Unmarshal(text, &kept) != nil || !v.site.Now().Before(kept.Until) {
		return
	}
	for key, value := range kept.Values {
		v.setSession(key, value)
	}
}

// storeStranger has the browser keep what the visit of a stranger changed, and
// forget the session of who was signed in before.
func (v *visit) storeStranger(w http.ResponseWriter) error {
	m := v.site.sessions
	if m.Status(v.ctx) == scs.Unmodified {
		return nil
	}
	if _, err := v.request.Cookie(m.Cookie.Name); err == nil {
		m.WriteSessionCookie(v.ctx, w, "", time.Time{})
	}
	kept := strangerSession{Values: map[string]string{}, Until: v.site.Now().Add(idleTime)}
	for _, key := range m.Keys(v.ctx) {
		kept.Values[key] = v.session(key)
	}
	if len(kept.Values) == 0 {
		v.forgetStranger(w)
		return nil
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	v.setStranger(w, base64.RawURLEncoding.EncodeToString(v.site.seal.Seal(nil, nil, text, nil)), 0)
	return nil
}

// forgetStranger has the browser forget what it kept.
func (v *visit) forgetStranger(w http.ResponseWriter) {
	if _, err := v.request.Cookie(v.site.strangerCookie()); err == nil {
		v.setStranger(w, "", -1)
	}
}

func (v *visit) setStranger(w http.ResponseWriter, value string, age int) {
	http.SetCookie(w, &http.Cookie{Name: v.site.strangerCookie(), Value: value, Path: "/", MaxAge: age, Secure: v.site.https, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}
