package authserver_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mypatients/smart"
	"mypatients/smart/authserver"
)

// A client that holds its registration access token changes what it says of itself,
// and gains nothing by it (RFC 7592 section 2.2).
func TestRegistrationGainsNothing(t *testing.T) {
	w := newWorld(t, func(c *authserver.Config) { c.OpenRegistration, c.InitialAccessToken = false, "initial-initial" })
	const scope = "openid launch/patient patient/Patient.rs patient/Basic.cuds"
	a := w.json("POST", "/oauth/register", `{"redirect_uris":["https://a.example/cb"],"token_endpoint_auth_method":"none","scope":"`+scope+`"}`, "Authorization", "Bearer initial-initial")
	want(t, a, 201, "")
	put := func(more map[string]any) *answer {
		t.Helper()
		body := map[string]any{"client_id": a.str("client_id"), "redirect_uris": []string{"https://a.example/cb"}, "token_endpoint_auth_method": "none"}
		maps.Copy(body, more)
		text, _ := json.Marshal(body)
		return w.json("PUT", a.str("registration_client_uri"), string(text), "Authorization", "Bearer "+a.str("registration_access_token"))
	}
	t.Run("by leaving the scopes out", func(t *testing.T) {
		if b := put(nil); b.status != 200 || b.str("scope") != scope {
			t.Errorf("got %d %s", b.status, b.body)
		}
	})
	t.Run("by naming others only", func(t *testing.T) {
		for _, asked := range []string{"user/*.cruds", "nonsense", "system/*.rs"} {
			want(t, put(map[string]any{"scope": asked}), 400, "invalid_client_metadata")
		}
	})
	t.Run("by naming a code of another app's state", func(t *testing.T) {
		b := put(map[string]any{"scope": scope + " patient/Basic.cuds?code=https://other.example|settings"})
		if b.status != 200 || b.str("scope") != scope {
			t.Errorf("got %d %s", b.status, b.body)
		}
		want(t, put(map[string]any{"scope": "patient/Basic.cuds?code=https://other.example|settings"}), 400, "invalid_client_metadata")
	})
	t.Run("by running where another app does", func(t *testing.T) { // the app "public" is at app.example
		want(t, put(map[string]any{"redirect_uris": []string{"https://a.example/cb", "https://app.example/mine"}}), 400, "invalid_redirect_uri")
		want(t, put(map[string]any{"launch_uri": "https://APP.example:443/mine"}), 400, "invalid_redirect_uri")
		if b := put(map[string]any{"redirect_uris": []string{"https://a.example/cb", "https://new.example/cb", "http://127.0.0.1/cb"}, "scope": scope}); b.status != 200 {
			t.Errorf("its own: %d %s", b.status, b.body)
		}
	})
	t.Run("against an administrator who took something away", func(t *testing.T) {
		c, err := w.server.Client(t.Context(), a.str("client_id"))
		if err != nil {
			t.Fatal(err)
		}
		c.Scope = "openid"
		w.put(c)
		if b := put(nil); b.str("scope") != "openid" {
			t.Errorf("got %d %s", b.status, b.body)
		}
	})
}

// What was asked for before a registration changed is held to what it is now.
func TestChangedClient(t *testing.T) {
	w := newWorld(t, nil)
	id, back := "changing", "https://changing.example/cb"
	c := smart.Client{ID: id, RedirectURIs: []string{back}, AuthMethod: smart.AuthNone, GrantTypes: []string{"authorization_code", "refresh_token"}, Scope: everything}
	ask := func() string {
		t.Helper()
		return w.get("/oauth/authorize?" + w.request(id, standalone, "redirect_uri", back).Encode()).header.Get("Location")
	}
	w.put(c)
	t.Run("a redirect URI that is gone gets no code", func(t *testing.T) {
		page := ask()
		moved := c
		moved.RedirectURIs = []string{"https://changing.example/new"}
		w.put(moved)
		if a := w.get(page); a.status != 400 || a.header.Get("Location") != "" {
			t.Errorf("got %d %v", a.status, a.header)
		}
		w.put(c)
	})
	t.Run("scopes that are gone are not granted", func(t *testing.T) {
		page := ask()
		less := c
		less.Scope = "launch/patient patient/Patient.rs"
		w.put(less)
		code := w.get(page)
		got := w.post("/oauth/token", exchange(codeIn(t, code.header.Get("Location")), "client_id", id, "redirect_uri", back))
		if got.status != 200 || got.str("scope") != "launch/patient patient/Patient.rs" || got.str("refresh_token") != "" {
			t.Errorf("got %d %s", got.status, got.body)
		}
		w.put(c)
	})
	t.Run("nor for a code that was under way", func(t *testing.T) {
		code := codeIn(t, w.get(ask()).header.Get("Location"))
		less := c
		less.Scope = "launch/patient patient/Patient.rs"
		w.put(less)
		got := w.post("/oauth/token", exchange(code, "client_id", id, "redirect_uri", back))
		if got.status != 200 || got.str("scope") != "launch/patient patient/Patient.rs" {
			t.Errorf("got %d %s", got.status, got.body)
		}
		less.Scope = "user/Patient.rs"
		w.put(c)
		code = codeIn(t, w.get(ask()).header.Get("Location"))
		w.put(less)
		want(t, w.post("/oauth/token", exchange(code, "client_id", id, "redirect_uri", back)), 400, "invalid_grant")
	})
}

