package audit_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"mypatients/consent/audit"
	"mypatients/fhir/badgerstore"
	"mypatients/fhir/pgstore"
	"mypatients/fhir/pgstore/pgtest"
	"mypatients/fhir/store"
)

// The environment of a child process: where its store is.
const (
	childFolder = "AUDIT_CHILD_FOLDER"
	childDSN    = "AUDIT_CHILD_DSN"
)

func openAt(ctx context.Context, folder, dsn string) (store.Store, error) {
	if dsn != "" {
		return pgstore.Open(ctx, pgstore.Options{DSN: dsn})
	}
	return badgerstore.Open(badgerstore.Config{Dir: folder, Now: time.Now})
}

// TestChild is the process that TestKilled kills: it writes entries from many
// goroutines and says which are recorded.
func TestChild(t *testing.T) {
	folder, dsn := os.Getenv(childFolder), os.Getenv(childDSN)
	if folder == "" && dsn == "" {
		t.Skip("run by TestKilled")
	}
	db, err := openAt(t.Context(), folder, dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := audit.Open(audit.Config{Store: db, Now: time.Now, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprint(os.Getpid())
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for n := 0; ; n++ {
				e := entry("Practitioner/a", fmt.Sprintf("Patient/%d", g), n)
				e.When, e.Request = time.Now(), fmt.Sprintf("%s-%d-%d", name, g, n)
				if g%2 == 1 {
					put(t, l, db, e)
				} else if err := l.Write(context.Background(), e); err != nil {
					t.Error(err)
					return
				}
				fmt.Printf("recorded %s\n", e.Request)
				if n%20 == 0 {
					if err := l.Link(context.Background()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
}

// TestKilled kills the process that writes, again and again: nothing that was
// recorded is lost, nothing is taken for damage, and what it left is taken over.
// With LONG set it does so two hundred times.
func TestKilled(t *testing.T) {
	rounds := 3
	if os.Getenv("LONG") != "" {
		rounds = 200
	}
	t.Run("badger", func(t *testing.T) { killed(t, rounds, t.TempDir(), "") })
	t.Run("postgres", func(t *testing.T) { killed(t, rounds, "", pgtest.Open(t)) })
}

func killed(t *testing.T, rounds int, folder, dsn string) {
	recorded := map[string]bool{}
	for n := range rounds {
		kill(t, folder, dsn, recorded)
		db, err := openAt(t.Context(), folder, dsn)
		if err != nil {
			t.Fatal(err)
		}
		later := func() time.Time { return time.Now().Add(2 * time.Minute) } // whoever was killed is long gone
		l, err := audit.Open(audit.Config{Store: db, Now: later, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		report, damages := verify(t, l, audit.Check{})
		if n%2 == 1 || n == rounds-1 {
			if err := l.Tend(t.Context()); err != nil {
				t.Fatal(err)
			}
			var more []audit.Damage
			report, more = verify(t, l, audit.Check{})
			damages = append(damages, more...)
			if report.Waiting != 0 || report.Left == 0 {
				t.Errorf("round %d: got %+v after taking over", n, report)
			}
		}
		if len(damages) > 0 {
			t.Fatalf("round %d: %v", n, damages)
		}
		there := map[string]bool{}
		if err := l.Export(t.Context(), time.Time{}, time.Time{}, func(r audit.Row) error { there[r.Request] = true; return nil }); err != nil {
			t.Fatal(err)
		}
		for request := range recorded {
			if !there[request] {
				t.Fatalf("round %d: %s was recorded and is lost", n, request)
			}
		}
		l.Close()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(recorded) == 0 {
		t.Error("nothing was recorded")
	}
}

// kill starts a process, kills it after a while, and notes what it recorded.
func kill(t *testing.T, folder, dsn string, recorded map[string]bool) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestChild$")
	child.Env = append(os.Environ(), childFolder+"="+folder, childDSN+"="+dsn)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	left := 1 + rand.IntN(600)
	for lines.Scan() {
		request, ok := strings.CutPrefix(lines.Text(), "recorded ")
		if !ok {
			continue
		}
		recorded[request] = true
		if left--; left == 0 {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := child.Wait(); err == nil {
		t.Error("the process ended by itself")
	}
}
