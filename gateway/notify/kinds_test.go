package notify_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/gateway/notify"
	"mypatients/smart"
)

// hostile are names that would do harm in a header or a mail, and such that are
// hard to overlook in one.
var hostile = []string{
	"Mateo Rivera", "Zoë\r\nBcc: everybody@evil.example", "O'Neil, \"Kim\" <kim@evil.example>", "=?utf-8?q?Bj=C3=B6rk?=",
	"<script>alert(1)</script>", "{{.Name}} %s %d", "שרה 李小龍", "Subject: leukemia", "\u202eoetaM", "Robert'); DROP TABLE",
}

// telling are parts of these that no mail has by itself.
var telling = []string{"mateo", "rivera", "zoë", "zo=c3", "bcc:", "everybody", "neil", "evil", "kim", "bj=c3", "björk", "<script", "alert(", "{{", "%s", "שרה", "小龍", "leukemia", "oetam", "drop table", "mrn77"}

// clinical are words that no mail may hold, as whole words.
var clinical = []string{"asthma", "leukemia", "hiv", "pregnant", "pregnancy", "mental", "psychiatry", "sexual", "substance", "diagnosis", "medication", "hospital", "doctor",
	"clinic", "oncology", "cardiology", "patient's", "child", "son", "daughter"}

// TestAllKindsSayNothing has the guard write every kind of notice about patients
// with the worst of names, and mails them.
func TestAllKindsSayNothing(t *testing.T) {
	p := newPost(t)
	w := newWorld(t, p)
	guard, worker := guarded(t, w)
	seen := map[string]bool{}
	var mails []delivered
	for i, name := range hostile {
		mrn := fmt.Sprintf("MRN77%03d", i)
		w.family(t, guard, i, name, mrn)
		w.everything(t, guard, i, mrn)
		w.flush(worker)
		mails = append(mails, p.take()...)
	}
	for _, m := range mails {
		seen[m.subject] = true
		whole := strings.ToLower(fmt.Sprint(m))
		for _, part := range telling {
			if strings.Contains(whole, part) {
				t.Errorf("%q is in the mail %v", part, m)
			}
		}
		words := strings.FieldsFunc(strings.ToLower(m.subject+" "+m.text), func(r rune) bool { return r < 'a' || r > 'z' })
		for _, word := range clinical {
			if slices.Contains(words, word) {
				t.Errorf("%q is in the mail %v", word, m)
			}
		}
		if len(m.header["Bcc"]) > 0 || len(m.header["To"]) != 1 || strings.Contains(m.subject, "\n") {
			t.Errorf("headers: %v", m.header)
		}
		if !strings.Contains(m.text, "https://gateway.example/") {
			t.Errorf("leads nowhere: %s", m.text)
		}
		if chooses := strings.Contains(m.text, "To choose which mails you get"); chooses == strings.Contains(m.subject, "emergency rule") {
			t.Errorf("says how to choose: %v: %s", chooses, m.text)
		}
	}
	want := []string{"A record was opened under the emergency rule", "A request still waits for your answer", "A request waits for your answer", "An access ends soon",
		"An access goes on", "An access has ended", "An invitation ends soon", "An invitation was made", "An invitation was used", "Your request was approved", "Your request was declined"}
	for _, subject := range want {
		if !seen[subject] {
			t.Errorf("no mail %q", subject)
		}
	}
	if strings.Contains(w.log.String(), "example.org") || strings.Contains(w.log.String(), "MRN77") {
		t.Errorf("log: %s", w.log)
	}
}

// guarded puts a guard on the world's store, and a worker for its notices.
func guarded(t *testing.T, w *world, with ...func(*consent.Config)) (*consent.Guard, *notify.Worker) {
	t.Helper()
	const base = "https://gateway.example"
	rules := consent.NewRules(base, base, time.UTC)
	params, err := registry()
	if err != nil {
		t.Fatal(err)
	}
	if w.engine, err = rules.Engine(engine.Config{Store: w.store, Registry: params, Now: w.Now}); err != nil {
		t.Fatal(err)
	}
	c := consent.Config{Rules: rules, Now: w.Now, Key: []byte(strings.Repeat("k", 32)), MRNSystem: "urn:mrn",
		Policy: consent.DefaultPolicy(), PrivacyEmail: "privacy@example.org"}
	for _, change := range with {
		change(&c)
	}
	guard, err := consent.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = guard.Close() })
	w.config.Engine, w.config.Category = w.engine, rules.NoticeCategory()
	return guard, w.worker()
}

