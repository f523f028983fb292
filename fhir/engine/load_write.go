package engine

import (
	"context"
	"errors"
	"slices"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// sliceBytes bounds the bodies of one transaction.
const sliceBytes = 2 << 20

// A pending line waits for its transaction.
type pending struct {
	source string
	*line
}

// A slice is what the next transaction will hold.
type slice struct {
	rows   []pending
	bytes  int
	offset int64
}

// write takes batches in their order and writes them in slices. It calls done
// when the lines of a batch are written or wait for the next slice.
func (l *Loader) write(ctx context.Context, order <-chan *batch, done func(*batch)) error {
	var next slice
	for b := range order {
		select {
		case <-b.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		if b.err != nil {
			return b.err
		}
		// a batch that was compared before the last commit, or while other lines
		// wait, may have been compared with what is no longer the newest
		sure := b.seen == l.commits.Load() && len(next.rows) == 0
		for i := range b.lines {
			one := &b.lines[i]
			switch {
			case one.err != nil:
				l.refuse(b.source, one.number, one.err)
			case one.same != 0 && sure:
				l.report.Unchanged++
			default:
				next.rows = append(next.rows, pending{b.source, one})
				next.bytes += len(one.raw)
			}
			sure = sure && len(next.rows) == 0
			if len(next.rows) >= l.opt.Slice || next.bytes >= sliceBytes {
				if err := l.commit(ctx, next.rows); err != nil {
					return err
				}
				next.rows, next.bytes = nil, 0
				l.progress(next.offset)
			}
		}
		done(b)
		next.offset = b.offset
		if len(next.rows) == 0 {
			l.progress(b.offset)
		}
	}
	if len(next.rows) > 0 {
		if err := l.commit(ctx, next.rows); err != nil {
			return err
		}
		l.progress(next.offset)
	}
	return nil
}

func (l *Loader) progress(done int64) {
	if l.opt.Progress != nil {
		l.opt.Progress(done, l.total)
	}
}

func (l *Loader) refuse(source string, number int, err error) {
	l.report.Refused++
	if l.opt.Refused != nil {
		l.opt.Refused(Refusal{source, number, err})
	}
}

// commit writes rows in one transaction. One that is refused is halved until the
// row at fault is alone, so that the others get in.
func (l *Loader) commit(ctx context.Context, rows []pending) error {
	var created, updated, unchanged int
	err := l.engine.Update(ctx, func(tx *Tx) error {
		tx.loose = true
		created, updated, unchanged = 0, 0, 0
		if err := tx.readAhead(rows); err != nil {
			return err
		}
		for _, row := range rows {
			was, err := tx.load(l, row.line)
			switch {
			case err != nil:
				return err
			case was == loadedNew:
				created++
			case was == loadedOver:
				updated++
			default:
				unchanged++
			}
		}
		return nil
	})
	var refused *fhir.Error
	switch {
	case err == nil:
		l.commits.Add(1)
		l.report.Created += created
		l.report.Updated += updated
		l.report.Unchanged += unchanged
		return nil
	case ctx.Err() != nil || !errors.As(err, &refused) || refused.Kind == fhir.Unavailable || refused.Kind == fhir.Internal:
		return err
	case len(rows) == 1:
		l.refuse(rows[0].source, rows[0].number, err)
		return nil
	}
	half := len(rows) / 2
	if err := l.commit(ctx, rows[:half]); err != nil {
		return err
	}
	return l.commit(ctx, rows[half:])
}

// What loading a line came to.
type loadedAs uint8

const (
	loadedSame loadedAs = iota
	loadedNew
	loadedOver
)

func (tx *Tx) load(l *Loader, one *line) (loadedAs, error) {
	if one.doc == nil { // it was equal to the newest version: is it still?
		if err := tx.compare(one); err != nil || one.same != 0 {
			return loadedSame, err
		}
		if l.parse(one); one.err != nil {
			return loadedSame, one.err
		}
	}
	key := fhir.Key{Type: one.doc.Type, ID: one.doc.ID}
	before, err := tx.newest(key)
	if err != nil {
		return loadedSame, err
	}
	if before != nil && !before.Deleted && tx.engine.same(before, one.doc.JSON) {
		return loadedSame, nil
	}
	if _, err := tx.put(before, one.doc.version(key, number(before)+1, tx)); err != nil {
		return loadedSame, err
	}
	if before == nil || before.Deleted {
		return loadedNew, nil
	}
	return loadedOver, nil
}

// readAhead reads together what writing some rows will look up.
func (tx *Tx) readAhead(rows []pending) error {
	ahead := tx.engine.labels.Ahead
	if ahead == nil {
		return nil
	}
	var keys []store.Key
	seen := map[store.Key]bool{}
	for _, row := range rows {
		if row.doc == nil {
			continue
		}
		for _, key := range ahead(row.doc.Type, row.doc.terms) {
			if !seen[key] {
				keys, seen[key] = append(keys, key), true
			}
		}
	}
	return store.ReadResources(tx.reader, slices.Values(keys))
}
