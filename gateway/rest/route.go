package rest

import (
	"net/http"
	"slices"
	"strings"

	"mypatients/fhir"
)

// A route is what a method does at a shape of path.
type route struct {
	name string
	run  func(*request) error
	// find, when set, is run in two halves: it looks for what answer then tells. It may be
	// called twice, and answers nothing itself: see [consent.Guard.Foresee].
	find func(*request) (answer func(), err error)
	// file is for what is not JSON: the answer says itself what it is.
	file bool
	// public, when set, answers without a token and reports whether it did.
	public func(*request) bool
}

// found makes both halves one.
func found(find func(*request) (func(), error)) func(*request) error {
	return func(q *request) error {
		answer, err := find(q)
		if err == nil {
			answer()
		}
		return err
	}
}

// routes of one place, by method. HEAD is GET without the body.
type routes map[string]route

var (
	atBase     = routes{"GET": {name: "search-system", run: (*request).searchSystem}}
	atBaseForm = routes{"POST": {name: "search-system", run: (*request).searchSystemForm}}
	atBaseLog  = routes{"GET": {name: "history-system", run: (*request).systemHistory}}
	atMetadata = routes{"GET": {name: "capabilities", public: (*request).capabilities}}
	atType     = routes{
		"GET":    {name: "search", run: found((*request).search), find: (*request).search},
		"POST":   {name: "create", run: (*request).create},
		"PUT":    {name: "update", run: (*request).update},
		"PATCH":  {name: "patch", run: (*request).patch},
		"DELETE": {name: "delete", run: (*request).delete},
	}
	atSearch   = routes{"POST": {name: "search", run: (*request).searchForm}}
	atInstance = routes{
		"GET":    {name: "read", run: found((*request).read), find: (*request).read, public: (*request).definition},
		"PUT":    {name: "update", run: (*request).update},
		"PATCH":  {name: "patch", run: (*request).patch},
		"DELETE": {name: "delete", run: (*request).delete},
	}
	atTypeLog = routes{"GET": {name: "history-type", run: (*request).typeHistory}}
	atHistory = routes{"GET": {name: "history", run: (*request).history}}
	atVersion = routes{"GET": {name: "vread", run: (*request).vread}}

	atExport       = kickOff((*request).exportSystem)
	atExportStatus = routes{
		"GET":    {name: "$export-status", run: (*request).exportStatus},
		"DELETE": {name: "$export-status", run: (*request).endExport},
	}
	atExportFile = routes{"GET": {name: "$export-file", run: (*request).exportFile, file: true}}

	everything = routes{
		"GET":  {name: "$everything", run: (*request).everything},
		"POST": {name: "$everything", run: (*request).everything},
	}
	onType = map[string]routes{ // by type, * for any, and operation
		"*/$validate":                {"POST": {name: "$validate", run: (*request).validate}},
		"Patient/$request-access":    {"POST": {name: "$request-access", run: (*request).requestAccess}},
		"Patient/$break-glass":       {"POST": {name: "$break-glass", run: (*request).breakGlass}},
		"Patient/$everything":        everything,
		"Patient/$export":            kickOff((*request).exportPatients),
		"Patient/$redeem-invitation": {"POST": {name: "$redeem-invitation", run: (*request).redeem}},
	}
	onInstance = map[string]routes{
		"Consent/$approve":         {"POST": {name: "$approve", run: (*request).approve}},
		"Consent/$decline":         {"POST": {name: "$decline", run: (*request).decline}},
		"Consent/$revoke":          {"POST": {name: "$revoke", run: (*request).revoke}},
		"Consent/$withdraw":        {"POST": {name: "$withdraw", run: (*request).withdraw}},
		"Group/$export":            kickOff((*request).exportGroup),
		"Patient/$end-break-glass": {"POST": {name: "$end-break-glass", run: (*request).endBreakGlass}},
		"Patient/$everything":      everything,
		"Patient/$invite":          {"POST": {name: "$invite", run: (*request).invite}},
		"*/$validate": {
			"GET":  {name: "$validate", run: (*request).validate},
			"POST": {name: "$validate", run: (*request).validate},
		},
		"Patient/$access": {
			"GET":  {name: "$access", run: (*request).access},
			"POST": {name: "$access", run: (*request).access},
		},
	}
)

// route finds what a request asks for, and sets its type and id.
func (q *request) route() (route, error) {
	at, err := q.place()
	if err != nil {
		return route{}, err
	}
	method := q.Request.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if r, ok := at[method]; ok {
		return r, nil
	}
	allowed := []string{"OPTIONS"}
	for m := range at {
		allowed = append(allowed, m)
		if m == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	slices.Sort(allowed)
	q.Header("Allow", strings.Join(allowed, ", "))
	return route{}, refuse(http.StatusMethodNotAllowed, "not-supported", "This is not supported here.")
}

// place finds the routes of the path.
func (q *request) place() (routes, error) {
	s := q.segments
	nothing := refuse(http.StatusNotFound, "not-supported", "There is nothing at this address.")
	if len(s) == 0 {
		// here and not above, where its initialization would go round in a circle
		return routes{"GET": atBase["GET"], "POST": {name: "bundle", run: (*request).post}}, nil
	}
	if len(s) == 1 {
		switch s[0] {
		case "metadata":
			return atMetadata, nil
		case "_search":
			return atBaseForm, nil
		case "_history":
			return atBaseLog, nil
		case "$export":
			return atExport, nil
		}
	}
	if s[0] == "$export" {
		return q.exportPlace(nothing)
	}
	q.typ = fhir.Type(s[0])
	if s[0][0] == '$' || s[0][0] == '_' {
		return nil, nothing
	}
	if !q.typ.Valid() {
		return nil, refuse(http.StatusNotFound, "not-supported", "There is no such resource type.")
	}
	if len(s) == 1 {
		return atType, nil
	}
	if len(s) == 2 && s[1] == "_search" {
		return atSearch, nil
	}
	if len(s) == 2 && s[1] == "_history" {
		return atTypeLog, nil
	}
	if s[1][0] == '$' || s[1][0] == '_' {
		if at, ok := operation(onType, s[0], s[1]); ok && len(s) == 2 {
			return at, nil
		}
		return nil, nothing
	}
	q.id = s[1]
	if !fhir.ValidID(q.id) {
		return nil, fhir.Errorf(fhir.Invalid, "This is not an id: 1 to 64 letters, digits, dashes and dots make one.")
	}
	switch {
	case len(s) == 2:
		return atInstance, nil
	case len(s) == 3 && s[2] == "_history":
		return atHistory, nil
	case len(s) == 4 && s[2] == "_history":
		return atVersion, nil
	case len(s) == 3:
		if at, ok := operation(onInstance, s[0], s[2]); ok {
			return at, nil
		}
	}
	return nil, nothing
}

// operation finds an operation of a type, or one that every type has.
func operation(all map[string]routes, kind, name string) (routes, bool) {
	at, ok := all[kind+"/"+name]
	if !ok {
		at, ok = all["*/"+name]
	}
	return at, ok
}