// family adds a patient of a name with a guardian of the same, and a provider.
func (w *world) family(t *testing.T, guard *consent.Guard, i int, name, mrn string) {
	t.Helper()
	quoted, err := json.Marshal(name)
	if err != nil {
		t.Fatal(err)
	}
	w.put(fmt.Sprintf(`{"resourceType":"Patient","id":"p%d","identifier":[{"system":"urn:mrn","value":%q}],"name":[{"text":%s,"family":%s}],"birthDate":"2025-01-01"}`, i, mrn, quoted, quoted))
	w.put(fmt.Sprintf(`{"resourceType":"RelatedPerson","id":"g%d","active":true,"patient":{"reference":"Patient/p%d"},"name":[{"text":%s}],
		"relationship":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-RoleCode","code":"MTH"}]}],"telecom":[{"system":"email","value":"g%d@example.org"}]}`, i, i, quoted, i))
	w.put(fmt.Sprintf(`{"resourceType":"Practitioner","id":"d%d","name":[{"text":%s}],"telecom":[{"system":"email","value":"d%d@example.org"}]}`, i, quoted, i))
	for person, role := range map[string]smart.Role{fmt.Sprintf("RelatedPerson/g%d", i): smart.Proxy, fmt.Sprintf("Practitioner/d%d", i): smart.Provider} {
		if _, err := guard.LinkAccount(t.Context(), "https://idp", person, name, "", consent.Link{Role: role, Person: person}); err != nil {
			t.Fatal(err)
		}
	}
}

// everything makes happen what notices tell of.
func (w *world) everything(t *testing.T, guard *consent.Guard, i int, mrn string) {
	t.Helper()
	ctx := t.Context()
	as := func(role smart.Role, person string) consent.Caller {
		id := smart.Identity{Login: person, Role: role, FHIRUser: person, Persons: []string{person}}
		return consent.Caller{Grant: consent.Portal(id, "s"), Address: "192.0.2.1"}
	}
	provider, guardian := as(smart.Provider, fmt.Sprintf("Practitioner/d%d", i)), as(smart.Proxy, fmt.Sprintf("RelatedPerson/g%d", i))
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ask := func() *fhir.Resource {
		t.Helper()
		r, _, err := guard.RequestAccess(ctx, provider, consent.AccessRequest{Patient: fmt.Sprintf("Patient/p%d", i), Reason: "leukemia of " + hostile[0]})
		do(err)
		return r
	}
	first := ask()
	_, err := guard.Approve(ctx, guardian, first.ID, consent.Narrowing{}, nil)
	do(err)
	inv, err := guard.Invite(ctx, guardian, fmt.Sprintf("p%d", i), consent.Invitation{})
	do(err)
	_, err = guard.Invite(ctx, guardian, fmt.Sprintf("p%d", i), consent.Invitation{})
	do(err)
	_, err = guard.Redeem(ctx, provider, inv.Token, mrn, "")
	do(err)
	w.turn(180 * 24 * time.Hour)
	do(guard.WarnOfEnds(ctx))
	w.turn(180 * 24 * time.Hour)
	do(guard.WarnOfEnds(ctx))
	_, err = guard.Revoke(ctx, guardian, first.ID, "leukemia", nil)
	do(err)
	again, err := guard.UndoRevoke(ctx, guardian, first.ID)
	do(err)
	_, err = guard.Revoke(ctx, guardian, again.ID, "", nil)
	do(err)
	second := ask()
	w.turn(20 * 24 * time.Hour)
	do(guard.Remind(ctx))
	_, err = guard.Decline(ctx, guardian, second.ID, "not with asthma", nil)
	do(err)
	do(w.engine.Update(ctx, func(tx *engine.Tx) error {
		return guard.NotifyBreakGlass(tx, fhir.Key{Type: "Patient", ID: fmt.Sprintf("p%d", i)})
	}))
}
