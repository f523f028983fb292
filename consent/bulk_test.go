package consent_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// begin asks for an export and gives its id.
func (w *world) begin(g *consent.Guard, c consent.Caller, r consent.ExportRequest) (string, error) {
	w.t.Helper()
	if r.Values == nil {
		r.Values = url.Values{}
	}
	x, err := g.BeginExport(w.t.Context(), c, r)
	if err != nil {
		return "", err
	}
	return x.ID, nil
}

// file gives the lines of a file: "Patient/1".
func (w *world) file(g *consent.Guard, c consent.Caller, id string, t fhir.Type) (keys []string, err error) {
	w.t.Helper()
	err = g.ExportFile(w.t.Context(), c, id, t, func(page *fhir.Page) error {
		for _, e := range page.Entries {
			keys = append(keys, e.Resource.Key.String())
		}
		return nil
	})
	return keys, err
}

// export gives all lines of all files of an export, and checks that there is a file for
// each type of which there is a line, and for no other.
func (w *world) export(g *consent.Guard, c consent.Caller, r consent.ExportRequest) ([]string, error) {
	w.t.Helper()
	id, err := w.begin(g, c, r)
	if err != nil {
		return nil, err
	}
	x, err := g.Export(w.t.Context(), c, id)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, t := range fhir.Types() {
		lines, err := w.file(g, c, id, t)
		if fhir.KindOf(err) == fhir.NotFound || fhir.KindOf(err) == fhir.Forbidden {
			continue
		}
		if err != nil {
			return nil, err
		}
		if slices.Contains(x.Types, t) != (len(lines) > 0) {
			w.t.Errorf("%s has %d lines, and files are of %v", t, len(lines), x.Types)
		}
		if slices.Sort(lines); len(slices.Compact(slices.Clone(lines))) != len(lines) {
			w.t.Errorf("%s: some twice: %v", t, lines)
		}
		all = append(all, lines...)
	}
	slices.Sort(all)
	return all, nil
}

// found gives what searches of all types find.
func (w *world) found(g *consent.Guard, c consent.Caller) (all []*fhir.Resource) {
	w.t.Helper()
	for _, t := range fhir.Types() {
		if t == "AuditEvent" {
			continue
		}
		page, err := g.Search(w.t.Context(), c, t, url.Values{"_count": {"1000"}}, false)
		if fhir.KindOf(err) == fhir.Forbidden && err != nil {
			continue
		}
		if err != nil {
			w.t.Fatal(err)
		}
		for _, e := range page.Entries {
			if e.Resource != nil {
				all = append(all, e.Resource)
			}
		}
	}
	return all
}

// ownedBy tells whether a resource belongs to one of some patients; of Patients, is one.
func ownedBy(patients ...string) func(*fhir.Resource) bool {
	return func(r *fhir.Resource) bool {
		if r.Type == "Patient" {
			return slices.Contains(patients, r.Key.String())
		}
		for o := range store.Terms(r.Terms).Values(store.Owner) {
			if slices.Contains(patients, string(o)) {
				return true
			}
		}
		return false
	}
}

const someGroup = `{"resourceType":"Group","id":%q,"type":"person","actual":true,"member":[%s]}`

func member(patient string, more ...string) string {
	return `{"entity":{"reference":"Patient/` + patient + `"}` + strings.Join(append([]string{""}, more...), ",") + `}`
}

