package main

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"mypatients/config"
)

// commanded writes the configuration of a gateway that listens for commands, and for
// everybody else where there is room.
func commanded(t *testing.T) (path, text string) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	admin := free.Addr().String()
	_ = free.Close()
	text = strings.NewReplacer("127.0.0.1:9091", admin, "listen: 127.0.0.1:8080", "listen: 127.0.0.1:0", "listen: 127.0.0.1:9090", `listen: ""`).Replace(string(readFile(t, production(t))))
	return write(t, "commanded.yaml", text), text
}

// runCommanded runs the gateway of a configuration that commanded wrote.
func runCommanded(t *testing.T, path string, log slog.Handler) (p *Program, c *config.Config, stop func()) {
	t.Helper()
	c, err := config.Parse(path, readFile(t, path), func(n string) (string, bool) { v, ok := secrets[n]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	if p, err = start(t.Context(), c, time.Now, slog.New(log)); err != nil {
		t.Fatal(err)
	}
	return p, c, running(t, p)
}

// While a gateway runs on embedded data, commands about clients and keys go to it.
func TestCommandsReachARunningGateway(t *testing.T) {
	path, text := commanded(t)
	log := new(lines)
	p, c, _ := runCommanded(t, path, slog.NewTextHandler(log, nil))
	admin := c.Admin.Listen

	app := write(t, "app.json", `{"client_id":"app one","client_name":"App","redirect_uris":["https://app.example.org/cb"],"grant_types":["authorization_code"],"scope":"openid","token_endpoint_auth_method":"client_secret_basic"}`)
	if status, _, stderr := runCommand(t, secrets, "client", "add", "-config", path, app); status != 1 || !strings.Contains(stderr, "client_id has characters") {
		t.Errorf("a bad id: got %d %s", status, stderr)
	}
	good := strings.Replace(string(readFile(t, app)), "app one", "app-1/x", 1)
	if err := os.WriteFile(app, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := runCommand(t, secrets, "client", "add", "-config", path, app)
	if status != 0 || !strings.Contains(stdout, "client_id app-1/x\nclient_secret ") {
		t.Fatalf("add: got %d %s %s", status, stdout, stderr)
	}
	secret := strings.TrimSpace(stdout[strings.LastIndex(stdout, " "):])
	if _, err := p.core.server.Client(t.Context(), "app-1/x"); err != nil {
		t.Errorf("the running gateway does not know it: %v", err)
	}
	if status, stdout, _ = runCommand(t, secrets, "client", "list", "-config", path); status != 0 || !strings.HasPrefix(stdout, "app-1/x ") || strings.Contains(stdout, secret) {
		t.Errorf("list: got %d %s", status, stdout)
	}
	keys := func() int {
		return strings.Count(call(t, "GET", p.listener.Addr().String(), "/oauth/jwks", "", ""), `"kid"`)
	}
	before := keys()
	if status, _, stderr = runCommand(t, secrets, "keys", "rotate", "-config", path); status != 0 || keys() != before+1 {
		t.Errorf("rotate: got %d %s, %d keys after %d", status, stderr, keys(), before)
	}
	if status, _, stderr = runCommand(t, secrets, "client", "remove", "-config", path, "app-1/x"); status != 0 {
		t.Errorf("remove: got %d %s", status, stderr)
	}
	if status, _, stderr = runCommand(t, secrets, "client", "remove", "-config", path, "app-1/x"); status != 1 || !strings.Contains(stderr, "not known") {
		t.Errorf("remove again: got %d %s", status, stderr)
	}

	// What is not told: without the token, with a wrong one, by a name from
	// elsewhere, or at the address that is open to everybody.
	token := "Bearer " + secrets["GATEWAY_ADMIN_TOKEN"]
	for name, r := range map[string]struct{ at, host, auth, want string }{
		"no token": {admin, "", "", "401"}, "a wrong one": {admin, "", "Bearer x", "401"}, "basic": {admin, "", "Basic " + secrets["GATEWAY_ADMIN_TOKEN"], "401"},
		"another host": {admin, "evil.example", token, "421"}, "the public address": {p.listener.Addr().String(), "", token, "404"},
	} {
		if got := call(t, "GET", r.at, "/admin/clients", r.host, r.auth); !strings.HasPrefix(got, r.want) {
			t.Errorf("%s: got %s", name, got)
		}
	}
	if got := call(t, "POST", admin, "/admin/clients", "", token); !strings.HasPrefix(got, "400") {
		t.Errorf("no body: got %s", got)
	}
	if got := call(t, "GET", admin, "/admin/notices", "", token); !strings.HasPrefix(got, "200") || !strings.Contains(got, "[]") {
		t.Errorf("failed notices: got %s", got)
	}
	if got := call(t, "POST", admin, "/admin/notices/none/retry", "", token); !strings.HasPrefix(got, "404") {
		t.Errorf("retrying none: got %s", got)
	}
	if got := call(t, "POST", admin, "/admin/notices/none/dismiss", "", token); !strings.HasPrefix(got, "404") {
		t.Errorf("dismissing none: got %s", got)
	}
	if strings.Contains(log.String(), secrets["GATEWAY_ADMIN_TOKEN"]) || strings.Contains(log.String(), secret) {
		t.Error("the log tells secrets")
	}

	// With another token, and without an address, the command says what is wrong.
	other := map[string]string{}
	for k, v := range secrets {
		other[k] = v
	}
	other["GATEWAY_ADMIN_TOKEN"] = "another-token-with-enough-characters"
	if status, _, stderr = runCommand(t, other, "client", "list", "-config", path); status != 1 || !strings.Contains(stderr, "does not take the token") {
		t.Errorf("another token: got %d %s", status, stderr)
	}
	closed := write(t, "closed.yaml", strings.Replace(text, "  listen: "+admin+"\n  token: ${GATEWAY_ADMIN_TOKEN}", "  listen: \"\"", 1))
	if status, _, stderr = runCommand(t, secrets, "client", "list", "-config", closed); status != 1 || !strings.Contains(stderr, "is in use") || !strings.Contains(stderr, "admin.listen") {
		t.Errorf("no address: got %d %s", status, stderr)
	}
}

// call gives the status and the body of an answer.
func call(t *testing.T, method, at, path, host, auth string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+at+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.Status + " " + string(text)
}
