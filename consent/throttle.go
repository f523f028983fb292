package consent

import (
	"time"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// recordAttempts is the kind of the records that count attempts: shared by all
// nodes, forgotten after their hour.
const recordAttempts = "attempts"

type attempts struct {
	Count int       `json:"n"`
	Since time.Time `json:"s"`
}

// allowAttempt counts an attempt of some kind under a key, and refuses it when
// there were more than limit in the hour. It must run in a transaction that
// commits, also when the attempt fails.
func allowAttempt(w store.Writer, now time.Time, kind, key string, limit int) error {
	var a attempts
	if err := store.GetJSON(w, recordAttempts, kind+" "+key, &a); err != nil && err != store.ErrNotFound {
		return err
	}
	if now.Sub(a.Since) >= time.Hour {
		a = attempts{Since: now}
	}
	if a.Count >= limit {
		return fhir.Errorf(fhir.Throttled, "Too many attempts. Try again in an hour.")
	}
	a.Count++
	return store.PutJSON(w, recordAttempts, kind+" "+key, a, a.Since.Add(time.Hour))
}
