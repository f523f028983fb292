package consent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// site gives the world another policy.
func (w *world) site(change func(*consent.Policy)) {
	w.t.Helper()
	policy := consent.DefaultPolicy()
	change(&policy)
	next, err := consent.New(consent.Config{Rules: w.rules, Now: w.clock.Now, Key: []byte(strings.Repeat("k", 32)), MRNSystem: mrnSystem, Policy: policy})
	if err := errors.Join(err, w.guard.Close()); err != nil {
		w.t.Fatal(err)
	}
	w.guard = next
}

func (w *world) approve(who, id string) error {
	_, err := w.guard.Approve(w.t.Context(), w.as(who), id, consent.Narrowing{}, nil)
	return err
}

func (w *world) decline(who, id string) error {
	_, err := w.guard.Decline(w.t.Context(), w.as(who), id, "", nil)
	return err
}

// stands asserts the status of a consent and, while it is open, what its answers
// have come to for the family.
func (w *world) stands(id, want, view string) {
	w.t.Helper()
	r, err := w.guard.Read(w.t.Context(), w.admin(), fhir.Key{Type: "Consent", ID: id})
	if err != nil {
		w.t.Fatal(err)
	}
	if got := status(w.t, r); got != want {
		w.t.Errorf("status %s, want %s", got, want)
	}
	if view == "" {
		return
	}
	for _, who := range strings.Fields(view)[1:] {
		got, err := w.guard.Request(w.t.Context(), w.as(who), id)
		if err != nil {
			w.t.Fatal(err)
		}
		state := got.State
		if got.Conflict {
			state = "conflict"
		} else if got.Answered() {
			state = "answered"
		}
		if state != strings.Fields(view)[0] {
			w.t.Errorf("%s sees %s (%+v), want %s", who, state, got.Answers, view)
		}
	}
}

func (w *world) admin() consent.Caller {
	c := w.as("adams")
	c.Identity.Role, c.Identity.FHIRUser, c.Identity.Login = smart.Admin, "Practitioner/other", ""
	return c
}

// state gives the extension answer-state of what an operation gave.
func state(t testing.TB, r *fhir.Resource) string {
	t.Helper()
	var c struct {
		Status    string
		Extension []struct{ URL, ValueCode string }
	}
	if err := json.Unmarshal(r.JSON, &c); err != nil {
		t.Fatal(err)
	}
	for _, e := range c.Extension {
		if strings.HasSuffix(e.URL, "/answer-state") {
			return c.Status + " " + e.ValueCode
		}
	}
	return c.Status
}

