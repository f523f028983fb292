package web

import (
	"net/http"
	"slices"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
)

// A logView is the search of the log of who did what.
type logView struct {
	Typed    logTyped
	Kinds    []string              // to choose from
	People   []consent.AccountView // whom the person may be; several
	Rows     []consent.AuditRow
	Searched bool
	Next     string // cursor of the next page
	Later    bool   // it is not the first page
}

// logTyped is what the search is for.
type logTyped struct {
	MRN, Who, From, To, Kind, Outcome string
	Login                             string // the one that is meant of several
}

// logKinds are the kinds of events that the log is searched by, and the actions of
// each; what the actions are is said beside consent.Event.
var logKinds = []struct {
	code    string
	actions []string
}{
	{"looked", []string{"read", "vread", "search", "search-system", "history", "history-type", "history-system", "$everything", "list-patients", "select", "access", "begin-export", "list-export", "export", "end-export", "notify"}},
	{"changed", []string{"create", "update", "patch", "delete"}},
	{"access", []string{"request-access", "approve", "decline", "revoke", "withdraw", "lapse", "correct", "invite", "agree to invitation", "redeem-invitation", "add to care team", "remove from care team", "restore", "mail-invitation", "sponsor", "take-up-sponsorship", "confirm-sponsored", "end-sponsored"}},
	{"emergency", []string{"break-glass", "end-break-glass", "stop-emergency", "review-emergency", "list-emergencies"}},
	{"signin", []string{"sign-in", "sign-out", "grant-token"}},
	{"accounts", []string{"register", "link", "unlink", "roles", "appoint", "check-provider", "refuse-provider", "end-account", "find-accounts", "read-account", "list-unchecked"}},
	{"apps", []string{"add-client", "change-client", "end-client", "remove-client", "rotate-keys", "approve-app", "decline-app", "end-app", "grant-token"}},
	{"log", []string{"search-audit", "export-audit", "verify-audit", "who-can-see"}},
	{"mail", []string{"list-notices", "retry-notice", "dismiss-notice"}},
}

func newLogView() logView {
	var view logView
	for _, k := range logKinds {
		view.Kinds = append(view.Kinds, k.code)
	}
	return view
}

func (s *site) logPage(v *visit) error { return v.show(http.StatusOK, "log", newLogView(), nil) }

// searchLog answers a search at once, or writes what it finds into a file: what is
// searched for is no part of an address.
func (s *site) searchLog(v *visit) error {
	view := newLogView()
	view.Typed = logTyped{MRN: v.form("mrn"), Who: v.form("who"), From: v.form("from"), To: v.form("to"), Kind: v.form("kind"), Outcome: v.form("outcome"), Login: v.form("login")}
	q, wrong, err := v.logQuery(&view)
	if err != nil {
		return err
	}
	if len(wrong) > 0 {
		return v.show(http.StatusOK, "log", view, wrong)
	}
	if v.form("action") == "file" {
		return v.logFile(q)
	}
	q.Cursor = v.form("cursor")
	rows, next, err := s.Guard.FindAudit(v.ctx, v.caller(), q)
	if err != nil {
		return err
	}
	view.Rows, view.Next, view.Searched, view.Later = rows, next, true, q.Cursor != ""
	return v.show(http.StatusOK, "log", view, nil)
}

// logQuery makes the guard's query of what was typed, or says what is wrong with it.
func (v *visit) logQuery(view *logView) (q consent.AuditQuery, wrong problems, err error) {
	t := &view.Typed
	wrong = problems{}
	if t.MRN != "" {
		card, err := v.site.Guard.PatientByMRN(v.ctx, v.caller(), t.MRN)
		switch {
		case kindIs(err, fhir.NotFound):
			wrong["mrn"] = "unknown"
		case err != nil:
			return q, nil, err
		default:
			q.Patient = card.Patient.String()
		}
	}
	if t.Who != "" {
		if err := v.logPerson(view, &q, wrong); err != nil {
			return q, nil, err
		}
	}
	q.Since = v.site.words.logDay(t.From, "from", false, wrong)
	q.Until = v.site.words.logDay(t.To, "to", true, wrong)
	if !q.Since.IsZero() && !q.Until.IsZero() && !q.Since.Before(q.Until) {
		wrong["to"] = "before"
	}
	if i := slices.Index(view.Kinds, t.Kind); i >= 0 {
		q.Actions = logKinds[i].actions
	}
	if refused := t.Outcome == "refused"; refused || t.Outcome == "done" {
		q.Refused = &refused
	}
	return q, wrong, nil
}

// logPerson finds who is meant: an account, one of several, or an app by its id.
func (v *visit) logPerson(view *logView, q *consent.AuditQuery, wrong problems) error {
	found, err := v.site.Guard.FindAccounts(v.ctx, v.caller(), view.Typed.Who)
	if err != nil {
		return err
	}
	if len(found) > 1 {
		view.People = found
	}
	chosen := slices.IndexFunc(found, func(a consent.AccountView) bool { return a.ID == view.Typed.Login })
	switch {
	case len(found) == 1:
		q.Login = found[0].ID
	case chosen >= 0:
		q.Login = view.Typed.Login
	case len(found) > 1:
		wrong["who"] = "several"
	default:
		if _, err := v.site.Server.Client(v.ctx, view.Typed.Who); err != nil && !unknownClient(err) {
			return err
		} else if err != nil {
			wrong["who"] = "unknown"
			return nil
		}
		q.Client = view.Typed.Who
	}
	return nil
}

// logDay reads a day of the search: its beginning, or its end.
func (w words) logDay(field, name string, end bool, wrong problems) time.Time {
	if field == "" {
		return time.Time{}
	}
	t, err := time.ParseInLocation(time.DateOnly, field, w.zone)
	if err != nil {
		wrong[name] = "invalid"
		return time.Time{}
	}
	if end {
		return t.AddDate(0, 0, 1)
	}
	return t
}
