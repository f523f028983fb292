package web

import (
	"context"
	"net/http"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// Notices are the mails that did not reach everybody. The pages have asked the
// guard before they come here.
type Notices interface {
	// Failed lists those whose ids come after one, at most limit.
	Failed(ctx context.Context, after string, limit int) ([]FailedNotice, error)
	// Retry sends one again, Dismiss takes it off the list; NotFound when it is not
	// on it.
	Retry(ctx context.Context, id string) error
	Dismiss(ctx context.Context, id string) error
}

// A FailedNotice is a mail that did not reach everybody it is for.
type FailedNotice struct {
	ID         string
	Kind       string // a consent.NoticeKind
	Recipients []string
	When       time.Time
	Why        string // a sentence
}

// noNotices is for a site whose mails nobody looks after here.
type noNotices struct{}

func (noNotices) Failed(context.Context, string, int) ([]FailedNotice, error) { return nil, nil }
func (noNotices) Retry(context.Context, string) error                         { return fhir.ErrNotFound() }
func (noNotices) Dismiss(context.Context, string) error                       { return fhir.ErrNotFound() }

// A deskView is the home of staff: the search for a patient, and for administrators
// what waits for them.
type deskView struct {
	ByName  bool // search by name and date of birth
	Typed   typed
	Matches []patientView
	Work    *workView // nil: not an administrator
}

// A workView counts what waits.
type workView struct {
	consent.Worklists
	Notices int
}

// Many tells that a count goes no further.
func (workView) Many(n int) bool { return n >= consent.MaxWaiting }

// Nothing tells that nothing waits.
func (w workView) Nothing() bool {
	return w.Providers+w.Accounts+w.Emergencies+w.Consents+w.Notices == 0
}

// showDesk shows the home with the worklists that are the person's own.
func (v *visit) showDesk(view deskView, wrong problems) error {
	if v.who.role != smart.Admin {
		return v.show(http.StatusOK, "desk", view, wrong)
	}
	lists, err := v.site.Guard.Worklists(v.ctx, v.caller())
	if err != nil {
		return err
	}
	failed, err := v.site.Notices.Failed(v.ctx, "", consent.MaxWaiting)
	if err != nil {
		return err
	}
	view.Work = &workView{lists, len(failed)}
	return v.show(http.StatusOK, "desk", view, wrong)
}

// An unclearView lists what families decided that cannot be read.
type unclearView struct{ List []consent.FaultyConsent }

func (s *site) unclearPage(v *visit) error {
	list, err := s.Guard.FaultyConsents(v.ctx, v.caller())
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "unclear", unclearView{list}, nil)
}
