package consent_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/smart"
)

// hiddenThings are of Ava alone, and refer to what others see.
var hiddenThings = []string{
	`{"resourceType":"Observation","id":"h","meta":{"tag":[{"system":"urn:t","code":"t"}]},"status":"final","code":{"coding":[{"system":"http://loinc.org","code":"29463-7"}]},"subject":{"reference":"Patient/ava"},"performer":[{"reference":"Practitioner/adams"}],"hasMember":[{"reference":"Observation/mateo-weight"}]}`,
	`{"resourceType":"List","id":"l","status":"current","mode":"working","subject":{"reference":"Patient/ava"},"entry":[{"item":{"reference":"Observation/mateo-weight"}},{"item":{"reference":"Patient/mateo"}}]}`,
	`{"resourceType":"Provenance","id":"p","target":[{"reference":"Observation/h"},{"reference":"Practitioner/adams"}],"recorded":"2026-01-01T00:00:00Z","agent":[{"who":{"reference":"Practitioner/adams"}}]}`,
	`{"resourceType":"Binary","id":"b","contentType":"text/plain","securityContext":{"reference":"Patient/ava"},"data":"YQ=="}`,
	// Of no patient here.
	`{"resourceType":"Observation","id":"f","status":"final","code":{"text":"x"},"subject":{"reference":"http://other.test/fhir/Patient/1"}}`,
	`{"resourceType":"Binary","id":"n","contentType":"text/plain","securityContext":{"reference":"List/l"},"data":"YQ=="}`,
}

var hiddenQueries = strings.Fields(`Observation? Observation?_summary=count Observation?_total=accurate&_count=1 Observation?_tag=urn:t|t Observation?_sort=-_lastUpdated
	Observation?_has:Provenance:target:agent=Practitioner/adams Observation?_list=l Patient?_list=l Observation?_has:Observation:has-member:status=final Observation?has-member.status=final
	Practitioner?_has:Observation:performer:status=final Practitioner?_has:Provenance:agent:_id=p Practitioner?_revinclude=Observation:performer
	Practitioner?_revinclude=Provenance:agent&_revinclude:iterate=Provenance:target Observation?_revinclude=Observation:has-member Observation?_revinclude=List:item
	Group?_include=Group:member Group?member.name=Ava Group?member=Patient/ava&_summary=count Provenance? Provenance?target=Observation/h Provenance?target:Observation.status=final Binary?_id=b List?
	Patient?_has:List:subject:item=Observation/mateo-weight Practitioner?_has:Observation:performer:subject=Patient/ava Observation?subject=Patient/ava Observation?subject:Patient.name=Ava
	Practitioner?_has:Patient:general-practitioner:_has:Observation:patient:_id=h`)

// random are the parts of an answer that differ from world to world: what a test
// created, by an id of its own.
var random = regexp.MustCompile(`[A-Za-z]+/[0-9a-f-]{36} 1;`)

// TestHiddenIsAbsent asks two worlds the same, one of which holds more that the
// callers may not see.
func TestHiddenIsAbsent(t *testing.T) {
	with, without := hiddenWorld(t, hiddenThings), hiddenWorld(t, nil)
	for name, in := range with.callers() {
		other := without.callers()[name]
		ask := func(what string, do func(w *world, c consent.Caller) string) {
			if a, b := random.ReplaceAllString(do(with, in), ""), random.ReplaceAllString(do(without, other), ""); a != b {
				t.Errorf("%s: %s:\nwith    %s\nwithout %s", name, what, a, b)
			}
		}
		for _, q := range hiddenQueries {
			kind, query, _ := strings.Cut(q, "?")
			values, _ := url.ParseQuery(query)
			ask(q, func(w *world, c consent.Caller) string {
				return pageText(w.guard.Search(t.Context(), c, fhir.Type(kind), values, false))
			})
			ask("history of "+kind, func(w *world, c consent.Caller) string {
				return pageText(w.guard.TypeHistory(t.Context(), c, fhir.Type(kind), url.Values{"_count": {"3"}}, false))
			})
		}
		ask("system search", func(w *world, c consent.Caller) string {
			return pageText(w.guard.SearchSystem(t.Context(), c, url.Values{"_count": {"1000"}}, false))
		})
		ask("system history", func(w *world, c consent.Caller) string {
			return pageText(w.guard.SystemHistory(t.Context(), c, nil, false))
		})
		for _, patient := range []string{"mateo", "ava"} {
			ask("everything of "+patient, func(w *world, c consent.Caller) string {
				return pageText(w.guard.Everything(t.Context(), c, patient, nil, false))
			})
		}
		for _, ref := range []string{"Observation/h", "List/l", "Provenance/p", "Binary/b", "Observation/f", "Binary/n"} {
			askAbout(t, ref, ask)
		}
		askCriteria(t, ask)
	}
	for _, w := range []*world{with, without} { // what only hidden things refer to can go
		if err := w.guard.Delete(t.Context(), w.as("adams"), fhir.Key{Type: "Observation", ID: "mateo-weight"}, nil); err != nil {
			t.Error(err)
		}
	}
}

