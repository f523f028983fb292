package rest

import (
	"bufio"
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"mypatients/fhir"
)

// Bundles up to maxWhole bytes are put together and sent at once, larger ones
// stream.
const maxWhole = 1 << 20

var (
	wholes  = sync.Pool{New: func() any { return new(bytes.Buffer) }}
	streams = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 64<<10) }}
)

// bundle answers with a page as a Bundle (https://hl7.org/fhir/R4/bundle.html).
// The resources are copied as they are stored: nothing is encoded again.
func (q *request) bundle(kind, path string, page *fhir.Page) {
	q.Header("Cache-Control", "no-store")
	size := 0
	for _, e := range page.Entries {
		size += len(e.Outcome)
		if e.Resource != nil {
			size += len(e.Resource.JSON)
		}
	}
	if size > maxWhole && !q.pretty {
		q.Writer.Header()["Content-Type"] = contentTypes[q.media]
		q.Status(http.StatusOK)
		w := streams.Get().(*bufio.Writer)
		w.Reset(q.Writer)
		q.bundler(w, page).page(kind, path, page)
		_ = w.Flush() // an error means that the caller has gone
		w.Reset(nil)
		streams.Put(w)
		return
	}
	whole := wholes.Get().(*bytes.Buffer)
	whole.Reset()
	q.bundler(whole, page).page(kind, path, page)
	q.write(http.StatusOK, whole.Bytes())
	if whole.Cap() <= 2*maxWhole { // no giants are kept
		wholes.Put(whole)
	}
}

// A sink takes a Bundle piece by piece and keeps its errors.
type sink interface {
	Write([]byte) (int, error)
	WriteString(string) (int, error)
}

// A bundler writes the JSON of a Bundle.
type bundler struct {
	sink
	base    string
	carried string // parameters of every link
	cursor  string // of this page, empty on the first
	subset  fhir.Subset
}

func (q *request) bundler(to sink, page *fhir.Page) bundler {
	return bundler{to, q.h.Base, q.carried.Encode(), q.query.Get("_cursor"), page.Subset}
}

func (b bundler) page(kind, path string, page *fhir.Page) {
	b.raw(`{"resourceType":"Bundle","type":"` + kind + `"`)
	if page.Total != nil {
		b.raw(`,"total":` + strconv.Itoa(*page.Total))
	}
	b.raw(`,"link":[`)
	if b.cursor == "" {
		b.link("self", path, page.Applied)
	} else {
		b.link("self", path, strings.TrimPrefix(page.Applied+"&_cursor="+url.QueryEscape(b.cursor), "&"))
		b.raw(",")
		b.link("first", path, page.Applied)
	}
	if page.Next != "" {
		b.raw(",")
		b.link("next", path, page.Next)
	}
	b.raw("]")
	if len(page.Entries) > 0 { // an empty array is not allowed in FHIR
		b.raw(`,"entry":[`)
		for i, e := range page.Entries {
			if i > 0 {
				b.raw(",")
			}
			b.raw("{")
			if kind == "history" {
				b.version(e)
			} else {
				b.found(e)
			}
			b.raw("}")
		}
		b.raw("]")
	}
	b.raw("}")
}

func (b bundler) found(e fhir.Entry) {
	if e.Resource == nil {
		b.raw(`"resource":`)
		_, _ = b.Write(e.Outcome)
	} else {
		b.fullURL(e.Resource.Key)
		b.raw(`,"resource":`)
		_, _ = b.Write(b.subset.Of(e.Resource.Type, e.Resource.JSON))
	}
	b.raw(`,"search":{"mode":"` + e.Mode + `"}`)
}

func (b bundler) version(e fhir.Entry) {
	r := e.Resource
	b.fullURL(r.Key)
	method, at, status := "PUT", r.Key.String(), "200"
	switch {
	case r.Deleted:
		method, status = "DELETE", "204"
	case e.Created:
		method, at, status = "POST", string(r.Type), "201"
	}
	if !r.Deleted {
		b.raw(`,"resource":`)
		_, _ = b.Write(b.subset.Of(r.Type, r.JSON))
	}
	b.raw(`,"request":{"method":"` + method + `","url":"` + at + `"},"response":{"status":"` + status +
		`","etag":"W/\"` + strconv.FormatInt(r.Version, 10) + `\"","lastModified":"` + instant(r.Updated) + `"}`)
}

// fullURL needs no escaping: types and ids hold no character that would.
func (b bundler) fullURL(key fhir.Key) {
	b.raw(`"fullUrl":"`)
	b.raw(b.base)
	b.raw("/")
	b.raw(string(key.Type))
	b.raw("/")
	b.raw(key.ID)
	b.raw(`"`)
}

func (b bundler) link(relation, path, query string) {
	address := strings.TrimSuffix(b.base+"/"+path, "/")
	if both := strings.Trim(query+"&"+b.carried, "&"); both != "" {
		address += "?" + both
	}
	b.raw(`{"relation":"` + relation + `","url":`)
	_, _ = b.Write(fhir.Quoted(address))
	b.raw("}")
}

func (b bundler) raw(s string) { _, _ = b.WriteString(s) }