// TestExportsAgreeWithSearch: at each level an export gives just what searches find, to
// everybody, whether panels and groups are listed or joined.
func TestExportsAgreeWithSearch(t *testing.T) {
	w := newWorld(t)
	w.ask("okafor", "1001", consent.AccessRequest{}) // a Consent, a Provenance, a notice
	w.put(`{"resourceType":"Appointment","id":"both","status":"proposed","participant":[{"actor":{"reference":"Patient/mateo"},"status":"accepted"},{"actor":{"reference":"Patient/ava"},"status":"accepted"}]}`)
	w.put(`{"resourceType":"Observation","id":"refers","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/sofia"},"hasMember":[{"reference":"Observation/ava-secret"}],"performer":[{"reference":"Patient/noah"}]}`)
	w.put(`{"resourceType":"Organization","id":"clinic","name":"Clinic"}`)
	w.put(someGroup, "some", strings.Join([]string{member("mateo"), member("ava"), member("lily", `"inactive":true`), member("noah", `"period":{"end":"2026-03-09"}`), member("absent")}, ","))
	w.directive("denies", "sofia", provision("deny", actors("Practitioner/adams"), `"class":[{"system":"http://hl7.org/fhir/resource-types","code":"Observation"}]`))
	callers := map[string]consent.Caller{
		"an app for mateo": w.app("grace", "patient/*.rs", "mateo"), "an app of adams for sofia": w.app("adams", "patient/*.rs", "sofia"),
		"a granular app": w.app("ava", "patient/Patient.rs patient/Group.r patient/Observation.rs?code=http://loinc.org|29463-7", "ava"),
		"a system":       w.system("system/*.rs"), "a narrow system": w.system("system/Patient.s system/Observation.rs system/Group.rs"),
	}
	for _, who := range []string{"adams", "baker", "chen", "okafor", "grace", "luis", "helen", "ava", "noah"} {
		callers[who] = w.as(who)
	}
	everybody := []string{"Patient/mateo", "Patient/sofia", "Patient/ava", "Patient/noah", "Patient/lily"}
	for how, g := range map[string]*consent.Guard{"listed": w.guard, "joined": w.another(-1, func(*consent.Policy) {})} {
		g.StopRecording() // thousands of calls
		for who, c := range callers {
			found := w.found(g, c)
			for _, tt := range []struct {
				r    consent.ExportRequest
				keep func(*fhir.Resource) bool
			}{
				{consent.ExportRequest{Level: consent.ExportSystem}, func(*fhir.Resource) bool { return true }},
				{consent.ExportRequest{Level: consent.ExportPatients}, ownedBy(everybody...)},
				{consent.ExportRequest{Level: consent.ExportPatients, Patients: []string{"Patient/ava", "Patient/sofia"}}, ownedBy("Patient/ava", "Patient/sofia")},
				{consent.ExportRequest{Level: consent.ExportGroup, Group: "some"}, ownedBy("Patient/mateo", "Patient/ava")},
				{consent.ExportRequest{Level: consent.ExportGroup, Group: "some", Patients: []string{"Patient/ava", "Patient/lily", "Patient/sofia"}}, ownedBy("Patient/ava")},
			} {
				got, err := w.export(g, c, tt.r)
				if tt.r.Group != "" {
					if readable := w.read(c, "Group/some"); readable != nil {
						wantKind(t, err, fhir.KindOf(readable))
						continue
					}
				}
				if err != nil {
					t.Fatalf("%s, %s, %v: %v", how, who, tt.r, err)
				}
				var want []string
				for _, r := range found {
					if tt.keep(r) {
						want = append(want, r.Key.String())
					}
				}
				slices.Sort(want)
				if tt.r.Level == consent.ExportPatients && who == "okafor" { // about somebody whom he does not see
					want = slices.DeleteFunc(want, func(k string) bool { return strings.HasPrefix(k, "Consent/") })
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s, %s, %v:\ngot  %v\nwant %v", how, who, tt.r, got, want)
				}
			}
		}
	}
	if got, err := w.export(w.guard, w.as("grace"), consent.ExportRequest{Level: consent.ExportPatients}); err != nil || !slices.Contains(got, "Observation/mateo-weight") || !slices.Contains(got, "Observation/sofia-weight") {
		t.Errorf("the mother: %v, %v", got, err)
	}
}

