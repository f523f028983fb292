package consent_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// sponsored has nora work for a provider, and gives the id of the sponsorship.
func (w *world) sponsored(provider string) string {
	w.t.Helper()
	offer, err := w.guard.SponsorStaff(w.t.Context(), w.as(provider), "Nora Nurse", "Nora@example.org")
	if err != nil {
		w.t.Fatal(err)
	}
	a, err := w.guard.SignIn(w.t.Context(), "https://idp.test", "nora", "Nora Nurse", "nora@example.org")
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.guard.TakeUpSponsorship(w.t.Context(), a.ID, strings.ToLower(offer.Code), "192.0.2.9"); err != nil {
		w.t.Fatal(err)
	}
	return offer.ID
}

// reads asserts on several nodes whether nora reads a resource.
func reads(t *testing.T, w *world, nodes []*consent.Guard, ref string, want bool) {
	t.Helper()
	for _, g := range nodes {
		opens(t, g, w.as("nora"), ref, want)
	}
}

func TestSponsoredStaffSeeWhatTheirSponsorSees(t *testing.T) {
	w := newWorld(t)
	two := w.node(nil)
	both := []*consent.Guard{w.guard, two}
	w.sponsored("adams")
	reads(t, w, both, "Patient/mateo", true)
	reads(t, w, both, "Observation/sofia-weight", true)
	reads(t, w, both, "Observation/ava-weight", false)
	report, err := two.Access(t.Context(), w.as("nora"), "mateo")
	if err != nil || len(report.Bases) != 1 || report.Bases[0].Code != consent.BasisSponsored || report.Bases[0].Source != "Practitioner/adams" {
		t.Errorf("access: %+v, %v", report, err)
	}
	if want := time.Date(2026, 9, 10, 15, 0, 0, 0, w.zone); !report.Until.Equal(want) {
		t.Errorf("until %v, want %v", report.Until, want)
	}
	if ids, err := w.search(w.as("nora"), "Patient", ""); err != nil || !slices.Equal(ids, []string{"mateo", "sofia"}) {
		t.Errorf("patients: %v, %v", ids, err)
	}
	cards, _, err := two.MyPatients(t.Context(), w.as("nora"), "")
	if err != nil || len(cards) != 2 {
		t.Errorf("my patients: %v, %v", cards, err)
	}
	for _, typ := range []fhir.Type{"Consent", "Communication", "AuditEvent"} {
		if ids, err := w.search(w.as("nora"), typ, "patient=Patient/mateo"); err == nil && len(ids) > 0 {
			t.Errorf("%s: %v", typ, ids)
		}
	}
	// What the sponsor loses, they lose.
	w.put(`{"resourceType":"Patient","id":"sofia","identifier":[{"system":%q,"value":"1002"}],"name":[{"family":"Rivera"}],"birthDate":"2020-06-01","generalPractitioner":[{"reference":"Practitioner/baker"}]}`, mrnSystem)
	reads(t, w, both, "Patient/sofia", false)
	// And somebody else's team is theirs, too, until a boundary.
	w.put(`{"resourceType":"CareTeam","id":"lily-team","status":"active","subject":{"reference":"Patient/lily"},"participant":[{"member":{"reference":"Practitioner/adams"},"period":{"end":"2026-03-10T16:00:00-04:00"}}]}`)
	w.clock.set(time.Date(2026, 3, 10, 15, 59, 59, 0, w.zone))
	reads(t, w, both, "Patient/lily", true)
	w.clock.pass(time.Second)
	reads(t, w, both, "Patient/lily", false)
}

// A consent names a person: it opens nothing to those who work for them.
func TestConsentsDoNotExtendToSponsoredStaff(t *testing.T) {
	w := newWorld(t)
	w.sponsored("okafor")
	r := w.ask("okafor", "1001", consent.AccessRequest{})
	if _, err := w.guard.Approve(t.Context(), w.as("grace"), r.ID, consent.Narrowing{}, nil); err != nil {
		t.Fatal(err)
	}
	w.may("okafor", "Patient/mateo")
	w.mayNot("nora", "Patient/mateo", "Consent/"+r.ID)
	w.put("%s", directive("nurse", "mateo", `{"type":"permit",`+names("Practitioner/okafor")+`}`))
	w.mayNot("nora", "Patient/mateo")
}