// Ending everything of a login ends the codes too that are under way, and nothing
// that comes after.
func TestEndLoginEndsCodes(t *testing.T) {
	w := newWorld(t, nil)
	code := w.authorize(w.request("public", standalone)).Get("code")
	if err := w.server.EndLogin(t.Context(), grace.Login); err != nil {
		t.Fatal(err)
	}
	want(t, w.post("/oauth/token", exchange(code, "client_id", "public")), 400, "invalid_grant")
	w.pass(1)
	after := w.authorize(w.request("public", standalone)).Get("code")
	want(t, w.post("/oauth/token", exchange(after, "client_id", "public")), 200, "")
	w.person(adams, "p1")
	other := w.authorize(w.request("public", standalone)).Get("code")
	want(t, w.post("/oauth/token", exchange(other, "client_id", "public")), 200, "")
}

func codeIn(t *testing.T, location string) string {
	t.Helper()
	u, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	if u.Query().Get("code") == "" {
		t.Fatalf("no code in %q", location)
	}
	return u.Query().Get("code")
}

// A public client only says who it is, which anybody can: it asks about tokens by
// one of its own.
func TestIntrospectionByPublicClients(t *testing.T) {
	w := newWorld(t, nil)
	w.put(smart.Client{ID: "another", RedirectURIs: []string{callback}, AuthMethod: smart.AuthNone, GrantTypes: []string{"authorization_code"}, Scope: everything})
	token := w.login(standalone).str("access_token")
	for _, id := range []string{"public", "another"} {
		want(t, w.post("/oauth/introspect", url.Values{"token": {token}, "client_id": {id}}), 401, "invalid_client")
		want(t, w.post("/oauth/introspect", url.Values{"token": {token}}, "Authorization", basic(id, "")), 401, "invalid_client")
		want(t, w.post("/oauth/introspect", url.Values{"token": {token}}, "Authorization", basic(id, "x")), 401, "invalid_client")
	}
	if a := w.post("/oauth/introspect", url.Values{"token": {token}}, "Authorization", basic("confidential", secret)); a.json["active"] != true {
		t.Errorf("a resource server: %s", a.body)
	}
}

// What strangers send does not stay in memory, however long it is.
func TestStrangersTakeNoMemory(t *testing.T) {
	w := newWorld(t, nil)
	held := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	long := strings.Repeat("x", 60<<10)
	send := func(from, n int) {
		for i := range n {
			want(t, w.post("/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}, "client_id": {fmt.Sprint(from+i, long)}}), 401, "invalid_client")
		}
	}
	send(0, 10)
	before := held()
	for round := range 10 {
		w.pass(time.Hour) // lest they be told to wait
		send(100*(round+1), 30)
	}
	if grown := held() - before; grown > 6<<20 {
		t.Errorf("300 requests left %d KB behind", grown>>10)
	}
}

// Whoever waited for keys that could not be fetched does not fetch them again.
func TestFailedFetchIsNotRepeated(t *testing.T) {
	w := newWorld(t, nil)
	var fetched atomic.Int32
	at := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		rw.WriteHeader(500)
	}))
	t.Cleanup(at.Close)
	w.put(smart.Client{ID: "slow", AuthMethod: smart.AuthPrivateKeyJWT, JWKSURI: at.URL, GrantTypes: []string{"client_credentials"}, Scope: "system/*.rs"})
	for range 10 {
		want(t, w.backendToken(w.assertion("slow"), "system/*.rs"), 401, "invalid_client")
	}
	if n := fetched.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
	w.pass(10 * time.Second)
	w.backendToken(w.assertion("slow"), "system/*.rs")
	if n := fetched.Load(); n != 2 {
		t.Errorf("fetched %d times after a while", n)
	}
}

// No answer repeats what a stranger sent, nor has characters that RFC 6749 section
// 5.2 keeps out of error_description.
func TestErrorsRepeatNothing(t *testing.T) {
	w := newWorld(t, nil)
	odd := "<b>\x00\"\\ä" + strings.Repeat("x", 5000)
	for _, form := range []url.Values{
		{"grant_type": {odd}}, {"grant_type": {odd}, "client_id": {"public"}}, {"grant_type": {"refresh_token"}, "refresh_token": {odd}, "client_id": {"public"}},
		{"grant_type": {"client_credentials"}, "client_assertion_type": {odd}, "client_assertion": {"a.b.c"}},
		{"grant_type": {"client_credentials"}, "client_assertion_type": {odd}},
		{"grant_type": {"authorization_code"}, "code": {odd}, "redirect_uri": {odd}, "client_id": {odd}},
		{"grant_type": {"refresh_token"}, odd: {"1", "2"}}, {odd: {odd}},
	} {
		for _, path := range []string{"/oauth/token", "/oauth/revoke", "/oauth/introspect"} {
			a := w.post(path, form)
			if a.status != 400 && a.status != 401 || len(a.body) > 400 || strings.Contains(string(a.body), "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx") ||
				strings.IndexFunc(a.str("error_description"), func(c rune) bool { return c < ' ' || c > '~' }) >= 0 {
				t.Errorf("%s: got %d %.300s", path, a.status, a.body)
			}
		}
	}
}
