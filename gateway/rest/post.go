package rest

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"mypatients/fhir"
)

// post takes a Bundle at the base: a batch, or a transaction
// (https://hl7.org/fhir/R4/http.html#transaction).
//
//	200 with a Bundle of responses · a transaction that is refused: the status of
//	the entry at fault, and nothing is stored · 400 another type of Bundle · 413
func (q *request) post() error {
	if err := q.noQuery(); err != nil {
		return err
	}
	body, err := q.resourceBody()
	if err != nil {
		return err
	}
	b, err := fhir.ParseBundle(body)
	if err != nil {
		return err
	}
	if q.answer == "" {
		q.answer = "minimal" // a large transaction should not come back whole unless asked for
	} else {
		q.applied()
	}
	switch b.Type {
	case "batch":
		return q.batch(b.Entries)
	case "transaction":
		return q.transaction(b.Entries)
	}
	return fhir.ElementErrorf(fhir.Invalid, "Bundle.type",
		"A Bundle that is sent to the base is a batch or a transaction; POST %s/Bundle stores one of another type.", q.h.Base)
}

// A response is what one entry came to.
type response struct {
	status   int
	location string
	etag     string
	modified string // an instant
	resource []byte
	page     *fhir.Page // instead of a resource
	path     string     // of the page
	cursor   string     // of the page; empty on the first
	outcome  []byte
	fullURL  string
}

// respond answers with the responses to n entries, in their order. Each is made
// when its turn comes and what is large is sent on the way, so that a batch of
// large answers takes no more memory than one of them.
func (q *request) respond(kind string, n int, next func(i int) response) error {
	q.Header("Cache-Control", "no-store")
	out := &spill{q: q}
	b := bundler{sink: out, base: q.h.Base}
	b.raw(`{"resourceType":"Bundle","type":"` + kind + `"`)
	for i := range n {
		if err := q.Request.Context().Err(); err != nil {
			if out.sent { // the caller has gone
				return nil
			}
			return err
		}
		if i == 0 {
			b.raw(`,"entry":[{`)
		} else {
			b.raw(`,{`)
		}
		b.response(next(i))
		b.raw("}")
		out.flush(maxWhole)
	}
	if n > 0 {
		b.raw("]")
	}
	b.raw("}")
	if !out.sent {
		q.write(http.StatusOK, out.Bytes())
		return nil
	}
	out.flush(0)
	return nil
}

// A spill keeps an answer until it is large, then sends it piece by piece; such a
// one is never indented.
type spill struct {
	bytes.Buffer
	q    *request
	sent bool
}

func (s *spill) flush(above int) {
	if s.Len() <= above {
		return
	}
	if !s.sent {
		s.q.Writer.Header()["Content-Type"] = contentTypes[s.q.media]
		s.q.Status(http.StatusOK)
		s.sent = true
	}
	_, _ = s.q.Writer.Write(s.Bytes()) // an error means that the caller has gone
	s.Reset()
}

func (b bundler) response(r response) {
	if r.fullURL != "" {
		b.raw(`"fullUrl":`)
		_, _ = b.Write(fhir.Quoted(r.fullURL))
		b.raw(",")
	}
	switch {
	case r.page != nil:
		b.raw(`"resource":`)
		inner := b
		inner.subset, inner.cursor = r.page.Subset, r.cursor
		inner.page("searchset", r.path, r.page)
		b.raw(",")
	case r.resource != nil:
		b.raw(`"resource":`)
		_, _ = b.Write(r.resource)
		b.raw(",")
	}
	b.raw(`"response":{"status":"` + strconv.Itoa(r.status) + " " + http.StatusText(r.status) + `"`)
	for _, member := range []struct{ name, value string }{{"location", r.location}, {"etag", r.etag}, {"lastModified", r.modified}} {
		if member.value != "" {
			b.raw(`,"` + member.name + `":`)
			_, _ = b.Write(fhir.Quoted(member.value))
		}
	}
	if r.outcome != nil {
		b.raw(`,"outcome":`)
		_, _ = b.Write(r.outcome)
	}
	b.raw("}")
}

// entryFault names an element of an entry that is wrong.
func entryFault(i int, element, text string) error {
	return fhir.ElementErrorf(fhir.Invalid, fmt.Sprintf("Bundle.entry[%d].%s", i, element), "%s", text)
}

// modifiedSince reads Bundle.entry.request.ifModifiedSince.
func modifiedSince(i int, e fhir.BundleEntry) (time.Time, error) {
	if e.IfModifiedSince == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, e.IfModifiedSince)
	if err != nil {
		return t, entryFault(i, "request.ifModifiedSince", "This is not an instant.")
	}
	return t, nil
}
