package notify

import (
	"context"
	"errors"
	"log/slog"
	"net/mail"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

// A Config is what a Worker needs. All fields are required, but SMTP.Host.
type Config struct {
	Engine *engine.Engine
	Store  store.Store // the engine's own
	Now    func() time.Time
	Logger *slog.Logger

	// Category marks a Communication as a notice of ours; others are left alone.
	Category fhir.Coding

	// Complete puts into the words of a notice what must not be kept, and reports
	// false when it is too late to send it. nil: the words are whole.
	Complete func(tx *engine.Tx, id, text string) (whole string, inTime bool, err error)

	SMTP SMTP
}

// SMTP is the mail server.
type SMTP struct {
	Host     string // empty: notices wait
	Port     int
	TLS      string // "starttls" (refuses to go on without), "tls" from the first byte, "none"
	Username string // empty: no authentication
	Password string
	From     string // sender, "MyPatients <no-reply@example.org>"
}

// String leaves out the password.
func (s SMTP) String() string { return s.Host }

// A Worker sends notices.
type Worker struct {
	cfg    Config
	from   *mail.Address
	domain string // of Message-IDs

	// How long the mail server has been away; only the goroutine that flushes uses
	// them.
	failures int
	retry    time.Time // not before; zero: at once
}

// How long it waits before it tries again.
const (
	firstWait = 10 * time.Second
	lastWait  = 10 * time.Minute
	pollWait  = 5 * time.Second // other gateways' commits may come without a hint
	claimLife = 5 * time.Minute // a claim of a gateway that died ends after this
)

// New checks the configuration.
func New(c Config) (*Worker, error) {
	if c.Engine == nil || c.Store == nil || c.Now == nil || c.Logger == nil || c.Category == (fhir.Coding{}) {
		return nil, errors.New("notify: Engine, Store, Now, Logger and Category are required")
	}
	w := &Worker{cfg: c}
	if c.SMTP.Host == "" {
		return w, nil
	}
	from, err := mail.ParseAddress(c.SMTP.From)
	if err != nil {
		return nil, errors.New("notify: the sender is not a mail address")
	}
	w.from, w.domain = from, from.Address[strings.LastIndexByte(from.Address, '@')+1:]
	if _, err := w.client(); err != nil {
		return nil, errors.New("notify: the mail server's settings are wrong")
	}
	return w, nil
}

// Run sends notices until the context ends. It returns nil then; there is no
// other way out.
func (w *Worker) Run(ctx context.Context) error {
	for {
		changed := w.cfg.Store.Changed() // before looking, so that nothing slips between
		wait, err := w.Flush(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			w.cfg.Logger.Error("notices", "error", err)
			wait = firstWait
		}
		timer := time.NewTimer(min(wait, pollWait))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-changed:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// Flush follows the log to its end and sends what is due. It gives the time
// after which something more will be due; a mail server that is away is not an
// error. It must not be called while Run runs.
func (w *Worker) Flush(ctx context.Context) (wait time.Duration, err error) {
	if err := w.follow(ctx); err != nil {
		return 0, err
	}
	return w.send(ctx)
}
