package web

import (
	"net/http"
	"slices"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
)

// An askView is the form for asking for access.
type askView struct {
	Patient string // handle
	Typed   typed
	Provider
	Span   string // 3, 6, 12 (months), date
	Date   string // as typed
	Whole  bool
	Parts  []partView
	Reason string
	Until  time.Time // of the preview
}

// Provider is the person that a page speaks of.
type Provider struct{ Name string }

// A requestsView is a provider's own requests.
type requestsView struct {
	Waiting  []consent.RequestView
	Answered []consent.RequestView
}

// until reads how long an access is to last: some months, or a date.
func (w words) until(span, date string) (time.Time, bool) {
	switch span {
	case "1", "3", "6", "12":
		months := map[string]int{"1": 1, "3": 3, "6": 6, "12": 12}[span]
		return w.monthsOn(months), true
	case "date":
		t, ok := w.endOfDay(date)
		return t, ok && t.After(w.now())
	}
	return time.Time{}, false
}

// askPage is the form to request access, reached from a search.
func (s *site) askPage(v *visit) error {
	handle := v.query("patient")
	if handle == "" {
		return v.redirect("/")
	}
	view := askView{Patient: handle, Span: "6", Whole: true, Parts: boxes(nil, func(string) bool { return false })}
	return v.showAsk(view, nil)
}

func (v *visit) showAsk(view askView, wrong problems) error {
	view.Typed = v.typedFor(view.Patient)
	view.Name = v.who.identity.Name
	view.Until = v.site.words.monthsOn(6)
	return v.show(http.StatusOK, "ask", view, wrong)
}

// ask sends the request to the family.
func (s *site) ask(v *visit) error {
	chosen := v.request.PostForm["part"]
	view := askView{
		Patient: v.form("patient"), Span: v.form("span"), Date: v.form("date"), Whole: v.form("what") != "parts", Reason: v.form("reason"),
		Parts: boxes(nil, func(code string) bool { return slices.Contains(chosen, code) }),
	}
	if view.Patient == "" {
		return v.redirect("/")
	}
	wrong := problems{}
	until, ok := s.words.until(view.Span, view.Date)
	if !ok {
		wrong["date"] = "invalid"
	}
	request := consent.AccessRequest{Patient: view.Patient, Reason: view.Reason}
	request.Until = until
	if !view.Whole {
		if request.Classes = typesOf(chosen); request.Classes == nil {
			wrong["part"] = "missing"
		}
	}
	if len(view.Reason) > maxReason {
		wrong["reason"] = "long"
	}
	if len(wrong) > 0 {
		return v.showAsk(view, wrong)
	}
	_, created, err := s.Guard.RequestAccess(v.ctx, v.caller(), request)
	if kindIs(err, fhir.NotFound, fhir.Invalid) {
		return v.showAsk(view, problems{"patient": "stale"})
	}
	if kindIs(err, fhir.Unprocessable) {
		return v.showAsk(view, problems{"patient": "refused"})
	}
	if err != nil {
		return err
	}
	v.dropSession(keySelection)
	code := "asked"
	if !created {
		code = "asked-before"
	}
	v.flash(flash{Code: code})
	return v.redirect("/requests")
}

// maxReason is the length in bytes of a reason.
const maxReason = 500

func (s *site) requestsPage(v *visit) error {
	list, err := s.Guard.MyRequests(v.ctx, v.caller())
	if err != nil {
		return err
	}
	var view requestsView
	for _, r := range list {
		if r.State == consent.StateWaiting {
			view.Waiting = append(view.Waiting, r)
		} else {
			view.Answered = append(view.Answered, r)
		}
	}
	return v.show(http.StatusOK, "requests", view, nil)
}

func (s *site) withdraw(v *visit) error {
	id := v.form("request")
	if !fhir.ValidID(id) {
		return fhir.ErrNotFound()
	}
	_, err := s.Guard.Withdraw(v.ctx, v.caller(), id, "", nil)
	switch {
	case kindIs(err, fhir.Unprocessable, fhir.Conflict, fhir.Precondition): // answered in the meantime: the list shows it
		v.flash(flash{Code: "changed"})
	case err != nil:
		return err
	default:
		v.flash(flash{Code: "withdrawn"})
	}
	return v.redirect("/requests")
}
