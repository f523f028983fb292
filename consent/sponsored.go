package consent

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"mypatients/consent/sponsor"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// Sponsored staff see what their sponsor sees as primary care provider or member of
// a care team, and read only. They never see more than the sponsor, nor than they
// may see themselves: what the family denies to either of them is denied.
//
// A consent or an invitation names a person. The family that approved a provider
// has not approved the people who work for them, so what rests on one does not
// extend to sponsored staff, and neither does an exception that lifts a denial for
// the sponsor alone.
//
// The role opens nothing else: they do not ask for access, redeem, invite, approve,
// sponsor others or open records in an emergency. Each of these names the roles
// that may, and theirs is not among them.

// A sponsorOf is a provider who vouches for a member of staff now.
type sponsorOf struct {
	person *person
	until  time.Time
}

// A vouching is a sponsor with what the patient's consents are compared with for
// them.
type vouching struct {
	person *person
	asker  *asker
}

// addSponsors looks up who vouches for a member of staff.
func (g *Guard) addSponsors(tx *engine.Tx, p *person) error {
	p.rests = append(p.rests, sponsorEpoch(p.key))
	all, err := sponsor.Of(tx.Reader(), p.key)
	if err != nil {
		return err
	}
	for _, s := range all {
		if !s.Awake(tx.Now()) {
			continue
		}
		p.until = earliest(p.until, tx.Now(), s.Until)
		p.rests = append(p.rests, accountEpoch(s.Login))
		holds, err := holdsLink(tx.Reader(), s.Login, Link{smart.Provider, s.Sponsor})
		if err != nil {
			return err
		}
		if !holds { // the sponsor's account is closed, or stands for them no more
			continue
		}
		sp, err := g.personOf(tx, Caller{Grant: smart.Grant{Identity: smart.Identity{Role: smart.Provider, FHIRUser: s.Sponsor}}})
		if err != nil {
			return err
		}
		p.rests, p.deniedRests = append(p.rests, sp.rests...), append(p.deniedRests, sp.deniedRests...)
		p.until = earliest(p.until, tx.Now(), sp.until)
		if len(sp.selves) == 0 { // practises no more
			continue
		}
		p.sponsors = append(p.sponsors, sponsorOf{sp, s.Until})
	}
	// They come by ids that are random, and bases are told in their order.
	slices.SortStableFunc(p.sponsors, func(a, b sponsorOf) int {
		return cmp.Or(strings.Compare(a.person.key, b.person.key), a.until.Compare(b.until))
	})
	return nil
}

// sponsorEpoch is the epoch of the sponsorships of a person.
func sponsorEpoch(person string) string { return "sponsored/" + person }

// holdsLink reports whether an account is there and has a link.
func holdsLink(r store.Reader, account string, l Link) (bool, error) {
	a, err := readAccount(r, account)
	if err == store.ErrNotFound {
		return false, nil
	}
	return err == nil && slices.Contains(a.Links, l), err
}

// decideSponsored gives sponsored staff the bases of their sponsors.
func (g *Guard) decideSponsored(tx *engine.Tx, p *person, d *decision, patient *store.Version) error {
	for _, sp := range p.sponsors {
		theirs := &decision{patient: d.patient, policy: d.policy, asker: g.newAsker(maps.Clone(sp.person.actors), false, tx.Now())}
		theirs.asker.known = d.asker.known
		d.vouching = append(d.vouching, vouching{sp.person, theirs.asker})
		if err := g.decideProvider(tx, sp.person, theirs, patient); err != nil {
			return err
		}
		d.rests = slices.Concat(d.rests, theirs.rests, sp.person.deniedRests, []string{specialEpoch})
		d.until = earliest(d.until, tx.Now(), theirs.until)
		// What several patients own must be denied to neither by any of them; each
		// sponsor counts for what they open, so the end of one takes no denial away.
		apart := store.Or{store.Not{Expr: store.Exists{Name: termShared}}, store.Not{Expr: deniedTo(append(sp.person.names(), sp.person.denied...))}}
		for _, gr := range theirs.grants {
			opens := func(t fhir.Type) store.Expr { return store.And{gr.opens(t), apart} }
			b := Basis{Code: BasisSponsored, Source: sp.person.key, Until: earliest(gr.basis.Until, time.Time{}, sp.until)}
			d.add(b, opens, d.asker, theirs.asker)
		}
	}
	return nil
}

// sponsorsOf lists the providers who vouch for a login, whatever role it acts in.
func (g *Guard) sponsorsOf(tx *engine.Tx, login string) ([]string, error) {
	a, err := readAccount(tx.Reader(), login)
	if err == store.ErrNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []string
	for _, l := range a.Links {
		if l.Role != smart.Sponsored || !strings.HasPrefix(l.Person, "Practitioner/") {
			continue
		}
		all, err := sponsor.Of(tx.Reader(), l.Person)
		if err != nil {
			return nil, err
		}
		for _, s := range all {
			if s.Awake(tx.Now()) {
				list = append(list, s.Sponsor)
			}
		}
	}
	return list, nil
}
