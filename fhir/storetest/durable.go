package storetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"mypatients/fhir/store"
)

// An OpenAtFunc opens the store in a place, which outlives it: a folder of the
// test, or a database that is named after it. It closes the store in the cleanup
// of the test, if that was not done.
type OpenAtFunc func(t *testing.T, place string) store.Store

// placeVariable tells the child process of the kill test where to write.
const placeVariable = "STORETEST_PLACE"

// RunDurable runs the tests that open a store more than once. The test that
// calls it must do nothing else: it runs again in a child process, which is
// killed while it writes.
func RunDurable(t *testing.T, open OpenAtFunc) {
	if place := os.Getenv(placeVariable); place != "" {
		writeUntilKilled(t, open(t, place))
		return
	}
	t.Run("reopening", func(t *testing.T) { reopening(t, open) })
	t.Run("killing", func(t *testing.T) { killing(t, open) })
}

// reopening compares a store with the model across several openings.
func reopening(t *testing.T, open OpenAtFunc) {
	place := t.TempDir()
	d := newDice(11, 7)
	m := newModel()
	last := ""
	for round := range 3 {
		s := open(t, place)
		view(t, s, func(r store.Reader) error {
			for range 30 {
				if err := d.compare(r, m); err != nil {
					t.Fatalf("after opening for the %dth time: %v", round+1, err)
				}
			}
			return compareLogs(r, m)
		})
		for range 10 {
			update(t, s, func(w store.Writer) error {
				for range 10 {
					if err := d.operation(w, m); err != nil {
						return err
					}
				}
				return nil
			})
		}
		view(t, s, func(r store.Reader) error {
			newest, err := r.Log(store.LogQuery{Reverse: true, Limit: 1})
			if err == nil && newest[0].Position <= last {
				t.Errorf("after opening again, position %q follows %q", newest[0].Position, last)
			}
			last = newest[0].Position
			return err
		})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

const killWriters = 4

// writeUntilKilled writes and tells on standard output what was acknowledged.
// Each transaction writes a resource with its next version, one more resource
// and a record.
func writeUntilKilled(t *testing.T, s store.Store) {
	fmt.Println("ready")
	parallel(t, killWriters, func(i int) error {
		for {
			n := 0
			err := s.Update(context.Background(), func(w store.Writer) error {
				key := store.Key{Type: "T", ID: fmt.Sprint(i)}
				n = 1
				if old, err := w.Resource(key); err == nil {
					n = int(old.Version) + 1
				} else if !errors.Is(err, store.ErrNotFound) {
					return err
				}
				big := res("U", fmt.Sprintf("%d-%d", i, n), fmt.Sprintf("w=%d", i), fmt.Sprintf("_owner=%d", i))
				if err := putAll(w, res("T", fmt.Sprint(i), fmt.Sprintf("n=%d", n)), big); err != nil {
					return err
				}
				return w.PutRecord(&store.Record{Kind: fmt.Sprint("r", i), Key: fmt.Sprintf("%08d", n), Value: make([]byte, 10+n%3000)})
			})
			if err != nil {
				return err
			}
			if _, err := fmt.Printf("wrote %d %d\n", i, n); err != nil {
				return err
			}
		}
	})
}

// killing kills a writing process and looks for everything it acknowledged.
func killing(t *testing.T, open OpenAtFunc) {
	place := t.TempDir()
	written := make([]int, killWriters)
	for round := range 3 {
		after := 1 + rand.IntN(400)
		writeAndKill(t, place, after, written)
		s := open(t, place)
		for i := range killWriters {
			view(t, s, func(r store.Reader) error { return checkWritten(r, i, written[i]) })
		}
		put(t, s, res("After", fmt.Sprint(round)))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// writeAndKill starts this test again as a child, kills it after so many
// acknowledgements, and notes those.
func writeAndKill(t *testing.T, place string, after int, written []int) {
	name, _, _ := strings.Cut(t.Name(), "/")
	child := exec.Command(os.Args[0], "-test.run=^"+name+"$")
	child.Env = append(os.Environ(), placeVariable+"="+place)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	// Should the child hang, the test ends and says so.
	watchdog := time.AfterFunc(time.Minute, func() { _ = child.Process.Kill() })
	defer watchdog.Stop()
	lines := bufio.NewReader(out)
	seen := 0
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break
		}
		var i, n int
		if _, err := fmt.Sscanf(line, "wrote %d %d\n", &i, &n); err == nil {
			written[i] = n
			seen++
		} else if strings.Contains(line, "FAIL") {
			t.Errorf("the child says: %s", line)
		}
		if seen == after {
			_ = child.Process.Kill() // what it wrote meanwhile is read too
		}
	}
	_ = child.Wait()
	if seen < after {
		t.Fatalf("the child acknowledged %d transactions, want at least %d", seen, after)
	}
}

// checkWritten checks that transactions 1 to at least n of writer i are there,
// each whole, and nothing else.
func checkWritten(r store.Reader, i, n int) error {
	v, err := r.Resource(store.Key{Type: "T", ID: fmt.Sprint(i)})
	if err != nil {
		if n == 0 && errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	}
	last := int(v.Version)
	// One more may have been stored than was acknowledged.
	if last < n || last > n+1 {
		return fmt.Errorf("writer %d: acknowledged %d, stored %d", i, n, last)
	}
	history, err := r.History(v.Key, 0, 1<<20)
	if err != nil {
		return err
	}
	records, err := r.Records(fmt.Sprint("r", i), "", "", 1<<20)
	if err != nil {
		return err
	}
	owned, err := r.Count(store.Query{Type: "U", Where: store.Equal{Name: store.Owner, Value: fmt.Sprint(i)}})
	if err != nil {
		return err
	}
	hits, err := r.Search(store.Query{Type: "U", Where: store.Equal{Name: "w", Value: fmt.Sprint(i)}, Limit: 1 << 20})
	if err != nil {
		return err
	}
	if len(history) != last || len(records) != last || owned != last || len(hits) != last {
		return fmt.Errorf("writer %d: %d transactions left %d versions, %d records, %d owned and %d found resources",
			i, last, len(history), len(records), owned, len(hits))
	}
	log, err := r.Log(store.LogQuery{Type: "U", Limit: 1 << 20})
	count := 0
	for _, e := range log {
		if strings.HasPrefix(e.Key.ID, fmt.Sprint(i, "-")) {
			count++
		}
	}
	if count != last {
		return fmt.Errorf("writer %d: %d transactions, %d in the log", i, last, count)
	}
	return err
}
