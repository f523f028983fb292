package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/tidwall/gjson"
	"golang.org/x/net/html"

	"mypatients/gateway/demo"
)

// An actor is a person at a browser and with an app, or a backend client. What
// they do last is what the script looks at.
type actor struct {
	stage  *stage
	name   string
	client *http.Client

	at     *url.URL
	status int
	header http.Header
	body   []byte
	doc    *html.Node // of a page
	away   *url.URL   // where the last redirect led, when it left the gateway

	bearer   string     // what the app shows to the FHIR server
	app      string     // the app's client id
	verifier string     // of the launch under way
	more     url.Values // parameters that the app adds to its requests
}

func newActor(s *stage, name string) *actor {
	jar, _ := cookiejar.New(nil) // fails with options only
	a := &actor{stage: s, name: name}
	a.client = &http.Client{Transport: s.net, Jar: jar, Timeout: time.Minute, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if r.URL.Scheme+"://"+r.URL.Host != scriptBase {
			a.away = r.URL
			return http.ErrUseLastResponse
		}
		if len(via) > 20 {
			return errors.New("the redirects go round in circles")
		}
		return nil
	}}
	return a
}

// send does a request and keeps the answer.
func (a *actor) send(method, path string, body io.Reader, headers map[string]string) error {
	target := path
	if !strings.HasPrefix(path, "http") {
		target = scriptBase + path
	}
	r, err := http.NewRequestWithContext(a.stage.t.Context(), method, target, body)
	if err != nil {
		return err
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	a.away, a.doc = nil, nil
	res, err := a.client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if a.body, err = io.ReadAll(res.Body); err != nil {
		return err
	}
	a.at, a.status, a.header = res.Request.URL, res.StatusCode, res.Header
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
		a.doc, err = html.Parse(bytes.NewReader(a.body))
	}
	return err
}

// open goes to a page.
func (a *actor) open(path string) error {
	return a.send(http.MethodGet, path, nil, map[string]string{"Accept": "text/html"})
}

// enter goes to a page, and signs in when that is asked first.
func (a *actor) enter(path string) error {
	if err := a.open(path); err != nil {
		return err
	}
	if a.doc != nil && linkOf(a.doc, "Sign in") != nil { // a session had ended
		if err := a.follow("Sign in"); err != nil {
			return err
		}
	}
	if a.doc != nil && a.name != "nobody" && hasField(a.doc, "password") {
		return a.press("Sign in", url.Values{"username": {a.name}, "password": {demo.Password}})
	}
	return nil
}

// press sends the form with a button of these words, filled in as given. An empty
// value empties a field and unticks a box.
func (a *actor) press(button string, fill url.Values) error {
	if a.doc == nil {
		return errors.New("this is no page")
	}
	form, pressed := formOf(a.doc, button)
	if form == nil {
		return fmt.Errorf("there is no button %q", button)
	}
	values := asFilled(form)
	for name, list := range fill {
		if !hasField(form, name) {
			return fmt.Errorf("the form of %q has no field %q", button, name)
		}
		values.Del(name)
		for _, v := range list {
			if v != "" {
				values.Add(name, v)
			}
		}
	}
	if name := attribute(pressed, "name"); name != "" {
		values.Set(name, attribute(pressed, "value"))
	}
	target, err := a.at.Parse(attribute(form, "action"))
	if err != nil {
		return err
	}
	if !strings.EqualFold(attribute(form, "method"), "post") {
		target.RawQuery = values.Encode()
		return a.send(http.MethodGet, target.String(), nil, map[string]string{"Accept": "text/html"})
	}
	return a.send(http.MethodPost, target.String(), strings.NewReader(values.Encode()), map[string]string{
		"Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded", "Origin": scriptBase, "Sec-Fetch-Site": "same-origin",
	})
}

// follow goes to the link of these words.
func (a *actor) follow(words string) error {
	if a.doc == nil {
		return errors.New("this is no page")
	}
	link := linkOf(a.doc, words)
	if link == nil {
		return fmt.Errorf("there is no link %q", words)
	}
	target, err := a.at.Parse(attribute(link, "href"))
	if err != nil {
		return err
	}
	return a.open(target.String())
}