func TestTwoGuardiansWhoDiffer(t *testing.T) {
	ask := func(t *testing.T) (*world, string) {
		w := newWorld(t)
		return w, w.ask("okafor", "1001", consent.AccessRequest{}).ID
	}
	t.Run("a decline blocks", func(t *testing.T) {
		w, id := ask(t)
		r, err := w.guard.Decline(t.Context(), w.as("luis"), id, "", nil)
		if err != nil || state(t, r) != "proposed waiting" {
			t.Fatalf("got %s, %v", state(t, r), err)
		}
		w.stands(id, "proposed", "answered grace luis")
		r, err = w.guard.Approve(t.Context(), w.as("grace"), id, consent.Narrowing{}, nil)
		if err != nil || state(t, r) != "proposed conflict" {
			t.Fatalf("got %s, %v", state(t, r), err)
		}
		w.stands(id, "proposed", "conflict grace luis")
		w.mayNot("okafor", "Patient/mateo")
		for _, who := range []string{"RelatedPerson/grace-mateo", "RelatedPerson/luis-mateo"} {
			if got := w.notices(who); !slices.Contains(got, "Answers to a request differ") {
				t.Errorf("notices to %s: %v", who, got)
			}
		}
		if got := w.notices("Practitioner/okafor"); len(got) != 0 {
			t.Errorf("the provider is told %v", got)
		}
	})
	t.Run("it ends when the one who declined approves", func(t *testing.T) {
		w, id := ask(t)
		if err := errors.Join(w.decline("luis", id), w.approve("grace", id), w.approve("luis", id)); err != nil {
			t.Fatal(err)
		}
		w.stands(id, "active", "approved grace luis")
		w.may("okafor", "Patient/mateo")
	})
	t.Run("it ends when the other declines too", func(t *testing.T) {
		w, id := ask(t)
		if err := errors.Join(w.decline("luis", id), w.approve("grace", id), w.decline("grace", id)); err != nil {
			t.Fatal(err)
		}
		w.stands(id, "rejected", "declined grace luis")
		if got := w.notices("Practitioner/okafor"); !slices.Equal(got, []string{"Your request was declined"}) {
			t.Errorf("notices: %v", got)
		}
	})
	t.Run("it lapses", func(t *testing.T) {
		w, id := ask(t)
		if err := errors.Join(w.decline("luis", id), w.approve("grace", id)); err != nil {
			t.Fatal(err)
		}
		w.clock.pass(consent.DefaultPolicy().AnswerBy - time.Second)
		if n, err := w.guard.Lapse(t.Context()); n != 0 || err != nil {
			t.Errorf("a second before: %d lapsed, %v", n, err)
		}
		w.clock.pass(time.Second)
		wantKind(t, w.approve("luis", id), fhir.Unprocessable)
		if n, err := w.guard.Lapse(t.Context()); n != 1 || err != nil {
			t.Errorf("%d lapsed, %v", n, err)
		}
		w.stands(id, "inactive", "lapsed grace")
	})
	t.Run("it is withdrawn", func(t *testing.T) {
		w, id := ask(t)
		if err := errors.Join(w.decline("luis", id), w.approve("grace", id)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.guard.Withdraw(t.Context(), w.as("okafor"), id, "", nil); err != nil {
			t.Fatal(err)
		}
		wantKind(t, w.approve("luis", id), fhir.Unprocessable)
		w.stands(id, "inactive", "withdrawn grace luis")
	})
	t.Run("the first approval holds, a decline after it is a revocation", func(t *testing.T) {
		w, id := ask(t)
		if err := w.approve("grace", id); err != nil {
			t.Fatal(err)
		}
		wantKind(t, w.decline("luis", id), fhir.Unprocessable)
		w.may("okafor", "Patient/mateo")
		if _, err := w.guard.Revoke(t.Context(), w.as("luis"), id, "", nil); err != nil {
			t.Fatal(err)
		}
		w.mayNot("okafor", "Patient/mateo")
	})
	t.Run("the same answer again", func(t *testing.T) {
		w, id := ask(t)
		if err := w.decline("luis", id); err != nil {
			t.Fatal(err)
		}
		wantKind(t, w.decline("luis", id), fhir.Unprocessable)
	})
	t.Run("the provider sees nothing of it", func(t *testing.T) {
		w, id := ask(t)
		key := fhir.Key{Type: "Consent", ID: id}
		before, err := w.guard.Read(t.Context(), w.as("okafor"), key)
		if err := errors.Join(err, w.decline("luis", id), w.approve("grace", id)); err != nil {
			t.Fatal(err)
		}
		after, err := w.guard.Read(t.Context(), w.as("okafor"), key)
		if err != nil || string(before.JSON) != string(after.JSON) || before.Version != after.Version {
			t.Errorf("before %s, after %s, %v", before.JSON, after.JSON, err)
		}
		view, err := w.guard.Request(t.Context(), w.as("okafor"), id)
		if err != nil || view.Conflict || view.Answers != nil || view.May || view.State != consent.StateWaiting {
			t.Errorf("the provider sees %+v, %v", view, err)
		}
	})
	t.Run("a guardian who lost their say blocks no more", func(t *testing.T) {
		w, id := ask(t)
		if err := w.decline("luis", id); err != nil {
			t.Fatal(err)
		}
		w.put(`{"resourceType":"RelatedPerson","id":"luis-mateo","active":false,"patient":{"reference":"Patient/mateo"}}`)
		if err := w.approve("grace", id); err != nil {
			t.Fatal(err)
		}
		w.stands(id, "active", "")
	})
}

func TestAllGuardians(t *testing.T) {
	w := newWorld(t)
	w.site(func(p *consent.Policy) { p.AllGuardians = true })
	asked := consent.Narrowing{Until: w.clock.Now().AddDate(0, 6, 0), Classes: []fhir.Type{"Patient", "Observation", "Condition"}, Label: "R"}
	id := w.ask("okafor", "1001", consent.AccessRequest{Narrowing: asked}).ID
	answer := func(who string, n consent.Narrowing) (*fhir.Resource, error) {
		return w.guard.Approve(t.Context(), w.as(who), id, n, nil)
	}
	wider := asked
	wider.Label = "V"
	_, err := answer("grace", wider)
	wantKind(t, err, fhir.Unprocessable)
	wider = asked
	wider.Classes = append(wider.Classes, "Encounter")
	_, err = answer("grace", wider)
	wantKind(t, err, fhir.Unprocessable) // at once, not when the other answers
	r, err := answer("grace", consent.Narrowing{Until: w.clock.Now().AddDate(0, 1, 0), Classes: []fhir.Type{"Patient", "Observation"}})
	if err != nil || state(t, r) != "proposed waiting" {
		t.Fatalf("%v %v", r, err)
	}
	if got := w.notices("RelatedPerson/luis-mateo"); !slices.Contains(got, "A request waits for your answer too") {
		t.Errorf("notices: %v", got)
	}
	w.mayNot("okafor", "Patient/mateo")
	_, err = answer("luis", consent.Narrowing{Classes: []fhir.Type{"Condition"}})
	wantKind(t, err, fhir.Unprocessable) // nothing in common
	if r, err = answer("luis", consent.Narrowing{Label: "N", Classes: []fhir.Type{"Condition", "Patient"}}); err != nil {
		t.Fatal(err)
	}
	var c struct {
		Status    string
		Performer []struct{ Reference string }
		Provision struct {
			Class, SecurityLabel []struct{ Code string }
			Period               struct{ End time.Time }
		}
	}
	if err := json.Unmarshal(r.JSON, &c); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(c.Status, c.Performer, c.Provision.Class, c.Provision.SecurityLabel, c.Provision.Period.End.Equal(w.clock.Now().AddDate(0, 1, 0)))
	if want := "active[{RelatedPerson/grace-mateo} {RelatedPerson/luis-mateo}] [{Patient}] [{N}] true"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	w.may("okafor", "Patient/mateo")
	w.mayNot("okafor", "Observation/mateo-weight")
	if _, err := w.guard.Revoke(t.Context(), w.as("luis"), id, "", nil); err != nil { // one is enough to close
		t.Error(err)
	}

	// Whoever has the child to themself decides alone.
	if err := w.approve("grace", w.ask("okafor", "1002", consent.AccessRequest{}).ID); err != nil {
		t.Error(err)
	}
	w.may("okafor", "Patient/sofia")
	if err := w.guard.AddToCareTeam(t.Context(), w.as("grace"), "sofia", fhir.Key{Type: "Practitioner", ID: "other"}, nil); err != nil {
		t.Error(err)
	}
	// Who has not does not, by no other way either.
	wantKind(t, w.guard.AddToCareTeam(t.Context(), w.as("grace"), "mateo", fhir.Key{Type: "Practitioner", ID: "okafor"}, nil), fhir.Forbidden)
	for _, body := range []string{
		`{"resourceType":"CareTeam","status":"active","subject":{"reference":"Patient/mateo"},"participant":[{"member":{"reference":"Practitioner/okafor"}}]}`,
		fmt.Sprintf(`{"resourceType":"Consent","status":"active",%s,"patient":{"reference":"Patient/mateo"},"performer":[{"reference":"RelatedPerson/grace-mateo"}],"provision":{"type":"permit","actor":[{%s,"reference":{"reference":"Practitioner/okafor"}}]}}`, privacy, role),
	} {
		var of struct{ ResourceType fhir.Type }
		if err := json.Unmarshal([]byte(body), &of); err != nil {
			t.Fatal(err)
		}
		_, _, err := w.guard.Create(t.Context(), w.as("grace"), of.ResourceType, []byte(body))
		wantKind(t, err, fhir.Forbidden)
	}
	w.mayNot("okafor", "Patient/mateo")
	// Closing is open to each of them.
	if err := w.guard.RemoveFromCareTeam(t.Context(), w.as("luis"), "mateo", fhir.Key{Type: "Practitioner", ID: "chen"}, nil); err != nil {
		t.Error(err)
	}
	deny := fmt.Sprintf(`{"resourceType":"Consent","status":"active",%s,"patient":{"reference":"Patient/mateo"},"performer":[{"reference":"RelatedPerson/luis-mateo"}],"provision":{"type":"deny","actor":[{%s,"reference":{"reference":"Practitioner/adams"}}]}}`, privacy, role)
	opted, _, err := w.guard.Create(t.Context(), w.as("luis"), "Consent", []byte(deny))
	if err != nil {
		t.Fatal(err)
	}
	w.mayNot("adams", "Patient/mateo")
	wantKind(t, w.guard.Delete(t.Context(), w.as("grace"), opted.Key, nil), fhir.Forbidden)
	if err := w.guard.Delete(t.Context(), w.as("luis"), opted.Key, nil); err != nil {
		t.Error(err)
	}
}

func TestInvitationThatOthersAgreeTo(t *testing.T) {
	w := newWorld(t)
	w.site(func(p *consent.Policy) { p.AllGuardians = true })
	invite := func(who string) *consent.Invited {
		t.Helper()
		made, err := w.guard.Invite(t.Context(), w.as(who), "mateo", consent.Invitation{})
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	redeem := func(made *consent.Invited) error {
		_, err := w.guard.Redeem(t.Context(), w.as("okafor"), made.Token, made.MRN, "")
		return err
	}
	made := invite("grace")
	if got := w.notices("RelatedPerson/luis-mateo"); !slices.Equal(got, []string{"An invitation waits for you to agree"}) {
		t.Errorf("notices: %v", got)
	}
	_, wrong := w.guard.Redeem(t.Context(), w.as("okafor"), "wrong", made.MRN, "")
	if early := redeem(made); early == nil || early.Error() != wrong.Error() {
		t.Errorf("before he agrees: %v, want %v", early, wrong)
	}
	list, err := w.guard.Invitations(t.Context(), w.as("luis"), "mateo")
	if err != nil || len(list) != 1 || !list[0].May || len(list[0].Answers) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	wantKind(t, w.approve("grace", made.Consent.ID), fhir.Unprocessable) // she has
	if err := w.approve("luis", made.Consent.ID); err != nil {
		t.Fatal(err)
	}
	wantKind(t, w.approve("luis", made.Consent.ID), fhir.Unprocessable) // once
	if err := redeem(made); err != nil {
		t.Fatal(err)
	}
	w.may("okafor", "Patient/mateo")

	declined := invite("grace")
	if err := w.decline("luis", declined.Consent.ID); err != nil {
		t.Fatal(err)
	}
	wantKind(t, redeem(declined), fhir.Unprocessable)
}

// However answers of two guardians meet, they come to what the states say.
func TestGuardiansAnswerInParallel(t *testing.T) {
	w := newWorld(t)
	for round := range 6 {
		id := w.ask("okafor", "1001", consent.AccessRequest{}).ID
		said := []string{"approve", "decline"}
		if round%3 == 2 {
			said[0] = "decline"
		}
		callers := []consent.Caller{w.as("grace"), w.as("luis")}
		results := make([]error, 16)
		var wg sync.WaitGroup
		for i := range results {
			wg.Go(func() {
				c := callers[i%2]
				if said[i%2] == "approve" {
					_, results[i] = w.guard.Approve(t.Context(), c, id, consent.Narrowing{}, nil)
				} else {
					_, results[i] = w.guard.Decline(t.Context(), c, id, "", nil)
				}
			})
		}
		wg.Wait()
		won := 0
		for _, err := range results {
			switch kind := fhir.KindOf(err); {
			case err == nil:
				won++
			case kind != fhir.Conflict && kind != fhir.Unprocessable:
				t.Errorf("got %v", err)
			}
		}
		r, err := w.guard.Read(t.Context(), w.admin(), fhir.Key{Type: "Consent", ID: id})
		if err != nil {
			t.Fatal(err)
		}
		switch got := status(t, r); {
		case won == 1 && got == "active" && said[0] == "approve": // her approval came first
			w.may("okafor", "Patient/mateo")
			if _, err := w.guard.Revoke(t.Context(), w.as("grace"), id, "", nil); err != nil {
				t.Error(err)
			}
		case got == "proposed" && said[0] == "approve" && (won == 1 || won == 2), got == "proposed" && won == 1: // his decline did
			w.mayNot("okafor", "Patient/mateo")
			if _, err := w.guard.Withdraw(t.Context(), w.as("okafor"), id, "", nil); err != nil {
				t.Error(err)
			}
		case won == 2 && got == "rejected" && said[0] == "decline":
			w.mayNot("okafor", "Patient/mateo")
		default:
			t.Errorf("%v: %d answers were taken, and it is %s", said, won, got)
		}
		w.clock.pass(consent.DefaultPolicy().CoolDown)
	}
}

// Whoever asked never answers, by whatever they are beside.
func TestTheRequesterNeverAnswers(t *testing.T) {
	for name, arrange := range map[string]func(w *world){
		"another login of the provider is the guardian's too": func(w *world) {
			w.link("okafor2", smart.Provider, "Practitioner/okafor")
			w.link("okafor2", smart.Proxy, "RelatedPerson/luis-mateo")
		},
		"a login of theirs stands for the guardian of a sibling": func(w *world) {
			w.put(`{"resourceType":"RelatedPerson","id":"luis-sofia","active":true,"patient":{"reference":"Patient/sofia"},"relationship":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-RoleCode","code":"FTH"}]}]}`)
			w.link("okafor", smart.Proxy, "RelatedPerson/luis-sofia")
			w.link("luis", smart.Proxy, "RelatedPerson/luis-sofia")
		},
		"a Person links both": func(w *world) {
			w.put(`{"resourceType":"Person","id":"p","link":[{"target":{"reference":"Practitioner/okafor"}},{"target":{"reference":"RelatedPerson/luis-mateo"}}]}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.site(func(p *consent.Policy) { p.AllGuardians = true })
			arrange(w)
			id := w.ask("okafor", "1001", consent.AccessRequest{}).ID
			if got := w.notices("RelatedPerson/luis-mateo"); len(got) != 0 {
				t.Errorf("asked to answer: %v", got)
			}
			wantKind(t, w.approve("luis", id), fhir.Forbidden)
			wantKind(t, w.decline("luis", id), fhir.Forbidden)
			view, err := w.guard.Request(t.Context(), w.as("luis"), id)
			if err != nil || view.May {
				t.Errorf("%+v, %v", view, err)
			}
			if err := w.approve("grace", id); err != nil { // and is not waited for
				t.Error(err)
			}
			w.may("okafor", "Patient/mateo")
		})
	}
}
