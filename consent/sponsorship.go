package consent

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"mypatients/consent/sponsor"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

const (
	maxSponsored  = 100                 // sponsorships of a provider at a time
	offerLife     = 14 * 24 * time.Hour // in which the code is to be taken up
	remindSponsor = 14 * 24 * time.Hour // before a sponsorship falls asleep its sponsor is told
)

var noticeConfirm = notice{NoticeSponsored, "Confirm who works for you", "Somebody who works for you will soon no longer see your patients. Confirm that they still work for you, if they do.", "/sponsored"}

// The states of a sponsorship, as its people see them.
const (
	SponsorOffered = "offered" // nobody has taken it up
	SponsorLapsed  = "lapsed"  // and nobody can any more
	SponsorAwake   = "awake"   // it holds
	SponsorAsleep  = "asleep"  // it waits for the sponsor's confirmation
	SponsorEnded   = "ended"
)

// A SponsorView shows a sponsorship to its sponsor, or to the one who is sponsored.
type SponsorView struct {
	ID    string
	State string
	Name  string
	Email string
	Until time.Time // when the code lapses, or when the sponsorship falls asleep; zero: it has ended
}

// An Offered is a new sponsorship. Code is shown this once.
type Offered struct {
	ID      string
	Code    string
	Expires time.Time
}

// SponsorStaff offers a member of staff to see what the caller sees, a provider.
// Whoever signs in with the verified e-mail address and has the code can take it
// up. Unprocessable issues name the field at fault: name, email.
func (g *Guard) SponsorStaff(ctx context.Context, c Caller, name, email string) (*Offered, error) {
	e := g.entry(c, "sponsor", "Practitioner")
	name, email = strings.TrimSpace(name), strings.ToLower(strings.TrimSpace(email))
	if err := g.checkSponsor(c); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	if name == "" || len(name) > maxWord {
		return nil, refuse("name", "Enter the name of the person who works for you.")
	}
	if local, domain, ok := strings.Cut(email, "@"); !ok || local == "" || !strings.Contains(domain, ".") || len(email) > maxWord || strings.ContainsAny(email, " \r\n<>,;") {
		return nil, refuse("email", "Enter the e-mail address that they sign in with.")
	}
	code := newToken()
	s := &sponsor.Sponsorship{Sponsor: c.Identity.FHIRUser, Login: c.Identity.Login, Name: name, Email: email, Code: g.sponsorCode(code)}
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		if err := g.requireProof(tx, c); err != nil {
			return err
		}
		p, err := g.cachedPerson(tx, c)
		if err != nil {
			return err
		}
		if len(p.selves) == 0 {
			return fhir.Errorf(fhir.Forbidden, "Only a provider who practises can have somebody work for them.")
		}
		all, err := sponsor.By(tx.Reader(), s.Sponsor, 100*maxSponsored)
		if err != nil {
			return err
		}
		open := 0
		for _, have := range all {
			if have.Ended.IsZero() && (have.Person != "" || tx.Now().Before(have.Expires)) {
				open++
			}
		}
		if open >= maxSponsored {
			return refuse("email", "There are %d people who work for you already.", open)
		}
		s.Invited, s.Expires = tx.Now(), tx.Now().Add(offerLife)
		if err := sponsor.Offer(tx.Writer(), s); err != nil {
			return err
		}
		return file(tx, e)
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return &Offered{s.ID, code, s.Expires}, nil
}

func (g *Guard) checkSponsor(c Caller) error {
	if err := g.requireUserScope(c, "Practitioner", smart.MayCreate); err != nil {
		return err
	}
	if c.Identity.Role != smart.Provider || c.Identity.Login == "" || !strings.HasPrefix(c.Identity.FHIRUser, "Practitioner/") {
		return fhir.Errorf(fhir.Forbidden, "Only a provider can have somebody work for them.")
	}
	return nil
}

func (g *Guard) sponsorCode(code string) string {
	return hex.EncodeToString(g.hash("sponsor", normalToken(code)))
}

