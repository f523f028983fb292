package consent_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/engine"
)

const (
	aboutPrivacy = `"scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]}`
	actReason    = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
	toOkafor     = `"actor":[{` + role + `,"reference":{"reference":"Practitioner/okafor"}}]`
)

// consentWith is an active consent of Mateo; rest holds scope and provision.
func consentWith(id, rest string) string {
	return fmt.Sprintf(`{"resourceType":"Consent","id":%q,"status":"active","category":[{"text":"x"}],"patient":{"reference":"Patient/mateo"},"policy":[{"uri":"urn:p"}],%s}`, id, rest)
}

// provision is one with more in it; type stands for itself.
func provisionWith(kind, more string) string {
	return aboutPrivacy + `,"provision":{"type":"` + kind + `",` + more + `}`
}

// unreadable are consents that cannot be evaluated, and the element that is why; %s
// stands for permit or deny.
var unreadable = []struct{ element, consent string }{
	{"Consent.modifierExtension", `"modifierExtension":[{"url":"urn:x","valueBoolean":true}],` + provisionWith("%s", toOkafor)},
	{"Consent.implicitRules", `"implicitRules":"urn:x",` + provisionWith("%s", toOkafor)},
	{"Consent.verification[0].modifierExtension", `"verification":[{"verified":true,"modifierExtension":[{"url":"urn:x","valueBoolean":true}]}],` + provisionWith("%s", toOkafor)},
	{"Consent.scope", `"scope":{"text":"privacy"},"provision":{"type":"%s",` + toOkafor + `}`},
	{"Consent.provision.modifierExtension", provisionWith("%s", `"modifierExtension":[{"url":"urn:x","valueBoolean":true}],`+toOkafor)},
	{"Consent.provision.period", provisionWith("%s", `"period":{"start":"2026-01-01","_end":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}]}},`+toOkafor)},
	{"Consent.provision.actor[0].role", provisionWith("%s", `"actor":[{"role":{"text":"doctor"},"reference":{"reference":"Practitioner/okafor"}}]`)},
	{"Consent.provision.actor[0].modifierExtension", provisionWith("%s", `"actor":[{"modifierExtension":[{"url":"urn:not","valueBoolean":true}],`+role+`,"reference":{"reference":"Practitioner/okafor"}}]`)},
	{"Consent.provision.actor[0].reference", provisionWith("%s", `"actor":[{`+role+`,"reference":{"display":"Dr Okafor"}}]`)},
	{"Consent.provision.actor[0].reference", provisionWith("%s", `"actor":[{`+role+`,"reference":{"reference":"Practitioner/gone"}}]`)},
	{"Consent.provision.action[0].coding", provisionWith("%s", `"action":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentaction","code":"peek"}]}],`+toOkafor)},
	{"Consent.provision.purpose[0].code", provisionWith("%s", `"purpose":[{"system":"`+actReason+`","code":"WHIM"}],`+toOkafor)},
	{"Consent.provision.class[0].code", provisionWith("%s", `"class":[{"system":"http://hl7.org/fhir/resource-types","code":"Weights"}],`+toOkafor)},
	{"Consent.provision.code[0].coding", provisionWith("%s", `"code":[{"coding":[{"code":"29463-7"}]}],`+toOkafor)},
	{"Consent.provision.code[0].coding", provisionWith("%s", `"code":[{"text":"weight"}],`+toOkafor)},
	{"Consent.provision.data[0].meaning", provisionWith("%s", `"data":[{"meaning":"related","reference":{"reference":"Observation/mateo-weight"}}],`+toOkafor)},
	{"Consent.provision.data[0].reference", provisionWith("%s", `"data":[{"meaning":"instance","reference":{"reference":"https://elsewhere.test/Observation/1"}}],`+toOkafor)},
	{"Consent.provision.data[0].modifierExtension", provisionWith("%s", `"data":[{"modifierExtension":[{"url":"urn:not","valueBoolean":true}],"meaning":"instance","reference":{"reference":"Observation/mateo-weight"}}],`+toOkafor)},
	{"Consent.provision.dataPeriod", provisionWith("%s", `"dataPeriod":{"_start":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}]}},`+toOkafor)},
	{"Consent.provision.securityLabel[0].code", provisionWith("%s", `"securityLabel":[{"system":"urn:labels","code":"N"}],`+toOkafor)},
	{"Consent.provision.securityLabel[0].code", provisionWith("%s", `"securityLabel":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"NOAUTH"}],`+toOkafor)},
}

