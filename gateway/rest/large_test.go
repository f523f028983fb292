package rest_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func synthea(t *testing.T) string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "synthea.json.gz"))
	must(t, err)
	defer f.Close()
	r, err := gzip.NewReader(f)
	must(t, err)
	body, err := io.ReadAll(r)
	must(t, err)
	return string(body)
}

// TestSynthea sends a child's whole record, as it comes out of Synthea, and reads
// each resource back: the same but for what stood for other entries.
func TestSynthea(t *testing.T) {
	w := newWorldFor(t, 50<<20)
	body := synthea(t)
	conditional := regexp.MustCompile(`"reference":"((\w+)\?identifier=([^"|]+)\|([^"]+))"`)
	known := map[string]string{}
	for _, m := range conditional.FindAllStringSubmatch(body, -1) {
		if known[m[1]] != "" {
			continue
		}
		extra := map[string]string{"Location": `,"mode":"instance"`}[m[2]]
		a := w.do("POST", "/fhir/"+m[2], "system", fmt.Sprintf(`{"resourceType":%q,"identifier":[{"system":%q,"value":%q}]%s}`, m[2], m[3], m[4], extra)).status(201)
		known[m[1]] = strings.TrimSuffix(strings.TrimPrefix(a.Header.Get("Location"), base+"/"), "/_history/1")
	}
	b := w.do("POST", "/fhir", "system", body).bundle()
	var sent struct {
		Entry []struct {
			FullURL  string
			Resource json.RawMessage
		}
	}
	must(t, json.Unmarshal([]byte(body), &sent))
	if len(b.Entry) != len(sent.Entry) || len(known) == 0 {
		t.Fatalf("got %d responses to %d entries, %d conditional references", len(b.Entry), len(sent.Entry), len(known))
	}
	for i, e := range b.Entry {
		if e.Response.Status != "201 Created" {
			t.Fatalf("entry %d: got %+v", i, e.Response)
		}
		known[sent.Entry[i].FullURL] = strings.TrimSuffix(strings.TrimPrefix(e.Response.Location, base+"/"), "/_history/1")
	}
	for i, e := range sent.Entry {
		var want, got map[string]any
		must(t, json.Unmarshal(e.Resource, &want))
		must(t, json.Unmarshal([]byte(w.get("/fhir/"+known[e.FullURL], "system").status(200).body), &got))
		for _, tree := range []map[string]any{want, got} {
			delete(tree, "id")
			meta, _ := tree["meta"].(map[string]any)
			delete(meta, "versionId")
			if delete(meta, "lastUpdated"); len(meta) == 0 {
				delete(tree, "meta")
			}
		}
		resolveAll(want, known)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("entry %d: %s", i, diff)
		}
	}
	patient := known[sent.Entry[0].FullURL]
	if n := w.get("/fhir/Observation?patient="+patient+"&_summary=count", "system").bundle().Total; n == nil || *n != 113 {
		t.Errorf("got %v observations, want 113", n)
	}
}

// resolveAll replaces references, and no other strings.
func resolveAll(value any, known map[string]string) {
	switch value := value.(type) {
	case map[string]any:
		for name, item := range value {
			if text, ok := item.(string); ok && name == "reference" && known[text] != "" {
				value[name] = known[text]
			}
			resolveAll(item, known)
		}
	case []any:
		for _, item := range value {
			resolveAll(item, known)
		}
	}
}

// many makes a transaction of so many observations of about 2 KB, the patient last.
func many(n int) string {
	var out strings.Builder
	out.WriteString(`{"resourceType":"Bundle","type":"transaction","entry":[`)
	note := strings.Repeat("A sentence that a nurse might write. ", 45)
	for i := range n - 1 {
		fmt.Fprintf(&out, `{"fullUrl":"urn:uuid:%08x-0000-4000-8000-000000000000","resource":{"resourceType":"Observation","status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"bulk"}]},"subject":{"reference":"%s"},"effectiveDateTime":"2030-01-01T10:%02d:00Z","valueQuantity":{"value":%d,"unit":"kg","system":"http://unitsofmeasure.org","code":"kg"},"note":[{"text":"%s"}]},"request":{"method":"POST","url":"Observation"}},`,
			i, urnPatient, i%60, i, note)
	}
	return out.String() + entryOf(urnPatient, "POST", "Patient", fmt.Sprintf(pat, "bulk")) + `]}`
}

// TestLargeTransactions: done, or refused with nothing stored. LONG=1 sends
// 25,000 entries of 2 KB, and more.
func TestLargeTransactions(t *testing.T) {
	sizes := []int{1000}
	if os.Getenv("LONG") != "" {
		sizes = []int{25_000}
	}
	for _, n := range sizes {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := newWorldFor(t, 200<<20)
			body := many(n)
			var peak, before runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			stop, ended := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(ended)
				var now runtime.MemStats
				for {
					if runtime.ReadMemStats(&now); now.HeapAlloc > peak.HeapAlloc {
						peak = now
					}
					select {
					case <-stop:
						return
					case <-time.After(50 * time.Millisecond):
					}
				}
			}()
			began := time.Now()
			a := w.do("POST", "/fhir", "system", body)
			took := time.Since(began)
			close(stop)
			<-ended
			stored := w.get("/fhir/Observation?code=bulk&_summary=count", "system").bundle().Total
			t.Logf("%d entries of %d MB: status %d after %.1f s, %d stored, peak of %d MB on the heap", n, len(body)>>20, a.StatusCode, took.Seconds(), *stored, (peak.HeapAlloc-before.HeapAlloc)>>20)
			switch a.StatusCode {
			case 200:
				if *stored != n-1 || len(a.bundle().Entry) != n {
					t.Errorf("done, but %d are stored", *stored)
				}
			case 413:
				if a.outcome(413, "too-costly"); *stored != 0 {
					t.Errorf("refused, but %d are stored", *stored)
				}
			default:
				t.Errorf("got %d %.300s", a.StatusCode, a.body)
			}
		})
	}
}
