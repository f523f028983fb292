package rest

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"mypatients/consent"
	"mypatients/fhir"
)

// MountAppState registers the endpoint where apps keep their own state
// (https://hl7.org/fhir/smart-app-launch/STU2.2/app-state.html), at an address of
// its own: Config.Base is that address, beside the FHIR base, which shares its
// tokens.
func MountAppState(r gin.IRouter, c Config) error {
	base, err := url.Parse(c.Base)
	if err != nil || !base.IsAbs() || base.Path == "" || c.Guard == nil || c.Authenticate == nil {
		return errors.New("rest: the app state needs an absolute Base with a path, Guard and Authenticate")
	}
	c.MaxBody = 1 << 20 // of which the guard takes a quarter, with an error that says so
	h := &handler{Config: c, prefix: base.Path}
	serve := func(g *gin.Context) {
		q := &request{Context: g, h: h}
		h.crossOrigin(g)
		if g.Request.Method == http.MethodOptions {
			g.Header("Allow", "GET, POST, PUT, DELETE, OPTIONS")
			g.Status(http.StatusNoContent)
			return
		}
		if err := q.runState(); err != nil {
			q.fail(err)
		}
	}
	r.Any(h.prefix+"/Basic", serve)
	r.Any(h.prefix+"/Basic/:id", serve)
	return nil
}

// runState takes a request for app state through its steps.
func (q *request) runState() error {
	if err := q.parse(); err != nil {
		return err
	}
	q.typ, q.id = "Basic", q.Param("id")
	at := atStates
	if q.id != "" {
		at = atState
	}
	target, ok := at[q.Request.Method]
	if !ok {
		return refuse(http.StatusMethodNotAllowed, "not-supported", "This is not supported here.")
	}
	q.Set(LogInteraction, target.name)
	if err := q.negotiate(); err != nil {
		return err
	}
	if err := q.authenticate(); err != nil {
		return err
	}
	return target.run(q)
}

var (
	atStates = routes{
		"GET":  {name: "search app state", run: (*request).findState},
		"POST": {name: "create app state", run: (*request).createState},
	}
	atState = routes{
		"PUT":    {name: "update app state", run: (*request).updateState},
		"DELETE": {name: "delete app state", run: (*request).deleteState},
	}
)

func (q *request) createState() error {
	if err := q.noQuery(); err != nil {
		return err
	}
	body, err := q.resourceBody()
	if err != nil {
		return err
	}
	r, err := q.h.Guard.CreateState(q.Request.Context(), q.caller, body)
	if err != nil {
		return err
	}
	q.Header("Location", q.h.Base+"/"+r.Key.String())
	q.resource(http.StatusCreated, r)
	return nil
}

// mustMatch reads If-Match, which a change of app state needs.
func (q *request) mustMatch() (int64, error) {
	if len(q.Request.Header.Values("If-Match")) == 0 {
		return 0, refuse(http.StatusPreconditionRequired, "required", "A change of app state needs If-Match.")
	}
	version, err := ifMatch(q.Request.Header.Values("If-Match"))
	if err == nil && *version == consent.AnyVersion {
		err = fhir.ElementErrorf(fhir.Invalid, "http.If-Match", `For app state If-Match must hold the version that was read, like W/"3".`)
	}
	if err != nil {
		return 0, err
	}
	return *version, q.noQuery()
}

func (q *request) updateState() error {
	version, err := q.mustMatch()
	if err != nil {
		return err
	}
	body, err := q.resourceBody()
	if err != nil {
		return err
	}
	r, err := q.h.Guard.UpdateState(q.Request.Context(), q.caller, q.id, version, body)
	if err != nil {
		return err
	}
	q.resource(http.StatusOK, r)
	return nil
}

func (q *request) deleteState() error {
	version, err := q.mustMatch()
	if err != nil {
		return err
	}
	if err := q.h.Guard.DeleteState(q.Request.Context(), q.caller, q.id, version); err != nil {
		return err
	}
	q.Status(http.StatusNoContent)
	return nil
}

// findState answers the two searches that app state has: by code and subject, and
// by code for global state.
func (q *request) findState() error {
	code, subject, global := q.query.Get("code"), q.query.Get("subject"), q.query.Get("subject:missing")
	for name, values := range q.query {
		if len(values) != 1 || name != "code" && name != "subject" && name != "subject:missing" {
			return fhir.ElementErrorf(fhir.Invalid, "http."+name, "App state is found by one code and one subject, or subject:missing=true.")
		}
	}
	system, value, ok := strings.Cut(code, "|")
	if !ok || system == "" || value == "" {
		return fhir.ElementErrorf(fhir.Invalid, "http.code", "code is needed, as system|code.")
	}
	if (subject == "") == (global == "") || global != "" && global != "true" {
		return fhir.ElementErrorf(fhir.Invalid, "http.subject", "Either subject, as an absolute reference, or subject:missing=true is needed.")
	}
	found, err := q.h.Guard.FindState(q.Request.Context(), q.caller, code, subject)
	if err != nil {
		return err
	}
	entries := []map[string]any{}
	for _, r := range found {
		entries = append(entries, map[string]any{"fullUrl": q.h.Base + "/" + r.Key.String(), "resource": json.RawMessage(r.JSON), "search": map[string]string{"mode": "match"}})
	}
	bundle := map[string]any{"resourceType": "Bundle", "type": "searchset", "total": len(found),
		"link": []any{map[string]string{"relation": "self", "url": q.h.Base + "/Basic?" + q.query.Encode()}}}
	if len(entries) > 0 {
		bundle["entry"] = entries
	}
	body, err := json.Marshal(bundle)
	if err != nil {
		return err
	}
	q.Header("Cache-Control", "no-store")
	q.write(http.StatusOK, body)
	return nil
}
