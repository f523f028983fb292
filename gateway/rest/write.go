package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"mypatients/fhir"
)

// create: https://hl7.org/fhir/R4/http.html#create
//
//	201 with Location and ETag · 200 when there is one already, as with a second
//	request for the same access · 400, 422 faulty · 403 scope · 413 · 415
func (q *request) create() error {
	if q.Request.Header.Get("If-None-Exist") != "" {
		return fhir.Errorf(fhir.Unsupported, "Conditional creation is not supported.")
	}
	if err := q.noQuery(); err != nil {
		return err
	}
	body, err := q.resourceBody()
	if err != nil {
		return err
	}
	r, created, err := q.h.Guard.Create(q.Request.Context(), q.caller, q.typ, body)
	if err != nil {
		return err
	}
	q.written(createdOr200(created), r)
	return nil
}

// update: https://hl7.org/fhir/R4/http.html#update
//
//	200, 201 when it created · 404 hidden · 409, 412 version · as create
func (q *request) update() error {
	if q.Request.Header.Get("If-None-Match") != "" {
		return fhir.Errorf(fhir.Unsupported, "If-None-Match is not supported on an update.")
	}
	match, err := q.ifMatch()
	if err != nil {
		return err
	}
	if err := q.noQuery(); err != nil {
		return err
	}
	body, err := q.resourceBody()
	if err != nil {
		return err
	}
	r, created, err := q.h.Guard.Update(q.Request.Context(), q.caller, q.key(), body, match)
	if err != nil {
		return err
	}
	q.written(createdOr200(created), r)
	return nil
}

func createdOr200(created bool) int {
	if created {
		return http.StatusCreated
	}
	return http.StatusOK
}

// delete: https://hl7.org/fhir/R4/http.html#delete
//
//	204, also when there was nothing · 200 with an outcome if preferred
func (q *request) delete() error {
	match, err := q.ifMatch()
	if err != nil {
		return err
	}
	if err := q.noQuery(); err != nil {
		return err
	}
	if err := q.h.Guard.Delete(q.Request.Context(), q.caller, q.key(), match); err != nil {
		return err
	}
	if q.answer == "OperationOutcome" {
		q.done(http.StatusOK)
		return nil
	}
	q.Status(http.StatusNoContent)
	return nil
}

// written answers a write with the resource, or with what Prefer asks for.
func (q *request) written(status int, r *fhir.Resource) {
	if status == http.StatusCreated {
		q.Header("Location", q.h.Base+"/"+r.Key.String()+"/_history/"+strconv.FormatInt(r.Version, 10))
	}
	switch q.answer {
	case "minimal":
		q.stamp(r)
		q.Status(status)
	case "OperationOutcome":
		q.stamp(r)
		q.done(status)
	default:
		q.resource(status, r)
	}
}

// done answers with an outcome that says all went well.
func (q *request) done(status int) {
	q.Header("Cache-Control", "no-store")
	q.write(status, fhir.OutcomeJSON([]fhir.Issue{{Severity: "information", Code: "informational", Text: "Done."}}))
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
