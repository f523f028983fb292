package hooks_test

import (
	"fmt"
	"strings"
	"testing"

	"mypatients/consent/subscription"
	"mypatients/fhir/engine"
)

// What waits for a subscription is bounded, also while its endpoint takes all, slowly.
func TestMoreWaitsThanIsKept(t *testing.T) {
	w := newWorld(t)
	id := w.subscribe(w.system(), "Observation?status=final", "", "")
	other := w.subscribe(w.system(), "Observation?status=final", "/other", "")
	for i := 0; i < subscription.MaxQueue+900; i += 100 { // events that an endpoint has not got to
		w.do(w.nodes[0].eng.Update(t.Context(), func(tx *engine.Tx) error {
			for n := range 100 {
				if full, err := subscription.Push(tx.Writer(), id, subscription.Event{At: fmt.Sprintf("0%05d", i+n)}); full || err != nil {
					return fmt.Errorf("full %v, %w", full, err)
				}
			}
			return nil
		}))
	}
	for i := 0; strings.HasPrefix(w.state(id), "active"); i += 100 {
		if i > 2000 {
			t.Fatal("no end of what waits")
		}
		for n := range 100 {
			w.observe(fmt.Sprint("o", i+n))
		}
		for more := true; more; {
			var err error
			more, err = w.nodes[0].guard.Follow(t.Context())
			w.do(err)
		}
	}
	w.wantState(id, "error More waits for it than is kept.")
	w.wantState(other, "active")
	w.flush()
	for _, call := range w.app.take() {
		if call != "POST /other" {
			t.Fatalf("got %s", call)
		}
	}
}
