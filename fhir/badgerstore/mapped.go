package badgerstore

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// letGo takes the database's files out of the memory of this process. Badger maps
// all of them and never lets a page go that it wrote or read once, so that a
// process would seem to grow with its data. What is taken out stays in the page
// cache of the system, from where the next access maps it again: nothing is lost,
// and nothing read from disk.
//
// An address may be given back only while it is surely still that file's: with an
// iterator open, Badger keeps its tables and the files of the value log. A table
// is safe that was listed before the iterator was opened and still is; so is each
// file of the value log but the newest, which is remapped when it is full.
func (s *Store) letGo() error {
	before := s.tables()
	txn := s.db.NewTransactionAt(s.last.Load(), false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{})
	defer it.Close()
	held := s.tables()
	for name := range held {
		if !before[name] {
			delete(held, name)
		}
	}
	stretches, err := s.mapped()
	if err != nil {
		return err
	}
	newest := ""
	for _, m := range stretches {
		if strings.HasSuffix(m.file, ".vlog") {
			newest = max(newest, m.file)
		}
	}
	for _, m := range stretches {
		if held[m.file] || strings.HasSuffix(m.file, ".vlog") && m.file < newest {
			if err := m.letGo(); err != nil {
				return fmt.Errorf("badgerstore: a mapped file: %w", err)
			}
		}
	}
	return nil
}

// tables gives the names of the files of tables.
func (s *Store) tables() map[string]bool {
	names := map[string]bool{}
	for _, t := range s.db.Tables() {
		names[fmt.Sprintf("%06d.sst", t.ID)] = true
	}
	return names
}

// A stretch of addresses is where a file of the database is mapped.
type stretch struct {
	from, to uintptr
	file     string // in the folder
}

// findMapped reads a list of mapped files, as Linux gives it, for those in a folder.
func findMapped(list io.Reader, dir string) (found []stretch, err error) {
	lines := bufio.NewScanner(list)
	for lines.Scan() {
		_, path, ok := strings.Cut(lines.Text(), " /")
		if path = "/" + strings.TrimLeft(path, "/"); !ok || filepath.Dir(path) != dir {
			continue
		}
		m := stretch{file: filepath.Base(path)}
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x", &m.from, &m.to); n == 2 {
			found = append(found, m)
		}
	}
	return found, lines.Err()
}

// wrote counts what is written and from time to time has the files let go. The
// caller holds the turn.
func (s *Store) wrote(size int64) {
	if s.written += size; s.written < s.tune.letGo {
		return
	}
	s.written = 0
	select {
	case s.full <- struct{}{}:
	default: // it is about to happen
	}
}

// slimTimes is how many times more files are let go after much was written, while
// tables are merged.
const slimTimes = 15

// slim lets the files go whenever enough was written.
func (s *Store) slim(ctx context.Context) {
	tick := time.NewTicker(s.tune.slimEvery)
	defer tick.Stop()
	for left := 0; ; left-- {
		if left <= 0 {
			tick.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case <-s.full:
			left = slimTimes
			tick.Reset(s.tune.slimEvery)
		case <-tick.C:
		}
		s.chores.Lock()
		err := s.letGo()
		s.chores.Unlock()
		if err != nil {
			s.log.Warn("letting mapped files go failed", "error", err)
			return
		}
	}
}