// call sends JSON with the token of the actor's app.
func (a *actor) call(method, path, kind string, body []byte, headers map[string]string) error {
	all := map[string]string{"Accept": kind}
	if a.bearer != "" {
		all["Authorization"] = "Bearer " + a.bearer
	}
	var reader io.Reader
	if body != nil {
		all["Content-Type"], reader = kind, bytes.NewReader(body)
	}
	for name, value := range headers {
		all[name] = value
	}
	return a.send(method, path, reader, all)
}

// authorize begins the launch of an app with PKCE and goes as far as the page
// that asks for approval, or for a sign-in as somebody else.
func (a *actor) authorize(client, scope, launch string) error {
	a.app, a.bearer, a.verifier = client, "", rand.Text()+rand.Text()
	sum := sha256.Sum256([]byte(a.verifier))
	query := url.Values{
		"response_type": {"code"}, "client_id": {client}, "redirect_uri": {appCallback}, "scope": {scope}, "state": {"s-" + a.verifier[:8]},
		"aud": {scriptBase + "/fhir"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	if launch != "" {
		query.Set("launch", launch)
	}
	maps.Copy(query, a.more)
	return a.enter("/oauth/authorize?" + query.Encode())
}

// exchange has the app take up the code it was sent.
func (a *actor) exchange() error {
	if a.away == nil || !strings.HasPrefix(a.away.String(), appCallback) {
		return fmt.Errorf("the browser was not sent back to the app, but is at %s with %d", a.at, a.status)
	}
	answer := a.away.Query()
	if answer.Get("state") != "s-"+a.verifier[:8] || answer.Get("iss") != scriptBase {
		return fmt.Errorf("the app got a wrong state or issuer: %s", a.away)
	}
	if answer.Get("code") == "" {
		return fmt.Errorf("the app got no code: %s", a.away)
	}
	form := url.Values{"grant_type": {"authorization_code"}, "redirect_uri": {appCallback}, "code": {answer.Get("code")}, "code_verifier": {a.verifier}}
	return a.token(form)
}

// token asks the token endpoint as the actor's app, and keeps the access token.
func (a *actor) token(form url.Values) error {
	login := ""
	if a.app == "demo-confidential" {
		login = a.app + ":" + demo.ConfidentialSecret
	} else {
		form.Set("client_id", a.app)
	}
	if err := a.oauth("token", login, form); err != nil {
		return err
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("the token endpoint answered %d %s", a.status, a.body)
	}
	a.bearer = gjson.GetBytes(a.body, "access_token").String()
	return nil
}

// oauth sends a form to an endpoint of the authorization server; login is
// "client:secret", or empty.
func (a *actor) oauth(endpoint, login string, form url.Values) error {
	headers := map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
	if login != "" {
		headers["Authorization"] = "Basic " + base64.StdEncoding.EncodeToString([]byte(login))
	}
	return a.send(http.MethodPost, "/oauth/"+endpoint, strings.NewReader(form.Encode()), headers)
}

// assert makes the assertion with which a backend client says who it is.
func (a *actor) assert(client, audience, id string) (string, error) {
	raw, ok := demo.ClientKey(client)
	if !ok {
		return "", fmt.Errorf("%s is no backend client", client)
	}
	var key jose.JSONWebKey
	if err := json.Unmarshal(raw, &key); err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]any{
		"iss": client, "sub": client, "aud": audience, "jti": id, "exp": a.stage.clock.Now().Add(4 * time.Minute).Unix(),
	})
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// backend gets a backend client its token by private_key_jwt.
func (a *actor) backend(scope, audience, id string) error {
	assertion, err := a.assert(a.name, audience, id)
	if err != nil {
		return err
	}
	a.bearer = ""
	err = a.oauth("token", "", url.Values{
		"grant_type": {"client_credentials"}, "scope": {scope},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
	})
	if err == nil && a.status == http.StatusOK {
		a.bearer = gjson.GetBytes(a.body, "access_token").String()
	}
	return err
}

// said is what the last answer said: the words of a page, or the body.
func (a *actor) said() string {
	if a.away != nil {
		return "sent to " + a.away.String()
	}
	if a.doc != nil {
		return words(a.doc)
	}
	return string(a.body)
}
