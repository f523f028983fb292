package rest

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"mypatients/consent"
	"mypatients/fhir"
)

// A request is a request, parsed.
type request struct {
	*gin.Context
	h *handler

	segments []string   // of the path under the base; none for the base itself
	typ      fhir.Type  // set by route
	id       string     // set by route
	query    url.Values // without _format and _pretty
	carried  url.Values // _format and _pretty as they came, for the links of a page
	subset   fhir.Subset
	format   string // _format; empty when not given
	media    string // media type of the answer
	pretty   bool
	lenient  bool   // Prefer: handling=lenient
	async    bool   // Prefer: respond-async
	answer   string // Prefer: return=…: "minimal", "representation", "OperationOutcome" or empty

	updated   time.Time // of the version that is answered with; zero: none
	tokenSent bool
	caller    consent.Caller
}

func (q *request) key() fhir.Key { return fhir.Key{Type: q.typ, ID: q.id} }

// parse reads path, query and Prefer. _format and _pretty come first: they hold
// for refusals too.
func (q *request) parse() error {
	u := q.Request.URL
	values, malformed := fhir.ParseQuery(u.RawQuery) // with what can be read
	q.query = values
	q.general()
	q.prefer()
	if malformed != nil {
		return malformed
	}
	if strings.Contains(strings.ToLower(u.RawPath), "%2f") {
		return fhir.Errorf(fhir.Invalid, "The path holds an encoded slash.")
	}
	if path := strings.TrimPrefix(strings.TrimPrefix(u.Path, q.h.prefix), "/"); path != "" {
		q.segments = strings.Split(path, "/")
	}
	for _, s := range q.segments {
		if s == "" {
			return fhir.Errorf(fhir.Invalid, "The path holds an empty part.")
		}
	}
	return nil
}

// general takes out the parameters that concern every answer
// (https://hl7.org/fhir/R4/http.html#parameters).
func (q *request) general() {
	if q.carried == nil {
		q.carried = url.Values{}
	}
	for _, name := range []string{"_format", "_pretty"} {
		if v, ok := q.query[name]; ok {
			q.carried[name] = v[len(v)-1:]
			delete(q.query, name)
		}
	}
	q.format = q.carried.Get("_format")
	q.pretty = q.carried.Get("_pretty") == "true"
}

// prefer reads the Prefer headers (RFC 7240); what it does not know it ignores,
// as that RFC says.
func (q *request) prefer() {
	for _, header := range q.Request.Header.Values("Prefer") {
		for preference := range strings.FieldsFuncSeq(header, func(r rune) bool { return r == ',' || r == ';' }) {
			name, value, _ := strings.Cut(strings.TrimSpace(preference), "=")
			value = strings.Trim(strings.TrimSpace(value), `"`)
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "handling":
				q.lenient = value == "lenient"
			case "respond-async":
				q.async = true
			case "return":
				if value == "minimal" || value == "representation" || value == "OperationOutcome" {
					q.answer = value
				}
			}
		}
	}
}

// noQuery refuses query parameters where an interaction has none.
func (q *request) noQuery() error {
	if q.lenient {
		return nil
	}
	var issues []fhir.Issue
	for _, name := range slices.Sorted(maps.Keys(q.query)) {
		issues = append(issues, fhir.Issue{Text: fmt.Sprintf("The parameter %q is not supported here.", name), Expression: "http." + name})
	}
	if issues == nil {
		return nil
	}
	return &fhir.Error{Kind: fhir.Invalid, Issues: issues[:min(len(issues), 20)]}
}

// body reads a body of one of the media types, up to the limit.
func (q *request) body(types ...string) ([]byte, error) {
	if e := q.Request.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, refuse(http.StatusUnsupportedMediaType, "not-supported", "Encoded bodies are not supported.")
	}
	if err := checkMedia(q.Request.Header.Get("Content-Type"), types); err != nil {
		return nil, err
	}
	tooBig := fhir.Errorf(fhir.TooBig, "The body is larger than %d bytes.", q.h.MaxBody)
	if q.Request.ContentLength > q.h.MaxBody {
		return nil, tooBig
	}
	body, err := io.ReadAll(http.MaxBytesReader(q.Writer, q.Request.Body, q.h.MaxBody))
	var over *http.MaxBytesError
	if errors.As(err, &over) {
		return nil, tooBig
	}
	if err != nil {
		return nil, fhir.Errorf(fhir.Invalid, "The body ended early.")
	}
	return body, nil
}

func checkMedia(header string, types []string) error {
	media, params, err := mime.ParseMediaType(header)
	if err == nil {
		if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
			return refuse(http.StatusUnsupportedMediaType, "not-supported", "The charset must be UTF-8.")
		}
		for _, t := range types {
			if t == media {
				return nil
			}
		}
	}
	return refuse(http.StatusUnsupportedMediaType, "not-supported", "The Content-Type must be "+strings.Join(types, " or ")+".")
}

// resourceBody reads a body that is a resource in JSON.
func (q *request) resourceBody() ([]byte, error) { return q.body(fhirJSON, plainJSON) }

// ifMatch reads the version of an If-Match, consent.AnyVersion for *; nil when there
// is none (https://hl7.org/fhir/R4/http.html#concurrency).
func ifMatch(values []string) (*int64, error) {
	if len(values) == 0 {
		return nil, nil
	}
	version, ok := parseETag(values[0])
	if strings.TrimSpace(values[0]) == "*" {
		version, ok = consent.AnyVersion, true
	}
	if len(values) > 1 || !ok {
		return nil, fhir.ElementErrorf(fhir.Invalid, "http.If-Match", `If-Match must hold one version, like W/"3", or *.`)
	}
	return &version, nil
}

// parseETag reads W/"3" or "3".
func parseETag(s string) (int64, bool) {
	s = strings.TrimPrefix(strings.TrimSpace(s), "W/")
	if len(s) < 3 || s[0] != '"' || s[len(s)-1] != '"' {
		return 0, false
	}
	version, err := strconv.ParseInt(s[1:len(s)-1], 10, 64)
	return version, err == nil && version > 0
}
