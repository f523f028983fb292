package notify

import (
	"context"
	"errors"
	"net"
	"time"

	gomail "github.com/wneessen/go-mail"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

// roundSize is about how many notices go over one connection.
const roundSize = 200

// send sends what is due over one connection, and gives the time until more
// will be.
func (w *Worker) send(ctx context.Context) (time.Duration, error) {
	if w.cfg.SMTP.Host == "" {
		return pollWait, nil
	}
	if now := w.cfg.Now(); now.Before(w.retry) {
		return w.retry.Sub(now), nil
	}
	ids, next, err := w.ready(ctx)
	if err != nil || len(ids) == 0 {
		return next, err
	}
	client, err := w.client()
	if err != nil {
		return 0, errors.New("the mail server's settings are wrong")
	}
	if err := client.DialWithContext(ctx); err != nil {
		return w.away(ctx, err, len(ids)), nil
	}
	defer func() { _ = client.Close() }()
	w.back()
	for i, id := range ids {
		err := w.sendOne(ctx, client, id)
		if errors.Is(err, errBroken) {
			return w.away(ctx, err, len(ids)-i), nil
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// errBroken says that the connection ended in the middle.
var errBroken = errors.New("the connection to the mail server broke off")

// ready lists what may be sent now, and tells when the next thing will be.
func (w *Worker) ready(ctx context.Context) (ids []string, next time.Duration, err error) {
	now := w.cfg.Now()
	next = pollWait
	err = w.cfg.Store.View(ctx, func(r store.Reader) error {
		for after := ""; len(ids) < roundSize; {
			records, err := r.Records(kindDue, "", after, roundSize)
			if err != nil || len(records) == 0 {
				return err
			}
			for _, rec := range records {
				var d due
				if err := rec.DecodeJSON(&d); err != nil {
					return err
				}
				if !now.Before(d.Next) {
					ids = append(ids, rec.Key)
				} else {
					next = min(next, d.Next.Sub(now))
				}
			}
			after = records[len(records)-1].Key
		}
		return nil
	})
	return ids, next, err
}

// away notes that the mail server does not answer, and says so once.
func (w *Worker) away(ctx context.Context, err error, waiting int) time.Duration {
	if ctx.Err() != nil {
		return 0
	}
	wait := backoff(w.failures)
	if w.failures == 0 {
		what := "the mail server cannot be reached; notices wait and will be sent later"
		if network := net.Error(nil); !errors.As(err, &network) && !errors.Is(err, errBroken) {
			what = "the mail server does not accept us, by its TLS or sign-in settings; notices wait and will be sent later"
		}
		w.cfg.Logger.Warn(what, "host", w.cfg.SMTP.Host, "port", w.cfg.SMTP.Port, "waiting", waiting)
	}
	w.failures++
	w.retry = w.cfg.Now().Add(wait)
	return wait
}

func (w *Worker) back() {
	if w.failures > 0 {
		w.cfg.Logger.Info("the mail server answers again", "host", w.cfg.SMTP.Host, "failures", w.failures)
	}
	w.failures, w.retry = 0, time.Time{}
}

// backoff doubles from the first wait to the last.
func backoff(failures int) time.Duration {
	return min(firstWait<<min(failures, 10), lastWait)
}

// sendOne claims a notice, so that no other gateway sends it now, sends it, and
// settles it.
func (w *Worker) sendOne(ctx context.Context, client *gomail.Client, id string) error {
	n, claimed, err := w.claim(ctx, id)
	if err != nil || !claimed {
		return err
	}
	if n == nil { // not a notice, or no longer waiting
		return w.drop(ctx, id)
	}
	if n.late {
		w.cfg.Logger.Warn("a notice is too late to be sent", "notice", id)
		return w.settle(ctx, n, "not-done", "What it brings would have come too late.")
	}
	if len(n.to) == 0 {
		w.cfg.Logger.Warn("a notice has no address to go to", "notice", id)
		return w.settle(ctx, n, "not-done", "The recipient has no e-mail address.")
	}
	status, why := "not-done", ""
	for i, address := range n.to { // one that cannot be reached keeps no other waiting
		msg, err := w.message(n, i, address)
		if err != nil {
			w.cfg.Logger.Warn("a notice has an address that is none", "notice", id)
			why = "The recipient's e-mail address is not valid."
			continue
		}
		err = client.Send(msg)
		if err == nil || msg.IsDelivered() {
			status = "completed"
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		code, recipient := answerOf(err)
		if code < 500 || !recipient {
			return w.later(ctx, n, code)
		}
		w.cfg.Logger.Warn("the mail server refuses the recipient of a notice", "notice", n.id, "code", code)
		why = "The mail server refused the recipient's address."
	}
	return w.settle(ctx, n, status, why)
}

// answerOf gives the status code with which a mail server refuses, 0 when it did
// not answer, and whether it was about the recipient.
func answerOf(err error) (code int, recipient bool) {
	var answer *gomail.SendError
	if errors.As(err, &answer) {
		return answer.ErrorCode(), answer.Reason == gomail.ErrSMTPRcptTo
	}
	return 0, false
}

// giveUp is for how long a notice is tried that the mail server answers and does
// not take (RFC 5321 section 4.5.4.1: four to five days).
const giveUp = 5 * 24 * time.Hour

// later puts a notice off that was not taken, or gives it up.
func (w *Worker) later(ctx context.Context, n *notice, code int) error {
	broken := code == 0
	if !broken && w.cfg.Now().Sub(n.since) >= giveUp {
		w.cfg.Logger.Warn("a notice is given up: the mail server never took it", "notice", n.id, "code", code, "attempts", n.attempts)
		return w.settle(ctx, n, "not-done", "The mail server did not take the message.")
	}
	if !broken {
		w.cfg.Logger.Warn("a notice was not taken and will be sent later", "notice", n.id, "code", code, "attempts", n.attempts)
	}
	err := w.cfg.Store.Update(ctx, func(tx store.Writer) error {
		d, err := getDue(tx, n.id)
		if err != nil {
			return ignoreNotFound(err)
		}
		d.Next = w.cfg.Now().Add(backoff(n.attempts))
		return putDue(tx, n.id, d)
	})
	if err == nil && broken {
		return errBroken
	}
	return err
}

// claim reads a notice and holds it for a while.
func (w *Worker) claim(ctx context.Context, id string) (n *notice, claimed bool, err error) {
	err = w.cfg.Engine.Update(ctx, func(tx *engine.Tx) error {
		n, claimed = nil, false
		d, err := getDue(tx.Writer(), id)
		now := w.cfg.Now()
		if err != nil || now.Before(d.Next) {
			return ignoreNotFound(err)
		}
		if n, err = w.read(tx, id); err != nil {
			return err
		}
		claimed = true
		if n == nil {
			return nil
		}
		n.attempts, n.since = d.Attempts, d.Since
		return putDue(tx.Writer(), id, due{Attempts: d.Attempts + 1, Next: now.Add(claimLife), Since: d.Since})
	})
	return n, claimed, err
}

// settle marks a notice and takes it off the list, in one transaction; with a
// reason why it did not reach everybody, it is listed as failed. If someone
// changed it meanwhile, their version stands.
func (w *Worker) settle(ctx context.Context, n *notice, status, why string) error {
	body, err := n.settled(status, why, w.cfg.Now())
	if err != nil {
		return err
	}
	prepared, err := w.cfg.Engine.Prepare(body)
	if err != nil {
		w.cfg.Logger.Error("a notice cannot be marked", "notice", n.id, "kind", fhir.KindOf(err).String())
		return w.drop(ctx, n.id)
	}
	return w.cfg.Engine.Update(ctx, func(tx *engine.Tx) error {
		if _, _, err := tx.Update(prepared, &n.version); err != nil && fhir.KindOf(err) != fhir.Precondition {
			return err
		}
		if why != "" {
			if err := w.putFailed(tx.Writer(), n.id, why); err != nil {
				return err
			}
		}
		return tx.Writer().DeleteRecord(kindDue, n.id)
	})
}

func (w *Worker) drop(ctx context.Context, id string) error {
	return w.cfg.Store.Update(ctx, func(tx store.Writer) error { return tx.DeleteRecord(kindDue, id) })
}

func ignoreNotFound(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
