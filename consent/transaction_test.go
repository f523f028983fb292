package consent_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

func (w *world) transaction(c consent.Caller, steps ...consent.Step) ([]consent.Done, error) {
	w.t.Helper()
	return w.guard.Transaction(w.t.Context(), c, steps)
}

func create(t fhir.Type, body string) consent.Step {
	return consent.Step{Write: consent.Write{Method: consent.Create, Type: t, Body: []byte(body)}}
}

func update(ref, body string) consent.Step {
	key, _ := fhir.ParseKey(ref)
	return consent.Step{Write: consent.Write{Method: consent.Update, Type: key.Type, ID: key.ID, Body: []byte(body)}}
}

func remove(ref string) consent.Step {
	key, _ := fhir.ParseKey(ref)
	return consent.Step{Write: consent.Write{Method: consent.Delete, Type: key.Type, ID: key.ID}}
}

func patch(ref, ops string) consent.Step {
	key, _ := fhir.ParseKey(ref)
	return consent.Step{Write: consent.Write{Method: consent.Patch, Type: key.Type, ID: key.ID, Body: []byte(ops)}}
}

func get(ref string) consent.Step {
	key, _ := fhir.ParseKey(ref)
	return consent.Step{Read: &consent.Read{Key: key}}
}

// versions tells how many versions the log holds: nothing may be stored by what was
// refused.
func (w *world) versions() int {
	w.t.Helper()
	n := 0
	if err := w.eng.View(w.t.Context(), func(tx *engine.Tx) error {
		entries, err := tx.Reader().Log(store.LogQuery{Limit: 10_000})
		n = len(entries)
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return n
}

const aWeight = `{"resourceType":"Observation","status":"final","code":{"text":"w"},"subject":{"reference":"Patient/%s"}}`

func weightOf(patient string) string { return fmt.Sprintf(aWeight, patient) }

func (w *world) system(scopes string) consent.Caller {
	w.t.Helper()
	parsed, err := smart.ParseScopes(scopes)
	if err != nil {
		w.t.Fatal(err)
	}
	return consent.Caller{Grant: smart.Grant{ClientID: "kiosk", ClientName: "Kiosk", Identity: smart.Identity{Role: smart.System}, Scopes: parsed}}
}

func TestTransactionIsAllOrNothing(t *testing.T) {
	w := newWorld(t)
	before := w.versions()
	for name, steps := range map[string][]consent.Step{
		"a hidden patient":         {create("Observation", weightOf("mateo")), create("Observation", weightOf("ava"))},
		"an absent patient":        {create("Observation", weightOf("mateo")), create("Observation", weightOf("nobody"))},
		"a hidden read":            {create("Observation", weightOf("mateo")), get("Patient/ava")},
		"a hidden deletion":        {create("Observation", weightOf("mateo")), remove("Observation/ava-weight")},
		"a hidden patch":           {create("Observation", weightOf("mateo")), patch("Observation/ava-weight", `[{"op":"remove","path":"/code"}]`)},
		"a notice":                 {create("Observation", weightOf("mateo")), create("Communication", `{"resourceType":"Communication","status":"completed"}`)},
		"the gateway's own type":   {create("Observation", weightOf("mateo")), create("AuditEvent", `{}`)},
		"a faulty body":            {create("Observation", weightOf("mateo")), create("Observation", `{"resourceType":"Observation"}`)},
		"an id that is free":       {create("Observation", weightOf("mateo")), update("Observation/free", strings.Replace(weightOf("mateo"), `"Observation"`, `"Observation","id":"free"`, 1))},
		"moved to another patient": {create("Observation", weightOf("mateo")), update("Observation/mateo-weight", strings.Replace(weightOf("ava"), `"Observation"`, `"Observation","id":"mateo-weight"`, 1))},
	} {
		if _, err := w.transaction(w.as("adams"), steps...); err == nil {
			t.Errorf("%s: done", name)
		}
	}
	if now := w.versions(); now != before {
		t.Errorf("%d versions were stored by refused transactions", now-before)
	}
	if _, err := w.transaction(w.as("adams"), create("Observation", weightOf("mateo")), create("Observation", weightOf("sofia"))); err != nil {
		t.Error(err)
	}
}

// TestTransactionsTellNothing: what is hidden and what is absent are refused in
// the same words, wherever they stand.
func TestTransactionsTellNothing(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"Observation","id":"marked","identifier":[{"value":"known"}],"status":"final","code":{"text":"w"},"subject":{"reference":"Patient/ava"}}`)
	criteria := func(m consent.Method, value, body string) consent.Step {
		return consent.Step{Write: consent.Write{Method: m, Type: "Observation", Criteria: "identifier=" + value, Body: []byte(body)}}
	}
	conditional := func(value string) consent.Step {
		return create("Observation", strings.Replace(weightOf("mateo"), `"code"`, `"hasMember":[{"reference":"Observation?identifier=`+value+`"}],"code"`, 1))
	}
	withID := func(id string) string {
		return strings.Replace(weightOf("mateo"), `"Observation"`, `"Observation","id":"`+id+`"`, 1)
	}
	for name, pair := range map[string][2]consent.Step{
		"read":                  {get("Observation/marked"), get("Observation/absent")},
		"update":                {update("Observation/marked", withID("marked")), update("Observation/absent", withID("absent"))},
		"delete":                {remove("Observation/marked"), remove("Observation/absent")},
		"patch":                 {patch("Observation/marked", `[{"op":"test","path":"/status","value":"final"}]`), patch("Observation/absent", `[]`)},
		"conditional patch":     {criteria(consent.Patch, "known", `[]`), criteria(consent.Patch, "unknown", `[]`)},
		"conditional delete":    {criteria(consent.Delete, "known", ""), criteria(consent.Delete, "unknown", "")},
		"conditional update":    {criteria(consent.Update, "known", withID("marked")), criteria(consent.Update, "unknown", withID("absent"))},
		"conditional reference": {conditional("known"), conditional("unknown")},
		"reference to a record": {create("Observation", weightOf("ava")), create("Observation", weightOf("ava"))},
	} {
		for _, alone := range []bool{true, false} {
			answers := [2]string{}
			for i, step := range pair {
				steps := []consent.Step{step}
				if !alone {
					steps = append(steps, create("Observation", weightOf("sofia")))
				}
				done, err := w.transaction(w.as("adams"), steps...)
				answers[i] = fmt.Sprint(err)
				if err == nil {
					answers[i] = fmt.Sprint("done, resource: ", done[0].Resource != nil)
				}
			}
			if answers[0] != answers[1] {
				t.Errorf("%s: hidden says %q, absent says %q", name, answers[0], answers[1])
			}
		}
	}
	// A conditional creation does not find what is hidden, and creates.
	for _, value := range []string{"known", "unknown"} {
		done, err := w.guard.Write(t.Context(), w.as("adams"), consent.Write{Method: consent.Create, Type: "Observation", Criteria: "identifier=" + value, Body: []byte(weightOf("mateo"))})
		if err != nil || !done.Created {
			t.Errorf("%s: got %+v, %v", value, done, err)
		}
	}
	w.may("ava", "Observation/marked")
}

// TestAPatchIsNoOracle: a patch may only test what its caller may read.
func TestAPatchIsNoOracle(t *testing.T) {
	w := newWorld(t)
	test := func(value string) []byte {
		return []byte(`[{"op":"test","path":"/birthDate","value":"` + value + `"}]`)
	}
	for name, c := range map[string]consent.Caller{
		"no read scope":   w.system("system/Patient.cus"),
		"granular scopes": w.system("system/Patient.r?identifier=" + mrnSystem + "|1002 system/Patient.us"),
		"a stranger":      w.as("okafor"),
	} {
		var answers []string
		for _, value := range []string{"2010-09-09", "1999-09-09"} {
			_, err := w.guard.Write(t.Context(), c, consent.Write{Method: consent.Patch, Type: "Patient", ID: "ava", Body: test(value)})
			answers = append(answers, fmt.Sprint(err))
		}
		if answers[0] != answers[1] || answers[0] == "<nil>" {
			t.Errorf("%s: right says %q, wrong says %q", name, answers[0], answers[1])
		}
	}
	all := w.system("system/Patient.rus")
	if _, err := w.guard.Write(t.Context(), all, consent.Write{Method: consent.Patch, Type: "Patient", ID: "ava", Body: test("2010-09-09")}); err != nil {
		t.Error(err)
	}
	_, err := w.guard.Write(t.Context(), all, consent.Write{Method: consent.Patch, Type: "Patient", ID: "ava", Body: test("1999-09-09")})
	wantKind(t, err, fhir.Unprocessable)
}

// TestConditionsNeedSearch: criteria find, so they need what a search needs.
func TestConditionsNeedSearch(t *testing.T) {
	w := newWorld(t)
	for _, m := range []consent.Method{consent.Create, consent.Update, consent.Patch, consent.Delete} {
		_, err := w.guard.Write(t.Context(), w.system("system/Patient.crud"), consent.Write{Method: m, Type: "Patient", Criteria: "identifier=1001", Body: []byte(`[]`)})
		wantKind(t, err, fhir.Forbidden)
	}
	ref := strings.Replace(weightOf("mateo"), "Patient/mateo", "Patient?identifier=1001", 1)
	_, err := w.transaction(w.system("system/Observation.c system/Patient.r"), create("Observation", ref))
	wantKind(t, err, fhir.Forbidden)
	if _, err = w.transaction(w.system("system/Observation.c system/Patient.rs"), create("Observation", ref)); err != nil {
		t.Error(err)
	}
}

func TestAPatchKeepsLabels(t *testing.T) {
	w := newWorld(t)
	if _, err := w.guard.Write(t.Context(), w.as("baker"), consent.Write{Method: consent.Patch, Type: "Observation", ID: "ava-secret", Body: []byte(`[{"op":"remove","path":"/meta/security"},{"op":"replace","path":"/status","value":"amended"}]`)}); err != nil {
		t.Fatal(err)
	}
	w.mayNot("helen", "Observation/ava-secret")
	w.may("ava", "Observation/ava-secret")
	_, err := w.guard.Write(t.Context(), w.as("baker"), consent.Write{Method: consent.Patch, Type: "Observation", ID: "ava-secret", Body: []byte(`[{"op":"replace","path":"/subject/reference","value":"Patient/mateo"}]`)})
	wantKind(t, err, fhir.Forbidden) // the image after it is judged too
}

// TestConsentsMoveByPatchToo: a patch is what the update that it makes would be.
func TestConsentsMoveByPatchToo(t *testing.T) {
	move := func(to string) string { return `[{"op":"replace","path":"/status","value":"` + to + `"}]` }
	for _, how := range []string{"alone", "transaction"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t)
			do := func(who, id, ops string) (*fhir.Resource, error) {
				t.Helper()
				step := patch("Consent/"+id, ops)
				if how == "alone" {
					done, err := w.guard.Write(t.Context(), w.as(who), step.Write)
					if err != nil {
						return nil, err
					}
					return done.Resource, nil
				}
				done, err := w.transaction(w.as(who), step)
				if err != nil {
					return nil, err
				}
				return done[0].Resource, nil
			}
			r := w.ask("okafor", "1001", consent.AccessRequest{})
			for _, who := range []string{"okafor", "adams", "helen"} {
				if _, err := do(who, r.ID, move("active")); err == nil {
					t.Errorf("%s approves", who)
				}
			}
			w.mayNot("okafor", "Patient/mateo")
			_, err := do("grace", r.ID, `[{"op":"replace","path":"/status","value":"active"},{"op":"add","path":"/provision/actor/0/reference","value":{"reference":"Practitioner/other"}}]`)
			wantKind(t, err, fhir.Unprocessable)
			_, err = do("grace", r.ID, `[{"op":"replace","path":"/status","value":"active"},{"op":"remove","path":"/provision/period"}]`)
			wantKind(t, err, fhir.Unprocessable) // wider than asked for
			_, err = do("grace", r.ID, `[{"op":"replace","path":"/patient/reference","value":"Patient/sofia"}]`)
			wantKind(t, err, fhir.Unprocessable)

			got, err := do("grace", r.ID, move("active"))
			if err != nil || status(t, got) != "active" || !strings.Contains(string(got.JSON), "RelatedPerson/grace-mateo") {
				t.Fatalf("got %v, %v", got, err)
			}
			w.may("okafor", "Patient/mateo")
			if n := w.notices("Practitioner/okafor"); len(n) != 1 {
				t.Errorf("the provider is told %v", n)
			}
			_, err = do("grace", r.ID, move("proposed"))
			wantKind(t, err, fhir.Unprocessable)
			if _, err := do("grace", r.ID, move("inactive")); err != nil {
				t.Error(err)
			}
			w.mayNot("okafor", "Patient/mateo")
		})
	}
}

// TestConcurrentPatchesOfARequest: one answer wins.
func TestConcurrentPatchesOfARequest(t *testing.T) {
	w := newWorld(t)
	r := w.ask("okafor", "1002", consent.AccessRequest{})
	kinds := make([]error, 8)
	var wait sync.WaitGroup
	for i := range kinds {
		who, to := w.as("grace"), "active"
		if i%2 == 1 {
			to = "rejected"
		}
		wait.Go(func() {
			step := patch("Consent/"+r.ID, `[{"op":"replace","path":"/status","value":"`+to+`"}]`)
			if i%4 < 2 {
				_, kinds[i] = w.guard.Write(t.Context(), who, step.Write)
			} else {
				_, kinds[i] = w.transaction(who, step)
			}
		})
	}
	wait.Wait()
	won := 0
	for _, err := range kinds {
		switch fhir.KindOf(err) {
		case fhir.Conflict, fhir.Unprocessable: // lost, or came when it was over
		default:
			if err != nil {
				t.Error(err)
			}
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d answers won: %v", won, kinds)
	}
}

// TestWhatATransactionOpensItUses: entries are judged one after the other, each
// on what those before it left, as single requests would be; and what is undone
// leaves no trace in any decision.
func TestWhatATransactionOpensItUses(t *testing.T) {
	team := `{"resourceType":"CareTeam","status":"active","subject":{"reference":"Patient/ava"},"participant":[{"member":{"reference":"Practitioner/%s"}}]}`
	t.Run("nobody lets themself in", func(t *testing.T) {
		w := newWorld(t)
		for _, who := range []string{"okafor", "adams", "chen"} {
			_, err := w.transaction(w.as(who), create("CareTeam", fmt.Sprintf(team, who)), get("Patient/ava"))
			wantKind(t, err, fhir.Forbidden)
			w.mayNot(who, "Patient/ava")
		}
	})
	t.Run("what was undone is forgotten", func(t *testing.T) {
		w := newWorld(t)
		kiosk := w.system("system/*.cruds")
		// baker is Ava's PCP. A transaction that takes the patient away from them and
		// then fails must not leave a decision behind, nor one that gives.
		patient := `{"resourceType":"Patient","id":"ava","birthDate":"2010-09-09","generalPractitioner":[{"reference":"Practitioner/%s"}]}`
		for range 3 {
			_, err := w.transaction(kiosk, update("Patient/ava", fmt.Sprintf(patient, "okafor")), get("Patient/ava"), get("Patient/nobody"))
			wantKind(t, err, fhir.NotFound)
			w.may("baker", "Patient/ava")
			w.mayNot("okafor", "Patient/ava")
		}
		// the same by a person: Ava's family directive and a read in one transaction
		deny := fmt.Sprintf(`{"resourceType":"Consent","status":"active",%s,"patient":{"reference":"Patient/ava"},"performer":[{"reference":"Patient/ava"}],"provision":{"type":"deny","actor":[{%s,"reference":{"reference":"Practitioner/baker"}}]}}`, privacy, role)
		_, err := w.transaction(w.as("ava"), create("Consent", deny), get("Patient/ava"), get("Patient/nobody"))
		wantKind(t, err, fhir.NotFound)
		w.may("baker", "Patient/ava")
		if _, err = w.transaction(w.as("ava"), create("Consent", deny), get("Patient/ava")); err != nil {
			t.Fatal(err)
		}
		w.mayNot("baker", "Patient/ava")
	})
	t.Run("the same as in sequence", func(t *testing.T) {
		w := newWorld(t)
		// baker leaves the record, and has left it for what follows
		patient := `{"resourceType":"Patient","id":"lily","birthDate":"2022-12-24"}`
		done, err := w.transaction(w.system("system/*.cruds"), update("Patient/lily", patient), get("Patient/lily"))
		if err != nil || strings.Contains(string(done[1].Resource.JSON), "baker") {
			t.Errorf("got %v, %v", done, err)
		}
		w.mayNot("baker", "Patient/lily")
		// a PCP who deletes the team that lets a colleague in, then writes: still PCP
		if _, err := w.transaction(w.as("adams"), create("Observation", weightOf("mateo")), get("Patient/mateo")); err != nil {
			t.Error(err)
		}
		// a guardian ends what the reads after it rest on
		_, err = w.transaction(w.as("grace"), create("CareTeam", fmt.Sprintf(strings.ReplaceAll(team, "Patient/ava", "Patient/mateo"), "okafor")), get("Patient/mateo"))
		if err != nil {
			t.Error(err)
		}
		w.may("okafor", "Patient/mateo")
	})
}

// TestUndoneDecisionsAreNotKept plays the trap itself: a decision made inside a
// transaction that is undone rests on an epoch that another write then reaches.
func TestUndoneDecisionsAreNotKept(t *testing.T) {
	w := newWorld(t)
	grace := w.as("grace")
	deny := fmt.Sprintf(`{"resourceType":"Consent","status":"active",%s,"patient":{"reference":"Patient/mateo"},"performer":[{"reference":"RelatedPerson/grace-mateo"}],"provision":{"type":"deny",%s}}`, privacy, secretR)
	// Grace's transaction decides about Mateo after it has written, then fails.
	_, err := w.transaction(grace, create("Consent", deny), get("Patient/mateo"), get("Patient/nobody"))
	wantKind(t, err, fhir.NotFound)
	// Now another write takes the epoch that it had reached.
	w.put(`{"resourceType":"Consent","id":"order","status":"active",%s,"patient":{"reference":"Patient/mateo"},"provision":{"type":"deny","actor":[{%s,"reference":{"reference":"RelatedPerson/grace-mateo"}}]}}`, privacy, role)
	w.mayNot("grace", "Patient/mateo")
}

func TestProvidersAskInTransactions(t *testing.T) {
	w := newWorld(t)
	ask := fmt.Sprintf(`{"resourceType":"Consent","status":"proposed",%s,"patient":{"reference":"Patient/mateo"},"provision":{"type":"permit","actor":[{%s,"reference":{"reference":"Practitioner/okafor"}}],"period":{"start":"2026-03-10","end":"2026-06-01"}}}`, privacy, role)
	step := create("Consent", ask)
	step.FullURL = "urn:uuid:05efabf0-4be2-4561-91ce-51548425acb9"
	first, err := w.transaction(w.as("okafor"), step)
	if err != nil || !first[0].Created {
		t.Fatalf("got %v, %v", first, err)
	}
	second, err := w.transaction(w.as("okafor"), step)
	if err != nil || second[0].Created || second[0].Resource.Key != first[0].Resource.Key {
		t.Errorf("got %v, %v", second, err)
	}
	w.mayNot("okafor", "Patient/mateo")
	// attempts count though the transaction fails
	limit := consent.DefaultPolicy().SelectionsPerHour
	for i := range limit + 1 {
		_, err = w.transaction(w.as("okafor"), create("Consent", ask), get("Patient/nobody"))
		if i < limit-2 {
			wantKind(t, err, fhir.NotFound)
		}
	}
	wantKind(t, err, fhir.Throttled)
}

// TestTransactionsAreAudited: as each entry would be alone, and not when undone.
func TestTransactionsAreAudited(t *testing.T) {
	w := newWorld(t)
	rows := func() []string {
		t.Helper()
		page, err := w.guard.Search(t.Context(), w.as("luis"), "AuditEvent", map[string][]string{"patient": {"mateo"}}, false)
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, e := range page.Entries {
			var a struct {
				Subtype []struct{ Code, Display string }
				Outcome string
			}
			if err := json.Unmarshal(e.Resource.JSON, &a); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(e.Resource.JSON), "Practitioner/adams") {
				list = append(list, a.Subtype[0].Display)
			}
		}
		slices.Sort(list)
		return list
	}
	if _, err := w.transaction(w.as("adams"), create("Observation", weightOf("mateo")), get("Patient/mateo"),
		consent.Step{Read: &consent.Read{Key: fhir.Key{Type: "Observation"}, Values: map[string][]string{"patient": {"mateo"}}}},
		patch("Observation/mateo-weight", `[{"op":"replace","path":"/status","value":"amended"}]`),
		consent.Step{Write: consent.Write{Method: consent.Create, Type: "Patient", Criteria: "x", Body: []byte("{}")}}); err == nil {
		t.Error("a provider creates patients")
	}
	if got := rows(); len(got) != 0 {
		t.Errorf("undone, yet the log says %v", got)
	}
	if _, err := w.transaction(w.as("adams"), create("Observation", weightOf("mateo")), get("Patient/mateo"),
		consent.Step{Read: &consent.Read{Key: fhir.Key{Type: "Observation"}, Values: map[string][]string{"patient": {"mateo"}}}},
		patch("Observation/mateo-weight", `[{"op":"replace","path":"/status","value":"amended"}]`)); err != nil {
		t.Fatal(err)
	}
	if got, want := rows(), []string{"create", "patch", "read", "search"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestIntegrityOfTransactions: entries may refer to each other, and what is left
// at the end must lead somewhere.
func TestIntegrityOfTransactions(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.Integrity = true })
	kiosk := w.system("system/*.cruds")
	panel := func(id, member string) string {
		return `{"resourceType":"Observation","id":"` + id + `","status":"final","code":{"text":"w"},"subject":{"reference":"Patient/new"},"hasMember":[{"reference":"Observation/` + member + `"}]}`
	}
	patient := update("Patient/new", `{"resourceType":"Patient","id":"new"}`)
	if _, err := w.transaction(kiosk, update("Observation/a", panel("a", "b")), update("Observation/b", panel("b", "a")), patient); err != nil {
		t.Fatal(err)
	}
	_, err := w.transaction(kiosk, patient, update("Observation/c", panel("c", "nowhere")))
	wantKind(t, err, fhir.Unprocessable)
	if err == nil || !strings.Contains(err.Error(), "Bundle.entry[1].resource") {
		t.Errorf("got %v, want the entry", err)
	}
	_, err = w.transaction(kiosk, remove("Observation/a"))
	wantKind(t, err, fhir.Conflict) // b refers to it
	if _, err := w.transaction(kiosk, remove("Observation/a"), remove("Observation/b")); err != nil {
		t.Error(err)
	}
}
