package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"mypatients/gateway/demo"
)

// stopTime is how long running requests may take to finish when stopping.
const stopTime = 10 * time.Second

// A Program is a gateway that listens. Run serves until its context ends; Close
// gives everything back.
type Program struct {
	URL string // what to point a browser at; the configured base URL

	core     *core
	mailbox  *demo.Mailbox // the demo's; nil otherwise
	log      *slog.Logger
	listener net.Listener
	server   *http.Server
	metrics  *http.Server // nil when metrics are served with the rest or not at all
	measured net.Listener
	admin    *http.Server // nil when commands do not reach a running gateway
	asked    net.Listener
	tasks    []task
	stopping atomic.Bool
}

// A task runs beside the requests, until its context ends.
type task struct {
	name string
	run  func(context.Context) error
}

func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, failf("stop what runs there, or choose another address (-addr, or listen in the configuration)", "the address %s is taken", address)
	}
	if err != nil {
		return nil, failf("an address is HOST:PORT, like 127.0.0.1:8080", "cannot listen on %s", address)
	}
	return l, nil
}

// writeTime is how long an answer may take, or a part of one that is sent in parts.
const writeTime = 5 * time.Minute

// prolong gives an answer that is sent in parts time for the next one. Its request has
// been read: what ends the reading of one must not end it.
func prolong(w http.ResponseWriter) {
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(time.Now().Add(writeTime)) // an error means that there is none
	_ = c.SetReadDeadline(time.Time{})
}

func newServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       2 * time.Minute, // a large body over a slow line
		WriteTimeout:      writeTime,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // broken connections
	}
}

// Run serves until the context ends or serving fails. Then it stops accepting,
// lets running requests finish for up to ten seconds, and ends the tasks.
func (p *Program) Run(ctx context.Context) error {
	background, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var tasks sync.WaitGroup
	for _, t := range p.tasks {
		tasks.Go(func() {
			if err := t.run(background); err != nil && background.Err() == nil {
				p.log.Error("task ended", "task", t.name, "error", err)
			}
		})
	}
	failed := make(chan error, 3)
	go func() { failed <- p.server.Serve(p.listener) }()
	if p.metrics != nil {
		go func() { failed <- p.metrics.Serve(p.measured) }()
	}
	if p.admin != nil {
		go func() { failed <- p.admin.Serve(p.asked) }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	p.stopping.Store(true)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if p.server.Shutdown(stop) != nil {
		_ = p.server.Close() // cuts off what did not finish in time
	}
	if p.metrics != nil {
		_ = p.metrics.Close()
	}
	if p.admin != nil {
		_ = p.admin.Close()
	}
	end()
	tasks.Wait()
	return err
}

// Close gives the listeners and the store back. It is for after Run, or in its
// place.
func (p *Program) Close() error {
	if p.listener != nil {
		_ = p.listener.Close() // closed already after Run
	}
	if p.measured != nil {
		_ = p.measured.Close()
	}
	if p.asked != nil {
		_ = p.asked.Close()
	}
	var errs []error
	if p.mailbox != nil {
		errs = append(errs, p.mailbox.Close())
	}
	if p.core != nil {
		errs = append(errs, p.core.Close())
	}
	return errors.Join(errs...)
}
