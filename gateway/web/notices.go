package web

import (
	"net/http"
	"slices"

	"mypatients/consent"
)

// A noticesView is the form on which a person chooses which mails they get.
type noticesView struct{ List []consent.NoticePreference }

func (s *site) noticesPage(v *visit) error {
	list, err := s.Guard.NoticePreferences(v.ctx, v.caller())
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "notices", noticesView{list}, nil)
}

// chooseNotices takes the ticks: what is not ticked is not mailed.
func (s *site) chooseNotices(v *visit) error {
	list, err := s.Guard.NoticePreferences(v.ctx, v.caller())
	if err != nil {
		return err
	}
	var off []consent.NoticeKind
	for _, p := range list {
		if !p.Fixed && !slices.Contains(v.request.PostForm["kind"], string(p.Kind)) {
			off = append(off, p.Kind)
		}
	}
	if err := s.Guard.SetNoticePreferences(v.ctx, v.caller(), off); err != nil {
		return err
	}
	v.flash(flash{Code: "notices"})
	return v.redirect(v.request.URL.Path)
}
