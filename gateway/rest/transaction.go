package rest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
)

// An entry is one of a transaction, parsed.
type entry struct {
	consent.Step
	head   bool // a read without the body
	part   fhir.Subset
	cursor string
	tags   []string
	since  time.Time
}

// transaction carries all entries out, or none. Operations are not part of it:
// they are asked for alone, or in a batch.
func (q *request) transaction(list []fhir.BundleEntry) error {
	entries := make([]entry, len(list))
	steps := make([]consent.Step, len(list))
	for i, e := range list {
		var err error
		if entries[i], err = q.entry(i, e); err != nil {
			return err
		}
		steps[i] = entries[i].Step
	}
	done, err := q.h.Guard.Transaction(q.Request.Context(), q.caller, steps)
	if err != nil {
		return err
	}
	return q.respond("transaction-response", len(done), func(i int) response { return q.came(entries[i], done[i]) })
}

// entry reads what an entry asks for.
func (q *request) entry(i int, e fhir.BundleEntry) (entry, error) {
	out := entry{Step: consent.Step{FullURL: e.FullURL}}
	path, query, hasQuery := strings.Cut(e.URL, "?")
	values, err := fhir.ParseQuery(query)
	switch {
	case e.Method == "":
		return out, entryFault(i, "request.method", "An entry of a transaction needs a method.")
	case e.URL == "":
		return out, entryFault(i, "request.url", "An entry of a transaction needs an address.")
	case err != nil:
		return out, entryFault(i, "request.url", "The query string is not well-formed.")
	}
	delete(values, "_format")
	delete(values, "_pretty")
	parts := strings.Split(path, "/")
	key := fhir.Key{Type: fhir.Type(parts[0])}
	if len(parts) > 1 {
		key.ID = parts[1]
	}
	switch {
	case strings.Contains(path, "$"):
		return out, entryFault(i, "request.url", "Operations are not carried out inside a transaction; ask for "+path+" alone, or in a batch.")
	case !key.Type.Valid():
		return out, entryFault(i, "request.url", "The address must begin with a resource type: it is relative to the base.")
	case len(parts) > 1 && !fhir.ValidID(key.ID):
		return out, entryFault(i, "request.url", "The address must be Type, Type/id, Type?criteria or Type/id/_history/version.")
	}
	if e.Method == http.MethodGet || e.Method == http.MethodHead {
		return out, q.readEntry(i, e, &out, key, parts, values)
	}
	return out, writeEntry(i, e, &out.Write, key, parts, values, hasQuery)
}

func (q *request) readEntry(i int, e fhir.BundleEntry, out *entry, key fhir.Key, parts []string, values url.Values) (err error) {
	out.Read = &consent.Read{Key: key, Values: values, Lenient: q.lenient}
	out.head, out.cursor = e.Method == http.MethodHead, values.Get("_cursor")
	if e.IfNoneMatch != "" {
		out.tags = []string{e.IfNoneMatch}
	}
	if out.since, err = modifiedSince(i, e); err != nil {
		return err
	}
	switch {
	case e.Resource != nil:
		return entryFault(i, "resource", "What is read takes no resource.")
	case len(parts) == 1:
		return nil
	}
	if out.part, err = fhir.ParseSubset(values, q.lenient, key.Type); err != nil {
		return entryFault(i, "request.url", "_summary or _elements cannot be read, or names what the type does not have.")
	}
	switch {
	case len(values) > 0 && !q.lenient:
		return entryFault(i, "request.url", "A read has no parameters here.")
	case len(parts) == 2:
		return nil
	case len(parts) == 4 && parts[2] == "_history":
		if out.Read.Version, err = strconv.ParseInt(parts[3], 10, 64); err == nil && out.Read.Version > 0 {
			return nil
		}
	}
	return entryFault(i, "request.url", "Inside a transaction a resource is read by Type/id or Type/id/_history/version, or searched for by Type?parameters.")
}

