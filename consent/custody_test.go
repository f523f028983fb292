package consent_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// order records a custody order against Luis, of Mateo's goals only, so that he
// still sees the rest of the record.
func (w *world) order(more string) fhir.Key {
	w.t.Helper()
	body := fmt.Sprintf(`{"resourceType":"Consent","status":"active",%s,"patient":{"reference":"Patient/mateo"},"sourceReference":{"reference":"DocumentReference/ruling"},"provision":{"type":"deny"%s,"class":[{"system":"http://hl7.org/fhir/resource-types","code":"Goal"}],"actor":[{%s,"reference":{"reference":"RelatedPerson/luis-mateo"}}]}}`, privacy, more, role)
	r, _, err := w.guard.Create(w.t.Context(), w.admin(), "Consent", []byte(body))
	if err != nil {
		w.t.Fatal(err)
	}
	return r.Key
}

// everything gives all that somebody gets to see of Mateo, by every path.
func (w *world) everything(who string) string {
	w.t.Helper()
	ctx, c := w.t.Context(), w.as(who)
	var all []any
	keep := func(v any, err error) {
		if err != nil {
			v = err.Error()
		}
		all = append(all, v)
	}
	page := func(p *fhir.Page, err error) {
		if err != nil {
			keep(nil, err)
			return
		}
		list := []any{p.Total, p.Next == ""}
		for _, e := range p.Entries {
			list = append(list, e.Mode, string(e.Resource.JSON))
		}
		keep(list, nil)
	}
	for _, t := range []fhir.Type{"Consent", "Provenance", "DocumentReference", "Communication", "Task", "List", "RelatedPerson", "Observation"} {
		page(w.guard.Search(ctx, c, t, url.Values{"patient": {"mateo"}, "_total": {"accurate"}}, true))
		page(w.guard.TypeHistory(ctx, c, t, nil, true))
	}
	page(w.guard.Search(ctx, c, "Patient", url.Values{"_id": {"mateo"}, "_revinclude": {"Consent:patient"}}, true))
	page(w.guard.Search(ctx, c, "Patient", url.Values{"_has:Consent:patient:status": {"active"}}, true))
	page(w.guard.Search(ctx, c, "Consent", url.Values{"actor": {"RelatedPerson/luis-mateo"}, "_total": {"accurate"}}, true))
	page(w.guard.Everything(ctx, c, "mateo", nil, true))
	page(w.guard.SystemHistory(ctx, c, nil, true))
	report, err := w.guard.Access(ctx, c, "mateo")
	keep(report, err)
	cards, _, err := w.guard.MyPatients(ctx, c, "")
	keep(cards, err)
	b, err := json.Marshal(all)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

func TestCustodyOrderIsInvisible(t *testing.T) {
	w := newWorld(t)
	ctx, luis := t.Context(), w.as("luis")
	before := w.everything("luis")
	w.put(`{"resourceType":"Goal","id":"goal","lifecycleStatus":"active","description":{"text":"x"},"subject":{"reference":"Patient/mateo"}}`)
	w.may("luis", "Goal/goal")
	looked := func() []consent.Look {
		looks, err := w.guard.WhoLooked(ctx, w.as("grace"), "mateo", 1000)
		if err != nil {
			t.Fatal(err)
		}
		return looks
	}
	w.put(`{"resourceType":"DocumentReference","id":"ruling","status":"current","subject":{"reference":"Patient/mateo"},"content":[{"attachment":{"title":"Ruling"}}]}`)
	key := w.order("")
	w.put(`{"resourceType":"Provenance","id":"why","target":[{"reference":%q},{"reference":"Patient/mateo"}],"recorded":"2026-03-10T10:00:00Z","agent":[{"who":{"display":"court"}}]}`, key.String())
	w.put(`{"resourceType":"Task","id":"todo","status":"ready","intent":"order","focus":{"reference":%q},"for":{"reference":"Patient/mateo"}}`, key.String())
	w.put(`{"resourceType":"List","id":"list","status":"current","mode":"working","subject":{"reference":"Patient/mateo"},"entry":[{"item":{"reference":%q}}]}`, key.String())
	w.mayNot("luis", "Goal/goal", key.String(), "DocumentReference/ruling", "Provenance/why", "Task/todo", "List/list")
	w.may("grace", "Goal/goal", key.String(), "DocumentReference/ruling", "Provenance/why")
	w.may("luis", "Patient/mateo", "Observation/mateo-weight")
	if after := w.everything("luis"); after != before {
		t.Errorf("he sees\n%s\nand saw\n%s", after, before)
	}

	// By no way in can he tell, change or remove it.
	_, err := w.guard.VRead(ctx, luis, key, 1)
	wantKind(t, err, fhir.NotFound)
	_, err = w.guard.History(ctx, luis, key, nil, false)
	wantKind(t, err, fhir.NotFound)
	absent := fhir.Key{Type: "Consent", ID: "absent"}
	for name, try := range map[string]func(fhir.Key) error{
		"delete": func(k fhir.Key) error { return w.guard.Delete(ctx, luis, k, nil) },
		"update": func(k fhir.Key) error {
			_, _, err := w.guard.Update(ctx, luis, k, fmt.Appendf(nil, `{"resourceType":"Consent","id":%q,"status":"inactive",%s,"patient":{"reference":"Patient/mateo"},"performer":[{"reference":"RelatedPerson/luis-mateo"}],"provision":{"type":"deny"}}`, k.ID, privacy), nil)
			return err
		},
		"patch": func(k fhir.Key) error {
			_, err := w.guard.Write(ctx, luis, consent.Write{Method: consent.Patch, Type: "Consent", ID: k.ID, Body: []byte(`[{"op":"replace","path":"/status","value":"inactive"}]`)})
			return err
		},
		"revoke":  func(k fhir.Key) error { _, err := w.guard.Revoke(ctx, luis, k.ID, "", nil); return err },
		"approve": func(k fhir.Key) error { return w.approve("luis", k.ID) },
		"request": func(k fhir.Key) error { _, err := w.guard.Request(ctx, luis, k.ID); return err },
		"conditional delete": func(k fhir.Key) error {
			done, err := w.guard.Write(ctx, luis, consent.Write{Method: consent.Delete, Type: "Consent", Criteria: "_id=" + k.ID})
			if err == nil && done.Resource != nil {
				return errors.New("deleted")
			}
			return err
		},
		"conditional patch": func(k fhir.Key) error {
			_, err := w.guard.Write(ctx, luis, consent.Write{Method: consent.Patch, Type: "Consent", Criteria: "_id=" + k.ID, Body: []byte(`[{"op":"replace","path":"/status","value":"inactive"}]`)})
			return err
		},
		"conditional create": func(k fhir.Key) error {
			_, err := w.guard.Write(ctx, luis, consent.Write{Method: consent.Create, Type: "Consent", Criteria: "_id=" + k.ID, Body: fmt.Appendf(nil, `{"resourceType":"Consent","status":"active",%s,"patient":{"reference":"Patient/mateo"},"performer":[{"reference":"RelatedPerson/luis-mateo"}],"provision":{"type":"deny"}}`, privacy)})
			return err
		},
	} {
		hidden, none := try(key), try(absent)
		if fmt.Sprint(hidden) != fmt.Sprint(none) {
			t.Errorf("%s: of the order %v, of nothing %v", name, hidden, none)
		}
	}
	// Nor can his wife take it back, who sees it; only the hospital does.
	wantKind(t, w.guard.Delete(ctx, w.as("grace"), key, nil), fhir.Forbidden)

	// He does not answer, is not asked, is not waited for, and lets nobody in.
	w.site(func(p *consent.Policy) { p.AllGuardians = true })
	id := w.ask("okafor", "1001", consent.AccessRequest{}).ID
	if got := w.notices("RelatedPerson/luis-mateo"); len(got) != 0 {
		t.Errorf("notices: %v", got)
	}
	wantKind(t, w.approve("luis", id), fhir.Forbidden)
	wantKind(t, w.decline("luis", id), fhir.Forbidden)
	if view, err := w.guard.Request(ctx, luis, id); err != nil || view.May || view.Answers != nil {
		t.Errorf("%+v, %v", view, err)
	}
	if view, err := w.guard.Request(ctx, w.as("grace"), id); err != nil || !view.May || view.Answers != nil {
		t.Errorf("%+v, %v", view, err)
	}
	_, err = w.guard.Invite(ctx, luis, "mateo", consent.Invitation{})
	wantKind(t, err, fhir.Forbidden)
	wantKind(t, w.guard.AddToCareTeam(ctx, luis, "mateo", fhir.Key{Type: "Practitioner", ID: "other"}, nil), fhir.Forbidden)
	_, _, err = w.guard.Create(ctx, luis, "CareTeam", []byte(`{"resourceType":"CareTeam","status":"active","subject":{"reference":"Patient/mateo"},"participant":[{"member":{"reference":"Practitioner/okafor"}}]}`))
	wantKind(t, err, fhir.Forbidden)
	_, err = w.guard.WhoLooked(ctx, luis, "mateo", 10)
	wantKind(t, err, fhir.Forbidden)
	if err := w.approve("grace", id); err != nil {
		t.Error(err)
	}
	if looks := looked(); !slices.ContainsFunc(looks, func(l consent.Look) bool { return l.What == "Consent" && l.Action == "create" }) {
		t.Errorf("she does not see who recorded it: %+v", looks)
	}

	// When it is over he may look again, and finds no trace.
	wantKind(t, w.guard.Delete(ctx, w.admin(), key, nil), fhir.Unprocessable)
	order, err := w.guard.Read(ctx, w.as("grace"), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.guard.Update(ctx, w.admin(), key, bytes.Replace(order.JSON, []byte(`"active"`), []byte(`"inactive"`), 1), nil); err != nil {
		t.Fatal(err)
	}
	w.may("luis", "Goal/goal")
	w.mayNot("luis", key.String(), "DocumentReference/ruling", "Provenance/why", "Task/todo", "List/list")
	page, err := w.guard.TypeHistory(ctx, luis, "Consent", nil, true)
	if err != nil || len(page.Entries) != 2 { // the request, as it was made and approved
		t.Errorf("history: %d, %v", len(page.Entries), err)
	}
	looks, err := w.guard.WhoLooked(ctx, luis, "mateo", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range looks {
		if l.Role == smart.Admin {
			t.Errorf("he sees %+v", l)
		}
	}
}

// A custody order holds in its period, to the second.
func TestCustodyOrderHasItsTime(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"DocumentReference","id":"ruling","status":"current","subject":{"reference":"Patient/mateo"},"content":[{"attachment":{"title":"Ruling"}}]}`)
	w.order(`,"period":{"start":"2026-04-01","end":"2026-04-30"}`)
	id := w.ask("okafor", "1001", consent.AccessRequest{Narrowing: consent.Narrowing{}}).ID
	for _, tt := range []struct {
		at  time.Time
		may bool
	}{
		{time.Date(2026, 3, 31, 23, 59, 59, 0, w.zone), true}, {time.Date(2026, 4, 1, 0, 0, 0, 0, w.zone), false},
	} {
		w.clock.set(tt.at)
		if view, err := w.guard.Request(t.Context(), w.as("luis"), id); err != nil || view.May != tt.may {
			t.Errorf("%v: %+v, %v", tt.at, view, err)
		}
	}
	for _, tt := range []struct {
		at  time.Time
		may bool
	}{
		{time.Date(2026, 4, 30, 23, 59, 59, 0, w.zone), false}, {time.Date(2026, 5, 1, 0, 0, 0, 0, w.zone), true},
	} {
		w.clock.set(tt.at)
		id := w.ask(map[bool]string{false: "other", true: "baker"}[tt.may], "1001", consent.AccessRequest{}).ID
		if view, err := w.guard.Request(t.Context(), w.as("luis"), id); err != nil || view.May != tt.may {
			t.Errorf("%v: %+v, %v", tt.at, view, err)
		}
	}
}
