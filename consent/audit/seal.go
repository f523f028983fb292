package audit

import (
	"context"
	"crypto/hmac"
	"errors"
	"slices"
	"time"

	"mypatients/fhir/store"
)

// The times of linking, in the order of their length.
const (
	linkEvery  = time.Second      // what was written is linked after so long
	crossEvery = 10 * time.Second // links refer to the heads of others so often
	keepEvery  = 20 * time.Second // a head says that its process lives
	lease      = time.Minute      // who has not said so for so long is gone
	tellEvery  = time.Hour        // the program's log is told of the head
	unsureFor  = time.Minute      // how long is looked for what may have been written
)

// linkSize is the most records that a link names.
const linkSize = 2000

// runLinks links what is written until the log closes, and looks after segments
// that were left.
func (l *Log) runLinks() {
	keep := time.NewTicker(keepEvery)
	tell := time.NewTicker(tellEvery)
	defer keep.Stop()
	defer tell.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	l.ended.Go(func() { <-l.stop; cancel() })
	failed := false
	note := func(err error) {
		if err != nil && !failed && ctx.Err() == nil {
			l.log.Warn("the audit log cannot be linked at the moment", "error", err)
		}
		failed = err != nil
	}
	for {
		select {
		case <-l.stop:
			return
		case <-keep.C:
			note(l.Tend(ctx))
		case <-tell.C:
			l.tellHead("the newest link of the audit log")
		case <-l.wake:
			select {
			case <-l.stop:
				return
			case <-time.After(linkEvery):
			}
			err := l.Link(ctx)
			note(err)
			if err != nil || l.unfinished() { // once more, later
				select {
				case l.wake <- struct{}{}:
				default:
				}
			}
		}
	}
}

func (l *Log) unfinished() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.written)+len(l.unsure) > 0
}

// Link links what this process has written; that happens within about a second
// anyway.
func (l *Log) Link(ctx context.Context) error {
	l.sealing.Lock()
	defer l.sealing.Unlock()
	lost, err := l.settleUnsure(ctx)
	if err != nil {
		return err
	}
	if err := l.resume(ctx, l.segment); err != nil {
		return err
	}
	for {
		l.mu.Lock()
		batch := slices.Clone(l.written[:min(len(l.written), linkSize)])
		l.mu.Unlock()
		if len(batch) == 0 && len(lost) == 0 {
			return nil
		}
		if err := l.linkBatch(ctx, batch, lost, ""); err != nil {
			return err
		}
		lost = nil
	}
}

