package consent_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// asRole gives a person as a caller in one of their roles.
func (w *world) asRole(subject string, role smart.Role) consent.Caller {
	w.t.Helper()
	a, err := w.guard.SignIn(w.t.Context(), "https://idp.test", subject, "", "")
	if err != nil {
		w.t.Fatal(err)
	}
	id, err := w.guard.Identity(w.t.Context(), a, role)
	if err != nil {
		w.t.Fatal(err)
	}
	return consent.Caller{Grant: consent.Portal(id, "session-"+subject), Address: "192.0.2.1", RequestID: "r"}
}

// At the desk, or as an administrator, nobody decides about a patient of their own
// family: on the hospital's authority they would do what a court, the other parent or
// the patient keeps from them.
func TestOfficeInOnesOwnFamily(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.put(`{"resourceType":"DocumentReference","id":"ruling","status":"current","subject":{"reference":"Patient/mateo"},"content":[{"attachment":{"title":"Ruling"}}]}`)
	order := w.order("")
	asked := w.ask("okafor", "1001", consent.AccessRequest{})
	if err := w.approve("grace", asked.ID); err != nil {
		t.Fatal(err)
	}
	w.link("luis", smart.Admin, "Practitioner/luis-office")
	w.link("luis", smart.Staff, "Practitioner/luis-desk")
	admin, staff := w.asRole("luis", smart.Admin), w.asRole("luis", smart.Staff)
	read := func(key fhir.Key) string {
		t.Helper()
		r, err := w.guard.Read(ctx, w.as("grace"), key)
		if err != nil {
			t.Fatal(err)
		}
		return string(r.JSON)
	}
	body := func(c consent.Caller, key fhir.Key, old, new string) error {
		_, _, err := w.guard.Update(ctx, c, key, []byte(strings.Replace(read(key), old, new, 1)), nil)
		return err
	}
	added := func(c consent.Caller, typ fhir.Type, body string) error {
		_, _, err := w.guard.Create(ctx, c, typ, []byte(body))
		return err
	}
	mateo, chen := fhir.Key{Type: "Patient", ID: "mateo"}, fhir.Key{Type: "Practitioner", ID: "chen"}
	word := &consent.CallersWord{Caller: "the father", Check: "he is known here", Asked: "it"}
	const guardian = `{"resourceType":"RelatedPerson","active":true,"patient":{"reference":"Patient/mateo"},"relationship":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-RoleCode","code":"GRPRN"}]}]}`
	for name, do := range map[string]func() error{
		"lifts the order about himself": func() error { return body(admin, order, `"active"`, `"inactive"`) },
		"records one about the mother": func() error {
			return added(admin, "Consent", fmt.Sprintf(`{"resourceType":"Consent","status":"active",%s,"patient":{"reference":"Patient/mateo"},"provision":{"type":"deny","actor":[{%s,"reference":{"reference":"RelatedPerson/grace-mateo"}}]}}`, privacy, role))
		},
		"calls what she approved a mistake": func() error { return body(admin, asked.Key, `"active"`, `"entered-in-error"`) },
		"adds to the care team, as staff": func() error {
			return w.guard.AddToCareTeam(ctx, staff, "mateo", fhir.Key{Type: "Practitioner", ID: "other"}, word)
		},
		"removes from it, as administrator": func() error { return w.guard.RemoveFromCareTeam(ctx, admin, "mateo", chen, word) },
		"invites": func() error {
			_, err := w.guard.Invite(ctx, staff, "mateo", consent.Invitation{Word: word})
			return err
		},
		"adds a guardian, as staff":         func() error { return added(staff, "RelatedPerson", guardian) },
		"adds a guardian, as administrator": func() error { return added(admin, "RelatedPerson", guardian) },
		"ends the mother's part":            func() error { return body(staff, fhir.Key{Type: "RelatedPerson", ID: "grace-mateo"}, `true`, `false`) },
		"removes the mother": func() error {
			return w.guard.Delete(ctx, admin, fhir.Key{Type: "RelatedPerson", ID: "grace-mateo"}, nil)
		},
		"takes the mother to another record": func() error {
			return body(admin, fhir.Key{Type: "RelatedPerson", ID: "grace-mateo"}, `Patient/mateo`, `Patient/lily`)
		},
		"names a PCP": func() error { return body(staff, mateo, `Practitioner/adams`, `Practitioner/other`) },
		"removes himself": func() error {
			return w.guard.Delete(ctx, admin, fhir.Key{Type: "RelatedPerson", ID: "luis-mateo"}, nil)
		},
	} {
		t.Run(name, func(t *testing.T) { wantKind(t, do(), fhir.Forbidden) })
	}
	// What decides nothing, and what is of other families, is their work.
	if err := body(staff, mateo, `"family"`, `"text":"Mateo","family"`); err != nil {
		t.Errorf("a name: %v", err)
	}
	if err := w.guard.AddToCareTeam(ctx, staff, "ava", chen, word); err != nil {
		t.Errorf("another family: %v", err)
	}
	if err := added(staff, "RelatedPerson", strings.Replace(guardian, "mateo", "lily", 1)); err != nil {
		t.Errorf("another family: %v", err)
	}
}

// A parent takes no emancipation back, nor makes one.
func TestEmancipationInOnesOwnFamily(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"DocumentReference","id":"order","status":"current","subject":{"reference":"Patient/ava"},"content":[{"attachment":{"title":"Order"}}]}`)
	put := func(c consent.Caller, more string) error {
		_, _, err := w.guard.Update(t.Context(), c, fhir.Key{Type: "Patient", ID: "ava"}, fmt.Appendf(nil, `{"resourceType":"Patient","id":"ava","extension":[{"url":"%s/fhir/StructureDefinition/emancipation","extension":[{"url":"document","valueReference":{"reference":"DocumentReference/order"}},{"url":"date","valueDate":%q}%s]}],
			"identifier":[{"system":%q,"value":"1003"}],"name":[{"family":"Thompson","given":["Ava"]}],"birthDate":"2010-09-09","generalPractitioner":[{"reference":"Practitioner/baker"}]}`, base, w.clock.Now().Format(time.DateOnly), more, mrnSystem), nil)
		return err
	}
	w.link("helen", smart.Admin, "Practitioner/helen-office")
	w.link("helen", smart.Staff, "Practitioner/helen-desk")
	wantKind(t, put(w.asRole("helen", smart.Staff), ""), fhir.Forbidden)
	if err := put(w.admin(), ""); err != nil {
		t.Fatal(err)
	}
	w.mayNot("helen", "Patient/ava")
	wantKind(t, put(w.asRole("helen", smart.Admin), `,{"url":"withdrawn","valueBoolean":true}`), fhir.Forbidden)
	w.mayNot("helen", "Patient/ava")
}
