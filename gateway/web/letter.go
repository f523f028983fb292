package web

import (
	"context"
	"net/http"

	"mypatients/consent"
	"mypatients/fhir"
)

// sendInvitation mails an invitation that was just made, and shows it once more: the
// token comes from the page, for it is kept nowhere. A mail that cannot be sent leaves
// the other ways to pass it on.
func (v *visit) sendInvitation(who about, token string) error {
	view := invitedView{about: who, Link: v.site.Base + "/invitation", Back: v.request.URL.Path}
	view.Token, view.MRN = token, who.Patient.MRN
	if v.site.Mail == nil {
		return fhir.ErrNotFound()
	}
	until, err := v.site.Guard.MailInvitation(v.ctx, v.caller(), who.Patient.Patient.ID, token, func(ctx context.Context, l consent.Letter) error {
		view.Email = l.To
		return v.site.Mail(ctx, l.To, l.Subject, l.Text)
	})
	view.Expires = until
	switch {
	case kindIs(err, fhir.Unavailable) && view.Email != "":
		return v.show(http.StatusServiceUnavailable, "invited", view, problems{"send": "failed"})
	case kindIs(err, fhir.Unprocessable): // used or cancelled meanwhile: the list shows it
		v.flash(flash{Code: "changed"})
		return v.redirect(v.request.URL.Path)
	case err != nil:
		return err
	}
	view.Sent = true
	return v.show(http.StatusOK, "invited", view, nil)
}