// TestExportsTellNothing: two worlds differ in what a reader may not see; every byte of
// every file is the same.
func TestExportsTellNothing(t *testing.T) {
	build := func(secrets bool) *world {
		w := newWorld(t)
		for n := range 4 {
			w.put(`{"resourceType":"Observation","id":"seen%d","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/ava"}}`, n)
		}
		w.put(someGroup, "school", member("ava"))
		if secrets {
			w.put(`{"resourceType":"Observation","id":"hid","meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"SEX"}]},"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/ava"}}`)
			w.put(`{"resourceType":"Encounter","id":"visit","meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"PSY"}]},"status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/ava"}}`)
			w.put(`{"resourceType":"Condition","id":"other","subject":{"reference":"Patient/mateo"},"evidence":[{"detail":[{"reference":"Observation/seen1"}]}]}`)
			w.put(`{"resourceType":"Observation","id":"others","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"},"hasMember":[{"reference":"Observation/seen1"}]}`)
		}
		return w
	}
	with, without := build(true), build(false)
	for _, level := range []consent.ExportRequest{{Level: consent.ExportSystem}, {Level: consent.ExportPatients}, {Level: consent.ExportGroup, Group: "school"}, {Level: consent.ExportPatients, Patients: []string{"Patient/ava", "Patient/mateo"}}} {
		text := func(w *world) string {
			var b strings.Builder
			c := w.as("helen")
			id, err := w.begin(w.guard, c, level)
			if err != nil {
				t.Fatal(err)
			}
			x, err := w.guard.Export(t.Context(), c, id)
			fmt.Fprintln(&b, x.Types, x.Time, x.Expires, err)
			for _, typ := range []fhir.Type{"Patient", "Observation", "Encounter", "Condition", "CareTeam"} {
				err := w.guard.ExportFile(t.Context(), c, id, typ, func(page *fhir.Page) error {
					fmt.Fprintln(&b, typ, len(page.Entries))
					for _, e := range page.Entries {
						fmt.Fprintf(&b, "%s\n", e.Resource.JSON)
					}
					return nil
				})
				fmt.Fprintln(&b, err)
			}
			return b.String()
		}
		a, b := text(with), text(without)
		if a != b || !strings.Contains(a, "seen3") || strings.Contains(a, "ava-secret") {
			t.Errorf("%v: with secrets\n%s\nwithout\n%s", level, a, b)
		}
	}
}

// TestExportEndsWithTheBasis: what is decided is decided when a file is read.
func TestExportEndsWithTheBasis(t *testing.T) {
	w := newWorld(t)
	system := consent.ExportRequest{Level: consent.ExportSystem}
	chen := w.as("chen")
	id, err := w.begin(w.guard, chen, system)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := w.file(w.guard, chen, id, "Observation"); err != nil || !slices.Equal(got, []string{"Observation/mateo-weight"}) {
		t.Errorf("got %v, %v", got, err)
	}
	w.directive("no", "mateo", provision("deny", actors("Practitioner/chen")))
	for _, typ := range []fhir.Type{"Observation", "Patient", "CareTeam"} {
		if got, err := w.file(w.guard, chen, id, typ); err != nil || len(got) > 0 {
			t.Errorf("after a denial, %s: %v, %v", typ, got, err)
		}
	}
	if x, err := w.guard.Export(t.Context(), chen, id); err != nil || slices.Contains(x.Types, "Patient") {
		t.Errorf("after a denial there are files of %v, %v", x.Types, err)
	}

	grace := w.as("grace")
	if id, err = w.begin(w.guard, grace, system); err != nil {
		t.Fatal(err)
	}
	w.directive("order", "mateo", provision("deny", actors("RelatedPerson/grace-mateo")))
	if got, err := w.file(w.guard, grace, id, "Observation"); err != nil || !slices.Equal(got, []string{"Observation/sofia-weight"}) {
		t.Errorf("after a custody order: %v, %v", got, err)
	}
	helen := w.as("helen")
	if id, err = w.begin(w.guard, helen, system); err != nil {
		t.Fatal(err)
	}
	w.clock.set(time.Date(2028, 9, 8, 23, 0, 0, 0, w.zone))
	if _, err := w.file(w.guard, helen, id, "Patient"); err == nil {
		t.Error("an export of two years ago is still there")
	}
	if id, err = w.begin(w.guard, helen, system); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(time.Hour) // Ava is of age
	if got, err := w.file(w.guard, helen, id, "Patient"); err != nil || len(got) > 0 {
		t.Errorf("after the birthday: %v, %v", got, err)
	}
}

