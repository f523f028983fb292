package consent

import (
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// Who was declined asks again no sooner than after the cool-down: a no must not
// have to be given every day. It says nothing but when; the family can invite the
// provider at any time.

// requestFrom tells from when a provider can ask for a patient's record again; the
// zero time: now.
func (g *Guard) requestFrom(tx *engine.Tx, patient, provider string) (time.Time, error) {
	declined, err := findAll(tx, "Consent", store.And{
		ownedBy(patient), search.TokenTerm("status", "", "rejected"),
		store.Equal{Name: termKind, Value: kindRequest}, store.Equal{Name: termActors, Value: provider},
	})
	if err != nil {
		return time.Time{}, err
	}
	var from time.Time
	for _, v := range declined { // a request that was declined never changes again, but to be a mistake
		if again := v.Time.Add(g.policy.CoolDown); tx.Now().Before(again) && again.After(from) {
			from = again
		}
	}
	return from, nil
}

// afterDecline refuses a request that comes too soon after a decline.
func (g *Guard) afterDecline(tx *engine.Tx, patient, provider string) error {
	from, err := g.requestFrom(tx, patient, provider)
	if err != nil || from.IsZero() {
		return err
	}
	return &fhir.Error{Kind: fhir.Unprocessable, Issues: []fhir.Issue{{Code: "business-rule", Expression: "patient",
		Text:   "This request was declined. It can be made again from " + from.In(g.zone).Format(time.RFC3339) + " on.",
		Detail: fhir.Coding{System: g.rules.outcomeSystem(), Code: RecentlyDeclined}}}}
}
