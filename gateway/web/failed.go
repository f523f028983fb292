package web

import (
	"net/http"
	"slices"

	"mypatients/consent"
	"mypatients/fhir"
)

// A failedView lists mails that did not reach everybody.
type failedView struct {
	List []failedRow
	Next string // id after which the list goes on
}

type failedRow struct {
	FailedNotice
	To []consent.LinkView
}

// failedPage is how many mails a page lists.
const failedPage = 50

func (s *site) failedPage(v *visit) error {
	list, err := s.Notices.Failed(v.ctx, v.query("after"), failedPage)
	if err != nil {
		return err
	}
	var everybody []string
	for _, f := range list {
		everybody = append(everybody, f.Recipients...)
	}
	names, err := s.Guard.NamesFor(v.ctx, v.caller(), "list-notices", everybody)
	if err != nil {
		return err
	}
	var view failedView
	for _, f := range list {
		row := failedRow{FailedNotice: f}
		for _, to := range f.Recipients {
			row.To = append(row.To, names[to])
		}
		view.List = append(view.List, row)
	}
	if len(list) == failedPage {
		view.Next = list[failedPage-1].ID
	}
	slices.SortStableFunc(view.List, func(a, b failedRow) int { return b.When.Compare(a.When) })
	return v.show(http.StatusOK, "failed", view, nil)
}

// settleFailed sends a mail again, or takes it off the list.
func (s *site) settleFailed(v *visit) error {
	id, code := v.form("notice"), v.form("action")
	if code != "retry" && code != "dismiss" || !fhir.ValidID(id) {
		return errNotHere
	}
	if err := s.Guard.Administer(v.ctx, v.caller(), consent.Event{Action: code + "-notice", Detail: id}); err != nil {
		return err
	}
	act := s.Notices.Retry
	if code == "dismiss" {
		act = s.Notices.Dismiss
	}
	said := flash{Code: "notice-" + code}
	switch err := act(v.ctx, id); {
	case kindIs(err, fhir.NotFound):
		said.Code = "settled"
	case err != nil:
		return err
	}
	v.flash(said)
	return v.redirect("/staff/notices")
}
