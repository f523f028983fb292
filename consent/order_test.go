package consent_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/smart"
)

// second gives one more guard on the store of a world, as another gateway has.
func (w *world) second(change func(*consent.Config)) *consent.Guard {
	w.t.Helper()
	c := consent.Config{Rules: w.rules, Now: w.clock.Now, Key: []byte(strings.Repeat("k", 32)), MRNSystem: mrnSystem, Policy: consent.DefaultPolicy()}
	if change != nil {
		change(&c)
	}
	g, err := consent.New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := g.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return g
}

// TestAnswerAtTheLastMoment: a request whose time ends between the look at it and
// the answer is not answered any more.
func TestAnswerAtTheLastMoment(t *testing.T) {
	var w *world
	var ticks atomic.Bool
	w = newWorld(t, func(c *engine.Config) {
		now := c.Now
		c.Now = func() time.Time {
			at := now()
			if ticks.Load() {
				w.clock.pass(time.Second) // with each transaction
			}
			return at
		}
	})
	r := w.ask("okafor", "1001", consent.AccessRequest{})
	grace := w.as("grace")
	w.clock.set(w.clock.Now().Add(consent.DefaultPolicy().AnswerBy - time.Second/2))
	ticks.Store(true)
	_, err := w.guard.Approve(t.Context(), grace, r.ID, consent.Narrowing{}, nil)
	ticks.Store(false)
	wantKind(t, err, fhir.Unprocessable)
	w.mayNot("okafor", "Patient/mateo")
}

// TestARedemptionIsNotHalf: a token that was used opened the record, and says so,
// also when no launch handle can be made.
func TestARedemptionIsNotHalf(t *testing.T) {
	w := newWorld(t)
	inv, err := w.guard.Invite(t.Context(), w.as("grace"), "mateo", consent.Invitation{})
	if err != nil {
		t.Fatal(err)
	}
	g := w.second(func(c *consent.Config) {
		c.Launch = func(context.Context, smart.Launch) (string, error) { return "", errors.New("no such client") }
	})
	done, err := g.Redeem(t.Context(), w.as("okafor"), inv.Token, "1001", "no-such-client")
	if err != nil || done.Launch != "" || done.Patient.ID != "mateo" {
		t.Errorf("got %+v, %v", done, err)
	}
	w.may("okafor", "Patient/mateo")
}

