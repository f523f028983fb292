package badgerstore

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// OpenSmall opens a store that takes few resources for many, so that small
// tests reach the plans made for large ones, and stores so many keys at a time.
func OpenSmall(c Config, part int) (*Store, error) {
	return open(c, tuning{
		owner: 10, little: 0, much: 3, countUpTo: 4, owners: 1, joinUpTo: 3, block: 2,
		keys: 20_000, part: part, logFile: 8 << 20, memTable: 1 << 20,
		letGo: 1 << 40, slimEvery: time.Hour, // when a test says so
		levelZero: 5, baseLevel: 32 << 20,
	})
}

// Tidy does at once what Badger does in the background: drop what no reader can
// see and free its space.
func (s *Store) Tidy() error {
	if err := s.db.Flatten(1); err != nil {
		return err
	}
	return s.free(context.Background())
}

// LetGo does at once what happens when much was written, and gives the bytes of
// the database's files that were in memory before and after.
func (s *Store) LetGo() (before, after int, err error) {
	if before, err = s.resident(); err == nil {
		s.chores.Lock()
		err = s.letGo()
		s.chores.Unlock()
	}
	if err == nil {
		after, err = s.resident()
	}
	return before, after, err
}

// resident sums up what smaps says of the database's files, in bytes.
func (s *Store) resident() (sum int, err error) {
	text, err := os.ReadFile("/proc/self/smaps")
	ours := false
	for line := range strings.Lines(string(text)) {
		if first, _, _ := strings.Cut(line, " "); !strings.HasSuffix(first, ":") { // where a mapping begins
			ours = strings.Contains(line, " "+s.dir+"/")
		}
		var kb int
		if n, _ := fmt.Sscanf(line, "Rss: %d kB", &kb); n == 1 && ours {
			sum += kb << 10
		}
	}
	return sum, err
}
