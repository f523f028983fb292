package web

import (
	"errors"
	"log/slog"
	"net/http"

	"mypatients/fhir"
	"mypatients/smart"
)

// An errorView is the page of last resort. Code selects its words; Text is a
// sentence of ours about this case, or empty.
type errorView struct {
	Code string // not-found, forged, forbidden, throttled, conflict, invalid, unavailable, app, connect, internal
	Text string
	Home string
}

// fail answers with the page of an error. The error itself is only logged:
// texts of unknown origin never reach a person.
func (v *visit) fail(err error) {
	status, view := errorPage(err)
	if v.who != nil {
		view.Home = home(v.who.role)
	}
	level := slog.LevelInfo
	if status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	v.site.Log.Log(v.ctx, level, "page refused", "request", v.id, "status", status, "code", view.Code, "cause", cause(err))
	if v.show(status, "error", view, nil) != nil {
		v.reply = reply{status: http.StatusInternalServerError, body: lastWords}
	}
}

// errorPage is the table of errors: what people see and the status of it.
func errorPage(err error) (int, errorView) {
	var oauth *smart.Error
	if errors.As(err, &oauth) {
		status := oauth.Status
		if status == 0 {
			status = http.StatusBadRequest
		}
		if status >= http.StatusInternalServerError && oauth.Code != "temporarily_unavailable" {
			return status, errorView{Code: "internal"}
		}
		return status, errorView{Code: "app", Text: oauth.Description}
	}
	if errors.Is(err, errForged) {
		return http.StatusForbidden, errorView{Code: "forged"}
	}
	switch fhir.KindOf(err) {
	case fhir.NotFound, fhir.Gone:
		return http.StatusNotFound, errorView{Code: "not-found"}
	case fhir.Forbidden, fhir.Unauthenticated:
		return http.StatusForbidden, errorView{Code: "forbidden"}
	case fhir.Throttled:
		return http.StatusTooManyRequests, errorView{Code: "throttled"}
	case fhir.Conflict, fhir.Precondition, fhir.MultipleMatches:
		return http.StatusConflict, errorView{Code: "conflict"}
	case fhir.Invalid, fhir.Unprocessable, fhir.Unsupported, fhir.TooBig:
		return http.StatusUnprocessableEntity, errorView{Code: "invalid"}
	case fhir.Unavailable:
		return http.StatusServiceUnavailable, errorView{Code: "unavailable"}
	}
	return http.StatusInternalServerError, errorView{Code: "internal"}
}

// kindIs reports whether an error is of one of some kinds; nil is of none.
func kindIs(err error, kinds ...fhir.Kind) bool {
	if err == nil {
		return false
	}
	for _, k := range kinds {
		if fhir.KindOf(err) == k {
			return true
		}
	}
	return false
}

// cause says for the log what was behind an error, without the texts that speak
// to a person, since those may name one.
func cause(err error) string {
	var f *fhir.Error
	if errors.As(err, &f) {
		if f.Cause != nil {
			return f.Kind.String() + ": " + f.Cause.Error()
		}
		return f.Kind.String()
	}
	var o *smart.Error
	if errors.As(err, &o) {
		if o.Cause != nil {
			return o.Code + ": " + o.Cause.Error()
		}
		return o.Code
	}
	return err.Error()
}