// What is denied to the sponsor or to the member of staff is denied, and an
// exception for the sponsor alone lifts nothing for their staff.
func TestDeniesHoldForSponsoredStaff(t *testing.T) {
	for name, c := range map[string]struct {
		provision     string
		sponsor, them bool
	}{
		"the sponsor":                {`{"type":"deny",` + names("Practitioner/adams") + `}`, false, false},
		"another":                    {`{"type":"deny",` + names("Practitioner/baker") + `}`, true, true},
		"the staff":                  {`{"type":"deny",` + names("NORA") + `}`, true, false},
		"everybody":                  {`{"type":"deny"}`, false, false},
		"all but the sponsor":        {`{"type":"deny","provision":[{"type":"permit",` + names("Practitioner/adams") + `}]}`, true, false},
		"a group of the sponsor":     {`{"type":"deny",` + names("Group/day") + `}`, false, false},
		"a team with the sponsor's":  {`{"type":"deny",` + names("CareTeam/outer") + `}`, false, false},
		"all but their group":        {`{"type":"deny","provision":[{"type":"permit",` + names("Group/day") + `}]}`, true, false},
		"the organisation of theirs": {`{"type":"deny",` + names("Organization/agency") + `}`, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.sponsored("adams")
			nora := w.as("nora").Identity.FHIRUser
			w.put(`{"resourceType":"Organization","id":"agency","name":"Agency"}`)
			w.put(`{"resourceType":"PractitionerRole","id":"r","practitioner":{"reference":%q},"organization":{"reference":"Organization/agency"}}`, nora)
			w.put(`{"resourceType":"Observation","id":"of-two","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/sofia"},"performer":[{"reference":"Patient/mateo"}]}`)
			w.put(`{"resourceType":"Group","id":"day","type":"practitioner","actual":true,"member":[{"entity":{"reference":"Practitioner/adams"}}]}`)
			w.put(`{"resourceType":"CareTeam","id":"inner","status":"active","subject":{"reference":"Patient/lily"},"participant":[{"member":{"reference":"Practitioner/adams"}}]}`)
			w.put(`{"resourceType":"CareTeam","id":"outer","status":"active","subject":{"reference":"Patient/lily"},"participant":[{"member":{"reference":"CareTeam/inner"}}]}`)
			w.put("%s", directive("d", "mateo", strings.ReplaceAll(c.provision, "NORA", nora)))
			opens(t, w.guard, w.as("adams"), "Observation/mateo-weight", c.sponsor)
			opens(t, w.guard, w.as("nora"), "Observation/mateo-weight", c.them)
			opens(t, w.guard, w.as("nora"), "Observation/of-two", c.them)
		})
	}
}

// What is denied to one sponsor takes nothing from what another opens: it would come
// back when the first sponsorship ends.
func TestSponsorsAreJudgedApart(t *testing.T) {
	w := newWorld(t)
	both := []*consent.Guard{w.guard, w.node(nil)}
	w.put(`{"resourceType":"Observation","id":"of-two","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/sofia"},"performer":[{"reference":"Patient/mateo"}]}`)
	w.put(`{"resourceType":"CareTeam","id":"sofias","status":"active","subject":{"reference":"Patient/sofia"},"participant":[{"member":{"reference":"Practitioner/okafor"}}]}`)
	w.put(`{"resourceType":"Group","id":"day","type":"practitioner","actual":true,"member":[{"entity":{"reference":"Practitioner/adams"}}]}`)
	w.put("%s", directive("d", "mateo", `{"type":"deny",`+names("Group/day")+`}`))
	adams := w.sponsored("adams")
	reads(t, w, both, "Observation/of-two", false)
	okafor := w.sponsored("okafor")
	reads(t, w, both, "Observation/of-two", true)
	if err := w.guard.EndStaff(t.Context(), w.as("okafor"), okafor); err != nil {
		t.Fatal(err)
	}
	reads(t, w, both, "Observation/of-two", false)
	// What the sponsor is in may change, and what a family denies.
	w.put(`{"resourceType":"Group","id":"day","type":"practitioner","actual":true,"member":[{"entity":{"reference":"Practitioner/baker"}}]}`)
	reads(t, w, both, "Observation/of-two", true)
	w.put(`{"resourceType":"Group","id":"night","type":"practitioner","actual":true,"member":[{"entity":{"reference":"Practitioner/adams"}}]}`)
	w.put("%s", directive("d", "mateo", `{"type":"deny",`+names("Group/night")+`}`))
	reads(t, w, both, "Observation/of-two", false)
	w.put(`{"resourceType":"Group","id":"night","type":"practitioner","actual":true}`)
	reads(t, w, both, "Observation/of-two", true)
	if err := w.guard.EndStaff(t.Context(), w.as("adams"), adams); err != nil {
		t.Fatal(err)
	}
	reads(t, w, both, "Observation/of-two", false)
}

