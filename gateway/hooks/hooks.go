// Package hooks delivers what Subscriptions of R4 are for, over HTTP: to the
// endpoint of each, in order, at least once.
//
// What is delivered is for consent.Guard to say, at the moment of sending, when the
// endpoint has let itself be connected to; what waits is kept in the store, so a
// crash loses nothing, and of several gateways on one database each subscription is
// served by one at a time. The package only carries: it follows the log when
// something happens, calls the endpoints side by side, and reports what came of it.
// An endpoint that is slow or away holds up no other: each host has a few of the
// places, and waits longer after each failure.
//
// With a payload the resource is PUT to endpoint/Type/id, as an update; without,
// an empty POST goes to the endpoint
// (https://hl7.org/fhir/R4/subscription.html). R4 has no handshake: before a
// subscription is active its endpoint is connected to, and nothing is sent.
// Addresses that are not public, and redirects, lead nowhere (package smart/fetch).
// Log lines hold the id of the subscription and a status code, never an address.
package hooks

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"mypatients/consent"
)

// A Config is what a Worker needs. All fields are required.
type Config struct {
	Guard   *consent.Guard
	Client  *http.Client           // of package smart/fetch
	Changed func() <-chan struct{} // the store's
	Logger  *slog.Logger
}

// A Worker delivers.
type Worker struct {
	cfg  Config
	done chan struct{} // a call has ended, so others may begin

	mu     sync.Mutex
	active map[string]bool // subscriptions that are being served here
	hosts  map[string]int  // calls to each host
	calls  sync.WaitGroup
}

const (
	maxCalls   = 64              // side by side
	maxPerHost = 8               // of these
	pollWait   = 5 * time.Second // other gateways' commits may come without a hint
	errorWait  = 10 * time.Second
)

// New checks the configuration.
func New(c Config) (*Worker, error) {
	if c.Guard == nil || c.Client == nil || c.Changed == nil || c.Logger == nil {
		return nil, errors.New("hooks: Guard, Client, Changed and Logger are required")
	}
	return &Worker{cfg: c, done: make(chan struct{}, 1), active: map[string]bool{}, hosts: map[string]int{}}, nil
}

// Run delivers until the context ends, and waits then for the calls that are under
// way, which end with it. It returns nil; there is no other way out.
func (w *Worker) Run(ctx context.Context) error {
	defer w.calls.Wait()
	for {
		changed := w.cfg.Changed() // before looking, so that nothing slips between
		wait, _, err := w.round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			w.cfg.Logger.Error("subscriptions", "error", err)
			wait = errorWait
		}
		timer := time.NewTimer(min(wait, pollWait))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-changed:
		case <-w.done:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Flush follows the log to its end and delivers all that is due. It must not be
// called while Run runs.
func (w *Worker) Flush(ctx context.Context) error {
	for {
		_, begun, err := w.round(ctx)
		w.calls.Wait()
		if err != nil || begun == 0 {
			return err
		}
	}
}

// round follows the log and begins to serve what is due. It gives the time until
// more will be, and how many it began to serve.
func (w *Worker) round(ctx context.Context) (wait time.Duration, begun int, err error) {
	for more := true; more; {
		if more, err = w.cfg.Guard.Follow(ctx); err != nil {
			return 0, 0, err
		}
	}
	due, wait, err := w.cfg.Guard.DueSubscriptions(ctx)
	if err != nil {
		return 0, 0, err
	}
	if wait == 0 {
		wait = pollWait
	}
	for _, d := range due {
		if w.take(d.ID, d.Host) {
			begun++
			w.calls.Go(func() {
				defer w.give(d.ID, d.Host)
				w.serve(ctx, d.ID)
			})
		}
	}
	return wait, begun, nil
}

// take finds a place for a call.
func (w *Worker) take(id, host string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.active[id] || len(w.active) >= maxCalls || w.hosts[host] >= maxPerHost {
		return false
	}
	w.active[id] = true
	w.hosts[host]++
	return true
}

func (w *Worker) give(id, host string) {
	w.mu.Lock()
	delete(w.active, id)
	if w.hosts[host]--; w.hosts[host] == 0 {
		delete(w.hosts, host)
	}
	w.mu.Unlock()
	select {
	case w.done <- struct{}{}:
	default: // told already
	}
}

// turn is how many deliveries of one subscription are made before others may have
// its place.
const turn = 100

// serve delivers what waits for one subscription, one after the other.
func (w *Worker) serve(ctx context.Context, id string) {
	for range turn {
		d, err := w.cfg.Guard.NextDelivery(ctx, id)
		if err == nil && d == nil {
			return
		}
		if err == nil {
			why, final := w.send(ctx, d)
			if ctx.Err() != nil {
				return // another takes it over when the claim ends
			}
			switch why {
			case "":
				err = w.cfg.Guard.Delivered(ctx, d)
			case withdrawn: // it was put back, or will be free when the claim ends
				continue
			default:
				w.cfg.Logger.Warn("a subscription was not served", "subscription", id, "why", why, "final", final)
				err = w.cfg.Guard.Undelivered(ctx, d, why, final)
			}
			if err == nil && why != "" {
				return
			}
		}
		if err != nil {
			if ctx.Err() == nil {
				w.cfg.Logger.Error("subscription", "subscription", id, "error", err)
			}
			return
		}
	}
}
