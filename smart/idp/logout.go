package idp

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"mypatients/smart"
)

// A Logout is a provider's word that somebody signed out there. At least one of
// Subject and SessionID is set.
type Logout struct {
	Subject   string    // whose sessions have ended, when SessionID is empty
	SessionID string    // the one session that has ended: the "sid" of its ID token
	ID        string    // of this message; it is to be taken once
	Expires   time.Time // until when it would be believed
}

const (
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
	logoutAge   = 5 * time.Minute // a message that is older is not believed
)

// Logout verifies a logout token in full
// (https://openid.net/specs/openid-connect-backchannel-1_0.html#Validation). That
// it comes for the first time is for the caller to see to.
func (p *Provider) Logout(ctx context.Context, raw string) (*Logout, error) {
	d, err := p.discover(ctx)
	if err != nil {
		return nil, err
	}
	refuse := func(why string) error {
		return &smart.Error{Code: "invalid_request", Description: "The logout token was refused.", Cause: errors.New("the logout token " + why)}
	}
	// RFC 8725 section 3.11: a token that says it is something else is something else.
	if typ, ok := headerType(raw); !ok || typ != "" && !strings.EqualFold(typ, "logout+jwt") && !strings.EqualFold(typ, "JWT") {
		return nil, refuse("is of another type")
	}
	token, err := d.verifier.Verify(oidc.ClientContext(ctx, p.http), raw)
	if err != nil {
		return nil, refuse("does not verify: " + plain(err, "signature, issuer, audience or time").Error())
	}
	var claims struct {
		ID       string                     `json:"jti"`
		Session  string                     `json:"sid"`
		Events   map[string]json.RawMessage `json:"events"`
		Nonce    *json.RawMessage           `json:"nonce"`
		IssuedAt *float64                   `json:"iat"`
	}
	if token.Claims(&claims) != nil {
		return nil, refuse("has claims that are not understood")
	}
	now := p.cfg.Now()
	var event map[string]any
	switch {
	case claims.Nonce != nil:
		return nil, refuse("has a nonce, like an ID token")
	case claims.Events[logoutEvent] == nil || json.Unmarshal(claims.Events[logoutEvent], &event) != nil || event == nil:
		return nil, refuse("tells of no sign-out")
	case claims.ID == "" || len(claims.ID) > 500:
		return nil, refuse("has no id")
	case token.Subject == "" && claims.Session == "":
		return nil, refuse("names nobody")
	case claims.IssuedAt == nil || token.IssuedAt.After(now.Add(skew)) || token.IssuedAt.Before(now.Add(-logoutAge-skew)):
		return nil, refuse("was not made just now")
	}
	return &Logout{Subject: token.Subject, SessionID: claims.Session, ID: claims.ID, Expires: token.IssuedAt.Add(logoutAge + 2*skew)}, nil
}

// headerType reads the typ of a JWT that nobody has verified yet; it may be left
// out.
func headerType(raw string) (typ string, ok bool) {
	head, _, _ := strings.Cut(raw, ".")
	b, err := base64.RawURLEncoding.DecodeString(head)
	var header struct {
		Type string `json:"typ"`
	}
	if err != nil || json.Unmarshal(b, &header) != nil {
		return "", false
	}
	return header.Type, true
}
