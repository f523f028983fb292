package main

import (
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"mypatients/config"
	"mypatients/smart"
)

func productionConfig(t *testing.T) *config.Config {
	t.Helper()
	path := production(t)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(path, text, func(name string) (string, bool) { v, ok := secrets[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfiguredLoginsAreAdministrators(t *testing.T) {
	c := productionConfig(t)
	k, err := openCore(t.Context(), c, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = k.Close() }()
	for range 2 { // every start does it
		if err := k.appointAdmins(t.Context(), c.Admins); err != nil {
			t.Fatal(err)
		}
	}
	identity := func(issuer, subject string) (smart.Identity, error) {
		account, err := k.guard.SignIn(t.Context(), issuer, subject, "Somebody", "")
		if err != nil {
			t.Fatal(err)
		}
		return k.guard.Identity(t.Context(), account, smart.Admin)
	}
	id, err := identity(c.Admins[0].Issuer, c.Admins[0].Subject)
	if err != nil || !strings.HasPrefix(id.FHIRUser, "Practitioner/admin-") || len(id.Persons) != 1 {
		t.Errorf("got %+v %v", id, err)
	}
	if id, err := identity(c.Admins[0].Issuer, "somebody-else"); err == nil {
		t.Errorf("a stranger is administrator: %+v", id)
	}
	if id, err := identity("https://elsewhere.example.org", c.Admins[0].Subject); err == nil {
		t.Errorf("the same subject of another issuer is administrator: %+v", id)
	}
}

// Apps on people's own devices share a loopback address, and no state by it.
func TestStateCodesOfNativeApps(t *testing.T) {
	k, err := openCore(t.Context(), productionConfig(t), time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = k.Close() }()
	for _, c := range []struct {
		redirect, scope, code string
		want                  bool
	}{
		{"http://127.0.0.1/cb", "patient/Basic.cuds", "http://127.0.0.1|settings", false},
		{"http://127.0.0.1/cb", "patient/Basic.cuds", "http://127.0.0.1:8080|settings", false},
		{"http://localhost/cb", "patient/Basic.cuds", "http://localhost|settings", false},
		{"http://127.0.0.1/cb", "patient/Basic.cuds?code=https://native.example|settings", "https://native.example|settings", true},
		{"http://127.0.0.1/cb", "patient/Basic.cuds?code=https://native.example|settings", "https://native.example|other", false},
		{"https://app.example/cb", "patient/Basic.cuds", "https://APP.example:443|settings", true},
		{"https://app.example/cb", "patient/Basic.cuds", "https://app.example.evil.example|settings", false},
		{"https://app.example/cb", "patient/Basic.cuds", "https://app.example:444|settings", false},
		{"com.example.app:/cb", "patient/Basic.cuds", "com.example.app:|settings", false},
	} {
		id, _, err := k.server.AddClient(t.Context(), smart.Client{RedirectURIs: []string{c.redirect}, Scope: c.scope, AuthMethod: smart.AuthNone, GrantTypes: []string{smart.GrantCode}}, "")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.appCode(t.Context(), id, c.code); err != nil || got != c.want {
			t.Errorf("%s with %s: %s: %v, %v", c.redirect, c.scope, c.code, got, err)
		}
	}
}

func TestReferentialIntegrityIsASetting(t *testing.T) {
	for _, on := range []bool{false, true} {
		c := productionConfig(t)
		c.Storage.ReferentialIntegrity = on
		k, err := openCore(t.Context(), c, time.Now, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if k.engine.Integral() != on {
			t.Errorf("set to %v, it is not", on)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestDataKeepsItsBaseURL(t *testing.T) {
	c := productionConfig(t)
	for _, base := range []string{c.BaseURL, c.BaseURL, "https://other.example.org"} {
		changed := *c
		changed.BaseURL = base
		k, err := openCore(t.Context(), &changed, time.Now, slog.New(slog.DiscardHandler))
		if (err == nil) != (base == c.BaseURL) {
			t.Errorf("%s: got %v", base, err)
		}
		if err != nil {
			if !strings.Contains(err.Error(), "was made for "+c.BaseURL) {
				t.Errorf("got %q, want a sentence with the address it was made for", err)
			}
			continue
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestTheDemoMayMove to another port with its data: the story so far goes on.
func TestTheDemoMayMove(t *testing.T) {
	folder := t.TempDir()
	first := startDemoIn(t, folder, "127.0.0.1:0", nil)
	token := first.launch("grace", "launch/patient patient/*.rs", "pt-1")["access_token"].(string)
	status, _, body := first.get("/fhir/Consent?patient=pt-1", "Authorization", "Bearer "+token)
	if status != 200 {
		t.Fatalf("got %d %s", status, body)
	}
	first.stop()
	second := startDemoIn(t, folder, "127.0.0.1:0", nil)
	if second.URL == first.URL {
		t.Skip("the same port was free again")
	}
	token = second.launch("grace", "launch/patient patient/*.rs", "pt-1")["access_token"].(string)
	if status, _, body := second.get("/fhir/Patient/pt-1", "Authorization", "Bearer "+token); status != 200 {
		t.Errorf("got %d %s", status, body)
	}
}
