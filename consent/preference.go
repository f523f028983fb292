package consent

import (
	"context"
	"slices"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// recordNoticesOff holds, by account, the kinds of notices that a person does not
// want as mails. It is a record and no resource: R4 has none that says it, it is
// nobody's business but theirs, and it belongs to the login, whichever children
// it stands for.
const recordNoticesOff = "notices-off"

// A NoticePreference is one kind of notice as its recipient has chosen.
type NoticePreference struct {
	Kind  NoticeKind
	Mail  bool // it is sent by e-mail
	Fixed bool // it cannot be switched off
}

// The kinds that the roles get.
var (
	familyNotices   = []NoticeKind{NoticeRequest, NoticeReminder, NoticeConflict, NoticeInvited, NoticeRedeemed, NoticeInvitationEnding, NoticeEnding, NoticeBreakGlass, NoticeLinked}
	providerNotices = []NoticeKind{NoticeApproved, NoticeDeclined, NoticeRevoked, NoticeEnding}
)

// mandatory reports whether everybody gets the kind as a mail, whatever they chose.
func (k NoticeKind) mandatory() bool {
	return slices.Contains([]NoticeKind{NoticeBreakGlass, NoticeLinked, NoticeCode, NoticeRegistration}, k)
}

func noticesFor(role smart.Role) []NoticeKind {
	switch role {
	case smart.Patient, smart.Proxy:
		return familyNotices
	case smart.Provider:
		return providerNotices
	}
	return nil
}

// NoticePreferences lists the kinds of notices that the caller's role gets, and
// which of them come as mails.
func (g *Guard) NoticePreferences(ctx context.Context, c Caller) ([]NoticePreference, error) {
	kinds, err := g.ownNotices(c)
	if err != nil {
		return nil, g.refused(ctx, g.entry(c, "read-notice-preferences", "Communication"), err)
	}
	var off []NoticeKind
	err = g.engine.View(ctx, func(tx *engine.Tx) (err error) {
		off, err = noticesOff(tx.Reader(), c.Identity.Login)
		return err
	})
	if err != nil {
		return nil, err
	}
	list := make([]NoticePreference, len(kinds))
	for i, k := range kinds {
		list[i] = NoticePreference{Kind: k, Mail: k.mandatory() || !slices.Contains(off, k), Fixed: k.mandatory()}
	}
	return list, nil
}

// SetNoticePreferences says which kinds of notices the caller does not want as
// mails; all others that their role gets are sent. A kind that is fixed, or is not
// for the role, is Unprocessable.
func (g *Guard) SetNoticePreferences(ctx context.Context, c Caller, off []NoticeKind) error {
	e := g.entry(c, "set-notice-preferences", "Communication")
	kinds, err := g.ownNotices(c)
	if err != nil {
		return g.refused(ctx, e, err)
	}
	for _, k := range off {
		if !slices.Contains(kinds, k) || k.mandatory() {
			return g.refused(ctx, e, refuse("kind", "This kind of notice cannot be switched off."))
		}
	}
	err = g.engine.Update(ctx, func(tx *engine.Tx) error {
		kept, err := noticesOff(tx.Reader(), c.Identity.Login)
		if err != nil {
			return err
		}
		kept = slices.DeleteFunc(kept, func(k NoticeKind) bool { return slices.Contains(kinds, k) }) // of other roles
		kept = append(kept, off...)
		slices.Sort(kept)
		if err := store.PutJSON(tx.Writer(), recordNoticesOff, c.Identity.Login, slices.Compact(kept), time.Time{}); err != nil {
			return err
		}
		return file(tx, e)
	})
	if err != nil {
		return g.refused(ctx, e, err)
	}
	return nil
}

// ownNotices gives the kinds that the caller chooses about: a person in the
// gateway's own pages, for an app could silence what guards against it.
func (g *Guard) ownNotices(c Caller) ([]NoticeKind, error) {
	kinds := noticesFor(c.Identity.Role)
	if kinds == nil || c.Identity.Login == "" || c.ClientID != PortalClient {
		return nil, fhir.Errorf(fhir.Forbidden, "Families and providers choose this for themselves, in the portal.")
	}
	return kinds, nil
}

func noticesOff(r store.Reader, login string) ([]NoticeKind, error) {
	var off []NoticeKind
	if err := store.GetJSON(r, recordNoticesOff, login, &off); err != nil && err != store.ErrNotFound {
		return nil, err
	}
	return off, nil
}

// maxLogins is how many accounts of one person are asked.
const maxLogins = 20

// wants reports whether a person gets mails of a kind: unless every login that
// stands for them has switched it off.
func (g *Guard) wants(r store.Reader, person string, kind NoticeKind) (bool, error) {
	if kind.mandatory() {
		return true, nil
	}
	logins, err := r.Records(recordAccountOf, person+" ", "", maxLogins)
	if err != nil {
		return false, err
	}
	for _, rec := range logins {
		off, err := noticesOff(r, rec.Key[len(person)+1:])
		if err != nil {
			return false, err
		}
		if !slices.Contains(off, kind) {
			return true, nil
		}
	}
	return len(logins) == 0, nil
}
