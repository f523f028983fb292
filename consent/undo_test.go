package consent_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/engine"
)

// body reads a resource as it is stored.
func (w *world) body(ref string) map[string]any {
	w.t.Helper()
	key, err := fhir.ParseKey(ref)
	if err != nil {
		w.t.Fatal(err)
	}
	var body map[string]any
	err = w.eng.View(w.t.Context(), func(tx *engine.Tx) error {
		r, err := tx.Read(key, engine.Everything)
		if err != nil {
			return err
		}
		return json.Unmarshal(r.JSON, &body)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return body
}

// given has Okafor see a part of Mateo's record for a month, by Grace.
func (w *world) given() string {
	w.t.Helper()
	r := w.ask("okafor", "1001", consent.AccessRequest{Reason: "second opinion"})
	n := consent.Narrowing{Until: w.clock.Now().AddDate(0, 1, 0), Classes: []fhir.Type{"Patient", "Condition"}, Label: "N"}
	if _, err := w.guard.Approve(w.t.Context(), w.as("grace"), r.ID, n, nil); err != nil {
		w.t.Fatal(err)
	}
	return r.ID
}

func (w *world) stop(who, id string) {
	w.t.Helper()
	if _, err := w.guard.Revoke(w.t.Context(), w.as(who), id, "", nil); err != nil {
		w.t.Fatal(err)
	}
}

// What was stopped is shut at once, and undoing gives back what there was and nothing
// more, by a Consent of its own. Both acts stay in the logs.
func TestUndoRevoke(t *testing.T) {
	w := newWorld(t)
	id := w.given()
	before := w.body("Consent/" + id)
	w.clock.pass(time.Hour)
	w.stop("luis", id)
	w.mayNot("okafor", "Patient/mateo")
	w.clock.pass(9 * time.Second)
	w.mayNot("okafor", "Patient/mateo")
	again, err := w.guard.UndoRevoke(t.Context(), w.as("luis"), id)
	if err != nil {
		t.Fatal(err)
	}
	w.may("okafor", "Patient/mateo")
	w.mayNot("okafor", "Observation/mateo-weight")

	after := w.body(again.Key.String())
	if again.ID == id || w.body("Consent/" + id)["status"] != "inactive" {
		t.Errorf("the stopped Consent came back itself")
	}
	for _, name := range []string{"id", "meta"} {
		delete(before, name)
		delete(after, name)
	}
	if !reflect.DeepEqual(before, after) {
		t.Errorf("undoing gave\n%v\nwant\n%v", after, before)
	}
	if got := w.notices("Practitioner/okafor"); !slices.Equal(got, []string{"Your request was approved", "An access has ended", "An access goes on"}) {
		t.Errorf("notices: %v", got)
	}
	var said []string
	looks, err := w.guard.WhoLooked(t.Context(), w.as("grace"), "mateo", 100)
	for _, l := range looks {
		if l.Action == "revoke" || l.Action == "restore" {
			said = append(said, l.Action+l.Outcome)
		}
	}
	if slices.Sort(said); err != nil || !slices.Equal(said, []string{"restore", "revoke"}) {
		t.Errorf("the family's log has %v, %v", said, err)
	}
	mine, err := w.guard.MyRequests(t.Context(), w.as("okafor"))
	if err != nil || len(mine) != 2 {
		t.Fatalf("my requests: %+v, %v", mine, err)
	}
	states := []string{mine[0].State, mine[1].State}
	if slices.Sort(states); !slices.Equal(states, []string{consent.StateApproved, consent.StateStopped}) {
		t.Errorf("my requests are %v", states)
	}
	w.stop("grace", again.ID) // what came back is stopped like any other
	w.mayNot("okafor", "Patient/mateo")
}

// Nobody undoes what somebody else stopped, in another session, later, twice, or when
// it has changed since. All of them get one answer, and nothing opens.
func TestWhatCannotBeUndone(t *testing.T) {
	for name, tt := range map[string]struct {
		between func(w *world, id string)
		as      func(w *world) consent.Caller
		want    fhir.Kind
	}{
		"the other guardian": {as: func(w *world) consent.Caller { return w.as("luis") }, want: fhir.Unprocessable},
		"in another session": {as: func(w *world) consent.Caller {
			c := w.as("grace")
			c.ID = "another"
			return c
		}, want: fhir.Unprocessable},
		"without a session": {as: func(w *world) consent.Caller {
			c := w.as("grace")
			c.ID = ""
			return c
		}, want: fhir.Unprocessable},
		"with an app":        {as: func(w *world) consent.Caller { return w.app("grace", "user/*.cruds", "") }, want: fhir.Unprocessable},
		"too late":           {between: func(w *world, _ string) { w.clock.pass(consent.UndoTime + 5*time.Second) }, want: fhir.Unprocessable},
		"twice":              {between: func(w *world, id string) { w.undo(id); w.stopAgain() }, want: fhir.Unprocessable},
		"a mistake by now":   {between: func(w *world, id string) { w.mistake(id) }, want: fhir.Unprocessable},
		"the provider":       {as: func(w *world) consent.Caller { return w.as("okafor") }, want: fhir.Forbidden},
		"a stranger":         {as: func(w *world) consent.Caller { return w.as("helen") }, want: fhir.NotFound},
		"no guardian by now": {between: func(w *world, _ string) { w.endGuardian() }, want: fhir.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.given()
			w.stop("grace", id)
			if tt.between != nil {
				tt.between(w, id)
			}
			c := w.as("grace")
			if tt.as != nil {
				c = tt.as(w)
			}
			_, err := w.guard.UndoRevoke(t.Context(), c, id)
			wantKind(t, err, tt.want)
			w.mayNot("okafor", "Patient/mateo")
		})
	}
}

func (w *world) undo(id string) {
	w.t.Helper()
	if _, err := w.guard.UndoRevoke(w.t.Context(), w.as("grace"), id); err != nil {
		w.t.Fatal(err)
	}
}

// stopAgain stops whatever access was given for Mateo.
func (w *world) stopAgain() {
	w.t.Helper()
	entries, err := w.guard.WhoCanSee(w.t.Context(), w.as("luis"), "mateo")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		if e.ConsentID != "" {
			w.stop("luis", e.ConsentID)
		}
	}
}