// TestUnreadableConsentsAreRefused: with the element named, though a system writes
// them; what is over may be anything.
func TestUnreadableConsentsAreRefused(t *testing.T) {
	w := newWorld(t)
	system := w.system("system/*.cruds")
	write := func(body string) error {
		_, _, err := w.guard.Update(t.Context(), system, fhir.Key{Type: "Consent", ID: "c"}, []byte(body), nil)
		return err
	}
	cases := append(slices.Clone(unreadable), []struct{ element, consent string }{
		{"Consent.provision.provision[1].type", provisionWith("%s", toOkafor+`,"provision":[{"type":"deny"},{`+toOkafor+`}]`)},
		{"Consent.provision.provision[0].provision[0].actor[0].reference", provisionWith("%s", toOkafor+`,"provision":[{"type":"deny","provision":[{"type":"permit","actor":[{`+role+`,"reference":{"reference":"Practitioner/gone"}}]}]}]`)},
	}...)
	for _, c := range cases {
		body := consentWith("c", strings.ReplaceAll(c.consent, "%s", "permit"))
		err := write(body)
		wantKind(t, err, fhir.Unprocessable)
		if got := string(fhir.Outcome(err)); !strings.Contains(got, `"`+c.element+`"`) {
			t.Errorf("got %s, want %s", got, c.element)
		}
		if _, _, err := w.guard.Update(t.Context(), system, fhir.Key{Type: "Consent", ID: "over"}, []byte(strings.Replace(strings.Replace(body, `"c"`, `"over"`, 1), `"active"`, `"inactive"`, 1)), nil); err != nil {
			t.Errorf("%s, which is over: %v", c.element, err)
		}
	}
	if err := write(consentWith("c", provisionWith("permit", toOkafor))); err != nil {
		t.Error(err)
	}
	if err := write(strings.Replace(consentWith("c", provisionWith("permit", toOkafor)), "Patient/mateo", "Patient/sofia", 1)); fhir.KindOf(err) != fhir.Unprocessable || !strings.Contains(string(fhir.Outcome(err)), "Consent.patient") {
		t.Errorf("another patient: got %v", err)
	}
	if err := w.guard.Delete(t.Context(), system, fhir.Key{Type: "Consent", ID: "c"}, nil); err != nil {
		t.Fatal(err)
	}
	again, err := w.eng.Prepare([]byte(strings.Replace(consentWith("c", provisionWith("permit", toOkafor)), "Patient/mateo", "Patient/sofia", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.load(again); fhir.KindOf(err) != fhir.Unprocessable { // an import, over what was deleted
		t.Errorf("another patient after a deletion: got %v", err)
	}
	nested := `{"type":"permit"}`
	for range 8 {
		nested = `{"type":"permit","provision":[` + nested + `]}`
	}
	_, _, err = w.guard.Update(t.Context(), system, fhir.Key{Type: "Consent", ID: "d"}, []byte(consentWith("d", aboutPrivacy+`,"provision":`+nested)), nil)
	if fhir.KindOf(err) != fhir.Unprocessable || !strings.Contains(string(fhir.Outcome(err)), `"Consent.provision`) {
		t.Errorf("nine deep: got %v", err)
	}
}

// TestUnreadableConsentsFailClosed: in the store they permit nothing and deny in
// doubt, other bases and other consents still work, and they are reported.
func TestUnreadableConsentsFailClosed(t *testing.T) {
	for _, c := range unreadable {
		t.Run(c.element, func(t *testing.T) {
			w := newWorld(t)
			w.put("%s", consentWith("c", strings.ReplaceAll(c.consent, "%s", "permit")))
			w.mayNot("okafor", "Observation/mateo-weight", "Patient/mateo")
			w.may("adams", "Observation/mateo-weight")
			if a, err := w.guard.Access(t.Context(), w.as("okafor"), "mateo"); err == nil && a.Permitted {
				t.Errorf("okafor is told of %+v", a)
			}
			w.put("%s", consentWith("good", provisionWith("permit", toOkafor)))
			w.may("okafor", "Observation/mateo-weight")
			list, err := w.guard.UnreadableConsents(t.Context(), 10)
			if err != nil || len(list) != 1 || list[0] != (consent.UnreadableConsent{Consent: fhir.Key{Type: "Consent", ID: "c"}, Element: c.element}) {
				t.Errorf("got %v, %v", list, err)
			}
			w.put("%s", consentWith("c", strings.ReplaceAll(c.consent, "%s", "deny")))
			w.mayNot("okafor", "Observation/mateo-weight")
			if c.element != "Consent.provision.actor[0].reference" { // who that is nobody knows: it may be her
				w.may("grace", "Observation/mateo-weight")
			}
			w.may("baker", "Observation/ava-weight")
		})
	}
}

// TestUnreadableConsentsAreToldOnce by consent and element, and no more when they are
// mended.
func TestUnreadableConsentsAreToldOnce(t *testing.T) {
	w := newWorld(t)
	var told []string
	guard, err := consent.New(consent.Config{Rules: w.rules, Now: w.clock.Now, Key: []byte(strings.Repeat("k", 32)), MRNSystem: mrnSystem, Policy: consent.DefaultPolicy(),
		Unreadable: func(u consent.UnreadableConsent) { told = append(told, u.Consent.String()+" "+u.Element) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := guard.Close(); err != nil {
			t.Error(err)
		}
	})
	own := *w // the guard of w is closed by its maker
	own.guard = guard
	w = &own
	gone := consentWith("c", provisionWith("deny", `"actor":[{`+role+`,"reference":{"reference":"Practitioner/other"}}]`))
	w.put("%s", gone)
	w.may("adams", "Observation/mateo-weight")
	if err := w.eng.Update(t.Context(), func(tx *engine.Tx) error {
		_, err := tx.Delete(fhir.Key{Type: "Practitioner", ID: "other"}, nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	w.put("%s", gone) // moves the epoch
	for range 2 {
		w.mayNot("adams", "Observation/mateo-weight")
		w.mayNot("chen", "Observation/mateo-weight")
	}
	if want := []string{"Consent/c Consent.provision.actor[0].reference"}; !slices.Equal(told, want) {
		t.Errorf("got %v, want %v", told, want)
	}
	w.put("%s", consentWith("c", provisionWith("deny", toOkafor)))
	w.may("adams", "Observation/mateo-weight")
	if list, err := guard.UnreadableConsents(t.Context(), 10); err != nil || len(list) != 0 {
		t.Errorf("got %v, %v", list, err)
	}
}

// TestOptOut: a consent that opts out by its rule alone denies all providers, what
// belongs to several patients too; exceptions hold.
func TestOptOut(t *testing.T) {
	optOut := `,"policyRule":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"OPTOUT"}]}`
	for name, c := range map[string]struct {
		rest string
		chen bool
	}{
		"the rule alone":                    {aboutPrivacy + optOut, false},
		"a root without a type":             {aboutPrivacy + optOut + `,"provision":{"purpose":[{"system":"` + actReason + `","code":"TREAT"}]}`, false},
		"an exception by name":              {aboutPrivacy + optOut + `,"provision":{"provision":[{"type":"permit","actor":[{` + role + `,"reference":{"reference":"Practitioner/chen"}}]}]}`, true},
		"the rule of a consent to research": {strings.Replace(aboutPrivacy, "patient-privacy", "research", 1) + optOut, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.put("%s", consentWith("c", c.rest))
			if err := w.read(w.as("chen"), "Observation/mateo-weight"); (err == nil) != c.chen {
				t.Errorf("chen: got %v", err)
			}
			w.may("grace", "Observation/mateo-weight")
		})
	}
	w := newWorld(t)
	w.put(`{"resourceType":"Group","id":"both","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/mateo"}},{"entity":{"reference":"Patient/sofia"}}]}`)
	w.may("adams", "Group/both")
	w.put("%s", consentWith("c", aboutPrivacy+optOut))
	w.mayNot("adams", "Group/both")
}

// TestNestedProvisionWithoutAType: it is required there, and counts as a deny.
func TestNestedProvisionWithoutAType(t *testing.T) {
	w := newWorld(t)
	w.put("%s", consentWith("c", provisionWith("permit", toOkafor+`,"provision":[{"class":[{"system":"http://hl7.org/fhir/resource-types","code":"Observation"}]}]`)))
	w.mayNot("okafor", "Observation/mateo-weight")
	w.may("okafor", "Patient/mateo")
	w.may("adams", "Observation/mateo-weight") // whom the grant is not about
}

// TestPurposes: by subsumption, and break-glass only by name.
func TestPurposes(t *testing.T) {
	for code, want := range map[string]bool{"TREAT": true, "PurposeOfUse": true, "ETREAT": false, "HRESCH": false, "BTG": false} {
		w := newWorld(t)
		w.put("%s", consentWith("c", provisionWith("permit", `"purpose":[{"system":"`+actReason+`","code":"`+code+`"}],`+toOkafor)))
		if err := w.read(w.as("okafor"), "Observation/mateo-weight"); (err == nil) != want {
			t.Errorf("a permit for %s: got %v", code, err)
		}
		w.put("%s", consentWith("c", provisionWith("deny", `"purpose":[{"system":"`+actReason+`","code":"`+code+`"}]`)))
		if err := w.read(w.as("adams"), "Observation/mateo-weight"); (err == nil) == want {
			t.Errorf("a deny for %s: got %v", code, err)
		}
	}
}
