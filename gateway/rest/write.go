package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
)

// create: https://hl7.org/fhir/R4/http.html#create, with If-None-Exist #ccreate
//
//	201 with Location and ETag · 200 when there is one already, as with a second
//	request for the same access · 400, 422 faulty · 403 scope · 412 several
//	match · 413 · 415
func (q *request) create() error {
	if err := q.noQuery(); err != nil {
		return err
	}
	w := consent.Write{Method: consent.Create, Type: q.typ}
	if values := q.Request.Header.Values("If-None-Exist"); len(values) > 0 {
		if w.Criteria = strings.TrimPrefix(values[0], "?"); len(values) > 1 || w.Criteria == "" {
			return fhir.ElementErrorf(fhir.Invalid, "http.If-None-Exist", "If-None-Exist holds one query string.")
		}
	}
	var err error
	if w.Body, err = q.resourceBody(); err != nil {
		return err
	}
	return q.change(w)
}

// update: https://hl7.org/fhir/R4/http.html#update, by criteria #cond-update
//
//	200, 201 when it created · 404 hidden · 409, 412 version · as create
func (q *request) update() error {
	w, err := q.writeTo(consent.Update)
	if err != nil {
		return err
	}
	if values := q.Request.Header.Values("If-None-Match"); len(values) > 0 {
		if w.OnlyNew = len(values) == 1 && strings.TrimSpace(values[0]) == "*"; !w.OnlyNew {
			return fhir.ElementErrorf(fhir.Invalid, "http.If-None-Match", "If-None-Match may hold * on an update: only if there is none yet.")
		}
	}
	if w.Body, err = q.resourceBody(); err != nil {
		return err
	}
	return q.change(w)
}

// jsonPatch is the one format of patches.
const jsonPatch = "application/json-patch+json"

// patch: https://hl7.org/fhir/R4/http.html#patch
//
//	200 · 400 no JSON Patch · 404 absent or hidden · 415 other kinds of patches ·
//	422 cannot be applied, or what it makes is faulty · as update
func (q *request) patch() error {
	w, err := q.writeTo(consent.Patch)
	if err != nil {
		return err
	}
	q.Header("Accept-Patch", jsonPatch)
	if w.Body, err = q.body(jsonPatch); err != nil {
		return err
	}
	return q.change(w)
}

// writeTo begins a write to one resource: that of the address, or the one that the
// criteria of the query mean.
func (q *request) writeTo(method consent.Method) (w consent.Write, err error) {
	w = consent.Write{Method: method, Type: q.typ, ID: q.id}
	if q.id == "" {
		w.Criteria = q.query.Encode()
	} else if err := q.noQuery(); err != nil {
		return w, err
	}
	w.IfMatch, err = ifMatch(q.Request.Header.Values("If-Match"))
	return w, err
}

// change carries a write out and answers with the resource.
func (q *request) change(w consent.Write) error {
	done, err := q.h.Guard.Write(q.Request.Context(), q.caller, w)
	if err != nil {
		return err
	}
	q.locate(done.Resource)
	q.written(createdOr200(done.Created), done.Resource)
	return nil
}

func createdOr200(created bool) int {
	if created {
		return http.StatusCreated
	}
	return http.StatusOK
}

// delete: https://hl7.org/fhir/R4/http.html#delete, by criteria #3.1.0.7.1
//
//	204, also when it is deleted already or nothing matches · 200 with an outcome if
//	preferred · 404 never there, or hidden · 412 several match
func (q *request) delete() error {
	w, err := q.writeTo(consent.Delete)
	if err != nil {
		return err
	}
	done, err := q.h.Guard.Write(q.Request.Context(), q.caller, w)
	if err != nil {
		return err
	}
	if done.Resource != nil {
		q.Header("ETag", etag(done.Resource.Version))
	}
	if q.answer == "OperationOutcome" {
		q.applied()
		q.done(http.StatusOK)
		return nil
	}
	q.Status(http.StatusNoContent)
	return nil
}

// locate tells where the resource is, for those who could not know.
func (q *request) locate(r *fhir.Resource) { q.Header("Location", location(q.h.Base, r)) }

func location(base string, r *fhir.Resource) string {
	return base + "/" + r.Key.String() + "/_history/" + strconv.FormatInt(r.Version, 10)
}

// applied says which preference was heeded (RFC 7240 section 3).
func (q *request) applied() { q.Header("Preference-Applied", "return="+q.answer) }

// written answers a write with the resource, or with what Prefer asks for.
func (q *request) written(status int, r *fhir.Resource) {
	if status == http.StatusCreated {
		q.locate(r)
	}
	switch q.answer {
	case "minimal":
		q.applied()
		q.stamp(r)
		q.Status(status)
	case "OperationOutcome":
		q.applied()
		q.stamp(r)
		q.done(status)
	case "representation":
		q.applied()
		fallthrough
	default:
		q.resource(status, r)
	}
}

// done answers with an outcome that says all went well.
func (q *request) done(status int) {
	q.Header("Cache-Control", "no-store")
	q.write(status, outcomeDone())
}

func outcomeDone() []byte {
	return fhir.OutcomeJSON([]fhir.Issue{{Severity: "information", Code: "informational", Text: "Done."}})
}

// resource answers with a resource.
func (q *request) resource(status int, r *fhir.Resource) {
	q.stamp(r)
	q.Header("Cache-Control", "no-store")
	q.write(status, r.JSON)
}

// stamp sets the headers of a version.
func (q *request) stamp(r *fhir.Resource) {
	q.Header("ETag", etag(r.Version))
	q.updated = r.Updated
	q.Header("Last-Modified", r.Updated.UTC().Format(http.TimeFormat))
}

func etag(version int64) string { return `W/"` + strconv.FormatInt(version, 10) + `"` }

// write writes a body. Nothing of an answer is sent before.
func (q *request) write(status int, body []byte) {
	if q.pretty {
		var indented bytes.Buffer
		if json.Indent(&indented, body, "", "  ") == nil {
			body = indented.Bytes()
		}
	}
	header := q.Writer.Header()
	header["Content-Type"] = contentTypes[q.media]
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	q.Status(status)
	_, _ = q.Writer.Write(body) // an error means that the caller has gone
}

// contentTypes are header values made once, as reads are many.
var contentTypes = map[string][]string{
	fhirJSON:  {fhirJSON + "; charset=utf-8"},
	plainJSON: {plainJSON + "; charset=utf-8"},
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }
