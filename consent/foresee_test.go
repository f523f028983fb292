package consent_test

import (
	"context"
	"net/url"
	"sync"
	"testing"

	"mypatients/consent"
	"mypatients/smart"
)

// TestForeseenRevocations takes a login's role and a basis away and gives them back, while
// others ask all the time: what was answered holds for the next request, though that
// goes by what the store remembers of accounts and epochs.
func TestForeseenRevocations(t *testing.T) {
	t.Setenv("STORE", "postgres") // the other store remembers nothing that it does not know
	w := newWorld(t)
	c := w.as("adams")
	sees := func() (sees bool, err error) {
		err = w.guard.Foresee(t.Context(), func(ctx context.Context) error {
			sees = false
			_, ok, err := w.guard.Today(ctx, c.Identity)
			if err != nil || !ok {
				return err
			}
			page, err := w.guard.Search(ctx, c, "Patient", url.Values{"_id": {"mateo"}}, false)
			sees = err == nil && len(page.Entries) == 1
			return err
		})
		return sees, err
	}
	var others sync.WaitGroup
	ended := make(chan struct{})
	for range 4 {
		others.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
				}
				if _, err := sees(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	link := consent.Link{Role: smart.Provider, Person: "Practitioner/adams"}
	deny := func(status string) {
		w.put(`{"resourceType":"Consent","id":"no","status":%q,"scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/mateo"},"dateTime":"2026-01-01","performer":[{"reference":"RelatedPerson/grace-mateo"}],"policyRule":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"OPTIN"}]},"provision":{"type":"deny"}}`, status)
	}
	steps := []struct {
		name string
		do   func()
		want bool
	}{
		{"a denial", func() { deny("active") }, false},
		{"its end", func() { deny("inactive") }, true},
		{"a link taken away", func() {
			if _, err := w.guard.UnlinkAccount(t.Context(), c.Identity.Login, link); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"a link given", func() { w.link("adams", smart.Provider, "Practitioner/adams") }, true},
	}
	for round := range 25 {
		for _, s := range steps {
			s.do()
			if got, err := sees(); err != nil || got != s.want {
				t.Errorf("round %d: after %s the record is seen: %t, %v", round, s.name, got, err)
			}
		}
	}
	close(ended)
	others.Wait()
}
