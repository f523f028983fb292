package engine_test

import (
	"errors"
	"testing"

	"mypatients/fhir/engine"
)

// TestEnded: who asks is told once how a transaction ended.
func TestEnded(t *testing.T) {
	e := newWorld(t)
	var told []error
	listen := func(tx *engine.Tx) { tx.Ended(func(err error) { told = append(told, err) }) }
	if err := e.Update(t.Context(), func(tx *engine.Tx) error { listen(tx); return nil }); err != nil || len(told) != 1 || told[0] != nil {
		t.Errorf("done: %v, told %v", err, told)
	}
	no := errors.New("no")
	told = nil
	if err := e.Update(t.Context(), func(tx *engine.Tx) error { listen(tx); return no }); !errors.Is(err, no) || len(told) != 1 || !errors.Is(told[0], no) {
		t.Errorf("refused: %v, told %v", err, told)
	}
	told = nil
	if err := e.Update(t.Context(), func(tx *engine.Tx) error { listen(tx); panic("x") }); err == nil || len(told) != 1 || told[0] == nil {
		t.Errorf("panicked: %v, told %v", err, told)
	}
}
