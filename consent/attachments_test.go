package consent_test

import (
	"slices"
	"strings"
	"testing"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/store"
)

// A store that was indexed before it was known what is attached to what shows people
// no Binary at all, until it is indexed anew.
func TestAttachmentsAreClosedUntilTheIndexKnowsThem(t *testing.T) {
	w := newWorld(t)
	const secret = `,"meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"SEX"}]}`
	for id, label := range map[string]string{"open": "", "hidden": secret} {
		w.put(`{"resourceType":"Binary","id":%q,"contentType":"text/plain","securityContext":{"reference":"Patient/ava"},"data":"YQ=="}`, id)
		w.put(`{"resourceType":"DocumentReference","id":%q%s,"status":"current","subject":{"reference":"Patient/ava"},"content":[{"attachment":{"url":"Binary/%s"}}]}`, id, label, id)
	}
	asLater := func() {
		t.Helper()
		w.may("helen", "Binary/open", "DocumentReference/open")
		w.mayNot("helen", "Binary/hidden", "DocumentReference/hidden")
		w.may("ava", "Binary/open", "Binary/hidden")
		if ids, err := w.search(w.as("helen"), "Binary", ""); err != nil || !slices.Equal(ids, []string{"open"}) {
			t.Errorf("got %v, %v", ids, err)
		}
	}
	asLater()

	err := w.db.Update(t.Context(), func(tx store.Writer) error {
		for _, id := range []string{"open", "hidden"} {
			v, err := tx.Resource(store.Key{Type: "DocumentReference", ID: id})
			if err != nil {
				return err
			}
			var terms []store.Term
			for name, value := range v.Terms.All() {
				if string(name) != "_holds" {
					terms = append(terms, store.Term{Name: string(name), Value: string(value)})
				}
			}
			if err := tx.Rewrite(v.Key, v.Version, store.NewTerms(terms), v.Body); err != nil {
				return err
			}
		}
		return tx.PutRecord(&store.Record{Kind: "index", Key: "state", Value: []byte(`{"done":{"layout":3,"zone":"America/New_York"}}`)})
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.eng.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"helen", "ava", "baker"} {
		w.mayNot(who, "Binary/open", "Binary/hidden")
		if ids, err := w.search(w.as(who), "Binary", ""); err != nil || len(ids) != 0 {
			t.Errorf("%s: got %v, %v", who, ids, err)
		}
	}
	w.may("helen", "DocumentReference/open")
	for _, ref := range []string{"Binary/open", "Binary/hidden"} {
		if err := w.read(w.system("system/*.rs"), ref); err != nil {
			t.Errorf("a system reads %s: got %v", ref, err)
		}
	}

	if _, err := w.eng.Reindex(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	asLater()
}

// A Binary is as private as the document that it is attached to, which has the labels.
func TestAttachmentsAreAsPrivateAsTheirDocument(t *testing.T) {
	w := newWorld(t)
	binary := func(id, patient string) {
		w.put(`{"resourceType":"Binary","id":%q,"contentType":"text/plain","securityContext":{"reference":"Patient/%s"},"data":"YQ=="}`, id, patient)
	}
	document := func(id, patient, url, more string) {
		w.put(`{"resourceType":"DocumentReference","id":%q%s,"status":"current","subject":{"reference":"Patient/%s"},"content":[{"attachment":{"url":%q}}]}`, id, more, patient, url)
	}
	const secret = `,"meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"SEX"}]}`
	for _, id := range []string{"open", "relative", "absolute", "version", "report", "both"} {
		binary("ava-"+id, "ava")
	}
	document("open", "ava", "Binary/ava-open", "")
	document("relative", "ava", "Binary/ava-relative", secret)
	document("absolute", "ava", base+"/fhir/Binary/ava-absolute", secret)
	document("version", "ava", "Binary/ava-version/_history/1", secret)
	document("both-open", "ava", "Binary/ava-both", "")
	document("both", "ava", "Binary/ava-both", secret)
	w.put(`{"resourceType":"DiagnosticReport","id":"report"%s,"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/ava"},"presentedForm":[{"url":"Binary/ava-report"}]}`, secret)
	document("mateos", "mateo", "Binary/ava-open", secret) // says nothing of Ava's

	hidden := []string{"Binary/ava-relative", "Binary/ava-absolute", "Binary/ava-version", "Binary/ava-report", "Binary/ava-both"}
	w.mayNot("helen", hidden...)
	w.may("helen", "Binary/ava-open", "DocumentReference/open")
	for _, who := range []string{"ava", "baker"} {
		w.may(who, append(hidden, "Binary/ava-open")...)
	}
	found := func(c consent.Caller, want ...string) {
		t.Helper()
		ids, err := w.search(c, "Binary", "_sort=_id")
		if err != nil || !slices.Equal(ids, want) {
			t.Errorf("got %v, %v, want %v", ids, err, want)
		}
	}
	found(w.as("helen"), "ava-open")
	key := fhir.Key{Type: "Binary", ID: "ava-relative"}
	_, err := w.guard.VRead(t.Context(), w.as("helen"), key, 1)
	wantKind(t, err, fhir.NotFound)
	binary("mateo-very", "mateo")
	binary("mateo-open", "mateo")
	document("very", "mateo", "Binary/mateo-very", `,"meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"V"}]}`)
	document("normal", "mateo", "Binary/mateo-open", "")
	for _, atMost := range []int{1000, -1} { // the panel as a list, and as a join
		w.guard.ListAtMost(atMost)
		w.mayNot("chen", "DocumentReference/very", "Binary/mateo-very")
		found(w.as("chen"), "mateo-open")
		found(w.as("grace"), "mateo-open", "mateo-very")
		found(w.as("okafor"))
	}
	w.guard.ListAtMost(1000)

	// Who was granted other kinds of data sees neither the document nor what is in it;
	// a document that ceases to be hidden opens it.
	id := w.ask("okafor", "1003", consent.AccessRequest{}).ID
	if _, err := w.guard.Approve(t.Context(), w.as("ava"), id, consent.Narrowing{Classes: []fhir.Type{"Patient", "Binary"}}, nil); err != nil {
		if _, err = w.guard.Approve(t.Context(), w.as("helen"), id, consent.Narrowing{Classes: []fhir.Type{"Patient", "Binary"}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	w.mayNot("okafor", append(hidden, "Binary/ava-open", "DocumentReference/open")...)
	document("relative", "ava", "Binary/ava-relative", "")
	w.may("helen", "Binary/ava-relative")
	if strings.Contains(w.labels("Binary/ava-relative", 0), "SEX") {
		t.Error("the labels are the document's own")
	}
}
