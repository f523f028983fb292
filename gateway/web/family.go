package web

import (
	"net/http"
	"slices"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// A familyView is the home of patients and guardians.
type familyView struct {
	Requests []consent.RequestView
	Patients []consent.Card
	Self     bool // the one patient is the person
}

func (s *site) familyPage(v *visit) error {
	cards, _, err := s.Guard.MyPatients(v.ctx, v.caller(), "")
	if err != nil {
		return err
	}
	view := familyView{Patients: cards, Self: v.who.role == smart.Patient}
	for _, c := range cards {
		waiting, err := s.Guard.WaitingRequests(v.ctx, v.caller(), c.Patient.ID)
		if err != nil {
			return err
		}
		view.Requests = append(view.Requests, waiting...)
	}
	slices.SortFunc(view.Requests, func(a, b consent.RequestView) int { return a.Asked.Compare(b.Asked) })
	return v.show(http.StatusOK, "family", view, nil)
}

// A decisionView asks the family about one request.
type decisionView struct {
	Request consent.RequestView
	Parts   []string // what was asked for; empty: the whole record
	Boxes   []partView
	Span    string // as asked, 1, 3, 6, date
	Date    string
	Less    bool // the choice of less is open
	Private bool // the box for especially private information, in the choice of less
	Self    bool
	WhyNot  string // the person cannot answer: own, refused; empty: they can
}

// request reads an access request that the family may see.
func (v *visit) accessRequest() (*consent.RequestView, error) {
	id := v.param("consent")
	if !fhir.ValidID(id) {
		return nil, fhir.ErrNotFound()
	}
	return v.site.Guard.Request(v.ctx, v.caller(), id)
}

func (s *site) decisionPage(v *visit) error {
	r, err := v.accessRequest()
	if err != nil {
		return err
	}
	view := decisionView{Request: *r, Span: "asked", Boxes: boxes(r.Classes, func(string) bool { return true })}
	return v.showDecision(http.StatusOK, view, nil)
}

func (v *visit) showDecision(status int, view decisionView, wrong problems) error {
	view.Parts = partsOf(view.Request.Classes)
	view.Self = v.who.role == smart.Patient
	if !view.Request.May {
		view.WhyNot = v.whyNot(&view.Request)
	}
	return v.show(status, "decision", view, wrong)
}

// decide takes the family's answer. The version of the request that they read is
// in the form: if it changed meanwhile, they are shown what it became.
func (s *site) decide(v *visit) error {
	r, err := v.accessRequest()
	if err != nil {
		return err
	}
	if r.LeftOver && v.form("action") == "keep" {
		return v.keep(r)
	}
	if r.State != consent.StateWaiting || v.form("version") != itoa(int(r.Version)) {
		v.flash(flash{Code: "changed"})
		return v.redirect(v.request.URL.Path)
	}
	refused := decisionView{Request: *r, Span: "asked", Boxes: boxes(r.Classes, func(string) bool { return true }), Private: v.ticked()}
	said := flash{Name: r.Provider.Name, Until: r.Until, Private: private(ceiling(r.Label, v.ticked()))}
	switch v.form("action") {
	case "approve":
		said.Code = "approved"
		_, err = s.Guard.Approve(v.ctx, v.caller(), r.ID, consent.Narrowing{Label: ceiling(r.Label, v.ticked())}, &r.Version)
	case "less":
		n, view, wrong := v.less(r)
		if len(wrong) > 0 {
			return v.showDecision(http.StatusOK, view, wrong)
		}
		if !n.Until.IsZero() {
			said.Until = n.Until
		}
		refused, said.Code = view, "approved"
		_, err = s.Guard.Approve(v.ctx, v.caller(), r.ID, n, &r.Version)
	case "decline":
		said.Code = "declined"
		_, err = s.Guard.Decline(v.ctx, v.caller(), r.ID, "", &r.Version)
	default:
		return v.redirect("/patient")
	}
	if kindIs(err, fhir.Conflict, fhir.Precondition, fhir.Unprocessable) {
		v.flash(flash{Code: "changed"})
		return v.redirect(v.request.URL.Path)
	}
	if kindIs(err, fhir.Forbidden) && !unproven(err) {
		return v.showDecision(http.StatusForbidden, refused, problems{"answer": v.whyNot(r)})
	}
	if err != nil {
		return err
	}
	if said, err = v.settled(r.ID, said); err != nil {
		return err
	}
	v.flash(said)
	return v.redirect("/patient")
}

// settled gives what to say of an answer: perhaps it decides nothing yet.
func (v *visit) settled(id string, said flash) (flash, error) {
	r, err := v.site.Guard.Request(v.ctx, v.caller(), id)
	switch {
	case kindIs(err, fhir.NotFound): // not theirs to see any more
		return said, nil
	case err != nil || r.State != consent.StateWaiting:
		return said, err
	case r.Conflict:
		return flash{Code: "conflict", Name: said.Name}, nil
	}
	return flash{Code: said.Code + "-so-far", Name: said.Name}, nil
}

// whyNot says why the person may not answer a request: they may be the one who
// sent it, in another role ("own").
func (v *visit) whyNot(r *consent.RequestView) string {
	own := func(l consent.Link) bool { return !r.Provider.Key.IsZero() && l.Person == r.Provider.Key.String() }
	if slices.ContainsFunc(v.who.account.Links, own) {
		return "own"
	}
	return "refused"
}

// less reads the choice of fewer parts and a shorter time. It never goes beyond
// what was asked for.
func (v *visit) less(r *consent.RequestView) (consent.Narrowing, decisionView, problems) {
	chosen := v.request.PostForm["part"]
	ticked := func(code string) bool { return slices.Contains(chosen, code) }
	view := decisionView{Request: *r, Less: true, Span: v.form("span"), Date: v.form("date"), Boxes: boxes(r.Classes, ticked), Private: v.ticked()}
	wrong := problems{}
	n := consent.Narrowing{Label: ceiling(r.Label, v.ticked())}
	if all := !slices.ContainsFunc(view.Boxes, func(b partView) bool { return !b.Checked }); !all {
		n.Classes = typesOf(chosen)
		if len(r.Classes) > 0 {
			n.Classes = slices.DeleteFunc(n.Classes, func(t fhir.Type) bool { return !slices.Contains(r.Classes, t) })
		}
		if len(n.Classes) == 0 {
			wrong["part"] = "missing"
		}
	}
	if view.Span != "asked" {
		n.Until = earlier(v.end(wrong), r.Until)
	} else if typed, given := v.site.words.until("date", view.Date); given && earlier(typed, r.Until) != r.Until {
		wrong["date"] = "both"
	}
	return n, view, wrong
}

// earlier gives the first of two ends; a zero one is no end.
func earlier(a, b time.Time) time.Time {
	if b.IsZero() || !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}

// keep makes an access that was given for a patient, who is of age now, their own.
func (v *visit) keep(r *consent.RequestView) error {
	_, err := v.site.Guard.Approve(v.ctx, v.caller(), r.ID, consent.Narrowing{}, &r.Version)
	switch {
	case kindIs(err, fhir.Conflict, fhir.Precondition, fhir.Unprocessable):
		v.flash(flash{Code: "changed"})
	case err != nil:
		return err
	default:
		v.flash(flash{Code: "kept", Name: r.Provider.Name})
	}
	return v.redirect("/patient")
}