// TestCustodyAgainstApproval: a guardian approves while the hospital records that
// they have no say. Whichever comes first, once that is recorded nothing is open that
// they approved, and they answer and see nothing any more.
func TestCustodyAgainstApproval(t *testing.T) {
	const order = `{"resourceType":"Consent","id":"order-%d","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/mateo"},"policy":[{"uri":"http://example.org/court-order"}],"provision":{"type":"deny","actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":"RelatedPerson/luis-mateo"}}]}}`
	w := newWorld(t)
	guards := []*consent.Guard{w.guard, w.second(nil)}
	admin := w.as("baker")
	admin.Identity.Role = smart.Admin
	approved := 0
	for n := range 6 {
		r := w.ask("okafor", "1001", consent.AccessRequest{})
		luis := w.as("luis")
		var all sync.WaitGroup
		var order1 *fhir.Resource
		var orderErr error
		var yes atomic.Int64
		for i := range 8 {
			all.Go(func() {
				if _, err := guards[i%2].Approve(t.Context(), luis, r.ID, consent.Narrowing{}, nil); err == nil {
					yes.Add(1)
				} else if k := fhir.KindOf(err); k != fhir.Conflict && k != fhir.Unprocessable && k != fhir.NotFound && k != fhir.Forbidden {
					t.Errorf("round %d: %v", n, err)
				}
			})
			if i == n { // sooner or later
				all.Go(func() {
					order1, _, orderErr = guards[1].Create(t.Context(), admin, "Consent", fmt.Appendf(nil, order, n))
				})
			}
		}
		all.Wait()
		if orderErr != nil {
			t.Fatal(orderErr)
		}
		approved += int(yes.Load())
		for _, g := range guards {
			key := fhir.Key{Type: "Patient", ID: "mateo"}
			for _, who := range []string{"okafor", "luis"} {
				_, err := g.Read(t.Context(), w.as(who), key)
				wantKind(t, err, fhir.NotFound)
			}
			_, err := g.Approve(t.Context(), luis, r.ID, consent.Narrowing{}, nil)
			wantKind(t, err, fhir.NotFound)
		}
		// The mother ends it, and the order is lifted for the next round.
		switch status(t, w.consent(r.ID)) {
		case "active":
			_, err := w.guard.Revoke(t.Context(), w.as("grace"), r.ID, "", nil)
			if err != nil {
				t.Fatal(err)
			}
		default:
			if _, err := w.guard.Withdraw(t.Context(), w.as("okafor"), r.ID, "", nil); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := w.guard.Update(t.Context(), admin, order1.Key, []byte(strings.Replace(string(order1.JSON), `"active"`, `"inactive"`, 1)), nil); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("approved in %d of 6 rounds", approved)
}

// consent reads a Consent behind the guard's back.
func (w *world) consent(id string) (r *fhir.Resource) {
	w.t.Helper()
	if err := w.eng.View(w.t.Context(), func(tx *engine.Tx) (err error) {
		r, err = tx.Read(fhir.Key{Type: "Consent", ID: id}, engine.Everything)
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// TestSweepersAgainstAnswers: two gateways let requests lapse while people answer
// them in their last moment. Each is answered or lapses, and what lapsed stays so.
func TestSweepersAgainstAnswers(t *testing.T) {
	w := newWorld(t)
	guards := []*consent.Guard{w.guard, w.second(nil)}
	for n := range 5 {
		r := w.ask("okafor", "1002", consent.AccessRequest{})
		grace, okafor := w.as("grace"), w.as("okafor")
		end := w.clock.Now().Add(consent.DefaultPolicy().AnswerBy)
		w.clock.set(end.Add(-time.Millisecond))
		var all sync.WaitGroup
		var lapsed, answered atomic.Int64
		for i := range 12 {
			all.Go(func() {
				if i == rand.IntN(12) {
					w.clock.set(end)
				}
				var err error
				switch i % 4 {
				case 0:
					var k int
					k, err = guards[i/4%2].Lapse(t.Context())
					lapsed.Add(int64(k))
				case 1:
					_, err = guards[i/4%2].Withdraw(t.Context(), okafor, r.ID, "", nil)
				default:
					_, err = guards[i/4%2].Approve(t.Context(), grace, r.ID, consent.Narrowing{Until: end.AddDate(0, 6, 0)}, nil)
				}
				switch k := fhir.KindOf(err); {
				case err == nil && i%4 != 0:
					answered.Add(1)
				case err != nil && k != fhir.Conflict && k != fhir.Unprocessable:
					t.Errorf("round %d: %v", n, err)
				}
			})
		}
		all.Wait()
		w.clock.set(end)
		k, err := w.guard.Lapse(t.Context())
		if err != nil || lapsed.Load()+int64(k)+answered.Load() != 1 {
			t.Errorf("round %d: lapsed %d and %d times, answered %d times, %v", n, lapsed.Load(), k, answered.Load(), err)
		}
		_, err = w.guard.Approve(t.Context(), grace, r.ID, consent.Narrowing{}, nil)
		wantKind(t, err, fhir.Unprocessable)
		if status(t, w.consent(r.ID)) == "active" {
			w.may("okafor", "Patient/sofia")
			if _, err := w.guard.Revoke(t.Context(), grace, r.ID, "", nil); err != nil {
				t.Fatal(err)
			}
		}
		w.mayNot("okafor", "Patient/sofia")
	}
}

// TestIfMatchComesFirst: who names a version that is no more learns that, whatever
// else would be wrong with what they do to the new one.
func TestIfMatchComesFirst(t *testing.T) {
	w := newWorld(t)
	r := w.ask("okafor", "1002", consent.AccessRequest{})
	grace, okafor := w.as("grace"), w.as("okafor")
	if _, err := w.guard.Decline(t.Context(), grace, r.ID, "", &r.Version); err != nil {
		t.Fatal(err)
	}
	approved := strings.Replace(string(r.JSON), `"proposed"`, `"active"`, 1)
	for name, act := range map[string]func() error{
		"approve": func() error {
			_, err := w.guard.Approve(t.Context(), grace, r.ID, consent.Narrowing{}, &r.Version)
			return err
		},
		"decline":  func() error { _, err := w.guard.Decline(t.Context(), grace, r.ID, "", &r.Version); return err },
		"revoke":   func() error { _, err := w.guard.Revoke(t.Context(), grace, r.ID, "", &r.Version); return err },
		"withdraw": func() error { _, err := w.guard.Withdraw(t.Context(), okafor, r.ID, "", &r.Version); return err },
		"put": func() error {
			_, _, err := w.guard.Update(t.Context(), grace, r.Key, []byte(approved), &r.Version)
			return err
		},
		"patch": func() error {
			_, err := w.guard.Write(t.Context(), grace, consent.Write{Method: consent.Patch, Type: "Consent", ID: r.ID, Body: []byte(`[{"op":"replace","path":"/status","value":"active"}]`), IfMatch: &r.Version})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { wantKind(t, act(), fhir.Precondition) })
	}
	_, err := w.guard.Approve(t.Context(), w.as("helen"), r.ID, consent.Narrowing{}, &r.Version)
	wantKind(t, err, fhir.NotFound) // and who may not know of it learns nothing
}
