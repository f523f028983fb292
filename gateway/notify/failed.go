package notify

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

// A Failure is a notice that did not reach everybody it is for.
type Failure struct {
	Notice     string    `json:"notice"` // id of the Communication
	Kind       string    `json:"kind,omitempty"`
	Recipients []string  `json:"recipients"` // references
	When       time.Time `json:"when"`
	Why        string    `json:"why"`
}

// failed is what is kept of one.
type failed struct {
	When time.Time `json:"when"`
	Why  string    `json:"why"`
}

// failedLife is how long a failure is listed.
const failedLife = 180 * 24 * time.Hour

func (w *Worker) putFailed(tx store.Writer, id, why string) error {
	return store.PutJSON(tx, kindFailed, id, failed{w.cfg.Now(), why}, w.cfg.Now().Add(failedLife))
}

// Failed lists notices that did not reach everybody, those whose ids come after
// one, at most limit.
func (w *Worker) Failed(ctx context.Context, after string, limit int) ([]Failure, error) {
	var list []Failure
	err := w.cfg.Engine.View(ctx, func(tx *engine.Tx) error {
		list = nil
		records, err := tx.Reader().Records(kindFailed, "", after, limit)
		if err != nil {
			return err
		}
		for _, rec := range records {
			f := Failure{Notice: rec.Key}
			if err := rec.DecodeJSON(&f); err != nil {
				return err
			}
			if err := w.describe(tx, &f); err != nil {
				return err
			}
			list = append(list, f)
		}
		return nil
	})
	return list, err
}

func (w *Worker) describe(tx *engine.Tx, f *Failure) error {
	r, err := tx.Read(fhir.Key{Type: "Communication", ID: f.Notice}, engine.Everything)
	if kind := fhir.KindOf(err); err != nil && (kind == fhir.NotFound || kind == fhir.Gone) {
		return nil
	}
	if err != nil {
		return err
	}
	var c communication
	if err := json.Unmarshal(r.JSON, &c); err != nil {
		return err
	}
	for _, to := range c.Recipient {
		f.Recipients = append(f.Recipients, to.Reference)
	}
	for _, category := range c.Category {
		for _, coding := range category.Coding {
			if coding != w.cfg.Category {
				f.Kind = coding.Code
			}
		}
	}
	return nil
}

// Retry sends a notice again that failed, under the same Message-ID. One that did
// not fail is NotFound.
func (w *Worker) Retry(ctx context.Context, id string) error {
	var version int64
	var body []byte
	err := w.cfg.Engine.View(ctx, func(tx *engine.Tx) error {
		if _, err := tx.Reader().Record(kindFailed, id); errors.Is(err, store.ErrNotFound) {
			return fhir.ErrNotFound()
		} else if err != nil {
			return err
		}
		r, err := tx.Read(fhir.Key{Type: "Communication", ID: id}, engine.Everything)
		if err != nil {
			return err
		}
		n := &notice{id: id}
		if n.tree, err = fhir.Tree(r.JSON); err != nil {
			return err
		}
		delete(n.tree, "sent")
		version = r.Version
		body, err = n.settled("preparation", "", w.cfg.Now())
		return err
	})
	if err != nil {
		return err
	}
	prepared, err := w.cfg.Engine.Prepare(body)
	if err != nil {
		return err
	}
	return w.cfg.Engine.Update(ctx, func(tx *engine.Tx) error {
		if _, _, err := tx.Update(prepared, &version); err != nil {
			return err
		}
		if err := tx.Writer().DeleteRecord(kindFailed, id); err != nil {
			return err
		}
		return putDue(tx.Writer(), id, due{Next: w.cfg.Now(), Since: w.cfg.Now()})
	})
}

// Dismiss takes a notice off the list of those that failed: it is not sent again. One
// that did not fail is NotFound.
func (w *Worker) Dismiss(ctx context.Context, id string) error {
	return w.cfg.Engine.Update(ctx, func(tx *engine.Tx) error {
		if _, err := tx.Reader().Record(kindFailed, id); errors.Is(err, store.ErrNotFound) {
			return fhir.ErrNotFound()
		} else if err != nil {
			return err
		}
		return tx.Writer().DeleteRecord(kindFailed, id)
	})
}

// A Backlog counts notices, each up to [MaxBacklog].
type Backlog struct {
	Waiting  int // still to be sent
	Retrying int // of these, tried before
	Failed   int // listed as failed
}

// MaxBacklog is how far a backlog is counted.
const MaxBacklog = 10_000

// Backlog counts what waits and what failed.
func (w *Worker) Backlog(ctx context.Context) (Backlog, error) {
	var b Backlog
	err := w.cfg.Store.View(ctx, func(r store.Reader) error {
		b = Backlog{}
		waiting, err := r.Records(kindDue, "", "", MaxBacklog)
		if err != nil {
			return err
		}
		for _, rec := range waiting {
			var d due
			if err := rec.DecodeJSON(&d); err != nil {
				return err
			}
			if d.Attempts > 0 {
				b.Retrying++
			}
		}
		given, err := r.Records(kindFailed, "", "", MaxBacklog)
		b.Waiting, b.Failed = len(waiting), len(given)
		return err
	})
	return b, err
}
