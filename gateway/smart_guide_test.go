package main

import (
	"bufio"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestGuide runs the blocks of smart/README.md as they stand.
func TestGuide(t *testing.T) {
	for _, tool := range []string{"bash", "curl", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	text, err := os.ReadFile(filepath.Join("..", "smart", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	script, blocks := "", 0
	for rest := string(text); ; blocks++ {
		_, after, ok := strings.Cut(rest, "```bash\n")
		if !ok {
			break
		}
		block, next, _ := strings.Cut(after, "```\n")
		script, rest = script+block, next
	}
	if blocks < 8 {
		t.Fatalf("%d blocks", blocks)
	}
	g := sharedDemo(t)
	run := exec.CommandContext(t.Context(), "bash", "-c", script+"\necho the end\n")
	run.Dir, run.Env = t.TempDir(), append(os.Environ(), "BASE="+g.URL)
	run.WaitDelay = time.Second
	errors := new(lines)
	run.Stderr = errors
	in, err := run.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	said := ""
	for s := bufio.NewScanner(out); s.Scan(); {
		said += s.Text() + "\n"
		if address, ok := strings.CutPrefix(s.Text(), "Open: "); ok {
			if _, err := in.Write([]byte(g.visit(address, "http://127.0.0.1:8765/callback") + "\n")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := run.Wait(); err != nil {
		t.Errorf("the guide fails: %v\n%s%s", err, said, errors)
	}
	for _, part := range []string{"patient pt-2, granted: openid fhirUser launch/patient offline_access patient/Patient.rs patient/Observation.rs", "still in", `"resourceType":"Observation"`, "after revocation: 401", "Practitioner", "the end"} {
		if !strings.Contains(said, part) {
			t.Errorf("the guide does not say %q:\n%s%s", part, said, errors)
		}
	}
}

// visit is what the guide asks of its reader: sign in, choose, approve, and tell
// where the browser ended.
func (g *gateway) visit(address, back string) string {
	w := &smartWorld{gateway: g}
	b := w.newVisitor()
	page := b.open(address)
	page = b.submit(page, "username", url.Values{"username": {"grace"}, "password": {"demo"}})
	page = b.submit(page, "action", url.Values{"action": {"approve"}, "patient": {"pt-2"}})
	if !strings.HasPrefix(page.leaves, back) {
		g.t.Errorf("the browser ended at %s %s", page.at, page.leaves)
	}
	return page.leaves
}
