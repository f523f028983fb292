//go:build unix

package consent_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"testing"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/sample"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// BenchmarkDecision measures decisions of a provider to whom a family gave access, in a
// store with a thousand grants, and in turn with ten thousand or, with LONG set, a
// million: a grant each of so many patients to another provider. Nothing is recorded, as
// waiting for the disk would hide what grows.
//
// A repeated decision is what nearly all requests meet. One taken anew is what they meet
// after a write that it rests on, and at midnight: it reads again what the store still
// has at hand, and works no more in a large store than in a small one.
//
// Strange is a decision about a patient of whom nothing was asked before, and who is not
// the caller's. Who has searched before is told so by the list of their own patients,
// and nothing is looked up. Anew, with no such list at hand, three places and five
// values have to be found; that takes longer in a tree on disk that has more levels and
// does not fit into memory, where the small store is all in memory.
func BenchmarkDecision(b *testing.B) {
	more := 10_000
	if os.Getenv("LONG") != "" {
		more = 1_000_000
	}
	few, many := newWorld(b), newWorld(b)
	few.grants(1_000)
	many.grants(more)
	sizes := map[*world]int{few: 1_000, many: more}
	key := fhir.Key{Type: "Patient", ID: sample.ID(500)}
	asks := map[string]func(w *world, c consent.Caller) error{
		"access": func(w *world, c consent.Caller) error {
			ok, err := w.guard.Permits(b.Context(), c, "Patient/"+key.ID)
			if err == nil && !ok {
				err = fmt.Errorf("not permitted")
			}
			return err
		},
		"read": func(w *world, c consent.Caller) error {
			_, err := w.guard.ReadUnrecorded(b.Context(), c, key)
			return err
		},
		"search": func(w *world, c consent.Caller) error {
			page, err := w.guard.SearchUnrecorded(b.Context(), c, "Patient", url.Values{})
			if err == nil && len(page.Entries) != 1 {
				err = fmt.Errorf("got %d entries", len(page.Entries))
			}
			return err
		},
		"strange": func(w *world, c consent.Caller) error {
			ok, err := w.guard.Permits(b.Context(), c, "Patient/"+sample.ID(501+rand.IntN(sizes[w]-501)))
			if err == nil && ok {
				err = fmt.Errorf("permitted")
			}
			return err
		},
	}
	forget := func() {
		few.guard.Forget()
		many.guard.Forget()
	}
	for _, name := range []string{"access", "read", "search", "strange"} {
		for when, before := range map[string]func(){"anew": forget, "repeated": func() {}} {
			b.Run(fmt.Sprintf("grants=%d/%s/%s", more, name, when), func(b *testing.B) {
				one, other := few.as("granted500"), many.as("granted500")
				for w, c := range map[*world]consent.Caller{few: one, many: other} {
					if err := asks["search"](w, c); err != nil {
						b.Fatal(err)
					}
				}
				compare(b, 1.3, func() error { return asks[name](few, one) }, func() error { return asks[name](many, other) }, before)
			})
		}
	}
}

// grants fills the world with patients who each gave a provider access.
func (w *world) grants(n int) {
	w.t.Helper()
	const first = 500
	l := w.eng.NewLoader(engine.LoadOptions{Refused: func(r engine.Refusal) { w.t.Error(r) }})
	var patients bytes.Buffer
	for i := range first + 1 {
		fmt.Fprintf(&patients, `{"resourceType":"Patient","id":%q,"birthDate":"1990-01-01","name":[{"family":"F"}]}`+"\n", sample.ID(i))
	}
	if err := l.LoadNDJSON(w.t.Context(), "patients", &patients); err != nil {
		w.t.Fatal(err)
	}
	who := "granted500"
	w.put(`{"resourceType":"Practitioner","id":%q}`, who)
	w.link(who, smart.Provider, "Practitioner/"+who)
	for i, provider := range map[int]string{0: "adams", 500: who} {
		w.put(`{"resourceType":"Consent","id":"grant-%s","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/%[1]s"},"dateTime":"2026-01-01","performer":[{"reference":"Patient/%[1]s"}],"policyRule":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"OPTIN"}]},"provision":{"type":"permit","period":{"end":"2027-01-01"},"actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":"Practitioner/%s"}}]}}`, sample.ID(i), provider)
	}
	w.copies(store.Key{Type: "Patient", ID: sample.ID(0)}, first+1, n)
	w.copies(store.Key{Type: "Consent", ID: "grant-" + sample.ID(0)}, 1, 500)
	w.copies(store.Key{Type: "Consent", ID: "grant-" + sample.ID(0)}, 501, n)
}

// BenchmarkAuthorized measures searches through the guard, without its audit log,
// and in turn the same of the engine itself, which encodes and sends nothing: what
// the decision costs. For whole requests see BenchmarkUnauthorised of the gateway.
// What the audit log costs is measured with many searches under way at a time, as
// they wait for the same flushes.
//
// Of fifty rows of one patient, in memory, in 17 µs, a provider's search takes some
// 2 µs more: the entry of the log, finding the person and the decision and comparing the
// state of their epochs, and sealing the link of the next page. What the decision hides is
// judged once for a block of rows. With PostgreSQL the epochs are compared in the round
// trip of the search, as over HTTP the token and the account are; see
// [consent.Guard.Foresee].
func BenchmarkAuthorized(b *testing.B) {
	w := newWorld(b)
	w.crowd(1000)
	child := sample.ID(500)
	for n := range 60 {
		w.put(`{"resourceType":"Observation","id":"more-%d","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"29463-7"}]},"subject":{"reference":"Patient/%s"},"effectiveDateTime":"2025-05-05","valueQuantity":{"value":30.50,"unit":"kg","system":"http://unitsofmeasure.org","code":"kg"}}`, n, child)
	}
	callers := map[string]consent.Caller{"pcp": w.as("doctor"), "guardian": w.as("parent"), "system": w.system("system/*.rs")}
	for _, query := range []string{"patient=" + child + "&_count=50", "patient=" + child + "&_sort=-date&_count=50", "_count=50"} {
		values, err := url.ParseQuery(query)
		if err != nil {
			b.Fatal(err)
		}
		plain := func() error {
			q, err := w.eng.Registry().Parse("Observation", values, search.Options{Base: base + "/fhir", Now: w.clock.Now(), DefaultCount: 50, MaxCount: 1000})
			if err != nil {
				return err
			}
			return w.eng.View(b.Context(), func(tx *engine.Tx) error {
				page, err := tx.Search(q, engine.Everything)
				if err == nil && len(page.Entries) != 50 {
					err = fmt.Errorf("got %d entries", len(page.Entries))
				}
				return err
			})
		}
		for name, c := range callers {
			if name != "system" && query == "_count=50" {
				continue // another answer
			}
			quiet := func() error {
				_, err := w.guard.SearchUnrecorded(b.Context(), c, "Observation", values)
				return err
			}
			b.Run(query+"/by="+name+"/authorized", func(b *testing.B) { compare(b, 1.15, plain, quiet, func() {}) })
			b.Run(query+"/by="+name+"/audit", func(b *testing.B) {
				compareTogether(b, quiet, func() error {
					_, err := w.guard.Search(b.Context(), c, "Observation", values, false)
					return err
				})
			})
		}
	}
}
