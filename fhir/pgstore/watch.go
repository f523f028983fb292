package pgstore

import (
	"context"
	"time"

	"mypatients/fhir/store"
)

// Changed implements store.Store: at once for commits of this Store, within the
// Poll of its options for others.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaited = true
	return s.changed
}

// announce wakes all who wait for a change.
func (s *Store) announce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
	s.awaited = false
}

// watch looks for new entries of the log while somebody waits for them. A
// database that is away is asked again later: the entries will still be there.
func (s *Store) watch(ctx context.Context, every time.Duration, newest string) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		awaited := s.awaited
		s.mu.Unlock()
		if !awaited {
			continue
		}
		if now, err := s.newest(ctx); err == nil && now != newest {
			newest = now
			s.announce()
		}
	}
}

// newest gives the position of the newest entry that a follower can read, empty
// without one.
func (s *Store) newest(ctx context.Context) (position string, err error) {
	r := &reader{session: &session{store: s, ctx: ctx, begin: beginView}}
	defer r.leave()
	entries, err := r.log(store.LogQuery{Reverse: true, Limit: 1}, true)
	if err != nil || len(entries) == 0 {
		return "", err
	}
	return entries[0].Position, nil
}
