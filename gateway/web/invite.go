package web

import (
	"net/http"
	"net/mail"
	"slices"

	"mypatients/consent"
	"mypatients/fhir"
)

// An inviteView is the form for an invitation, and the list of those made.
type inviteView struct {
	about
	List  []consent.InvitationView
	Email string
	Whole bool
	Parts []partView
	Span  string // 3, 6, 12 (months), date: how long the invited can see the record
	Date  string

	Teen         bool // the person is a patient who is not of age
	Confidential bool
}

// Open reports whether there is an invitation that can be cancelled.
func (i inviteView) Open() bool {
	return slices.ContainsFunc(i.List, func(made consent.InvitationView) bool { return made.State == "open" })
}

// An invitedView shows a new invitation, this once.
type invitedView struct {
	about
	consent.Invited
	Link  string // of Validate a Token
	Staff bool   // made by staff for a caller
	Back  string // where to go on, and where a mail is asked for
	Email string // to which it can be mailed; empty: it cannot
	Sent  bool   // it was
}

func (s *site) invitationsPage(v *visit) error {
	return v.showInvite(inviteView{Whole: true, Span: "6", Parts: boxes(nil, func(string) bool { return false })}, nil)
}

func (v *visit) showInvite(view inviteView, wrong problems) error {
	who, err := v.about()
	if err != nil {
		return err
	}
	view.about = who
	view.Teen = who.Self && !who.Patient.OfAge
	if view.List, err = v.site.Guard.Invitations(v.ctx, v.caller(), who.Patient.Patient.ID); err != nil {
		return err
	}
	return v.show(http.StatusOK, "invite", view, wrong)
}

// invite makes an invitation, mails one, or cancels one.
func (s *site) invite(v *visit) error {
	who, err := v.about()
	if err != nil {
		return err
	}
	if token := v.form("send"); token != "" {
		return v.sendInvitation(who, token)
	}
	for _, answer := range []struct {
		action string
		give   func(id string) error
	}{
		{"cancel", func(id string) error { return second(s.Guard.Revoke(v.ctx, v.caller(), id, "", nil)) }},
		{"agree", func(id string) error { return second(s.Guard.Approve(v.ctx, v.caller(), id, consent.Narrowing{}, nil)) }},
		{"refuse", func(id string) error { return second(s.Guard.Decline(v.ctx, v.caller(), id, "", nil)) }},
	} {
		if id := v.form(answer.action); id != "" {
			return v.answerInvitation(who, id, answer.action, answer.give)
		}
	}
	chosen := v.request.PostForm["part"]
	view := inviteView{
		Email: v.form("email"), Whole: v.form("what") != "parts", Span: v.form("span"), Date: v.form("date"),
		Parts: boxes(nil, func(code string) bool { return slices.Contains(chosen, code) }), Confidential: v.form("confidential") == "yes",
	}
	wrong := problems{}
	i := consent.Invitation{Email: view.Email, Confidential: view.Confidential}
	i.Until, i.Label = v.end(wrong), normal
	i.Classes = v.classes(wrong)
	if !addressee(view.Email) {
		wrong["email"] = "invalid"
	}
	if len(wrong) > 0 {
		return v.showInvite(view, wrong)
	}
	made, err := s.Guard.Invite(v.ctx, v.caller(), who.Patient.Patient.ID, i)
	switch {
	case kindIs(err, fhir.Unprocessable) && view.Confidential:
		return v.showInvite(view, problems{"confidential": "refused"})
	case kindIs(err, fhir.Forbidden) && !unproven(err):
		return v.showInvite(view, problems{"others": "missing"})
	case kindIs(err, fhir.Unprocessable, fhir.Invalid):
		return v.showInvite(view, fields(err, "email", "email"))
	}
	if err != nil {
		return err
	}
	ready := invitedView{about: who, Invited: *made, Link: s.Base + "/invitation", Back: v.request.URL.Path}
	if s.Mail != nil {
		ready.Email = view.Email
	}
	return v.show(http.StatusOK, "invited", ready, nil)
}

// addressee reports whether an invitation can be for an e-mail address, which may
// be left out. With a mistyped one, nobody could use the token.
func addressee(email string) bool {
	if email == "" {
		return true
	}
	a, err := mail.ParseAddress(email)
	return err == nil && a.Address == email
}

// answerInvitation cancels an invitation, or says whether the person agrees to it.
func (v *visit) answerInvitation(who about, id, action string, give func(id string) error) error {
	list, err := v.site.Guard.Invitations(v.ctx, v.caller(), who.Patient.Patient.ID)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(list, func(i consent.InvitationView) bool { return i.ID == id }) {
		return fhir.ErrNotFound()
	}
	err = give(id)
	switch {
	case kindIs(err, fhir.Conflict, fhir.Precondition, fhir.Unprocessable):
		v.flash(flash{Code: "changed"})
	case err != nil:
		return err
	case action == "agree":
		v.flash(flash{Code: "agreed"})
	default:
		v.flash(flash{Code: "cancelled"})
	}
	return v.redirect(v.request.URL.Path)
}

func second[T any](_ T, err error) error { return err }