// TestExportEndsWithinAFile: a denial holds for the next page, and who ends the export
// ends its files.
func TestExportEndsWithinAFile(t *testing.T) {
	w := newWorld(t)
	many := func(patient string) {
		var all []*engine.Prepared
		for n := range 501 { // one more than a page holds
			all = append(all, w.prepare(`{"resourceType":"Observation","id":"%s-%03d","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/%s"}}`, patient, n, patient))
		}
		if err := w.eng.Update(t.Context(), func(tx *engine.Tx) error {
			for _, p := range all {
				if _, _, err := tx.Update(p, nil); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	many("mateo")
	adams, system := w.as("adams"), consent.ExportRequest{Level: consent.ExportSystem, Values: url.Values{"_type": {"Observation"}}}
	read := func(between func(id string)) (pages []int, err error) {
		id, err := w.begin(w.guard, adams, system)
		if err != nil {
			t.Fatal(err)
		}
		err = w.guard.ExportFile(t.Context(), adams, id, "Observation", func(page *fhir.Page) error {
			if pages = append(pages, len(page.Entries)); len(pages) == 1 {
				between(id)
			}
			return nil
		})
		return pages, err
	}
	if pages, err := read(func(string) {}); err != nil || !slices.Equal(pages, []int{500, 3}) { // and the weights
		t.Errorf("got pages of %v, %v", pages, err)
	}
	pages, err := read(func(id string) {
		if err := w.guard.EndExport(t.Context(), adams, id); err != nil {
			t.Fatal(err)
		}
	})
	wantKind(t, err, fhir.NotFound)
	if !slices.Equal(pages, []int{500}) {
		t.Errorf("of an export that was ended: pages of %v", pages)
	}
	if pages, err := read(func(string) { w.directive("no", "mateo", provision("deny", actors("Practitioner/adams"))) }); err != nil || !slices.Equal(pages, []int{500, 1}) {
		t.Errorf("after a denial between pages: %v, %v", pages, err)
	}
}

// TestExportsOfManyPatients: a file that goes through patients, a few at a time, has each
// resource once, whoever else it belongs to.
func TestExportsOfManyPatients(t *testing.T) {
	w := newWorld(t)
	var all []*engine.Prepared
	var members, patients []string
	const many = 60
	for n := range many {
		id := fmt.Sprintf("p%02d", n)
		all = append(all, w.prepare(`{"resourceType":"Patient","id":%q,"birthDate":"2020-01-01","generalPractitioner":[{"reference":"Practitioner/chen"}]}`, id))
		for k := range n % 7 * 4 {
			all = append(all, w.prepare(`{"resourceType":"Observation","id":"%s-%d","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/%s"}}`, id, k, id))
		}
		all = append(all, w.prepare(`{"resourceType":"Appointment","id":"a%02d","status":"proposed","participant":[{"actor":{"reference":"Patient/%s"},"status":"accepted"},{"actor":{"reference":"Patient/p%02d"},"status":"accepted"}]}`, n, id, (n+17)%many))
		patients, members = append(patients, "Patient/"+id), append(members, member(id))
	}
	all = append(all, w.prepare(someGroup, "many", strings.Join(members[5:], ",")))
	if err := w.eng.Update(t.Context(), func(tx *engine.Tx) error {
		for _, p := range all {
			if _, _, err := tx.Update(p, nil); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for how, g := range map[string]*consent.Guard{"listed": w.guard, "joined": w.another(-1, func(*consent.Policy) {})} {
		g.StopRecording()
		for who, c := range map[string]consent.Caller{"chen": w.as("chen"), "a system": w.system("system/*.rs")} {
			for _, tt := range []struct {
				r    consent.ExportRequest
				keep func(*fhir.Resource) bool
			}{
				{consent.ExportRequest{Level: consent.ExportSystem}, func(*fhir.Resource) bool { return true }},
				{consent.ExportRequest{Level: consent.ExportGroup, Group: "many"}, ownedBy(patients[5:]...)},
				{consent.ExportRequest{Level: consent.ExportPatients, Patients: []string{patients[9], patients[2], patients[9]}}, ownedBy(patients[9], patients[2])},
			} {
				got, err := w.export(g, c, tt.r)
				var want []string
				for _, r := range w.found(g, c) {
					if tt.keep(r) {
						want = append(want, r.Key.String())
					}
				}
				if slices.Sort(want); err != nil || !slices.Equal(got, want) || len(got) < 10 {
					t.Errorf("%s, %s, %v: got %d, want %d, %v", how, who, tt.r, len(got), len(want), err)
				}
			}
		}
	}
}

// TestExportsAreTheCallers: to all others there is no such export, and it cannot be
// told from one that never was.
func TestExportsAreTheCallers(t *testing.T) {
	w := newWorld(t)
	ava := w.app("ava", "patient/*.rs", "ava")
	id, err := w.begin(w.guard, ava, consent.ExportRequest{Level: consent.ExportPatients})
	if err != nil {
		t.Fatal(err)
	}
	other, launch := ava, ava
	other.ClientID = "another"
	launch.Launch.Patient = ""
	launch.Scopes, _ = smart.ParseScopes("user/*.rs")
	thieves := map[string]consent.Caller{"the mother": w.app("helen", "patient/*.rs", "ava"), "another app": other, "another launch": launch,
		"the doctor": w.as("baker"), "a guardian of another": w.as("grace"), "a stranger": w.as("okafor"), "a system": w.system("system/*.rs")}
	for who, c := range thieves {
		for name, err := range map[string]error{
			"status": second(w.guard.Export(t.Context(), c, id)), "end": w.guard.EndExport(t.Context(), c, id),
			"file":        w.guard.ExportFile(t.Context(), c, id, "Patient", func(*fhir.Page) error { t.Error("given"); return nil }),
			"no such one": second(w.guard.Export(t.Context(), c, "absent")),
		} {
			if fhir.KindOf(err) != fhir.NotFound || err.Error() != fhir.ErrNotFound().Error() {
				t.Errorf("%s, %s: %v", who, name, err)
			}
		}
	}
	narrow := ava
	narrow.Scopes, _ = smart.ParseScopes("patient/Patient.rs patient/Condition.r")
	if x, err := w.guard.Export(t.Context(), narrow, id); err != nil || !slices.Equal(x.Types, []fhir.Type{"Patient"}) {
		t.Errorf("by a token with fewer scopes: %v, %v", x, err)
	}
	for _, typ := range []fhir.Type{"Observation", "Condition"} {
		if got, err := w.file(w.guard, narrow, id, typ); err == nil || len(got) > 0 {
			t.Errorf("by a token with fewer scopes, %s: %v, %v", typ, got, err)
		}
	}
	if err := w.guard.EndExport(t.Context(), ava, id); err != nil {
		t.Fatal(err)
	}
	wantKind(t, second(w.guard.Export(t.Context(), ava, id)), fhir.NotFound)
	wantKind(t, w.guard.EndExport(t.Context(), ava, id), fhir.NotFound)
	if id, err = w.begin(w.guard, ava, consent.ExportRequest{Level: consent.ExportPatients}); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(6*time.Hour - time.Millisecond)
	if _, err := w.guard.Export(t.Context(), ava, id); err != nil {
		t.Error(err)
	}
	w.clock.pass(time.Millisecond)
	wantKind(t, second(w.guard.Export(t.Context(), ava, id)), fhir.NotFound)
	wantKind(t, second(w.file(w.guard, ava, id, "Patient")), fhir.NotFound)
}

func second[T any](_ T, err error) error { return err }

// TestExportsOfGroups: a Group that cannot be read is absent.
func TestExportsOfGroups(t *testing.T) {
	w := newWorld(t)
	w.put(someGroup, "hers", member("ava"))
	w.put(someGroup, "mixed", member("mateo")+","+member("ava"))
	w.put(`{"resourceType":"Group","id":"over","active":false,"type":"person","actual":true,"member":[%s]}`, member("mateo"))
	group := func(id string) consent.ExportRequest {
		return consent.ExportRequest{Level: consent.ExportGroup, Group: id}
	}
	for _, id := range []string{"hers", "absent"} {
		_, err := w.begin(w.guard, w.as("grace"), group(id))
		wantKind(t, err, fhir.NotFound)
	}
	_, err := w.begin(w.guard, w.system("system/Patient.rs system/Observation.rs"), group("hers"))
	wantKind(t, err, fhir.Forbidden)
	if got, err := w.export(w.guard, w.as("grace"), group("mixed")); err != nil || slices.ContainsFunc(got, func(k string) bool { return strings.Contains(k, "ava") }) || !slices.Contains(got, "Observation/mateo-weight") {
		t.Errorf("of a group with another's child: %v, %v", got, err)
	}
	for how, g := range map[string]*consent.Guard{"listed": w.guard, "joined": w.another(-1, func(*consent.Policy) {})} {
		if got, err := w.export(g, w.system("system/*.rs"), group("over")); err != nil || len(got) > 0 {
			t.Errorf("%s: of a group that is over: %v, %v", how, got, err)
		}
	}
	system := w.system("system/*.rs")
	id, err := w.begin(w.guard, system, group("hers"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.guard.Delete(t.Context(), w.system("system/*.cruds"), fhir.Key{Type: "Group", ID: "hers"}, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := w.file(w.guard, system, id, "Patient"); err == nil || len(got) > 0 {
		t.Errorf("of a group that was deleted: %v, %v", got, err)
	}
}
