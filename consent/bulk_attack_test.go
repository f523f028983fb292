package consent_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/smart"
)

// manyObservations stores more of a patient than a page of a file holds.
func (w *world) manyObservations(patient string) {
	w.t.Helper()
	var all []*engine.Prepared
	for n := range 501 {
		all = append(all, w.prepare(`{"resourceType":"Observation","id":"%s-%03d","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/%s"}}`, patient, n, patient))
	}
	if err := w.eng.Update(w.t.Context(), func(tx *engine.Tx) error {
		for _, p := range all {
			if _, _, err := tx.Update(p, nil); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

// TestExportEndsWithTheGrant: whoever reads a file slowly reads no page of it after their
// grant was revoked, they stand for another, or the scopes were taken away.
func TestExportEndsWithTheGrant(t *testing.T) {
	w := newWorld(t)
	w.manyObservations("mateo")
	none, err := smart.ParseScopes("user/Patient.rs")
	if err != nil {
		t.Fatal(err)
	}
	var left func(held smart.Grant) (smart.Grant, bool, error)
	g, err := consent.New(consent.Config{Rules: w.rules, Now: w.clock.Now, Key: []byte(strings.Repeat("k", 32)), MRNSystem: mrnSystem, Policy: consent.DefaultPolicy(),
		Standing: func(_ context.Context, held smart.Grant) (smart.Grant, bool, error) { return left(held) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	adams := w.app("adams", "user/*.rs", "")
	for name, tt := range map[string]struct {
		left  func(held smart.Grant) (smart.Grant, bool, error)
		pages []int
		kind  fhir.Kind
	}{
		"all":     {func(held smart.Grant) (smart.Grant, bool, error) { return held, true, nil }, []int{500, 3}, fhir.Internal},
		"revoked": {func(smart.Grant) (smart.Grant, bool, error) { return smart.Grant{}, false, nil }, []int{500}, fhir.NotFound},
		"nobody": {func(held smart.Grant) (smart.Grant, bool, error) {
			held.Identity.FHIRUser, held.Identity.Persons = "Practitioner/okafor", []string{"Practitioner/okafor"}
			return held, true, nil
		}, []int{500}, fhir.NotFound},
		"fewer scopes": {func(held smart.Grant) (smart.Grant, bool, error) { held.Scopes = none; return held, true, nil }, []int{500}, fhir.Forbidden},
	} {
		left = tt.left
		id, err := w.begin(g, adams, consent.ExportRequest{Level: consent.ExportSystem})
		if err != nil {
			t.Fatal(err)
		}
		var pages []int
		err = g.ExportFile(t.Context(), adams, id, "Observation", func(page *fhir.Page) error {
			pages = append(pages, len(page.Entries))
			return nil
		})
		if !slices.Equal(pages, tt.pages) {
			t.Errorf("%s: pages of %v", name, pages)
		}
		if tt.kind != fhir.Internal {
			wantKind(t, err, tt.kind)
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestExportFiltersCostTogether: the searches of an export may cost what one may.
func TestExportFiltersCostTogether(t *testing.T) {
	w := newWorld(t)
	c := w.as("okafor")
	begin := func(filters ...string) error {
		_, err := w.begin(w.guard, c, consent.ExportRequest{Level: consent.ExportSystem, Values: url.Values{"_typeFilter": filters}})
		return err
	}
	var chains, values []string
	for n := range 60 {
		chains = append(chains, fmt.Sprintf("Observation?subject:Patient.name=x%d&performer:Practitioner.name=y", n))
		values = append(values, "Observation?code="+strings.Repeat("a,", 40)+"a")
	}
	if err := begin(chains[:50]...); err != nil {
		t.Error(err)
	}
	if err := begin(values[:40]...); err != nil {
		t.Error(err)
	}
	for _, filters := range [][]string{chains, values} {
		wantKind(t, begin(filters...), fhir.Invalid)
	}
}

// TestExportsAreCounted: each is kept for hours, so nobody may begin any number.
func TestExportsAreCounted(t *testing.T) {
	w := newWorld(t)
	begin := func(who string) error {
		_, err := w.begin(w.guard, w.as(who), consent.ExportRequest{Level: consent.ExportSystem})
		return err
	}
	for range 120 {
		if err := begin("okafor"); err != nil {
			t.Fatal(err)
		}
	}
	wantKind(t, begin("okafor"), fhir.Throttled)
	if err := begin("grace"); err != nil {
		t.Error(err)
	}
	w.clock.pass(time.Hour)
	if err := begin("okafor"); err != nil {
		t.Error(err)
	}
}

// TestExportTimeOverlaps: what was written before the transactionTime, and stored after
// the file was read, is in the next export, which asks since that time.
func TestExportTimeOverlaps(t *testing.T) {
	if os.Getenv("STORE") != "postgres" {
		t.Skip("one writes at a time")
	}
	w := newWorld(t)
	system := w.system("system/*.rs")
	late := w.prepare(`{"resourceType":"Observation","id":"late","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"}}`)
	began, release, done := make(chan bool), make(chan bool), make(chan error)
	var once sync.Once
	go func() {
		done <- w.eng.Update(t.Context(), func(tx *engine.Tx) error {
			_, _, err := tx.Update(late, nil)
			once.Do(func() { close(began); <-release })
			return err
		})
	}()
	<-began
	w.clock.pass(5 * time.Second)
	x, err := w.guard.BeginExport(t.Context(), system, consent.ExportRequest{Level: consent.ExportSystem, Values: url.Values{"_type": {"Observation"}}})
	if err != nil {
		t.Fatal(err)
	}
	first, err := w.file(w.guard, system, x.ID, "Observation")
	if err != nil || slices.Contains(first, "Observation/late") {
		t.Errorf("not stored yet: %v, %v", first, err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	w.clock.pass(time.Hour)
	next, err := w.export(w.guard, system, consent.ExportRequest{Level: consent.ExportSystem, Values: url.Values{"_type": {"Observation"}, "_since": {x.Time.UTC().Format(time.RFC3339Nano)}}})
	if err != nil || !slices.Contains(next, "Observation/late") {
		t.Errorf("lost to both exports: %v, %v", next, err)
	}
}

// TestExportStatusIsLogged: that there is a file tells of whom a filter or a patient names,
// so it is in their log, as far as who reads that log may know of it.
func TestExportStatusIsLogged(t *testing.T) {
	w := newWorld(t)
	status := func(typ, filter string, patients ...string) bool {
		id, err := w.begin(w.guard, w.as("baker"), consent.ExportRequest{Level: consent.ExportPatients, Patients: patients, Values: url.Values{"_type": {typ}, "_typeFilter": {typ + "?" + filter}}})
		if err != nil {
			t.Fatal(err)
		}
		x, err := w.guard.Export(t.Context(), w.as("baker"), id)
		if err != nil {
			t.Fatal(err)
		}
		return len(x.Types) > 0
	}
	logged := func(who, patient string) (n int) {
		looks, err := w.guard.WhoLooked(t.Context(), w.as(who), patient, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range looks {
			if l.Action == "list-export" {
				n++
			}
		}
		return n
	}
	if !status("Observation", "subject:Patient.identifier="+mrnSystem+"|1004") || logged("noah", "noah") != 1 || logged("ava", "ava") != 0 {
		t.Errorf("by a filter: %d in the log of Noah, %d in that of Ava", logged("noah", "noah"), logged("ava", "ava"))
	}
	if status("Condition", "code=1", "Patient/noah") || logged("noah", "noah") != 2 {
		t.Errorf("of one patient, in vain: %d in the log", logged("noah", "noah"))
	}
	if !status("Observation", "code:text=confidential") || logged("ava", "ava") != 1 || logged("helen", "ava") != 0 {
		t.Errorf("what is hidden from the mother: %d in the log of Ava, her mother sees %d", logged("ava", "ava"), logged("helen", "ava"))
	}
}
