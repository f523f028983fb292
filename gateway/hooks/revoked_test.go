package hooks_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir/engine"
	"mypatients/smart"
)

// approve has Grace let okafor in, and gives what she answered.
func (w *world) approve() (consentID string) {
	w.t.Helper()
	r := w.ask()
	_, err := w.nodes[0].guard.Approve(w.t.Context(), w.caller("grace", smart.Proxy, "", ""), r.ID, consent.Narrowing{}, nil)
	w.do(err)
	return r.ID
}

// An endpoint that lets itself be connected to slowly, and is revoked meanwhile at
// another gateway, is told nothing.
func TestRevokedWhileConnecting(t *testing.T) {
	for name, two := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorldOn(t, true)
			gate := make(chan struct{})
			release := sync.OnceFunc(func() { close(gate) })
			var slow atomic.Bool
			arrived := make(chan struct{}, 10)
			app := &endpoint{}
			app.server = httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				app.mu.Lock()
				defer app.mu.Unlock()
				app.calls = append(app.calls, r.Method+" "+r.URL.RequestURI())
			}))
			app.server.EnableHTTP2 = two
			app.server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				arrived <- struct{}{}
				if slow.Load() {
					<-gate
				}
				return nil, nil
			}}
			app.server.StartTLS()
			t.Cleanup(func() { release(); app.server.Close() })
			app.url = app.server.URL
			w.app, w.trust = app, x509.NewCertPool()
			w.trust.AddCert(app.server.Certificate())
			delivering, revoking := w.node(), w.node()
			w.nodes = []*node{delivering, revoking}
			id := w.subscribe(w.okaforApp(), "Observation?status=final", "", withPayload)
			w.wantState(id, "active")
			<-arrived
			granted := w.approve()
			w.observe("kept")
			slow.Store(true)
			flushed := make(chan error, 1)
			go func() { flushed <- delivering.worker.Flush(t.Context()) }()
			select {
			case <-arrived:
			case err := <-flushed:
				t.Fatalf("nothing is delivered: %v", err)
			}
			_, err := revoking.guard.Revoke(t.Context(), w.caller("grace", smart.Proxy, "", ""), granted, "", nil)
			w.do(err)
			release()
			w.do(<-flushed)
			w.wantCalls()
			w.wantState(id, "active")
			w.approve()
			w.observe("anew")
			w.do(delivering.worker.Flush(t.Context()))
			w.wantCalls("PUT /Observation/anew")
		})
	}
}

// While two gateways deliver, a revocation is answered at one: nothing that is written
// then is told, and no more than the one call that was being made.
func TestRevocationRacesDelivery(t *testing.T) {
	rounds := 2
	if os.Getenv("LONG") != "" {
		rounds = 30
	}
	w := newWorldOn(t, true)
	w.node()
	w.subscribe(w.okaforApp(), "Observation?status=final", "", withPayload)
	for round := range rounds {
		w.race(round)
	}
}

func (w *world) race(round int) {
	granted := w.approve()
	grace := w.caller("grace", smart.Proxy, "", "")
	var answered atomic.Bool
	var late atomic.Int64
	told := make(chan struct{}, 1)
	w.app.answer(func(_ http.ResponseWriter, r *http.Request) {
		if answered.Load() {
			late.Add(1)
		}
		select {
		case told <- struct{}{}:
		default:
		}
	})
	ctx, stop := context.WithCancel(w.t.Context())
	var all sync.WaitGroup
	for _, n := range w.nodes {
		all.Go(func() { _ = n.worker.Run(ctx) })
	}
	var begun atomic.Int64
	all.Go(func() {
		for ctx.Err() == nil && begun.Load() < 400 {
			if err := w.measured(fmt.Sprintf("%d-%d", round, begun.Add(1))); err != nil {
				w.t.Error(err)
				return
			}
		}
	})
	for range 3 + round {
		<-told
	}
	_, err := w.nodes[1-round%2].guard.Revoke(w.t.Context(), grace, granted, "", nil)
	before := begun.Load() // some of these were written before the answer
	answered.Store(true)
	w.do(err)
	for i := range 20 {
		w.do(w.measured(fmt.Sprintf("%d-after-%d", round, i)))
	}
	stop()
	all.Wait()
	w.pass(3 * time.Minute) // claims of calls that were cut off
	w.flush()
	if n := late.Load(); n > 1 {
		w.t.Errorf("round %d: %d calls came after the answer", round, n)
	}
	for _, call := range w.app.take() {
		_, n, _ := strings.Cut(call, "/Observation/"+strconv.Itoa(round)+"-")
		if i, err := strconv.ParseInt(n, 10, 64); err != nil || i > before {
			w.t.Errorf("round %d: told %s, where %d were begun before the answer", round, call, before)
		}
	}
}

// measured is observe beside the test.
func (w *world) measured(id string) error {
	n := w.nodes[0]
	p, err := n.eng.Prepare(fmt.Appendf(nil, `{"resourceType":"Observation","id":%q,"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"}}`, id))
	if err != nil {
		return err
	}
	return n.eng.Update(w.t.Context(), func(tx *engine.Tx) error { _, _, err := tx.Update(p, nil); return err })
}