func hiddenWorld(t *testing.T, things []string) *world {
	w := newWorld(t, func(c *engine.Config) { c.Integrity = true })
	w.put(`{"resourceType":"Group","id":"g","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/ava"}},{"entity":{"reference":"Patient/mateo"}}]}`)
	for _, body := range things {
		w.put("%s", body)
	}
	return w
}

func (w *world) callers() map[string]consent.Caller {
	staff := w.as("adams")
	staff.Identity.Role = smart.Staff
	return map[string]consent.Caller{
		"stranger": w.as("okafor"), "PCP": w.as("adams"), "team": w.as("chen"), "mother": w.as("grace"), "father": w.as("luis"), "staff": staff,
		"app": w.app("adams", "patient/*.cruds", "mateo"), "granular": w.app("adams", "user/Observation.rs?code=29463-7 user/Patient.rs user/Practitioner.rs", ""),
		"backend": w.system("system/Observation.rds?subject=Patient/mateo system/Patient.rs?_id=mateo system/Provenance.rs?agent=Practitioner/nobody system/Practitioner.rs"),
	}
}

// askAbout asks everything there is to ask about one key.
func askAbout(t *testing.T, ref string, ask func(string, func(*world, consent.Caller) string)) {
	key, _ := fhir.ParseKey(ref)
	one := int64(1)
	ask("read "+ref, func(w *world, c consent.Caller) string { return outcome(w.read(c, ref)) })
	for _, version := range []int64{1, 9} {
		ask("vread "+ref, func(w *world, c consent.Caller) string {
			_, err := w.guard.VRead(t.Context(), c, key, version)
			return outcome(err)
		})
	}
	ask("history of "+ref, func(w *world, c consent.Caller) string {
		return pageText(w.guard.History(t.Context(), c, key, nil, false))
	})
	ask("validate "+ref, func(w *world, c consent.Caller) string {
		_, err := w.guard.Validate(t.Context(), c, consent.Validation{Type: key.Type, ID: key.ID, Mode: "delete"})
		return outcome(err)
	})
	ask("refer to "+ref, func(w *world, c consent.Caller) string {
		issues, err := w.guard.Validate(t.Context(), c, consent.Validation{Type: "Observation", Mode: "create", Body: []byte(
			`{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"},"extension":[{"url":"http://example.org/x","valueReference":{"reference":"` + ref + `"}}]}`)})
		return fmt.Sprint(issues) + outcome(err)
	})
	for _, w := range []consent.Write{
		{Method: consent.Update, Body: []byte(`{"resourceType":"` + string(key.Type) + `","id":"` + key.ID + `","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"}}`)},
		{Method: consent.Patch, Body: []byte(`[{"op":"test","path":"/status","value":"final"}]`)}, {Method: consent.Delete},
	} {
		for _, w.IfMatch = range []*int64{nil, &one} {
			w.Type, w.ID = key.Type, key.ID
			ask(string(w.Method)+" "+ref, func(in *world, c consent.Caller) string { return writtenText(in.guard.Write(t.Context(), c, w)) })
		}
	}
}

// askCriteria writes by criteria that mean hidden things.
func askCriteria(t *testing.T, ask func(string, func(*world, consent.Caller) string)) {
	body := []byte(`{"resourceType":"Observation","status":"final","code":{"text":"new"},"subject":{"reference":"Patient/mateo"}}`)
	for _, criteria := range []string{"_tag=urn:t|t", "_id=h", "performer=Practitioner/adams", "_has:Provenance:target:agent=Practitioner/adams"} {
		for method, body := range map[consent.Method][]byte{consent.Patch: []byte(`[]`), consent.Delete: nil, consent.Update: body, consent.Create: body} {
			ask(string(method)+" "+criteria, func(w *world, c consent.Caller) string {
				return writtenText(w.guard.Write(t.Context(), c, consent.Write{Method: method, Type: "Observation", Criteria: criteria, Body: body}))
			})
		}
		ask("refer to "+criteria, func(w *world, c consent.Caller) string {
			_, err := w.transaction(c, create("Observation", `{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"},"hasMember":[{"reference":"Observation?`+criteria+`"}]}`))
			return outcome(err)
		})
	}
}

func pageText(p *fhir.Page, err error) string {
	if err != nil {
		return outcome(err)
	}
	total := -1
	if p.Total != nil {
		total = *p.Total
	}
	text := fmt.Sprintf("%d %v %s:", total, p.Next != "", p.Applied)
	for _, e := range p.Entries {
		if e.Resource != nil {
			text += fmt.Sprintf(" %s %d;", e.Resource.Key, e.Resource.Version)
		}
		text += string(e.Outcome)
	}
	return strings.ReplaceAll(text, "; ", ";")
}

func writtenText(w *consent.Written, err error) string {
	if err != nil || w.Resource == nil {
		return outcome(err)
	}
	return fmt.Sprint(w.Created, w.Resource.Version)
}
