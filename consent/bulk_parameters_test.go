package consent_test

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/engine"
)

func TestExportParameters(t *testing.T) {
	w := newWorld(t)
	system := w.system("system/*.rs")
	w.clock.pass(time.Hour)
	since := w.clock.Now().UTC().Format(time.RFC3339Nano)
	w.put(`{"resourceType":"Observation","id":"new","status":"amended","code":{"text":"x"},"subject":{"reference":"Patient/mateo"}}`)
	for _, tt := range []struct {
		values url.Values
		want   []string
	}{
		{url.Values{"_since": {since}}, []string{"Observation/new"}},
		{url.Values{"_since": {"2040-01-01T00:00:00Z"}}, nil},
		{url.Values{"_type": {"CareTeam,Observation"}, "_since": {since}}, []string{"Observation/new"}},
		{url.Values{"_type": {"CareTeam", "Patient"}, "_typeFilter": {"Patient?family=Rivera"}}, []string{"CareTeam/mateo-team", "Patient/mateo", "Patient/sofia"}},
		{url.Values{"_type": {"Patient"}, "_typeFilter": {"Patient?given=Mateo,Ava&birthdate=gt2000,Patient?family=Nguyen"}}, []string{"Patient/ava", "Patient/lily", "Patient/mateo"}},
		{url.Values{"_type": {"Patient"}, "_typeFilter": {"Patient?given=Mateo", "Patient?_has:Observation:subject:status=amended"}}, []string{"Patient/mateo"}},
		{url.Values{"_type": {"Observation"}, "_typeFilter": {"Observation?subject:Patient.family=Rivera"}}, []string{"Observation/mateo-weight", "Observation/new", "Observation/sofia-weight"}},
		{url.Values{"_outputFormat": {"application/fhir ndjson"}, "_type": {"CareTeam"}}, []string{"CareTeam/mateo-team"}},
	} {
		if got, err := w.export(w.guard, system, consent.ExportRequest{Level: consent.ExportPatients, Values: tt.values}); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%v: got %v, %v, want %v", tt.values, got, err, tt.want)
		}
	}
	narrow := w.system("system/Patient.rs system/Observation.rs")
	for _, tt := range []struct {
		name   string
		c      consent.Caller
		values url.Values
		kind   fhir.Kind
		names  string
		passes bool // when lenient
	}{
		{"unknown", system, url.Values{"nothing": {"1"}}, fhir.Invalid, "http.nothing", true},
		{"patient by GET", system, url.Values{"patient": {"Patient/ava"}}, fhir.Invalid, "http.patient", true},
		{"no type", system, url.Values{"_type": {"Nothing"}}, fhir.Invalid, "http._type", false},
		{"of no patient", system, url.Values{"_type": {"Patient,Practitioner"}}, fhir.Invalid, "http._type", true},
		{"nothing of a patient", system, url.Values{"_type": {"Practitioner"}}, fhir.Invalid, "http._type", false},
		{"the log", system, url.Values{"_type": {"AuditEvent"}}, fhir.Unsupported, "http._type", false},
		{"no scope", narrow, url.Values{"_type": {"Patient,Condition"}}, fhir.Forbidden, "http._type", true},
		{"no scope at all", narrow, url.Values{"_type": {"Condition"}}, fhir.Forbidden, "http._type", false},
		{"since when", system, url.Values{"_since": {"yesterday"}}, fhir.Invalid, "http._since", false},
		{"format", system, url.Values{"_outputFormat": {"application/json"}}, fhir.Invalid, "http._outputFormat", false},
		{"two formats", system, url.Values{"_outputFormat": {"ndjson", "ndjson"}}, fhir.Invalid, "http._outputFormat", false},
		{"elements", system, url.Values{"_elements": {"nosuch"}}, fhir.Invalid, "http._elements", true},
		{"filter of nothing", system, url.Values{"_typeFilter": {"status=final"}}, fhir.Invalid, "http._typeFilter", false},
		{"filter of another type", system, url.Values{"_type": {"Patient"}, "_typeFilter": {"Observation?status=final"}}, fhir.Invalid, "http._typeFilter", true},
		{"filter that sorts", system, url.Values{"_typeFilter": {"Observation?_sort=date"}}, fhir.Invalid, "http._typeFilter", false},
		{"filter that includes", system, url.Values{"_typeFilter": {"Observation?_include:iterate=Observation:subject"}}, fhir.Invalid, "http._typeFilter", false},
		{"filter by nothing known", system, url.Values{"_typeFilter": {"Observation?nosuch=1"}}, fhir.Invalid, "http._typeFilter", true},
		{"filter of what is not open", narrow, url.Values{"_typeFilter": {"Condition?code=1"}}, fhir.Invalid, "http._typeFilter", true},
	} {
		_, err := w.begin(w.guard, tt.c, consent.ExportRequest{Level: consent.ExportPatients, Values: tt.values})
		wantKind(t, err, tt.kind)
		if err != nil && !strings.Contains(fmt.Sprint(err), tt.names) {
			t.Errorf("%s: the refusal does not name it: %v", tt.name, err)
		}
		if _, err = w.begin(w.guard, tt.c, consent.ExportRequest{Level: consent.ExportPatients, Values: tt.values, Lenient: true}); (err == nil) != tt.passes {
			t.Errorf("%s, lenient: %v", tt.name, err)
		}
	}
	_, err := w.begin(w.guard, system, consent.ExportRequest{Level: consent.ExportPatients, Patients: []string{"Practitioner/adams"}})
	wantKind(t, err, fhir.Invalid)
	_, err = w.begin(w.guard, system, consent.ExportRequest{Level: consent.ExportSystem, Values: url.Values{"_typeFilter": {"Patient?family=" + strings.Repeat("x", 64<<10)}}})
	wantKind(t, err, fhir.TooBig)
	_, err = w.begin(w.guard, system, consent.ExportRequest{Level: consent.ExportPatients, Patients: make([]string, 1001)})
	wantKind(t, err, fhir.TooBig)
	_, err = w.begin(w.guard, w.app("helen", "openid", "ava"), consent.ExportRequest{Level: consent.ExportSystem})
	wantKind(t, err, fhir.Forbidden)
	// what a filter reads must be open as well
	if got, err := w.export(w.guard, w.as("okafor"), consent.ExportRequest{Level: consent.ExportSystem, Values: url.Values{"_typeFilter": {"Practitioner?_has:Patient:general-practitioner:family=Rivera"}, "_type": {"Practitioner"}}}); err != nil || len(got) > 0 {
		t.Errorf("a stranger learns who treats whom: %v, %v", got, err)
	}
	if got, err := w.export(w.guard, w.as("adams"), consent.ExportRequest{Level: consent.ExportSystem, Values: url.Values{"_typeFilter": {"Practitioner?_has:Patient:general-practitioner:family=Rivera"}, "_type": {"Practitioner"}}}); err != nil || !slices.Equal(got, []string{"Practitioner/adams"}) {
		t.Errorf("who treats them: %v, %v", got, err)
	}
}

