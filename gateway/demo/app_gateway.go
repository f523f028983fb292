package demo

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// endpoints is what the app takes from the gateway's SMART configuration.
type endpoints struct {
	Authorize string `json:"authorization_endpoint"`
	Token     string `json:"token_endpoint"`
}

func (a *app) discover(ctx context.Context) (endpoints, error) {
	var meta endpoints
	err := a.get(ctx, "", "/.well-known/smart-configuration", &meta)
	if err == nil && (meta.Authorize == "" || meta.Token == "") {
		err = fmt.Errorf("endpoints are missing")
	}
	return meta, err
}

// A token is the answer of the token endpoint.
type token struct {
	AccessToken string `json:"access_token"`
	IDToken     string `json:"id_token"`
	Scope       string `json:"scope"`
	Patient     string `json:"patient"`
}

// fhirUser reads the claim without a check of the signature: the ID token came
// from the token endpoint itself (OpenID Connect Core section 3.1.3.7).
func (t token) fhirUser() string {
	var claims struct {
		User string `json:"fhirUser"`
	}
	parts := strings.Split(t.IDToken, ".")
	if len(parts) == 3 {
		body, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err == nil {
			_ = json.Unmarshal(body, &claims) // an unreadable claim stays empty
		}
	}
	return claims.User
}

func (a *app) exchange(ctx context.Context, l launch, code string) (token, error) {
	meta, err := a.discover(ctx)
	if err != nil {
		return token{}, err
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {l.verifier},
		"redirect_uri": {a.base + l.kind.path("callback")}}
	if l.kind.secret == "" {
		form.Set("client_id", l.kind.client)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, meta.Token, strings.NewReader(form.Encode()))
	if err != nil {
		return token{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if l.kind.secret != "" {
		req.SetBasicAuth(l.kind.client, l.kind.secret)
	}
	var t token
	return t, a.do(req, &t)
}

// get reads a path below the FHIR base.
func (a *app) get(ctx context.Context, bearer, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+"/fhir"+path, nil)
	if err != nil {
		return err
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
		req.Header.Set("Accept", "application/fhir+json")
	}
	return a.do(req, into)
}

func (a *app) do(req *http.Request, into any) error {
	resp, err := a.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s cannot be reached", req.URL.Path)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers with status %d", req.URL.Path, resp.StatusCode)
	}
	return json.Unmarshal(body, into)
}

// latest gives the newest observations that are a number.
func (a *app) latest(ctx context.Context, t token) ([]finding, error) {
	var bundle struct {
		Entry []struct {
			Resource struct {
				EffectiveDateTime string
				Code              struct{ Text string }
				ValueQuantity     *struct {
					Value json.Number
					Unit  string
				}
			}
		}
	}
	q := url.Values{"patient": {t.Patient}, "_sort": {"-date"}, "_count": {"20"}}
	if err := a.get(ctx, t.AccessToken, "/Observation?"+q.Encode(), &bundle); err != nil {
		return nil, err
	}
	var list []finding
	for _, e := range bundle.Entry {
		if o := e.Resource; o.ValueQuantity != nil && len(o.EffectiveDateTime) >= 10 {
			list = append(list, finding{dayOf(o.EffectiveDateTime), o.Code.Text, rounded(o.ValueQuantity.Value), unit(o.ValueQuantity.Unit)})
		}
	}
	return list, nil
}

// unit spells the units that UCUM writes for machines.
func unit(s string) string {
	switch s {
	case "10*3/uL":
		return "×10³/µL"
	case "10*6/uL":
		return "×10⁶/µL"
	case "mm[Hg]":
		return "mmHg"
	case "kg/m2":
		return "kg/m²"
	case "/min", "{#}/min":
		return "per minute"
	case "{score}", "{nominal}", "1":
		return ""
	}
	return s
}

func rounded(n json.Number) string {
	f, err := n.Float64()
	if err != nil {
		return n.String()
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0")
}
