package consent_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/consent/audit"
	"mypatients/fhir"
	"mypatients/smart"
)

// looks gives what somebody sees of a log, one line a row, newest first.
func (w *world) looks(who, patient string) []string {
	w.t.Helper()
	list, err := w.guard.WhoLooked(w.t.Context(), w.as(who), patient, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	var lines []string
	for _, l := range list {
		lines = append(lines, fmt.Sprintf("%s: %s %s %v, %v, %q", l.Person, l.Action, l.What, l.Kinds, l.Why, l.Outcome))
	}
	return lines
}

func (w *world) verifyAudit() audit.Report {
	w.t.Helper()
	r, err := w.guard.VerifyAudit(w.t.Context(), audit.Check{}, func(d audit.Damage) { w.t.Errorf("damage: %+v", d) })
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// TestRefusedWritesAreLogged, for those whose records they were about, alone and
// as entries of a transaction.
func TestRefusedWritesAreLogged(t *testing.T) {
	w := newWorld(t)
	body := weightOf("mateo")
	key := fhir.Key{Type: "Observation", ID: "mateo-weight"}
	ask := w.ask("okafor", "1001", consent.AccessRequest{})
	for name, refused := range map[string]func() error{
		"update": func() error {
			_, _, err := w.guard.Update(t.Context(), w.as("okafor"), key, []byte(strings.Replace(body, `"status"`, `"id":"mateo-weight","status"`, 1)), nil)
			return err
		},
		"create": func() error {
			_, err := w.guard.Write(t.Context(), w.as("okafor"), consent.Write{Method: consent.Create, Type: "Observation", Body: []byte(body)})
			return err
		},
		"patch": func() error {
			_, err := w.guard.Write(t.Context(), w.as("okafor"), consent.Write{Method: consent.Patch, Type: key.Type, ID: key.ID, Body: []byte(`[{"op":"replace","path":"/status","value":"amended"}]`)})
			return err
		},
		"delete": func() error { return w.guard.Delete(t.Context(), w.as("okafor"), key, nil) },
		"history": func() error {
			_, err := w.guard.History(t.Context(), w.as("okafor"), key, nil, false)
			return err
		},
		"$everything": func() error {
			_, err := w.guard.Everything(t.Context(), w.as("okafor"), "mateo", nil, false)
			return err
		},
		"approve": func() error {
			_, err := w.guard.Approve(t.Context(), w.as("okafor"), ask.ID, consent.Narrowing{}, nil)
			return err
		},
		"read": func() error {
			_, err := w.transaction(w.as("okafor"), get("Patient/mateo"))
			return err
		},
	} {
		before := len(w.looks("grace", "mateo"))
		if err := refused(); err == nil {
			t.Errorf("%s: not refused", name)
		}
		rows := w.looks("grace", "mateo")
		if !slices.ContainsFunc(rows[:len(rows)-before], func(line string) bool {
			return strings.HasPrefix(line, "Dr Okafor: "+name+" ") && !strings.HasSuffix(line, `""`)
		}) {
			t.Errorf("%s is not in the log: %v", name, rows[:len(rows)-before])
		}
	}
	w.verifyAudit()
}

// TestTheLogHidesWhatIsHidden plays the same in two worlds, one of which holds
// something that a guardian may not know of: their logs are alike.
func TestTheLogHidesWhatIsHidden(t *testing.T) {
	play := func(with bool) (guardian, teen []string) {
		w := newWorld(t)
		secret := fhir.Key{Type: "Observation", ID: "ava-secret"}
		if !with {
			if err := w.guard.Delete(t.Context(), w.as("baker"), secret, nil); err != nil {
				t.Fatal(err)
			}
		}
		w.clock.pass(time.Minute)
		_ = w.read(w.as("baker"), "Observation/ava-secret")
		_ = w.read(w.as("okafor"), "Observation/ava-secret")
		_ = w.read(w.as("ava"), "Observation/ava-secret")
		w.may("ava", "Observation/ava-weight")
		w.may("baker", "Observation/ava-weight")
		if _, err := w.search(w.as("baker"), "Observation", "patient=ava&_security=SEX"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.search(w.as("baker"), "Observation", "patient=ava"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.search(w.as("baker"), "Observation", ""); err != nil {
			t.Fatal(err)
		}
		_, _ = w.guard.History(t.Context(), w.as("okafor"), secret, nil, false)
		_ = w.guard.Delete(t.Context(), w.as("okafor"), secret, nil)
		_, _ = w.guard.Write(t.Context(), w.as("okafor"), consent.Write{Method: consent.Patch, Type: "Observation", ID: "ava-secret", Body: []byte(`[]`)})
		_ = w.guard.Delete(t.Context(), w.as("baker"), secret, nil)
		_ = w.read(w.as("okafor"), "Observation/ava-secret")
		guardian = w.looks("helen", "ava")
		events, err := w.guard.Search(t.Context(), w.as("helen"), "AuditEvent", url.Values{"patient": {"ava"}, "_count": {"3"}}, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events.Entries {
			guardian = append(guardian, strings.ReplaceAll(string(e.Resource.JSON), e.Resource.ID, "ID"))
		}
		return guardian, w.looks("ava", "ava")
	}
	guardian, teen := play(true)
	without, _ := play(false)
	if !slices.Equal(guardian, without) {
		t.Errorf("the guardian's log tells of what is hidden:\nwith    %s\nwithout %s", strings.Join(guardian, "\n"), strings.Join(without, "\n"))
	}
	for _, want := range []string{"Dr Baker: search Observation", "Dr Baker: read Observation"} {
		if !strings.Contains(strings.Join(guardian, "\n"), want) {
			t.Errorf("the guardian does not see %q in %v", want, guardian)
		}
	}
	if all := strings.Join(guardian, "\n"); strings.Contains(all, "ava: ") || strings.Contains(all, "ava-secret") {
		t.Errorf("the guardian sees what the teenager looked at: %s", all)
	}
	denied := 0
	for _, line := range teen {
		if strings.HasPrefix(line, "Dr Okafor: ") {
			denied++
		}
	}
	if denied != 5 {
		t.Errorf("the teenager sees %d tries of Dr Okafor, want 5: %v", denied, teen)
	}
}

// an event is what tests read of an AuditEvent.
type event struct {
	Meta                      struct{ Profile []string }
	Type                      struct{ System, Code string }
	Subtype                   []struct{ System, Code, Display string }
	Action, Outcome, Recorded string
	OutcomeDesc               string
	PurposeOfEvent            []struct{ Coding []struct{ Code string } }
	Agent                     []struct {
		Type      struct{ Coding []struct{ Code string } }
		Who       struct{ Reference, Display string }
		Requestor bool
		Role      []struct{ Text string }
		Network   *struct{ Address, Type string }
	}
	Entity []struct {
		What *struct {
			Reference  string
			Identifier struct{ Value string }
		}
		Type   struct{ System, Code string }
		Role   struct{ Code string }
		Query  string
		Detail []struct{ Type, ValueString string }
	}
}

func (w *world) events(c consent.Caller, query string) []event {
	w.t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		w.t.Fatal(err)
	}
	page, err := w.guard.Search(w.t.Context(), c, "AuditEvent", values, false)
	if err != nil {
		w.t.Fatalf("AuditEvent?%s: %v", query, err)
	}
	var list []event
	for _, e := range page.Entries {
		if _, err := w.eng.Prepare(e.Resource.JSON); err != nil {
			w.t.Errorf("not a valid resource: %v: %s", err, e.Resource.JSON)
		}
		var ev event
		if err := json.Unmarshal(e.Resource.JSON, &ev); err != nil {
			w.t.Fatal(err)
		}
		list = append(list, ev)
	}
	return list
}

// TestAuditEventShapes holds what is rendered to the profiles of BALP.
func TestAuditEventShapes(t *testing.T) {
	w := newWorld(t)
	w.may("adams", "Observation/mateo-weight")
	if _, err := w.search(w.as("adams"), "Observation", "patient=mateo&code=29463-7&_count=5"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.guard.Write(t.Context(), w.as("adams"), consent.Write{Method: consent.Create, Type: "Observation", Body: []byte(weightOf("mateo"))}); err != nil {
		t.Fatal(err)
	}
	w.mayNot("okafor", "Patient/mateo")
	for _, want := range []struct {
		display, sub, action, profile string
		client, server, user          string // types of agents
		data                          int
	}{
		{"read", "read", "R", "PatientRead", "110152", "110153", "IRCP", 1},
		{"search", "search-type", "E", "PatientQuery", "110153", "110152", "IRCP", 1},
		{"create", "create", "C", "PatientCreate", "110153", "110152", "AUT", 1},
	} {
		list := w.events(w.as("grace"), "patient=mateo&outcome=0&agent=Practitioner/adams&subtype="+want.sub)
		if len(list) != 1 {
			t.Fatalf("%s: %d events", want.display, len(list))
		}
		ev := list[0]
		if ev.Type.Code != "rest" || ev.Subtype[0].Code != want.sub || ev.Action != want.action || ev.Outcome != "0" || ev.PurposeOfEvent[0].Coding[0].Code != "TREAT" {
			t.Errorf("%s: %+v", want.display, ev)
		}
		if !slices.Equal(ev.Meta.Profile, []string{"https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit." + want.profile}) {
			t.Errorf("%s: profiles %v", want.display, ev.Meta.Profile)
		}
		for i, code := range []string{want.user, want.client, want.server} {
			a := ev.Agent[i]
			if a.Type.Coding[0].Code != code || a.Requestor != (i == 0) || (a.Network == nil) != (i == 0) {
				t.Errorf("%s: agent %d is %+v, want %s", want.display, i, a, code)
			}
		}
		if ev.Agent[0].Who.Reference != "Practitioner/adams" || ev.Agent[0].Role[0].Text != "provider" || ev.Agent[1].Network.Address != "192.0.2.1" {
			t.Errorf("%s: agents %+v", want.display, ev.Agent)
		}
		var patients, data, query, request int
		for _, e := range ev.Entity {
			switch {
			case e.Type.Code == "1" && e.Role.Code == "1" && e.What.Reference == "Patient/mateo":
				patients++
				if len(e.Detail) == 0 || e.Detail[0].ValueString != "pcp" {
					t.Errorf("%s: no basis: %+v", want.display, e)
				}
			case e.Role.Code == "24":
				query++
				if text, err := base64.StdEncoding.DecodeString(e.Query); err != nil || string(text) != "GET "+base+"/fhir/Observation?_count&code&patient" {
					t.Errorf("the query is %q, %v", text, err)
				}
			case e.Type.Code == "XrequestId" && e.What.Identifier.Value == "r":
				request++
			case e.Role.Code == "4":
				data++
			}
		}
		if patients != 1 || data != want.data || request != 1 || (query == 1) != (want.sub == "search-type") {
			t.Errorf("%s: entities %+v", want.display, ev.Entity)
		}
	}
	denied := w.events(w.as("grace"), "patient=mateo&type=http://dicom.nema.org/resources/ontology/DCM|110113")
	if len(denied) != 1 || denied[0].Outcome != "8" || denied[0].Subtype[0].Code != "AuthZ-Consent" || denied[0].Agent[2].Type.Coding[0].Code != "authserver" {
		t.Errorf("denied: %+v", denied)
	}
}

// TestAuditEventParameters narrows by each of them, page by page.
func TestAuditEventParameters(t *testing.T) {
	w := newWorld(t)
	begin := w.clock.Now()
	for range 3 {
		w.may("adams", "Observation/mateo-weight")
		w.may("chen", "Patient/mateo")
		w.mayNot("okafor", "Patient/mateo")
		w.clock.pass(time.Hour)
	}
	at := func(h int) string {
		return url.QueryEscape(begin.Add(time.Duration(h) * time.Hour).Format(time.RFC3339))
	}
	for query, want := range map[string]int{
		"": 9, "date=2026-03-10": 9, "date=2026-03-09": 0, "date=ge" + at(1): 6, "date=lt" + at(1): 3, "date=ge" + at(1) + "&date=lt" + at(2): 3, "date=le" + at(0): 3, "date=gt" + at(0): 6, "date=" + at(2): 3,
		"agent=Practitioner/adams": 3, "agent=Practitioner/adams,Practitioner/chen": 6, "agent:Practitioner=okafor": 3, "agent=Practitioner/nobody": 0,
		"action=R": 9, "action=C": 0, "outcome=0": 6, "outcome=8": 3, "outcome=4": 0, "type=rest": 6, "type=110113": 3, "subtype=read": 9, "subtype=http://hl7.org/fhir/restful-interaction|read": 9,
		"entity=Observation/mateo-weight": 3, "entity=Patient/mateo": 9, "_sort=-date": 9,
	} {
		got := w.events(w.as("luis"), strings.TrimPrefix(query+"&patient=mateo&_count=100", "&"))
		got = slices.DeleteFunc(got, func(e event) bool { return strings.HasPrefix(e.Agent[0].Who.Reference, "RelatedPerson/") }) // luis himself
		if len(got) != want {
			t.Errorf("%q: %d events, want %d", query, len(got), want)
		}
	}
	for query, parameter := range map[string]string{
		"patient=mateo&date=yesterday": "http.date", "patient=mateo&date=ne2026": "http.date", "patient=mateo&_sort=date": "http._sort", "patient=mateo&policy=x": "http.policy", "": "http.patient", "patient=mateo&_count=0": "http._count",
	} {
		_, err := w.search(w.as("grace"), "AuditEvent", query)
		var known *fhir.Error
		if !errors.As(err, &known) || known.Kind != fhir.Invalid || known.Issues[0].Expression != parameter {
			t.Errorf("%q: got %v, want %s", query, err, parameter)
		}
	}
	values, all := url.Values{"patient": {"mateo"}, "agent": {"Practitioner/adams"}, "_count": {"2"}}, 0
	for pages := 0; ; pages++ {
		page, err := w.guard.Search(t.Context(), w.as("grace"), "AuditEvent", values, false)
		if err != nil {
			t.Fatal(err)
		}
		if all += len(page.Entries); page.Next == "" {
			break
		}
		if values, err = url.ParseQuery(page.Next); err != nil || pages > 5 {
			t.Fatal(pages, err)
		}
		if _, err := w.guard.Search(t.Context(), w.as("luis"), "AuditEvent", values, false); err == nil {
			t.Error("another caller may follow the link")
		}
	}
	if all != 3 {
		t.Errorf("pages hold %d events, want 3", all)
	}
}

// TestAdministratorsSearchTheLog, and that is logged, also for the patient.
func TestAdministratorsSearchTheLog(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"Practitioner","id":"root","name":[{"family":"Root"}]}`)
	w.link("root", smart.Admin, "Practitioner/root")
	w.may("adams", "Observation/mateo-weight", "Patient/mateo")
	w.mayNot("okafor", "Patient/mateo")
	if err := w.guard.Record(t.Context(), w.as("adams"), consent.Event{Action: "sign-in", Detail: "idp"}); err != nil {
		t.Fatal(err)
	}
	refused := true
	for name, c := range map[string]struct {
		q    consent.AuditQuery
		want int
	}{
		"person": {consent.AuditQuery{Person: "Practitioner/adams"}, 3}, "patient": {consent.AuditQuery{Patient: "Patient/mateo", Person: "Practitioner/adams"}, 2},
		"login":  {consent.AuditQuery{Login: w.as("adams").Identity.Login}, 3},
		"action": {consent.AuditQuery{Action: "sign-in"}, 1}, "outcome": {consent.AuditQuery{Person: "Practitioner/okafor", Refused: &refused}, 1},
		"time": {consent.AuditQuery{Person: "Practitioner/adams", Since: w.clock.Now().Add(time.Second)}, 0},
	} {
		c.q.Count = 2
		got := 0
		for {
			list, next, err := w.guard.FindAudit(t.Context(), w.as("root"), c.q)
			if err != nil {
				t.Fatal(name, err)
			}
			got += len(list)
			if c.q.Cursor = next; next == "" {
				break
			}
		}
		if got != c.want {
			t.Errorf("by %s: %d rows, want %d", name, got, c.want)
		}
	}
	for _, who := range []string{"adams", "grace"} {
		_, _, err := w.guard.FindAudit(t.Context(), w.as(who), consent.AuditQuery{Patient: "Patient/mateo"})
		wantKind(t, err, fhir.NotFound)
	}
	if rows := w.looks("grace", "mateo"); !slices.ContainsFunc(rows, func(l string) bool {
		return strings.HasPrefix(l, "Dr Root: search-audit") || strings.Contains(l, ": search-audit ")
	}) {
		t.Errorf("the family does not see that the log was searched: %v", rows)
	}
}

// TestExportAudit writes all of the log as AuditEvents, and that it does.
func TestExportAudit(t *testing.T) {
	w := newWorld(t)
	w.may("adams", "Observation/mateo-weight")
	w.clock.pass(time.Minute)
	middle := w.clock.Now()
	w.may("adams", "Patient/mateo")
	count := func(since, until time.Time) (n int) {
		t.Helper()
		if err := w.guard.ExportAudit(t.Context(), since, until, func(r *fhir.Resource) error {
			n++
			_, err := w.eng.Prepare(r.JSON)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if a, b, c := count(time.Time{}, middle), count(middle, time.Time{}), count(time.Time{}, time.Time{}); a != 1 || b != 3 || c != 5 {
		t.Errorf("exported %d, %d and %d events, want 1, 3 and 5", a, b, c)
	}
	stop := errors.New("stop")
	if err := w.guard.ExportAudit(t.Context(), time.Time{}, time.Time{}, func(*fhir.Resource) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

// TestParallelAnswersAreLogged: of 64 answers at a time one moves the request at most,
// all are in the log, and the log is sound, while two guards work on one store. Two
// guardians who answer differently move nothing.
func TestParallelAnswersAreLogged(t *testing.T) {
	w := newWorld(t)
	second, err := consent.New(consent.Config{Rules: w.rules, Now: w.clock.Now, Key: []byte(strings.Repeat("k", 32)), MRNSystem: mrnSystem, Policy: consent.DefaultPolicy()})
	if err != nil {
		t.Fatal(err)
	}
	r := w.ask("okafor", "1001", consent.AccessRequest{})
	callers := []consent.Caller{w.as("grace"), w.as("luis")}
	guards := []*consent.Guard{w.guard, second}
	var all sync.WaitGroup
	var won atomic.Int64
	for i := range 64 {
		all.Go(func() {
			g, c := guards[i%2], callers[i/2%2]
			var after *fhir.Resource
			var err error
			switch i % 3 {
			case 0:
				after, err = g.Approve(t.Context(), c, r.ID, consent.Narrowing{}, &r.Version)
			case 1:
				after, err = g.Decline(t.Context(), c, r.ID, "", &r.Version)
			default:
				after, err = g.Revoke(t.Context(), c, r.ID, "", &r.Version)
			}
			if err == nil {
				if after.Version != r.Version {
					won.Add(1)
				}
			} else if k := fhir.KindOf(err); k != fhir.Conflict && k != fhir.Precondition && k != fhir.Unprocessable {
				t.Errorf("answer %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if now := w.consent(r.ID).Version; now != r.Version+won.Load() || won.Load() > 1 {
		t.Errorf("%d answers moved the request, which is at version %d now, from %d", won.Load(), now, r.Version)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	tries := 0
	for _, line := range w.looks("grace", "mateo") {
		if strings.Contains(line, ": approve ") || strings.Contains(line, ": decline ") || strings.Contains(line, ": revoke ") {
			tries++
		}
	}
	if tries != 64 {
		t.Errorf("the log has %d answers, want 64", tries)
	}
	if report := w.verifyAudit(); report.Segments != 2 {
		t.Errorf("got %+v, want two segments", report)
	}
}
