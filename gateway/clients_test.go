package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Clients that were written elsewhere run against the gateway in Node. They are
// installed, as their lock file says, into the user's cache, once for each lock
// file; nothing of them runs at that.

const clientsFolder = "testdata/clients"

// nodeModules gives the folder with the libraries that a folder of ours asks for.
// Without Node or npm the test is skipped, but fails where CI is set.
func nodeModules(t *testing.T, folder string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("clients in Node take long")
	}
	lacks := func(format string, args ...any) {
		t.Helper()
		if os.Getenv("CI") != "" {
			t.Fatalf(format+", which CI must have", args...)
		}
		t.Skipf(format, args...)
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			lacks("there is no %s", program)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	hash := sha256.New()
	files := []string{"package.json", "package-lock.json", ".npmrc"}
	for _, name := range files {
		_, _ = hash.Write(readFile(t, filepath.Join(folder, name)))
	}
	home := filepath.Join(cache, "mypatients", filepath.Base(folder)+"-"+hex.EncodeToString(hash.Sum(nil)[:12]))
	modules := filepath.Join(home, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules
	}
	if err := os.MkdirAll(filepath.Dir(home), 0o755); err != nil {
		t.Fatal(err)
	}
	made, err := os.MkdirTemp(filepath.Dir(home), "new-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(made) }()
	for _, name := range files {
		if err := os.WriteFile(filepath.Join(made, name), readFile(t, filepath.Join(folder, name)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
	install.Dir = made
	if said, err := install.CombinedOutput(); err != nil {
		lacks("npm does not install what %s asks for (%v: %s)", folder, err, said)
	}
	if err := os.Rename(made, home); err != nil && !errors.Is(err, os.ErrExist) {
		if _, there := os.Stat(modules); there != nil { // another test was not faster either
			t.Fatal(err)
		}
	}
	return modules
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A jsProgram is a script of testdata/clients that runs and does what it is told.
type jsProgram struct {
	t       *testing.T
	script  string
	in      io.WriteCloser
	answers chan []byte
	said    *lines
	stop    func()
}

// startNode starts a script. It ends with the test; when that fails, what the
// script said is shown.
func startNode(t *testing.T, script string) *jsProgram {
	t.Helper()
	modules, folder := nodeModules(t, clientsFolder), t.TempDir()
	for _, name := range []string{script, "talk.mjs", "older.mjs"} {
		if err := os.WriteFile(filepath.Join(folder, name), readFile(t, filepath.Join(clientsFolder, name)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(modules, filepath.Join(folder, "node_modules")); err != nil {
		t.Fatal(err)
	}
	n := &jsProgram{t: t, script: script, answers: make(chan []byte), said: new(lines)}
	command := exec.Command("node", "--import", "./older.mjs", script)
	command.Dir, command.Stderr = folder, n.said
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if n.in, err = command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(n.answers)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			n.answers <- bytes.Clone(scanner.Bytes())
		}
	}()
	stopped := false
	n.stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = command.Process.Kill()
		for range n.answers { // until it is closed
		}
		_ = command.Wait() // killed, as it should be
	}
	t.Cleanup(func() {
		n.stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", script, n.said)
		}
	})
	return n
}

// try has the script do something and gives the answer, or what it calls the
// error.
func (n *jsProgram) try(what string, args map[string]any) (answer json.RawMessage, failed string) {
	n.t.Helper()
	order := map[string]any{"do": what}
	for name, value := range args {
		order[name] = value
	}
	line, err := json.Marshal(order)
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err := n.in.Write(append(line, '\n')); err != nil {
		n.t.Fatalf("%s has ended: %v", n.script, err)
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case line, ok := <-n.answers:
		var out struct {
			Answer json.RawMessage
			Error  string
		}
		if !ok || json.Unmarshal(line, &out) != nil {
			n.t.Fatalf("%s does not answer to %s but says %q", n.script, what, line)
		}
		return out.Answer, out.Error
	case <-late.C:
		n.t.Fatalf("%s does not answer to %s", n.script, what)
	}
	return nil, ""
}

// do is try for what has to succeed.
func (n *jsProgram) do(what string, args map[string]any, into any) {
	n.t.Helper()
	answer, failed := n.try(what, args)
	if failed != "" {
		n.t.Fatalf("%s: %s", what, failed)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(answer, into); err != nil {
		n.t.Fatalf("%s: %v: %s", what, err, answer)
	}
}

// refuses is try for what must fail, for a reason that holds some words.
func (n *jsProgram) refuses(what string, args map[string]any, reason string) {
	n.t.Helper()
	if answer, failed := n.try(what, args); failed == "" || !strings.Contains(failed, reason) {
		n.t.Errorf("%s: got %s %q, want a refusal because of %s", what, answer, failed, reason)
	}
}

// register registers an app over HTTP and gives its client id.
func (g *gateway) register(metadata map[string]any) string {
	g.t.Helper()
	body, err := json.Marshal(metadata)
	if err != nil {
		g.t.Fatal(err)
	}
	res, err := http.Post(g.URL+"/oauth/register", "application/json", bytes.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var made struct {
		ID string `json:"client_id"`
	}
	if err := json.NewDecoder(res.Body).Decode(&made); err != nil || res.StatusCode != http.StatusCreated {
		g.t.Fatalf("registration answers %d %v", res.StatusCode, err)
	}
	return made.ID
}