func writeEntry(i int, e fhir.BundleEntry, w *consent.Write, key fhir.Key, parts []string, values url.Values, hasQuery bool) (err error) {
	w.Type, w.ID, w.Body = key.Type, key.ID, e.Resource
	method, known := map[string]consent.Method{"POST": consent.Create, "PUT": consent.Update, "PATCH": consent.Patch, "DELETE": consent.Delete}[e.Method]
	switch {
	case !known:
		return entryFault(i, "request.method", "The method must be GET, HEAD, POST, PUT, PATCH or DELETE.")
	case len(parts) > 2 || method == consent.Create && len(parts) > 1:
		return entryFault(i, "request.url", "A write is addressed to Type (POST), or to Type/id or Type?criteria.")
	case method == consent.Create && hasQuery:
		return entryFault(i, "request.url", "The criteria of a conditional creation are those of ifNoneExist.")
	case key.ID != "" && hasQuery && len(values) > 0:
		return entryFault(i, "request.url", "An address has an id or criteria, not both.")
	case method == consent.Delete && e.Resource != nil:
		return entryFault(i, "resource", "A deletion takes no resource.")
	case method != consent.Delete && e.Resource == nil:
		return entryFault(i, "resource", "This entry needs a resource.")
	case method != consent.Create && e.IfNoneExist != "":
		return entryFault(i, "request.ifNoneExist", "ifNoneExist is for a POST.")
	case method == consent.Create && e.IfMatch != "":
		return entryFault(i, "request.ifMatch", "ifMatch is not for a POST.")
	case e.IfNoneMatch != "" && (method != consent.Update || e.IfNoneMatch != "*"):
		return entryFault(i, "request.ifNoneMatch", "ifNoneMatch may be * on a PUT: only if there is none yet.")
	case e.IfModifiedSince != "":
		return entryFault(i, "request.ifModifiedSince", "ifModifiedSince is for a GET.")
	}
	w.Method, w.OnlyNew = method, e.IfNoneMatch != ""
	if w.Criteria = strings.TrimPrefix(e.IfNoneExist, "?"); method != consent.Create && key.ID == "" {
		w.Criteria = values.Encode()
	}
	if e.IfNoneExist != "" && w.Criteria == "" {
		return entryFault(i, "request.ifNoneExist", "ifNoneExist holds a query string.")
	}
	if e.IfMatch != "" {
		if w.IfMatch, err = ifMatch([]string{e.IfMatch}); err != nil {
			return entryFault(i, "request.ifMatch", `ifMatch must hold one version, like W/"3", or *.`)
		}
	}
	if method == consent.Patch {
		w.Body, err = patchOf(i, e)
	}
	return err
}

// patchOf unpacks a patch: in a Bundle it is a Binary
// (https://hl7.org/fhir/R4/http.html#patch).
func patchOf(i int, e fhir.BundleEntry) ([]byte, error) {
	var binary struct {
		ResourceType string `json:"resourceType"`
		ContentType  string `json:"contentType"`
		Data         []byte `json:"data"`
	}
	if err := json.Unmarshal(e.Resource, &binary); err != nil || binary.ResourceType != "Binary" {
		return nil, entryFault(i, "resource", "A patch comes as a Binary with its data in base64.")
	}
	if binary.ContentType != jsonPatch {
		return nil, entryFault(i, "resource.contentType", "The patch must be of type "+jsonPatch+".")
	}
	return binary.Data, nil
}

// came tells what an entry came to.
func (q *request) came(e entry, d consent.Done) response {
	r := d.Resource
	out := response{status: http.StatusOK}
	switch {
	case d.Page != nil && e.head:
		return out
	case d.Page != nil:
		out.page, out.path, out.cursor = d.Page, string(e.Read.Key.Type), e.cursor
		return out
	case r == nil: // there was nothing to delete
		out.status = http.StatusNoContent
		return out
	}
	out.etag, out.modified = etag(r.Version), instant(r.Updated)
	switch {
	case e.Read != nil && isFresh(r, e.tags, e.since):
		out.status = http.StatusNotModified
	case e.head:
	case e.Read != nil:
		out.resource, out.fullURL = e.part.Of(r.Type, r.JSON), q.h.Base+"/"+r.Key.String()
	case r.Deleted:
		out.status = http.StatusNoContent
	default:
		out.status = createdOr200(d.Created)
		out.location = location(q.h.Base, r)
		q.preferred(&out, r)
	}
	return out
}

// preferred adds what Prefer asks for.
func (q *request) preferred(out *response, r *fhir.Resource) {
	switch q.answer {
	case "representation":
		out.resource, out.fullURL = r.JSON, q.h.Base+"/"+r.Key.String()
	case "OperationOutcome":
		out.outcome = outcomeDone()
	}
}
