package idp

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/url"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// An Identity is who signed in, as the provider says. Issuer and Subject
// together name the person for good; the rest may change.
type Identity struct {
	Issuer        string
	Subject       string
	Name          string
	Email         string
	EmailVerified bool
	AuthTime      time.Time      // when the person last proved who they are; zero when the provider does not say
	ACR           string         // how strong that proof was
	SessionID     string         // what the provider calls its session; empty when it does not say
	Claims        map[string]any // all claims of the ID token
}

// Finish ends a sign-in with the parameters of the browser's return
// (https://openid.net/specs/openid-connect-core-1_0.html#AuthResponse). Errors
// are [smart.Error] values whose text is fit for the person.
func (p *Provider) Finish(ctx context.Context, t Ticket, values url.Values) (*Identity, error) {
	d, err := p.discover(ctx)
	if err != nil {
		return nil, err
	}
	code, err := p.answer(d, t, values)
	if err != nil {
		return nil, err
	}
	ctx = oidc.ClientContext(ctx, p.http)
	token, err := d.oauth.Exchange(ctx, code, oauth2.VerifierOption(t.Verifier))
	if err != nil {
		return nil, failed(plain(err, "the code was not exchanged"))
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return nil, failed(errors.New("the provider sent no ID token"))
	}
	id, err := d.verifier.Verify(ctx, raw)
	if err != nil {
		return nil, failed(plain(err, "the ID token does not verify"))
	}
	who, err := p.check(t, id, token.AccessToken)
	if err != nil {
		return nil, err
	}
	if who.Name == "" || who.Email == "" {
		fill(ctx, d, token, who)
	}
	return who, nil
}

// answer checks what the browser brought back, and gives the code.
func (p *Provider) answer(d *discovered, t Ticket, values url.Values) (string, error) {
	if t.Provider != p.cfg.ID || t.State == "" || t.Nonce == "" || t.Verifier == "" {
		return "", stale(errors.New("the ticket is not one of this provider"))
	}
	if now := p.cfg.Now(); now.After(t.Began.Add(ticketLife)) || now.Before(t.Began.Add(-skew)) {
		return "", stale(errors.New("the ticket is too old"))
	}
	state, ok := one(values, "state")
	if !ok || subtle.ConstantTimeCompare([]byte(state), []byte(t.State)) != 1 {
		return "", stale(errors.New("the state is not the ticket's"))
	}
	// RFC 9207 section 2.4: an answer of another provider's is refused even if it
	// is an error.
	iss, ok := one(values, "iss")
	if !ok || iss != "" && iss != p.cfg.Issuer || iss == "" && d.sendsIss {
		return "", stale(errors.New("the answer is not of this issuer"))
	}
	if values.Has("error") {
		return "", refused(values.Get("error"))
	}
	code, ok := one(values, "code")
	if !ok || code == "" {
		return "", stale(errors.New("the answer has no code"))
	}
	return code, nil
}

// one gives a parameter that must not be repeated; an absent one is empty.
func one(values url.Values, name string) (string, bool) {
	list := values[name]
	if len(list) > 1 {
		return "", false
	}
	return values.Get(name), true
}

// check judges a verified ID token by what go-oidc leaves to its caller: nonce,
// access token hash, authorized party, times
// (https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation).
func (p *Provider) check(t Ticket, id *oidc.IDToken, access string) (*Identity, error) {
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(t.Nonce)) != 1 {
		return nil, failed(errors.New("the nonce is not the ticket's"))
	}
	if id.AccessTokenHash != "" && id.VerifyAccessToken(access) != nil {
		return nil, failed(errors.New("the access token is not the ID token's"))
	}
	claims := map[string]any{}
	var known struct {
		Party    string  `json:"azp"`
		Name     string  `json:"name"`
		Email    string  `json:"email"`
		Verified any     `json:"email_verified"` // some providers write it as a string
		AuthTime float64 `json:"auth_time"`
		ACR      string  `json:"acr"`
		Session  string  `json:"sid"`
	}
	if id.Claims(&claims) != nil || id.Claims(&known) != nil {
		return nil, failed(errors.New("the ID token's claims are not understood"))
	}
	if known.Party != p.cfg.ClientID && (known.Party != "" || len(id.Audience) > 1) {
		return nil, failed(errors.New("the ID token is meant for another party"))
	}
	now := p.cfg.Now()
	if id.Subject == "" || id.IssuedAt.After(now.Add(skew)) {
		return nil, failed(errors.New("the ID token has no subject, or is of the future"))
	}
	who := &Identity{Issuer: id.Issuer, Subject: id.Subject, Name: known.Name, Email: known.Email,
		EmailVerified: yes(known.Verified), ACR: known.ACR, SessionID: known.Session, Claims: claims}
	if known.AuthTime > 0 {
		who.AuthTime = time.Unix(int64(known.AuthTime), 0).UTC()
	}
	if who.AuthTime.After(now.Add(skew)) {
		return nil, failed(errors.New("the sign-in is of the future"))
	}
	if err := recent(t, who.AuthTime, now); err != nil {
		return nil, err
	}
	return who, nil
}

// recent holds the provider to max_age, and to prompt=login as far as it tells
// when the person signed in.
func recent(t Ticket, at, now time.Time) error {
	if t.MaxAge != nil && (at.IsZero() || at.Before(now.Add(-*t.MaxAge-skew)) && at.Before(t.Began.Add(-skew))) {
		return failed(errors.New("the sign-in is older than asked for"))
	}
	if t.Again && !at.IsZero() && at.Before(t.Began.Add(-skew)) {
		return failed(errors.New("the person was not asked to sign in again"))
	}
	return nil
}

// fill asks the userinfo endpoint for name and e-mail address, for providers
// that keep their ID tokens short. Without an answer they stay empty.
func fill(ctx context.Context, d *discovered, token *oauth2.Token, who *Identity) {
	if d.provider.UserInfoEndpoint() == "" {
		return
	}
	info, err := d.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil || info.Subject != who.Subject { // OpenID Connect Core section 5.3.2
		return
	}
	var more struct {
		Name string `json:"name"`
	}
	if info.Claims(&more) == nil && who.Name == "" {
		who.Name = more.Name
	}
	if who.Email == "" {
		who.Email, who.EmailVerified = info.Email, info.EmailVerified
	}
}

func yes(claim any) bool { return claim == true || claim == "true" }
