package web

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
)

// An askView is the form for asking for access, with a preview of what the
// family reads.
type askView struct {
	Patient  string // handle
	Typed    typed
	Provider consent.ProviderView // who asks
	Span     string               // 3, 6, 12 (months), date
	Date     string               // as typed
	Whole    bool
	Parts    []partView
	Private  bool // also what is marked as especially private
	Reason   string
	Spans    []spanView // the ends to choose from
	AnswerBy time.Time  // when a request made now lapses

	Confidential bool // for the patient alone, a teenager
}

// A spanView is a length to choose and the end that it leads to; the end is zero
// for a date that was not typed yet.
type spanView struct {
	Code  string
	Until time.Time
}

// A requestsView is a provider's own requests.
type requestsView struct {
	Waiting  []consent.RequestView
	Answered []consent.RequestView
	Asked    map[string]typed // what was typed for a request, by its id, as far as the session remembers
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

// end reads how long an access is to last. A date that was typed beside another
// choice, and is earlier, leaves open which of them is meant.
func (v *visit) end(wrong problems) time.Time {
	until, ok := v.site.words.until(v.form("span"), v.form("date"))
	if typed, given := v.site.words.until("date", v.form("date")); !ok {
		wrong["date"] = "invalid"
	} else if given && typed.Before(until) {
		wrong["date"] = "both"
	}
	return until
}

// classes reads which parts of the record are meant; none stand for the whole.
// Parts that were ticked beside "the whole record" leave open what is meant.
func (v *visit) classes(wrong problems) []fhir.Type {
	types := typesOf(v.request.PostForm["part"])
	whole := v.form("what") != "parts"
	switch {
	case whole && types != nil:
		wrong["part"] = "both"
	case !whole && types == nil:
		wrong["part"] = "missing"
	}
	return types
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
	view.Typed, view.AnswerBy = v.typedFor(view.Patient), v.site.Guard.AnswerBy(v.site.Now())
	for _, code := range []string{"3", "6", "12", "date"} {
		until, _ := v.site.words.until(code, view.Date)
		view.Spans = append(view.Spans, spanView{code, until})
	}
	var err error
	if view.Provider, err = v.self(); err != nil {
		return err
	}
	return v.show(http.StatusOK, "ask", view, wrong)
}

// self is the provider who is signed in, as families see them.
func (v *visit) self() (consent.ProviderView, error) {
	key, err := fhir.ParseKey(v.who.identity.FHIRUser)
	if err != nil {
		return consent.ProviderView{}, err
	}
	name := cmp.Or(v.practitionerName(key), v.who.identity.Name)
	p, err := v.provider(key, name)
	if p.Key.IsZero() {
		p.Name = name
	}
	return p, err
}

// provider finds a provider in the directory, where their name leads to them; the
// zero view is nobody.
func (v *visit) provider(key fhir.Key, name string) (consent.ProviderView, error) {
	found, err := v.site.Guard.Directory(v.ctx, v.caller(), name)
	if err != nil {
		return consent.ProviderView{}, err
	}
	for _, p := range found {
		if p.Key == key {
			return p, nil
		}
	}
	return consent.ProviderView{}, nil
}

// ask sends the request to the family.
func (s *site) ask(v *visit) error {
	chosen := v.request.PostForm["part"]
	view := askView{
		Patient: v.form("patient"), Span: v.form("span"), Date: v.form("date"), Whole: v.form("what") != "parts", Reason: v.form("reason"), Private: v.ticked(),
		Confidential: v.form("confidential") == "yes",
		Parts:        boxes(nil, func(code string) bool { return slices.Contains(chosen, code) }),
	}
	if view.Patient == "" {
		return v.redirect("/")
	}
	if v.form("action") == "preview" {
		return v.showAsk(view, nil)
	}
	wrong := problems{}
	request := consent.AccessRequest{Patient: view.Patient, Reason: view.Reason, Confidential: view.Confidential}
	request.Until, request.Label = v.end(wrong), ceiling(restricted, view.Private)
	request.Classes = v.classes(wrong)
	if len(view.Reason) > maxReason {
		wrong["reason"] = "long"
	}
	if len(wrong) > 0 {
		return v.showAsk(view, wrong)
	}
	made, created, err := s.Guard.RequestAccess(v.ctx, v.caller(), request)
	if kindIs(err, fhir.NotFound, fhir.Invalid) {
		return v.showAsk(view, problems{"patient": "stale"})
	}
	if kindIs(err, fhir.Unprocessable) {
		return v.showAsk(view, problems{"patient": whyNotAsked(err)})
	}
	if err != nil {
		return err
	}
	v.keepAsked(made.ID, v.typedFor(view.Patient))
	v.dropSession(keySelection)
	code := "asked"
	if !created {
		code = "asked-before"
	}
	v.flash(flash{Code: code})
	return v.redirect("/requests")
}

// whyNotAsked gives the code of why a request cannot be made.
func whyNotAsked(err error) string {
	var known *fhir.Error
	if errors.As(err, &known) && len(known.Issues) > 0 && known.Issues[0].Detail.Code == consent.RecentlyDeclined {
		return "declined"
	}
	return "refused"
}

// asked gives what was typed in this session for which requests, by their ids. It
// is all that a provider may know of the patients of open requests.
func (v *visit) asked() map[string]typed {
	kept := map[string]typed{}
	_ = json.Unmarshal([]byte(v.session(keyAsked)), &kept) // nothing kept yet: none
	return kept
}

// maxAsked is for how many requests a session remembers what was typed.
const maxAsked = 50

func (v *visit) keepAsked(request string, t typed) {
	kept := v.asked()
	if t == (typed{}) || len(kept) >= maxAsked {
		return
	}
	kept[request] = t
	if b, err := json.Marshal(kept); err == nil {
		v.setSession(keyAsked, string(b))
	}
}

// maxReason is the length in bytes of a reason.
const maxReason = 500

func (s *site) requestsPage(v *visit) error {
	list, err := s.Guard.MyRequests(v.ctx, v.caller())
	if err != nil {
		return err
	}
	view := requestsView{Asked: v.asked()}
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