// mistake has an administrator mark a Consent.
func (w *world) mistake(id string) {
	w.t.Helper()
	body := w.body("Consent/" + id)
	body["status"] = "entered-in-error"
	b, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, _, err := w.guard.Update(w.t.Context(), w.admin(), fhir.Key{Type: "Consent", ID: id}, b, nil); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) endGuardian() {
	w.put(`{"resourceType":"RelatedPerson","id":"grace-mateo","active":false,"patient":{"reference":"Patient/mateo"},"relationship":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-RoleCode","code":"MTH"}]}]}`)
}

// An invitation that nobody used opens nothing: cancelling it is for good.
func TestCancelledInvitationsStayCancelled(t *testing.T) {
	w := newWorld(t)
	grace := w.as("grace")
	made, err := w.guard.Invite(t.Context(), grace, "mateo", consent.Invitation{})
	if err != nil {
		t.Fatal(err)
	}
	w.stop("grace", made.Consent.ID)
	_, err = w.guard.UndoRevoke(t.Context(), grace, made.Consent.ID)
	wantKind(t, err, fhir.Unprocessable)

	used, err := w.guard.Invite(t.Context(), grace, "mateo", consent.Invitation{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.guard.Redeem(t.Context(), w.as("okafor"), used.Token, "1001", ""); err != nil {
		t.Fatal(err)
	}
	w.stop("grace", used.Consent.ID)
	w.mayNot("okafor", "Patient/mateo")
	w.undo(used.Consent.ID)
	w.may("okafor", "Patient/mateo")
	_, err = w.guard.Redeem(t.Context(), w.as("baker"), used.Token, "1001", "")
	wantKind(t, err, fhir.Unprocessable)
}

// What is between a teenager and a provider stays so when it comes back, and undoing
// takes no stronger sign-in than stopping did.
func TestUndoKeepsWhatIsPrivate(t *testing.T) {
	w := newWorld(t)
	ava := w.as("ava")
	made, err := w.guard.Invite(t.Context(), ava, "ava", consent.Invitation{Confidential: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.guard.Redeem(t.Context(), w.as("okafor"), made.Token, "1003", ""); err != nil {
		t.Fatal(err)
	}
	w.stop("ava", made.Consent.ID)
	again, err := w.guard.UndoRevoke(t.Context(), ava, made.Consent.ID)
	if err != nil {
		t.Fatal(err)
	}
	w.may("ava", again.Key.String())
	w.mayNot("helen", again.Key.String())
	if got := strings.Join(w.looks("helen", "ava"), " "); strings.Contains(got, "restore") {
		t.Errorf("her mother reads %s", got)
	}
}

func TestUndoTakesNoProof(t *testing.T) {
	w := newWorld(t)
	id := w.given()
	lax := w.guard
	t.Cleanup(func() { _ = lax.Close() })
	strict, err := consent.New(consent.Config{Rules: w.rules, Now: w.clock.Now, Key: []byte(strings.Repeat("k", 32)), MRNSystem: mrnSystem, Policy: consent.DefaultPolicy(),
		StepUp: map[string]consent.StepUp{"https://idp.test": {ACR: []string{"mfa"}, Within: time.Minute}}})
	if err != nil {
		t.Fatal(err)
	}
	w.guard = strict
	w.stop("grace", id)
	w.undo(id)
	w.may("okafor", "Patient/mateo")
}

// Of many that undo at once, one does.
func TestUndoOnce(t *testing.T) {
	w := newWorld(t)
	id := w.given()
	w.stop("grace", id)
	grace := w.as("grace")
	results := make([]error, 8)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() { _, results[i] = w.guard.UndoRevoke(t.Context(), grace, id) })
	}
	wg.Wait()
	done := 0
	for _, err := range results {
		if err == nil {
			done++
		} else if k := fhir.KindOf(err); k != fhir.Unprocessable && k != fhir.Conflict {
			t.Errorf("got %v", err)
		}
	}
	entries, err := w.guard.WhoCanSee(t.Context(), grace, "mateo")
	if given := slices.DeleteFunc(entries, func(e consent.AccessEntry) bool { return e.ConsentID == "" }); done != 1 || len(given) != 1 || err != nil {
		t.Errorf("%d undid it, and there are %+v, %v", done, given, err)
	}
}

// Who was taken off the care teams comes back to those, for as long as before, and
// for nothing else that happened meanwhile.
func TestUndoRemoval(t *testing.T) {
	chen := fhir.Key{Type: "Practitioner", ID: "chen"}
	removed := func(t *testing.T) *world {
		w := newWorld(t)
		w.put(`{"resourceType":"CareTeam","id":"second","status":"active","subject":{"reference":"Patient/mateo"},"participant":[{"member":{"reference":"Practitioner/chen"},"period":{"end":"2026-05-05"}},{"member":{"reference":"Practitioner/other"}}]}`)
		if err := w.guard.RemoveFromCareTeam(t.Context(), w.as("grace"), "mateo", chen, nil); err != nil {
			t.Fatal(err)
		}
		w.mayNot("chen", "Patient/mateo")
		return w
	}
	t.Run("in time", func(t *testing.T) {
		w := removed(t)
		w.clock.pass(consent.UndoTime)
		if err := w.guard.UndoRemoval(t.Context(), w.as("grace"), "mateo", chen); err != nil {
			t.Fatal(err)
		}
		w.may("chen", "Patient/mateo")
		got := fmt.Sprint(w.body("CareTeam/mateo-team")["participant"], w.body("CareTeam/second")["participant"])
		if want := "[map[member:map[reference:Practitioner/chen]]] [map[member:map[reference:Practitioner/chen] period:map[end:2026-05-05]] map[member:map[reference:Practitioner/other]]]"; got != want {
			t.Errorf("the teams have\n%s\nwant\n%s", got, want)
		}
		wantKind(t, w.guard.UndoRemoval(t.Context(), w.as("grace"), "mateo", chen), fhir.Unprocessable)
	})
	for name, tt := range map[string]struct {
		who     string
		member  fhir.Key
		between func(w *world)
		want    fhir.Kind
	}{
		"too late":           {who: "grace", member: chen, between: func(w *world) { w.clock.pass(16 * time.Second) }, want: fhir.Unprocessable},
		"the other guardian": {who: "luis", member: chen, want: fhir.Unprocessable},
		"somebody else":      {who: "grace", member: fhir.Key{Type: "Practitioner", ID: "okafor"}, want: fhir.Unprocessable},
		"the provider":       {who: "chen", member: chen, want: fhir.NotFound},
		"a changed team": {who: "grace", member: chen, want: fhir.Unprocessable, between: func(w *world) {
			w.put(`{"resourceType":"CareTeam","id":"second","status":"inactive","subject":{"reference":"Patient/mateo"},"participant":[{"member":{"reference":"Practitioner/other"}}]}`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := removed(t)
			if tt.between != nil {
				tt.between(w)
			}
			wantKind(t, w.guard.UndoRemoval(t.Context(), w.as(tt.who), "mateo", tt.member), tt.want)
			w.mayNot("chen", "Patient/mateo")
		})
	}
}