// What a family denies to a group holds for the staff of a sponsor who comes to be in
// it, from the next request on.
func TestSponsorsJoinWhatIsDenied(t *testing.T) {
	w := newWorld(t)
	w.sponsored("adams")
	group := func(member string) {
		w.put(`{"resourceType":"Group","id":"day","type":"practitioner","actual":true,"member":[{"entity":{"reference":%q}}]}`, member)
	}
	group("Practitioner/baker")
	w.put("%s", directive("d", "mateo", `{"type":"deny",`+names("Group/day")+`}`))
	w.put(`{"resourceType":"Observation","id":"of-two","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/sofia"},"performer":[{"reference":"Patient/mateo"}]}`)
	w.may("nora", "Observation/mateo-weight", "Observation/of-two")
	group("Practitioner/adams")
	w.mayNot("nora", "Observation/mateo-weight", "Observation/of-two")
	w.may("nora", "Observation/sofia-weight")
}

func TestSponsoredStaffDoNothingElse(t *testing.T) {
	w := newWorld(t)
	g := w.node(nil)
	id := w.sponsored("adams")
	c := w.fresh("nora")
	forbidden := func(what string, err error) {
		t.Helper()
		if k := fhir.KindOf(err); err == nil || k != fhir.Forbidden && k != fhir.NotFound {
			t.Errorf("%s: got %v, want a refusal", what, err)
		}
	}
	ctx := t.Context()
	_, err := g.Select(ctx, c, consent.Selection{MRN: "1003"})
	forbidden("select", err)
	if ids, err := w.search(c, "Patient", "identifier="+mrnSystem+"|1003"); err != nil || len(ids) != 0 {
		t.Errorf("a search by MRN: %v, %v", ids, err)
	}
	_, _, err = g.RequestAccess(ctx, c, consent.AccessRequest{Patient: "Patient/ava"})
	forbidden("request", err)
	_, err = g.Invite(ctx, c, "mateo", consent.Invitation{})
	forbidden("invite", err)
	_, err = g.Redeem(ctx, c, "AAAAA-AAAAA-AAAAA-AAAAA", "1001", "")
	forbidden("redeem", err)
	_, _, err = g.BreakGlass(ctx, c, because("Patient/mateo"))
	forbidden("break glass", err)
	_, err = g.SponsorStaff(ctx, c, "Other", "other@example.org")
	forbidden("sponsor", err)
	forbidden("confirm themself", g.ConfirmStaff(ctx, c, id))
	forbidden("add to a care team", g.AddToCareTeam(ctx, c, "mateo", fhir.Key{Type: "Practitioner", ID: "okafor"}, &consent.CallersWord{Caller: "a", Check: "b", Asked: "c"}))
	r := w.ask("okafor", "1001", consent.AccessRequest{})
	_, err = g.Approve(ctx, c, r.ID, consent.Narrowing{}, nil)
	forbidden("approve", err)
	_, err = g.EmergenciesOf(ctx, c, "mateo")
	forbidden("read of emergencies", err)
	for typ, body := range map[fhir.Type]string{
		"Observation":      `{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"}}`,
		"CareTeam":         `{"resourceType":"CareTeam","status":"active","subject":{"reference":"Patient/mateo"}}`,
		"Patient":          `{"resourceType":"Patient"}`,
		"PractitionerRole": `{"resourceType":"PractitionerRole"}`,
		"Consent":          directive("x", "mateo", `{"type":"permit",`+names("Practitioner/okafor")+`}`),
	} {
		_, _, err := g.Create(ctx, c, typ, []byte(body))
		forbidden("write of a "+string(typ), err)
	}
	forbidden("deletion", g.Delete(ctx, c, fhir.Key{Type: "Observation", ID: "mateo-weight"}, nil))
}