// settleUnsure looks for what may have been written, and gives the keys of what is
// not waited for any longer.
func (l *Log) settleUnsure(ctx context.Context) (lost []string, err error) {
	l.mu.Lock()
	list := slices.Clone(l.unsure)
	now := l.tick()
	l.mu.Unlock()
	for _, u := range list {
		there := false
		err := l.store.View(ctx, func(r store.Reader) error {
			_, err := r.Record(kindRecord, u.list[0].key)
			there = err == nil
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		given := now-u.since > int64(unsureFor)
		if !there && !given {
			continue
		}
		l.mu.Lock()
		l.unsure = slices.DeleteFunc(l.unsure, func(o unsure) bool { return o.list[0].key == u.list[0].key })
		if there {
			l.written = append(l.written, u.list...)
		}
		l.mu.Unlock()
		for _, r := range u.list {
			if !there {
				lost = append(lost, r.key)
			}
		}
	}
	return lost, nil
}

// low is the time from which on the process may have written what no link names,
// beside a batch.
func (l *Log) low(batch int) int64 {
	low := l.tick()
	for _, t := range l.flying {
		low = min(low, t)
	}
	for _, u := range l.unsure {
		low = min(low, timeOf(u.list[0].key))
	}
	for _, w := range l.written[batch:] {
		low = min(low, timeOf(w.key))
	}
	return low
}

// What a link can find of its own segment.
var (
	errEnded = errors.New("audit: the segment was closed by another process")
	errLost  = errors.New("audit: the head of the segment is not the one that was written")
)

// linkBatch makes one link. When the segment turns out to be closed or damaged, it
// goes on in a new one.
func (l *Log) linkBatch(ctx context.Context, batch []written, lost []string, end string) error {
	for range 3 {
		l.mu.Lock()
		s := l.segment
		k := link{N: s.n + 1, Before: s.mac, Low: l.low(len(batch)), At: l.tick(), Unsure: lost, End: end}
		l.mu.Unlock()
		retired, err := l.cross(ctx, s, &k)
		if err != nil {
			return err
		}
		var mac []byte
		err = l.store.Update(ctx, func(w store.Writer) error {
			if err := l.own(w, s); err != nil {
				return err
			}
			for _, gone := range retired {
				if err := w.DeleteRecord(kindHead, gone); err != nil {
					return err
				}
			}
			var err error
			mac, err = l.putLink(w, s.id, k, batch)
			return err
		})
		switch {
		case errors.Is(err, errLost) && s.tried != nil && l.resume(ctx, s) == nil && s.tried == nil:
			return nil // it was this process after all
		case errors.Is(err, errEnded), errors.Is(err, errLost):
			if batch, err = l.renew(ctx, s, batch, err); err != nil {
				return err
			}
			if len(batch) == 0 && len(lost) == 0 {
				return nil
			}
		case errors.Is(err, store.ErrUnavailable):
			s.tried = &try{k, len(batch)}
			return err
		case err != nil:
			return err
		default:
			l.linked(s, k, mac, len(batch))
			return nil
		}
	}
	return errLost
}

// linked takes note of a link that is on disk.
func (l *Log) linked(s *segment, k link, mac []byte, batch int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written = l.written[batch:]
	s.n, s.mac, s.begun, s.kept = k.N, mac, true, k.At
	s.lost, s.tried = nil, nil
	for _, h := range k.Heads {
		s.referred[h.Segment] = h.N
	}
}

// A try is a link to whose commit nobody answered.
type try struct {
	link
	batch int // how much of what was written it names
}

// resume finds out whether the link that was tried last is on disk.
func (l *Log) resume(ctx context.Context, s *segment) error {
	if s.tried == nil {
		return nil
	}
	t := *s.tried
	var mac []byte
	err := l.store.View(ctx, func(r store.Reader) (err error) {
		var there link
		there, mac, err = l.readLink(r, s.id, t.N)
		if err == nil && there.At != t.At {
			err = errLost
		}
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound) || errors.Is(err, errLost):
		return nil
	case err != nil:
		return err
	}
	s.tried = nil
	l.linked(s, t.link, mac, t.batch)
	return nil
}

// own confirms that the segment is this process's to write, and as it left it.
func (l *Log) own(w store.Writer, s *segment) error {
	l.mu.Lock()
	begun, want := s.begun, head{Segment: s.id, N: s.n, MAC: s.mac}
	l.mu.Unlock()
	if !begun {
		if err := s.begin(w); err != nil {
			return err
		}
	}
	rec, err := w.Record(kindHead, s.id)
	if errors.Is(err, store.ErrNotFound) {
		return l.endOf(w, s, want)
	}
	if err != nil {
		return err
	}
	switch h, err := l.readHead(rec); {
	case err != nil:
		return errLost
	case h.End == endLeft:
		return errEnded
	case !equalHeads(h, want):
		return errLost
	}
	return nil
}

// endOf tells whether a segment without a head was closed, and referred to, by
// others.
func (l *Log) endOf(r store.Reader, s *segment, h head) error {
	for n := h.N + 1; ; n++ {
		k, _, err := l.readLink(r, s.id, n)
		if err != nil {
			return errLost
		}
		if k.End == endLeft {
			return errEnded
		}
	}
}

// cross adds to a link the heads of other segments that are new, and gives those
// that are closed: the link stands for them then.
func (l *Log) cross(ctx context.Context, s *segment, k *link) (retired []string, err error) {
	if k.At-s.crossed < int64(crossEvery) && k.End == "" {
		return nil, nil
	}
	var list []head
	err = l.store.View(ctx, func(r store.Reader) (err error) {
		list, _, err = l.heads(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.crossed = k.At
	if s.lost != nil {
		k.Heads = append(k.Heads, *s.lost)
	}
	for _, h := range list {
		if h.Segment == s.id || s.referred[h.Segment] == h.N && h.End == "" {
			continue
		}
		if h.End != "" {
			retired = append(retired, h.Segment)
		}
		h.Seen = 0
		k.Heads = append(k.Heads, h)
	}
	return retired, nil
}

// renew goes on in a new segment, with what of a batch nobody has linked.
func (l *Log) renew(ctx context.Context, old *segment, batch []written, why error) ([]written, error) {
	named := map[string]bool{}
	if errors.Is(why, errEnded) {
		l.log.Info("this process was taken for dead by another; it goes on in a new part of the audit log", "segment", old.id)
		err := l.store.View(ctx, func(r store.Reader) error {
			for n := old.n + 1; ; n++ {
				k, _, err := l.readLink(r, old.id, n)
				if errors.Is(err, store.ErrNotFound) {
					return nil
				}
				if err != nil {
					return err
				}
				for _, key := range k.Keys {
					named[key] = true
				}
			}
		})
		if err != nil {
			return nil, err
		}
	} else {
		l.log.Error("the audit log was changed from outside: its newest link is not the one that this process wrote", "link", head{Segment: old.id, N: old.n, MAC: old.mac}.String())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// What it wrote last is referred to, so that verifying misses it.
	next := l.newSegment()
	if errors.Is(why, errLost) {
		next.lost = &head{Segment: old.id, N: old.n, MAC: old.mac}
	}
	l.segment = next
	left := func(list []written) []written {
		return slices.DeleteFunc(list, func(w written) bool { return named[w.key] })
	}
	rest := l.written[len(batch):]
	batch = left(batch)
	l.written = append(slices.Clone(batch), left(rest)...)
	return batch, nil
}

// keepHead says that the process lives.
func (l *Log) keepHead(ctx context.Context) error {
	l.sealing.Lock()
	defer l.sealing.Unlock()
	l.mu.Lock()
	s, now := l.segment, l.tick()
	due := s.begun && now-s.kept >= int64(keepEvery)
	l.mu.Unlock()
	if !due {
		return nil
	}
	err := l.store.Update(ctx, func(w store.Writer) error {
		if err := l.own(w, s); err != nil {
			return err
		}
		return l.putHead(w, head{Segment: s.id, N: s.n, MAC: s.mac, Seen: now})
	})
	if errors.Is(err, errEnded) || errors.Is(err, errLost) {
		_, err = l.renew(ctx, s, nil, err)
	}
	if err == nil {
		s.kept = now
	}
	return err
}

// closeSegment links what is left and closes the segment, if it has begun.
func (l *Log) closeSegment(ctx context.Context) error {
	if err := l.Link(ctx); err != nil {
		return err
	}
	l.sealing.Lock()
	defer l.sealing.Unlock()
	l.mu.Lock()
	begun := l.segment.begun
	var lost []string
	for _, u := range l.unsure {
		for _, r := range u.list {
			lost = append(lost, r.key)
		}
	}
	l.unsure = nil
	l.mu.Unlock()
	if !begun {
		return nil
	}
	if err := l.linkBatch(ctx, nil, lost, endClosed); err != nil {
		return err
	}
	l.tellHead("the audit log is closed")
	return nil
}

// tellHead tells the program's log of the newest link, for whoever keeps it.
func (l *Log) tellHead(text string) {
	if h, ok := l.newest(); ok {
		l.log.Info(text, "head", h.String())
	}
}

// newest is the newest link of this process.
func (l *Log) newest() (head, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.segment
	return head{Segment: s.id, N: s.n, MAC: s.mac}, s.begun
}

// same reports whether a link has a MAC.
func same(a, b []byte) bool { return hmac.Equal(a, b) }
