package main

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"mypatients/config"
	"mypatients/fhir"
	"mypatients/fhir/store"
	"mypatients/gateway/demo"
)

// TestAuditCommands verify and export a log on a stopped gateway's data, and by a
// running one.
func TestAuditCommands(t *testing.T) {
	path, _ := commanded(t)
	app := write(t, "app.json", `{"client_id":"app-1","client_name":"App","redirect_uris":["https://app.example.org/cb"],"grant_types":["authorization_code"],"scope":"openid","token_endpoint_auth_method":"client_secret_basic"}`)
	if status, _, stderr := runCommand(t, secrets, "client", "add", "-config", path, app); status != 0 {
		t.Fatal(stderr)
	}
	good := func(when string, entries string) (head string) {
		t.Helper()
		status, stdout, stderr := runCommand(t, secrets, "audit", "verify", "-config", path)
		if status != 0 || !strings.Contains(stdout, "verified "+entries+" entries") {
			t.Fatalf("%s: got %d %s %s", when, status, stdout, stderr)
		}
		_, head, _ = strings.Cut(stdout, "head ")
		head, _, _ = strings.Cut(head, "\n")
		return head
	}
	first := good("stopped", "1")

	_, c, stop := runCommanded(t, path, slog.DiscardHandler)
	if status, _, stderr := runCommand(t, secrets, "client", "remove", "-config", path, "app-1"); status != 0 {
		t.Fatal(stderr)
	}
	head := good("running", "3")
	status, stdout, stderr := runCommand(t, secrets, "audit", "export", "-config", path)
	var actions []string
	for line := range strings.Lines(stdout) {
		var ev struct{ Subtype []struct{ Display string } }
		if err := json.Unmarshal([]byte(line), &ev); err != nil {
			t.Fatal(err, line)
		}
		actions = append(actions, ev.Subtype[0].Display)
	}
	if got := strings.Join(actions, " "); status != 0 || got != "add-client appoint remove-client export-audit" {
		t.Errorf("export: got %d %q %s", status, got, stderr)
	}
	if status, stdout, _ := runCommand(t, secrets, "audit", "export", "-config", path, "-until", "2020-01-01"); status != 0 || stdout != "" {
		t.Errorf("export of what is older: got %d %q", status, stdout)
	}
	if status, stdout, _ := runCommand(t, secrets, "audit", "verify", "-config", path, "-head", head[:len(head)-2]+"zz"); status != 1 || !strings.Contains(stdout, "whose head was kept") {
		t.Errorf("a head that is not there: got %d %q", status, stdout)
	}
	stop()
	for _, args := range [][]string{{}, {"burn"}, {"verify", "-config", path, "-since", "yesterday"}, {"verify", "-config", path, "-until", "2020-01-01"}, {"verify", "-config", path, "-head", "x"}} {
		if status, _, stderr := runCommand(t, secrets, append([]string{"audit"}, args...)...); status != 1 || !strings.Contains(stderr, "hint: ") {
			t.Errorf("%v: got %d %s", args, status, stderr)
		}
	}
	if status, stdout, stderr := runCommand(t, secrets, "audit", "verify", "-config", path, "-head", first, "-since", "2020-01-01"); status != 0 {
		t.Errorf("stopped again: got %d %s %s", status, stdout, stderr)
	}
	tamper(t, c)
	status, stdout, stderr = runCommand(t, secrets, "audit", "verify", "-config", path)
	if status != 1 || !strings.Contains(stdout, ": this record is missing; link ") || !strings.Contains(stderr, "the audit log is damaged in 1 places") {
		t.Errorf("tampered with: got %d %s %s", status, stdout, stderr)
	}
}

// tamper removes the oldest entry of a log.
func tamper(t *testing.T, c *config.Config) {
	t.Helper()
	db, err := openStore(t.Context(), c.Storage, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(t.Context(), func(w store.Writer) error {
		list, err := w.Records("audit", "", "", 1)
		if err != nil {
			return err
		}
		return w.DeleteRecord("audit", list[0].Key)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestSignInsAndAdministrationAreLogged over the pages.
func TestSignInsAndAdministrationAreLogged(t *testing.T) {
	w := newSmartWorld(t)
	w.enter("grace", "public", fullScope, mateo)
	ana := w.newVisitor()
	page := ana.submit(ana.open(w.URL+"/staff/accounts"), "username", url.Values{"username": {"ana"}, "password": {demo.Password}})
	page = ana.submit(page, "q", url.Values{"q": {"grace@example.org"}})
	account := ana.open(w.URL + regexp.MustCompile(`/staff/accounts/[^"]+`).FindString(page.text))
	ana.submit(account, "action", url.Values{"action": {"end-all"}, "link": nil, "sure": nil}).has(t, 200, "is signed out everywhere")
	if status, _, _ := w.get("/signin/callback/demo?error=access_denied&state=x"); status != 400 {
		t.Errorf("an answer that nobody asked for: %d", status)
	}
	for scope, want := range map[string]int{"system/*.rs": 200, "patient/*.rs": 400} {
		r := w.form("/oauth/token", url.Values{"grant_type": {"client_credentials"}, "scope": {scope}, "client_assertion_type": {jwtBearer}, "client_assertion": {w.sign("backend", jose.RS384, nil, nil)}})
		if r.status != want {
			t.Errorf("a backend that asks for %s gets %d %s", scope, r.status, r.body)
		}
	}
	var got []string
	if err := w.core.guard.ExportAudit(t.Context(), time.Time{}, time.Time{}, func(r *fhir.Resource) error {
		var ev struct {
			Type    struct{ Code string }
			Subtype []struct{ Code, Display string }
			Agent   []struct{ Name string }
		}
		if err := json.Unmarshal(r.JSON, &ev); err != nil {
			return err
		}
		got = append(got, ev.Type.Code+" "+ev.Subtype[0].Display+" "+ev.Agent[0].Name)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n := len(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return !strings.Contains(s, "grant-token") })); n != 2 {
		t.Errorf("%d tokens of backends are logged, want one given and one refused: %v", n, got)
	}
	for _, want := range []string{"110114 sign-in Grace Rivera", "110137 approve-app Grace Rivera", "110114 sign-in Ana", "110112 find-accounts Ana", "110137 end-account Ana", "110114 grant-token "} {
		if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("no %q in %v", want, got)
		}
	}
}
