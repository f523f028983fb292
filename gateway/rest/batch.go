package rest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"mypatients/fhir"
)

// batch carries out each entry as the request that it describes, one after the
// other, each by itself: what it answers is what the request would be answered
// alone. An entry at fault is told of in its response and hinders no other.
func (q *request) batch(list []fhir.BundleEntry) error {
	return q.respond("batch-response", len(list), func(i int) response {
		sub, err := q.subrequest(i, list[i])
		if err != nil {
			return q.faulty(err)
		}
		out := sub.alone()
		for _, fault := range sub.Context.Errors { // for the log of requests
			_ = q.Context.Error(fault.Err)
		}
		return out
	})
}

// faulty is the response to an entry that is no request.
func (q *request) faulty(err error) response {
	status, issues := q.classify(err)
	return response{status: status, outcome: fhir.OutcomeJSON(issues)}
}

// subrequest makes the request that an entry describes, with the caller, the
// preferences and the id of the whole.
func (q *request) subrequest(i int, e fhir.BundleEntry) (*request, error) {
	switch {
	case e.Method == "":
		return nil, entryFault(i, "request.method", "An entry of a batch needs a method.")
	case e.URL == "":
		return nil, entryFault(i, "request.url", "The address must begin with a resource type: it is relative to the base.")
	}
	address, err := url.Parse(e.URL)
	if err != nil || address.IsAbs() || address.Host != "" || strings.HasPrefix(e.URL, "/") {
		return nil, entryFault(i, "request.url", "The address must begin with a resource type: it is relative to the base.")
	}
	header := http.Header{"Accept": {fhirJSON}, "Prefer": {"return=" + q.answer}}
	if q.lenient {
		header.Add("Prefer", "handling=lenient")
	}
	body := e.Resource
	if e.Resource != nil {
		header.Set("Content-Type", fhirJSON)
	}
	if e.Method == http.MethodPatch {
		if body, err = patchOf(i, e); err != nil {
			return nil, err
		}
		header.Set("Content-Type", jsonPatch)
	}
	since, err := modifiedSince(i, e)
	if err != nil {
		return nil, err
	}
	if !since.IsZero() {
		header.Set("If-Modified-Since", since.UTC().Format(http.TimeFormat))
	}
	for name, value := range map[string]string{"If-Match": e.IfMatch, "If-None-Match": e.IfNoneMatch, "If-None-Exist": e.IfNoneExist} {
		if value != "" {
			header.Set(name, value)
		}
	}
	address.Path, address.RawPath = q.h.prefix+"/"+address.Path, ""
	r := (&http.Request{Method: e.Method, URL: address, Header: header, ContentLength: int64(len(body)), RemoteAddr: q.Request.RemoteAddr,
		Body: io.NopCloser(bytes.NewReader(body))}).WithContext(q.Request.Context())
	c := q.Context.Copy()
	c.Request = r
	c.Writer = &recorder{ResponseWriter: q.Writer, header: http.Header{}, status: http.StatusOK}
	c.Header(RequestIDHeader, q.requestID())
	return &request{Context: c, h: q.h, caller: q.caller, tokenSent: true}, nil
}

// alone runs a request of a batch through the steps of any request but the
// authentication, which was done for the whole.
func (q *request) alone() response {
	err := q.parse()
	var target route
	if err == nil {
		target, err = q.route()
	}
	if err == nil && len(q.segments) == 0 && target.name == "bundle" {
		err = fhir.Errorf(fhir.Unsupported, "A batch cannot hold another.")
	}
	if err == nil && strings.HasPrefix(target.name, "$export") { // which answers later, or with more than fits
		err = fhir.Errorf(fhir.Unsupported, "A batch cannot hold an export.")
	}
	if err == nil {
		err = q.negotiate()
	}
	if err == nil && (target.public == nil || !target.public(q)) {
		if target.run == nil {
			err = fhir.Errorf(fhir.Unsupported, "This is not supported here.")
		} else {
			err = target.run(q)
		}
	}
	if errors.Is(err, context.Canceled) {
		err = &fhir.Error{Kind: fhir.Unavailable, Issues: []fhir.Issue{{Text: "The request was given up."}}, Cause: err}
	}
	if err != nil {
		q.fail(err)
	}
	return q.recorded()
}

// recorded turns the answer to a request into a response of a Bundle.
func (q *request) recorded() response {
	w := q.Writer.(*recorder)
	out := response{status: w.status, location: w.header.Get("Location"), etag: w.header.Get("ETag")}
	if !q.updated.IsZero() {
		out.modified = instant(q.updated)
	}
	if w.body.Len() == 0 || q.Request.Method == http.MethodHead {
		return out
	}
	isOutcome := fhir.Header(w.body.Bytes()).Type == "OperationOutcome"
	if w.status >= http.StatusBadRequest || isOutcome && q.Request.Method != http.MethodGet {
		out.outcome = w.body.Bytes()
		return out
	}
	out.resource = w.body.Bytes()
	if key := fhir.Header(out.resource); key.Type.Valid() && fhir.ValidID(key.ID) {
		out.fullURL = q.h.Base + "/" + key.String()
	}
	return out
}

// A recorder keeps an answer instead of sending it. Of the writer that it stands
// in for nothing is used.
type recorder struct {
	gin.ResponseWriter
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header               { return r.header }
func (r *recorder) WriteHeader(status int)            { r.status = status }
func (r *recorder) WriteHeaderNow()                   {}
func (r *recorder) Write(b []byte) (int, error)       { return r.body.Write(b) }
func (r *recorder) WriteString(s string) (int, error) { return r.body.WriteString(s) }
func (r *recorder) Status() int                       { return r.status }
func (r *recorder) Size() int                         { return r.body.Len() }
func (r *recorder) Written() bool                     { return r.body.Len() > 0 }
func (r *recorder) Flush()                            {}
