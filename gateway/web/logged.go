package web

import (
	"mypatients/consent"
	"mypatients/smart"
)

// logged records in the audit log what somebody did that is no interaction with a
// record: what an action can be is said beside consent.Event. It is done before the
// visit is answered, which fails when it cannot be.
func (v *visit) logged(action, detail string) error {
	return v.site.Guard.Record(v.ctx, v.actor(), consent.Event{Action: action, Detail: detail})
}

// notSignedIn records a sign-in that came to nothing, and gives back why.
func (v *visit) notSignedIn(provider string, why error) error {
	if err := v.site.Guard.Record(v.ctx, v.actor(), consent.Event{Action: "sign-in", Detail: provider, Refused: true}); err != nil {
		return err
	}
	return why
}

// actor is whoever visits, as far as is known.
func (v *visit) actor() consent.Caller {
	if v.who != nil && v.who.role != "" {
		return v.caller()
	}
	id := smart.Identity{}
	if v.who != nil {
		id.Login, id.Name = v.who.account.ID, v.who.account.Name
	}
	return consent.Caller{Grant: consent.Portal(id, v.session(keyGrant)), Address: v.address, RequestID: v.id}
}