// TakeUpSponsorship has a login work for the provider who gave it a code. Whatever
// does not fit gets the same answer; attempts are limited as for invitations.
func (g *Guard) TakeUpSponsorship(ctx context.Context, accountID, code, address string) (*Account, error) {
	e := g.entry(Caller{Grant: smart.Grant{ClientID: PortalClient, ClientName: "Portal", Identity: smart.Identity{Login: accountID}}, Address: address}, "take-up-sponsorship", "Practitioner")
	var a *Account
	var refusal error
	err := g.engine.Update(ctx, func(tx *engine.Tx) (err error) {
		if a, err = readAccount(tx.Reader(), accountID); err == store.ErrNotFound {
			return fhir.Errorf(fhir.Forbidden, "Sign in first.")
		}
		if err != nil {
			return err
		}
		if refusal = allowAttempt(tx.Writer(), tx.Now(), "sponsor", accountID, g.policy.RedemptionsPerHour); refusal == nil {
			refusal = allowAttempt(tx.Writer(), tx.Now(), "sponsor-from", address, 10*g.policy.RedemptionsPerHour)
		}
		if refusal != nil {
			return nil
		}
		fits, err := g.takeUp(tx, a, g.sponsorCode(code), e)
		if err == nil && !fits {
			refusal = refuse("code", "This code does not work. Check it with the provider who gave it to you, and that you signed in with the e-mail address they know.")
		}
		return err
	})
	if err = orElse(err, refusal); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return a, nil
}

// takeUp reports false, having written nothing, when anything does not fit.
func (g *Guard) takeUp(tx *engine.Tx, a *Account, code string, e *auditEntry) (bool, error) {
	s, err := sponsor.ByCode(tx.Reader(), code)
	if err == store.ErrNotFound {
		return false, nil
	}
	if err != nil || s.Email != strings.ToLower(a.Email) || s.Login == a.ID || s.Person != "" || !s.Ended.IsZero() || !tx.Now().Before(s.Expires) {
		return false, err
	}
	if holds, err := holdsLink(tx.Reader(), s.Login, Link{smart.Provider, s.Sponsor}); err != nil || !holds {
		return false, err
	}
	key := fhir.Key{Type: "Practitioner", ID: "sponsored-" + hex.EncodeToString(g.hash("sponsored", a.ID)[:12])}
	if _, err := tx.Read(key, engine.Everything); fhir.KindOf(err) == fhir.NotFound {
		_, err = g.replace(tx, node{"resourceType": "Practitioner", "id": key.ID, "active": true, "name": []any{map[string]any{"text": or(a.Name, s.Name)}}})
		if err != nil {
			return false, err
		}
	} else if err != nil {
		return false, err
	}
	if err := a.link(tx.Writer(), Link{smart.Sponsored, key.String()}); err != nil {
		return false, err
	}
	until := g.sponsoredUntil(tx.Now())
	if err := sponsor.TakeUp(tx.Writer(), s, key.String(), a.ID, tx.Now(), until, until.Add(-remindSponsor)); err != nil {
		return false, err
	}
	for _, epoch := range []string{sponsorEpoch(key.String()), accountEpoch(a.ID)} {
		if err := moveEpoch(tx.Writer(), epoch); err != nil {
			return false, err
		}
	}
	e.When, e.Name, e.Person, e.Role, e.Returned = tx.Now(), a.Name, key.String(), smart.Sponsored, []string{key.String(), s.Sponsor}
	return true, file(tx, e)
}

// sponsoredUntil gives when a sponsorship falls asleep that is confirmed now.
func (g *Guard) sponsoredUntil(now time.Time) time.Time {
	return addMonths(now, g.policy.SponsorMonths, g.zone)
}

