package rest

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"mypatients/fhir"
)

// read: https://hl7.org/fhir/R4/http.html#read
//
//	200 · 304 unchanged · 401 · 403 scope · 404 absent or hidden · 410 deleted
func (q *request) read() (answer func(), err error) {
	if err := q.part(q.typ); err != nil {
		return nil, err
	}
	r, err := q.h.Guard.Read(q.Request.Context(), q.caller, q.key())
	return func() { q.unlessFresh(r) }, err
}

// vread: https://hl7.org/fhir/R4/http.html#vread
func (q *request) vread() error {
	if err := q.part(q.typ); err != nil {
		return err
	}
	version, err := strconv.ParseInt(q.segments[3], 10, 64)
	if err != nil || version < 1 {
		return fhir.ErrNotFound()
	}
	r, err := q.h.Guard.VRead(q.Request.Context(), q.caller, q.key(), version)
	if err != nil {
		return err
	}
	q.unlessFresh(r)
	return nil
}

// part reads _summary and _elements of a type, of which a read has no others beside.
func (q *request) part(t fhir.Type) (err error) {
	if q.subset, err = fhir.ParseSubset(q.query, q.lenient, t); err != nil {
		return err
	}
	return q.noQuery()
}

// unlessFresh answers with a resource, or with 304 when the caller has it
// (https://hl7.org/fhir/R4/http.html#cread).
func (q *request) unlessFresh(r *fhir.Resource) {
	if q.fresh(r) {
		q.stamp(r)
		q.Header("Cache-Control", "no-store")
		q.Status(http.StatusNotModified)
		return
	}
	if !q.subset.All() {
		part := *r
		part.JSON = q.subset.Of(r.Type, r.JSON)
		r = &part
	}
	q.resource(http.StatusOK, r)
}

func (q *request) fresh(r *fhir.Resource) bool {
	since, _ := http.ParseTime(q.Request.Header.Get("If-Modified-Since")) // what cannot be read is as if it were not there
	return isFresh(r, q.Request.Header.Values("If-None-Match"), since)
}

// isFresh tells whether a caller who names versions, or else a time, has the
// newest.
func isFresh(r *fhir.Resource, tags []string, since time.Time) bool {
	if len(tags) == 0 {
		return !since.IsZero() && !r.Updated.Truncate(time.Second).After(since)
	}
	for tag := range strings.SplitSeq(strings.Join(tags, ","), ",") {
		if tag = strings.TrimSpace(tag); tag == "*" {
			return true
		}
		if version, ok := parseETag(tag); ok && version == r.Version {
			return true
		}
	}
	return false
}

// history of an instance, of a type, of the system:
// https://hl7.org/fhir/R4/http.html#history
func (q *request) history() error {
	page, err := q.h.Guard.History(q.Request.Context(), q.caller, q.key(), q.query, q.lenient)
	return q.answered("history", q.key().String()+"/_history", page, err)
}

func (q *request) typeHistory() error {
	page, err := q.h.Guard.TypeHistory(q.Request.Context(), q.caller, q.typ, q.query, q.lenient)
	return q.answered("history", string(q.typ)+"/_history", page, err)
}

func (q *request) systemHistory() error {
	page, err := q.h.Guard.SystemHistory(q.Request.Context(), q.caller, q.query, q.lenient)
	return q.answered("history", "_history", page, err)
}

// search by GET: https://hl7.org/fhir/R4/http.html#search
func (q *request) search() (answer func(), err error) {
	page, err := q.h.Guard.Search(q.Request.Context(), q.caller, q.typ, q.query, q.lenient)
	return func() { q.bundle("searchset", string(q.typ), page) }, err
}

func (q *request) searchSystem() error {
	page, err := q.h.Guard.SearchSystem(q.Request.Context(), q.caller, q.query, q.lenient)
	return q.answered("searchset", "", page, err)
}

// everything: https://hl7.org/fhir/R4/patient-operation-everything.html, of one
// patient or of all that the caller has.
func (q *request) everything() error {
	if q.Request.Method == http.MethodPost {
		a, err := q.queryArguments()
		if err != nil {
			return err
		}
		a.into(q.query, "start", "end", "_since", "_type", "_count")
		if err := a.finish(); err != nil {
			return err
		}
	}
	page, err := q.h.Guard.Everything(q.Request.Context(), q.caller, q.id, q.query, q.lenient)
	path := "Patient/$everything"
	if q.id != "" {
		path = q.key().String() + "/$everything"
	}
	return q.answered("searchset", path, page, err)
}

// answered answers with a page, unless there was an error.
func (q *request) answered(kind, path string, page *fhir.Page, err error) error {
	if err != nil {
		return err
	}
	q.bundle(kind, path, page)
	return nil
}

// capabilities: https://hl7.org/fhir/R4/http.html#capabilities
func (q *request) capabilities() bool {
	mode := q.query.Get("mode")
	if delete(q.query, "mode"); mode != "" && mode != "full" && mode != "normative" {
		q.fail(fhir.ElementErrorf(fhir.Unsupported, "http.mode", "The mode must be full or normative."))
		return true
	}
	q.document("CapabilityStatement", q.h.Guard.Capabilities())
	return true
}

// document answers with something public that is not stored, or as much of it as
// is asked for.
func (q *request) document(t fhir.Type, body []byte) {
	if err := q.part(t); err != nil {
		q.fail(err)
		return
	}
	q.write(http.StatusOK, q.subset.Of(t, body))
}

// definition serves the definitions of this gateway itself, which are public:
// operations, extensions, code systems and search parameters.
func (q *request) definition() bool {
	body, ok := q.h.Guard.Definition(q.typ, q.id)
	if ok {
		q.document(q.typ, body)
	}
	return ok
}
