package audit

import (
	"context"
	"errors"
	"fmt"

	"mypatients/fhir/store"
)

// Tend says that this process lives, and takes over what others left that do not;
// that happens three times a minute anyway.
func (l *Log) Tend(ctx context.Context) error {
	return errors.Join(l.keepHead(ctx), l.adopt(ctx))
}

// adopt closes the segments of processes that have not been heard of for a while,
// and names what they left.
func (l *Log) adopt(ctx context.Context) error {
	var list []head
	err := l.store.View(ctx, func(r store.Reader) (err error) {
		list, _, err = l.heads(r)
		return err
	})
	if err != nil {
		return err
	}
	own, _ := l.newest()
	now := l.now().UnixNano()
	var errs []error
	for _, h := range list {
		if h.Segment != own.Segment && h.End == "" && now-h.Seen > int64(lease) {
			errs = append(errs, l.adoptSegment(ctx, h))
		}
	}
	return errors.Join(errs...)
}

// errMeanwhile says that a segment lives, or that another process was quicker.
var errMeanwhile = errors.New("audit: the segment has changed")

func (l *Log) adoptSegment(ctx context.Context, h head) error {
	var last link
	var left []written
	err := l.store.View(ctx, func(r store.Reader) (err error) {
		var mac []byte
		last, mac, err = l.readLink(r, h.Segment, h.N)
		if err != nil || !same(mac, h.MAC) {
			return errors.Join(errLost, err)
		}
		if _, _, err := l.readLink(r, h.Segment, h.N+1); !errors.Is(err, store.ErrNotFound) {
			return errors.Join(errLost, err)
		}
		return nil
	})
	if err == nil {
		left, err = l.leftOf(ctx, h.Segment, last)
	}
	if err == nil {
		err = l.store.Update(ctx, func(w store.Writer) error { return l.takeOver(w, h, left) })
	}
	switch {
	case errors.Is(err, errMeanwhile):
		return nil
	case errors.Is(err, errLost), errors.Is(err, errMAC):
		l.log.Error("the audit log was changed from outside: the head of a part does not lead to its newest link", "segment", h.Segment)
		return nil
	case err == nil:
		l.log.Info("named in the audit log what a process left that is gone", "segment", h.Segment, "records", len(left))
	}
	return err
}

// takeOver links what was left and closes the segment.
func (l *Log) takeOver(w store.Writer, h head, left []written) error {
	rec, err := w.Record(kindHead, h.Segment)
	if errors.Is(err, store.ErrNotFound) {
		return errMeanwhile
	}
	if err != nil {
		return err
	}
	if now, err := l.readHead(rec); err != nil || now.Seen != h.Seen || !equalHeads(now, h) {
		return errors.Join(errMeanwhile, err)
	}
	l.mu.Lock()
	at := l.tick()
	l.mu.Unlock()
	k := link{N: h.N, Before: h.MAC, Low: at, At: at}
	for {
		n := min(len(left), linkSize)
		k.N++
		if n == len(left) {
			k.End = endLeft
		}
		if k.Before, err = l.putLink(w, h.Segment, k, left[:n]); err != nil || k.End != "" {
			return err
		}
		left = left[n:]
	}
}

// leftOf lists the records of a segment that no link names.
func (l *Log) leftOf(ctx context.Context, segment string, last link) (left []written, err error) {
	named := map[string]bool{}
	for k := last; k.At >= last.Low; {
		for _, key := range k.Keys {
			named[key] = true
		}
		if k.N == 1 {
			break
		}
		err := l.store.View(ctx, func(r store.Reader) (err error) {
			k, _, err = l.readLink(r, segment, k.N-1)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	tag := segment[timeLen:]
	err = l.scan(ctx, fmt.Sprintf("%016x", last.Low), "", func(_ store.Reader, page []*store.Record) error {
		for _, rec := range page {
			if tagOf(rec.Key) != tag || named[rec.Key] {
				continue
			}
			body, mac, err := l.unsealed(rec)
			if err != nil {
				continue // verifying finds it
			}
			_, entries, err := unpack(body)
			if err != nil {
				return err
			}
			left = append(left, written{rec.Key, mac, whoIn(rec.Key, entries)})
		}
		return nil
	})
	return left, err
}

// scanPage is how many records are read at a time.
const scanPage = 250

// scan goes through the records from one key on up to another, each page on a
// snapshot of its own.
func (l *Log) scan(ctx context.Context, from, to string, do func(store.Reader, []*store.Record) error) error {
	for more := true; more; {
		err := l.store.View(ctx, func(r store.Reader) error {
			page, err := r.Records(kindRecord, "", from, scanPage)
			if err != nil {
				return err
			}
			more = len(page) == scanPage
			for i, rec := range page {
				if to != "" && rec.Key >= to {
					page, more = page[:i], false
					break
				}
			}
			if len(page) == 0 {
				return nil
			}
			from = page[len(page)-1].Key
			return do(r, page)
		})
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}