// MyStaff lists those whom a provider sponsors; of sponsored staff, by whom they
// are, with the names of the sponsors.
func (g *Guard) MyStaff(ctx context.Context, c Caller) ([]SponsorView, error) {
	e := g.entry(c, "list-sponsored", "Practitioner")
	if c.Identity.Role != smart.Provider && c.Identity.Role != smart.Sponsored {
		return nil, g.refused(ctx, e, fhir.ErrNotFound())
	}
	var views []SponsorView
	err := g.engine.View(ctx, func(tx *engine.Tx) (err error) {
		views = nil
		var all []*sponsor.Sponsorship
		if c.Identity.Role == smart.Sponsored {
			all, err = sponsor.Of(tx.Reader(), c.Identity.FHIRUser)
		} else {
			all, err = sponsor.By(tx.Reader(), c.Identity.FHIRUser, 100*maxSponsored)
		}
		if err != nil {
			return err
		}
		for _, s := range all {
			v := sponsorView(s, tx.Now())
			if c.Identity.Role == smart.Sponsored {
				p, err := g.provider(tx, s.Sponsor)
				if err != nil {
					return err
				}
				v.Name, v.Email = p.Name, ""
			}
			views = append(views, v)
		}
		return nil
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return views, g.auditor.write(ctx, e)
}

func sponsorView(s *sponsor.Sponsorship, now time.Time) SponsorView {
	v := SponsorView{ID: s.ID, Name: s.Name, Email: s.Email, Until: s.Until}
	switch {
	case !s.Ended.IsZero():
		v.State, v.Until = SponsorEnded, time.Time{}
	case s.Person == "" && now.Before(s.Expires):
		v.State, v.Until = SponsorOffered, s.Expires
	case s.Person == "":
		v.State, v.Until = SponsorLapsed, s.Expires
	case s.Awake(now):
		v.State = SponsorAwake
	default:
		v.State = SponsorAsleep
	}
	return v
}

// ConfirmStaff says that somebody still works for the caller, who sponsors them: it
// holds for half a year from now, also when it had fallen asleep. Ended is
// Conflict.
func (g *Guard) ConfirmStaff(ctx context.Context, c Caller, id string) error {
	return g.sponsorship(ctx, c, "confirm-sponsored", id, func(tx *engine.Tx, s *sponsor.Sponsorship) error {
		if !sponsors(c, s) {
			return fhir.ErrNotFound()
		}
		if err := g.requireProof(tx, c); err != nil {
			return err
		}
		if s.Person == "" {
			return fhir.Errorf(fhir.Conflict, "Nobody has taken this up.")
		}
		until := g.sponsoredUntil(tx.Now())
		return sponsor.Confirm(tx.Writer(), s, tx.Now(), until, until.Add(-remindSponsor))
	})
}

// EndStaff ends a sponsorship for good, from the next request on: for the sponsor,
// the one who is sponsored, and administrators. Who comes second gets Conflict.
func (g *Guard) EndStaff(ctx context.Context, c Caller, id string) error {
	return g.sponsorship(ctx, c, "end-sponsored", id, func(tx *engine.Tx, s *sponsor.Sponsorship) error {
		own := c.Identity.Role == smart.Sponsored && s.Person != "" && c.Identity.FHIRUser == s.Person
		if !sponsors(c, s) && !own && c.Identity.Role != smart.Admin {
			return fhir.ErrNotFound()
		}
		return sponsor.End(tx.Writer(), s, tx.Now())
	})
}

func sponsors(c Caller, s *sponsor.Sponsorship) bool {
	return c.Identity.Role == smart.Provider && c.Identity.FHIRUser == s.Sponsor
}

func (g *Guard) sponsorship(ctx context.Context, c Caller, action, id string, do func(*engine.Tx, *sponsor.Sponsorship) error) error {
	e := g.entry(c, action, "Practitioner")
	if err := g.requireUserScope(c, "Practitioner", smart.MayUpdate); err != nil {
		return g.refused(ctx, e, err)
	}
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		s, err := sponsor.Get(tx.Reader(), id)
		if err == store.ErrNotFound {
			return fhir.ErrNotFound()
		}
		if err != nil {
			return err
		}
		err = do(tx, s)
		if errors.Is(err, sponsor.ErrEnded) {
			return fhir.Errorf(fhir.Conflict, "This has ended already.")
		}
		if err != nil {
			return err
		}
		if s.Person != "" {
			e.Returned = []string{s.Person}
			if err := moveEpoch(tx.Writer(), sponsorEpoch(s.Person)); err != nil {
				return err
			}
		}
		e.When = tx.Now()
		return file(tx, e)
	})
	if err != nil {
		return g.refused(ctx, e, err)
	}
	return nil
}

// RemindSponsors tells those whose staff will soon see nothing any more, once for
// each confirmation, and returns how many; the sweeper calls it.
func (g *Guard) RemindSponsors(ctx context.Context) (int, error) {
	told := 0
	for more := true; more; {
		var now int
		err := g.engine.Update(ctx, func(tx *engine.Tx) error {
			due, rest, err := sponsor.Due(tx.Writer(), tx.Now(), maxSponsored)
			if err != nil {
				return err
			}
			now, more = len(due), rest
			for _, s := range due {
				if err := g.tellSponsor(tx, s); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return told, err
		}
		told += now
	}
	return told, nil
}

func (g *Guard) tellSponsor(tx *engine.Tx, s *sponsor.Sponsorship) error {
	tag, err := g.reads(tx.Reader(), s.Sponsor)
	if err != nil {
		return err
	}
	c := g.communication("", noticeConfirm, tag)
	c["recipient"] = []any{reference(s.Sponsor)}
	_, err = g.put(tx, c, "")
	return err
}
