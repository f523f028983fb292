package notify

import (
	"context"
	"errors"
	"time"

	"mypatients/fhir/store"
)

// The records of the worker.
const (
	kindCursor = "notify"        // key "cursor": the position in the log
	kindDue    = "notify-due"    // key: id of a Communication that is still to be sent
	kindFailed = "notify-failed" // key: id of one that did not reach everybody
	cursorKey  = "cursor"
)

// followPage is how many log entries one transaction takes.
const followPage = 200

// due is the state of a notice that is still to be sent.
type due struct {
	Attempts int       `json:"attempts,omitempty"`
	Next     time.Time `json:"next"` // not before; also how long a claim holds
	Since    time.Time `json:"since"`
}

// follow puts every new Communication on the list of what is due. A notice is
// new in its first version, so each comes on the list once.
func (w *Worker) follow(ctx context.Context) error {
	for {
		news := false
		err := w.cfg.Store.View(ctx, func(r store.Reader) error {
			after, err := cursor(r)
			if err != nil {
				return err
			}
			entries, err := r.Log(store.LogQuery{After: after, Type: "Communication", Limit: 1})
			news = len(entries) > 0
			return err
		})
		if err != nil || !news {
			return err
		}
		if err := w.cfg.Store.Update(ctx, w.advance); err != nil {
			return err
		}
	}
}

// advance takes a page of the log. The cursor is read inside, so that of several
// gateways each page is taken by one.
func (w *Worker) advance(tx store.Writer) error {
	after, err := cursor(tx)
	if err != nil {
		return err
	}
	entries, err := tx.Log(store.LogQuery{After: after, Type: "Communication", Limit: followPage})
	if err != nil || len(entries) == 0 {
		return err
	}
	for _, e := range entries {
		if e.Version == 1 {
			if err := putDue(tx, e.Key.ID, due{Next: w.cfg.Now(), Since: w.cfg.Now()}); err != nil {
				return err
			}
		}
	}
	last := entries[len(entries)-1].Position
	return tx.PutRecord(&store.Record{Kind: kindCursor, Key: cursorKey, Value: []byte(last)})
}

func cursor(r store.Reader) (string, error) {
	rec, err := r.Record(kindCursor, cursorKey)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return string(rec.Value), nil
}

func putDue(tx store.Writer, id string, d due) error {
	return store.PutJSON(tx, kindDue, id, d, time.Time{})
}

// getDue gives the state of a notice, or store.ErrNotFound.
func getDue(r store.Reader, id string) (due, error) {
	var d due
	return d, store.GetJSON(r, kindDue, id, &d)
}