func TestSponsorshipIsTakenUpByItsAddressee(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	sign := func(subject, email string) string {
		a, err := w.guard.SignIn(ctx, "https://idp.test", subject, subject, email)
		if err != nil {
			t.Fatal(err)
		}
		return a.ID
	}
	nora, eve := sign("nora", "nora@example.org"), sign("eve", "eve@example.org")
	offer := func() *consent.Offered {
		t.Helper()
		o, err := w.guard.SponsorStaff(ctx, w.as("adams"), "Nora", "nora@example.org")
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	good := offer()
	refused := func(what, account, code string) {
		t.Helper()
		_, err := w.guard.TakeUpSponsorship(ctx, account, code, "192.0.2.9")
		if fhir.KindOf(err) != fhir.Unprocessable || !strings.Contains(err.Error(), "This code does not work") {
			t.Errorf("%s: got %v, want the one answer", what, err)
		}
	}
	refused("another address", eve, good.Code)
	refused("another code", nora, "AAAAA-AAAAA-AAAAA-AAAAA")
	ended := offer()
	if err := w.guard.EndStaff(ctx, w.as("adams"), ended.ID); err != nil {
		t.Fatal(err)
	}
	refused("an ended one", nora, ended.Code)
	own, err := w.guard.SponsorStaff(ctx, w.as("adams"), "Me", "adams@example.org")
	if err != nil {
		t.Fatal(err)
	}
	refused("oneself", w.as("adams").Identity.Login, own.Code)
	if _, err := w.guard.TakeUpSponsorship(ctx, nora, good.Code, "192.0.2.9"); err != nil {
		t.Fatal(err)
	}
	refused("a second time", nora, good.Code)
	late := offer()
	w.clock.set(late.Expires)
	refused("an expired one", nora, late.Code)
	for i := 0; ; i++ {
		_, err := w.guard.TakeUpSponsorship(ctx, eve, "x", "192.0.2.10")
		if fhir.KindOf(err) == fhir.Throttled {
			break
		}
		if i > 30 {
			t.Fatal("attempts are not limited")
		}
	}
	for _, bad := range [][2]string{{"", "a@example.org"}, {"N", "nobody"}, {"N", "a@b.c\nBcc: x@y.z"}} {
		_, err := w.guard.SponsorStaff(ctx, w.as("adams"), bad[0], bad[1])
		wantKind(t, err, fhir.Unprocessable)
	}
	_, err = w.guard.SponsorStaff(ctx, w.as("grace"), "N", "n@example.org")
	wantKind(t, err, fhir.Forbidden)
}

func TestSponsorsConfirmEveryHalfYear(t *testing.T) {
	w := newWorld(t)
	w.clock.set(time.Date(2026, 8, 31, 12, 0, 0, 0, w.zone))
	two := w.node(nil)
	both := []*consent.Guard{w.guard, two}
	id := w.sponsored("adams")
	end := time.Date(2027, 2, 28, 12, 0, 0, 0, w.zone) // the month has no 31st
	remind := func(want int) {
		t.Helper()
		if n, err := two.RemindSponsors(t.Context()); err != nil || n != want {
			t.Errorf("at %v: %d reminded, %v; want %d", w.clock.Now(), n, err, want)
		}
	}
	w.clock.set(end.AddDate(0, 0, -14).Add(-time.Second))
	remind(0)
	w.clock.pass(time.Second)
	remind(1)
	remind(0)
	if got := w.notices("Practitioner/adams"); len(got) != 1 || got[0] != "Confirm who works for you" {
		t.Errorf("the sponsor hears %v", got)
	}
	w.clock.set(end.Add(-time.Second))
	reads(t, w, both, "Patient/mateo", true)
	w.clock.set(end)
	reads(t, w, both, "Patient/mateo", false)
	if ids, err := w.search(w.as("nora"), "Patient", ""); err != nil || len(ids) != 0 {
		t.Errorf("asleep: %v, %v", ids, err)
	}
	list, err := two.MyStaff(t.Context(), w.as("adams"))
	if err != nil || len(list) != 1 || list[0].State != consent.SponsorAsleep {
		t.Errorf("the sponsor reads %+v, %v", list, err)
	}
	wantKind(t, w.guard.ConfirmStaff(t.Context(), w.as("baker"), id), fhir.NotFound)
	if err := two.ConfirmStaff(t.Context(), w.as("adams"), id); err != nil {
		t.Fatal(err)
	}
	reads(t, w, both, "Patient/mateo", true)
	if ids, err := w.search(w.as("nora"), "Patient", ""); err != nil || len(ids) != 2 {
		t.Errorf("awake again: %v, %v", ids, err)
	}
	w.clock.set(time.Date(2027, 8, 28, 11, 59, 59, 0, w.zone))
	reads(t, w, both, "Patient/mateo", true)
	remind(1)
	if err := w.guard.ConfirmStaff(t.Context(), w.as("adams"), id); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(time.Second)
	reads(t, w, both, "Patient/mateo", true)
}

func TestSponsorshipEndsAtTheNextRequest(t *testing.T) {
	for name, end := range map[string]func(w *world, g *consent.Guard, id string) error{
		"by the sponsor":         func(w *world, g *consent.Guard, id string) error { return g.EndStaff(w.t.Context(), w.as("adams"), id) },
		"by the member of staff": func(w *world, g *consent.Guard, id string) error { return g.EndStaff(w.t.Context(), w.as("nora"), id) },
		"by an administrator":    func(w *world, g *consent.Guard, id string) error { return g.EndStaff(w.t.Context(), w.as("ana"), id) },
		"the sponsor has retired": func(w *world, _ *consent.Guard, _ string) error {
			w.put(`{"resourceType":"Practitioner","id":"adams","active":false}`)
			return nil
		},
		"the sponsor's account is closed": func(w *world, g *consent.Guard, _ string) error {
			return g.Unlink(w.t.Context(), w.as("ana"), w.as("adams").Identity.Login, consent.Link{Role: smart.Provider, Person: "Practitioner/adams"})
		},
		"the staff's Practitioner is inactive": func(w *world, _ *consent.Guard, _ string) error {
			w.put(`{"resourceType":"Practitioner","id":%q,"active":false}`, strings.TrimPrefix(w.as("nora").Identity.FHIRUser, "Practitioner/"))
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.link("ana", smart.Admin, "Practitioner/ana")
			two := w.node(nil)
			both := []*consent.Guard{w.guard, two}
			id := w.sponsored("adams")
			reads(t, w, both, "Patient/mateo", true)
			if err := end(w, two, id); err != nil {
				t.Fatal(err)
			}
			reads(t, w, both, "Patient/mateo", false)
			reads(t, w, both, "Observation/mateo-weight", false)
		})
	}
}