// TestExportsAreLogged: the family sees who took a copy of what; and without the log
// nothing is given.
func TestExportsAreLogged(t *testing.T) {
	w := newWorld(t)
	if _, err := w.export(w.guard, w.as("baker"), consent.ExportRequest{Level: consent.ExportSystem}); err != nil {
		t.Fatal(err)
	}
	for who, c := range map[string]consent.Caller{"ava": w.as("ava"), "noah": w.as("noah")} {
		looks, err := w.guard.WhoLooked(t.Context(), c, who, 50)
		if err != nil {
			t.Fatal(err)
		}
		for _, typ := range []string{"Patient", "Observation"} {
			if !slices.ContainsFunc(looks, func(l consent.Look) bool {
				return l.Action == "export" && l.What == typ && slices.Contains(l.Why, consent.BasisPCP) && l.Person != ""
			}) {
				t.Errorf("%s: an export of %s is not in the log: %+v", who, typ, looks)
			}
		}
	}
	if looks, err := w.guard.WhoLooked(t.Context(), w.as("grace"), "mateo", 50); err != nil || slices.ContainsFunc(looks, func(l consent.Look) bool { return l.Action == "export" }) {
		t.Errorf("the log of another: %+v, %v", looks, err)
	}
	page, err := w.guard.Search(t.Context(), w.as("ava"), "AuditEvent", url.Values{"patient": {"Patient/ava"}}, false)
	if err != nil || !slices.ContainsFunc(page.Entries, func(e fhir.Entry) bool {
		return strings.Contains(string(e.Resource.JSON), `"code":"110106"`) && strings.Contains(string(e.Resource.JSON), "Observation/ava-weight")
	}) {
		t.Errorf("no AuditEvent tells of it: %v", err)
	}
}

// TestNoExportWithoutTheLog: a page that cannot be logged is not given.
func TestNoExportWithoutTheLog(t *testing.T) {
	f := &failing{}
	w := newWorld(t, func(c *engine.Config) {
		f.Store = c.Store
		c.Store = f
	})
	id, err := w.begin(w.guard, w.as("baker"), consent.ExportRequest{Level: consent.ExportSystem})
	if err != nil {
		t.Fatal(err)
	}
	baker := w.as("baker")
	f.now.Store(true)
	defer f.now.Store(false)
	given := false
	err = w.guard.ExportFile(t.Context(), baker, id, "Patient", func(*fhir.Page) error { given = true; return nil })
	if err == nil || given {
		t.Errorf("given: %v, %v", given, err)
	}
	if x, err := w.guard.Export(t.Context(), baker, id); err == nil {
		t.Errorf("told of %v", x.Types)
	}
	stop := errors.New("stop")
	f.now.Store(false)
	if err := w.guard.ExportFile(t.Context(), baker, id, "Patient", func(*fhir.Page) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}