func TestSponsorshipRaces(t *testing.T) {
	w := newWorld(t)
	two := w.node(nil)
	nodes := []*consent.Guard{w.guard, two}
	offer, err := two.SponsorStaff(t.Context(), w.as("adams"), "Nora", "nora@example.org")
	if err != nil {
		t.Fatal(err)
	}
	a, err := w.guard.SignIn(t.Context(), "https://idp.test", "nora", "Nora", "nora@example.org")
	if err != nil {
		t.Fatal(err)
	}
	race := func(do func(g *consent.Guard) error) (won int) {
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				if do(nodes[i%2]) == nil {
					mu.Lock()
					won++
					mu.Unlock()
				}
			})
		}
		all.Wait()
		return won
	}
	if won := race(func(g *consent.Guard) error {
		_, err := g.TakeUpSponsorship(context.Background(), a.ID, offer.Code, "192.0.2.9")
		return err
	}); won != 1 {
		t.Errorf("%d took it up, want 1", won)
	}
	adams := w.as("adams")
	if won := race(func(g *consent.Guard) error { return g.EndStaff(context.Background(), adams, offer.ID) }); won != 1 {
		t.Errorf("%d ended it, want 1", won)
	}
	wantKind(t, two.ConfirmStaff(t.Context(), adams, offer.ID), fhir.Conflict)
	reads(t, w, nodes, "Patient/mateo", false)
}
