package oracletest_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// A deed is done in a family's world: by whom the guard lets, else nothing happens.
// Those from whom it is hidden must hear of it in no way.
type deed struct {
	name   string
	hidden []string // people
	do     func(l *life)
}

// A life is a gate with what came of the deeds done there.
type life struct {
	g    *gate
	w    *world
	last map[string]string // id of the last consent, by provider and patient
}

// The people whose post is read: the guardians of a teenager and a child, the
// teenager, a guardian whom an order bars, a provider, and one who works for another.
var readers = []string{"guard0", "guard1", "pat0", "guard3", "doc1", "nurse0"}

func familyWorld(zone *time.Location, now time.Time) *world {
	born := func(years int) string { return now.In(zone).AddDate(-years, 0, -40).Format("2006-01-02") }
	w := &world{zone: zone, practitioners: []string{"doc0", "doc1", "doc2", "doc3"}, nurses: []string{"nurse0"}, organizations: []string{"org0"}, site: site{ceiling: "R"}}
	w.patients = []*patient{{id: "pat0", birth: born(15), pcp: []string{"Practitioner/doc0"}}, {id: "pat1", birth: born(5), pcp: []string{"Practitioner/doc0"}}, {id: "pat2", birth: born(7)}, {id: "pat3", birth: born(4)}}
	for n, patient := range []string{"pat0", "pat1", "pat0", "pat1", "pat2", "pat2", "pat2", "pat3"} {
		w.related = append(w.related, &related{id: fmt.Sprintf("rel%d", n), patient: patient, relation: "MTH", active: "true"})
	}
	w.vouchings = []*vouching{{sponsor: "doc0", nurse: "nurse0", until: now.AddDate(0, 1, 0)}}
	return w
}

func (l *life) as(name string) consent.Caller {
	c := &caller{name: name, login: name}
	switch {
	case strings.HasPrefix(name, "doc"):
		c.role, c.persons = "provider", []string{"Practitioner/" + name}
	case strings.HasPrefix(name, "nurse"):
		c.role, c.persons = "sponsored", []string{"Practitioner/" + name}
	case strings.HasPrefix(name, "pat"):
		c.role, c.persons = "patient", []string{"Patient/" + name}
	default:
		n := 2 * int(name[5]-'0')
		c.role, c.persons = "proxy", []string{"RelatedPerson/" + l.w.related[n].id, "RelatedPerson/" + l.w.related[n+1].id}
	}
	return l.g.caller(c)
}

func (l *life) ask(doctor, patient string, confidential bool) {
	r, _, err := l.g.guard.RequestAccess(l.g.t.Context(), l.as(doctor), consent.AccessRequest{Patient: "Patient/" + patient, Confidential: confidential, Reason: "Asthma."})
	if err == nil {
		l.last[doctor+patient] = r.ID
	}
}

type move func(g *consent.Guard, l *life, c consent.Caller, id string) error

func approve(g *consent.Guard, l *life, c consent.Caller, id string) error {
	_, err := g.Approve(l.g.t.Context(), c, id, consent.Narrowing{}, nil)
	return err
}

func decline(g *consent.Guard, l *life, c consent.Caller, id string) error {
	_, err := g.Decline(l.g.t.Context(), c, id, "No.", nil)
	return err
}

func revoke(g *consent.Guard, l *life, c consent.Caller, id string) error {
	_, err := g.Revoke(l.g.t.Context(), c, id, "", nil)
	return err
}

// answer makes a move on what a doctor asked last; others than the deed's own people
// may have been there before.
func (l *life) answer(who string, do move, doctor, patient string) {
	_ = do(l.g.guard, l, l.as(who), or(l.last[doctor+patient], "none"))
}

func (l *life) invite(who, patient, doctor string, confidential bool) {
	made, err := l.g.guard.Invite(l.g.t.Context(), l.as(who), patient, consent.Invitation{Confidential: confidential})
	if err != nil {
		return
	}
	if got, err := l.g.guard.Redeem(l.g.t.Context(), l.as(doctor), made.Token, "MRN"+patient, ""); err == nil {
		l.last[doctor+patient] = got.Consent.ID
	}
}

func (l *life) breakGlass(doctor, patient string) {
	found, err := l.g.guard.Select(l.g.t.Context(), l.as(doctor), consent.Selection{MRN: "MRN" + patient})
	if err == nil && len(found.Outcomes) == 1 {
		_, _, _ = l.g.guard.BreakGlass(l.g.t.Context(), l.as(doctor), consent.Emergency{Patient: found.Outcomes[0].Emergency, Purpose: "BTG", Reason: "Unconscious."})
	}
}

func (l *life) observe(id, patient string, labels ...coding) {
	keep(l.g, renderResource(&resource{kind: "Observation", id: id, labels: labels, code: coding{ourCodes, "c0"}, links: map[string][]string{"subject": {"Patient/" + patient}}}))
}

// order bars one of the stranger's guardians, who hears of nothing.
func (l *life) order(given string) {
	keep(l.g, renderConsent(&directive{id: "order", patient: "pat2", status: "active", scope: "patient-privacy", given: given, root: &provision{kind: "deny", class: []coding{{resourceTypes, "Coverage"}},
		actors: []actor{{role: coding{participation, "IRCP"}, reference: "RelatedPerson/rel6"}}}}))
}

// deeds of doc1 and doc3 are open to the family; those of doc2 are confidential, or
// about a stranger.
func deeds() []deed {
	guardians, outside := []string{"guard0", "guard1"}, []string{"guard3", "doc1", "nurse0"}
	confidential := slices.Concat(guardians, outside)
	stranger := []string{"guard0", "guard1", "pat0", "doc1", "nurse0"}
	var list []deed
	add := func(name string, hidden []string, do func(*life)) { list = append(list, deed{name, hidden, do}) }
	for _, p := range []string{"pat0", "pat1"} {
		add("doc1 asks for "+p, []string{"guard3", "nurse0"}, func(l *life) { l.ask("doc1", p, false) })
		add("it is approved", []string{"guard3", "nurse0"}, func(l *life) { l.answer("guard0", approve, "doc1", p) })
		add("it is revoked", []string{"guard3", "nurse0"}, func(l *life) { l.answer("guard1", revoke, "doc1", p) })
		add("a plain result", []string{"guard3"}, func(l *life) { l.observe("plain", p) })
		add("doc1 is invited", []string{"guard3", "nurse0"}, func(l *life) { l.invite("guard0", p, "doc1", false) })
		add("doc1 is let in by an emergency", []string{"guard3", "nurse0"}, func(l *life) { l.breakGlass("doc1", p) })
		add("doc3 is invited", []string{"guard3", "nurse0", "doc1"}, func(l *life) { l.invite("guard1", p, "doc3", false) })
	}
	add("doc2 asks the teenager", confidential, func(l *life) { l.ask("doc2", "pat0", true) })
	add("the teenager approves", confidential, func(l *life) { l.answer("pat0", approve, "doc2", "pat0") })
	add("the teenager declines", confidential, func(l *life) { l.answer("pat0", decline, "doc2", "pat0") })
	add("the teenager revokes", confidential, func(l *life) { l.answer("pat0", revoke, "doc2", "pat0") })
	add("the teenager invites doc2", confidential, func(l *life) { l.invite("pat0", "pat0", "doc2", true) })
	add("a result of the teenager's own", []string{"guard0", "guard1", "guard3", "doc1"}, func(l *life) { l.observe("secret", "pat0", coding{actCode, "SEX"}) })
	add("what no provider sees", confidential, func(l *life) { l.observe("very", "pat0", coding{actCode, "SEX"}, coding{confidentiality, "V"}) })
	add("doc2 asks the stranger", stranger, func(l *life) { l.ask("doc2", "pat2", false) })
	add("the stranger's guardian approves", stranger, func(l *life) { l.answer("guard2", approve, "doc2", "pat2") })
	add("the stranger's guardian revokes", stranger, func(l *life) { l.answer("guard2", revoke, "doc2", "pat2") })
	add("doc2 is let in to the stranger", stranger, func(l *life) { l.breakGlass("doc2", "pat2") })
	add("a result of the stranger", stranger, func(l *life) { l.observe("theirs", "pat2") })
	add("an order is amended", append(stranger, "guard3"), func(l *life) { l.order("2020-02-02") })
	add("and again", append(stranger, "guard3"), func(l *life) { l.order("2021-02-02") })
	return list
}

// TestPostTellsNothing has two gates live through the same, but for what is hidden
// from one person, which is done in one of them alone. What that person gets by mail
// and by the subscriptions of their app is the same, byte for byte.
func TestPostTellsNothing(t *testing.T) {
	seed, rounds, many := seeded(t), 1, 25 // deeds
	if long() {
		rounds, many = 30, 60
	}
	told := 0
	for round := range rounds {
		for n, reader := range readers {
			t.Run(fmt.Sprint(reader, round), func(t *testing.T) { told += comparePost(t, seed+uint64(round*len(readers)+n), reader, many) })
		}
	}
	if told == 0 && !t.Failed() {
		t.Error("nobody was told anything")
	}
	t.Logf("%d mails and deliveries", told)
}

// The ids of notices are random, and so are what a mail is known by, and its order.
var messageIDs = regexp.MustCompile(`(?m)^(Message-ID): .*$`)

func comparePost(t *testing.T, seed uint64, reader string, many int) (told int) {
	r := rand.New(rand.NewPCG(seed, 4))
	zone, now := someTime(t, r)
	var lives []*life
	var posts []*postman
	for range 2 {
		w := familyWorld(zone, now)
		g := newGate(t, w, now)
		l := &life{g, w, map[string]string{}}
		l.order("2019-02-02")
		lives, posts = append(lives, l), append(posts, newPostman(t, g))
		l.subscribe(reader, posts[len(posts)-1].endpoint)
	}
	all := deeds()
	for range many {
		one := all[r.IntN(len(all))]
		passed := time.Duration(r.IntN(3)) * []time.Duration{time.Second, 24 * time.Hour, 9 * 24 * time.Hour}[r.IntN(3)]
		for n, l := range lives {
			l.g.set(l.g.Now().Add(passed))
			if n == 1 || !slices.Contains(one.hidden, reader) {
				one.do(l)
			}
		}
		got := []map[string][]string{posts[0].round(t), posts[1].round(t)}
		for _, box := range []string{reader, reader + "@example.org"} {
			a, b := sameMail(got[0][box], got[1][box], func(n int, s string) string {
				return strings.ReplaceAll(messageIDs.ReplaceAllString(created.ReplaceAllString(s, "new"), "$1"), posts[n].endpoint, "endpoint")
			})
			if told += len(got[0][box]); a != b {
				t.Errorf("SEED=%d: %s hears of: %s\n%s", seed, reader, one.name, firstDifference(a, b))
			}
		}
		for _, address := range relatives[reader] {
			a, b := sameMail(got[0][address], got[1][address], func(_ int, s string) string {
				return messageIDs.ReplaceAllString(created.ReplaceAllString(s, "new"), "$1")
			})
			if told += len(got[0][address]); a != b {
				t.Errorf("SEED=%d: %s gets mail of: %s\n%s", seed, reader, one.name, firstDifference(a, b))
			}
		}
	}
	return told
}

// relatives are the addresses of people who stand for several.
var relatives = map[string][]string{"guard0": {"rel0@example.org", "rel1@example.org"}, "guard1": {"rel2@example.org", "rel3@example.org"}, "guard3": {"rel6@example.org", "rel7@example.org"}}

// subscribe has somebody's app subscribe to what it can.
func (l *life) subscribe(reader, endpoint string) {
	l.g.t.Helper()
	c := l.as(reader)
	scopes, err := smart.ParseScopes("user/Subscription.cruds user/Consent.rs user/Observation.rs user/Provenance.rs user/Communication.rs user/Patient.rs")
	if err != nil {
		l.g.t.Fatal(err)
	}
	c.ID, c.ClientID, c.Scopes = "app-"+reader, "app", scopes
	made := 0
	for _, kind := range []fhir.Type{"Consent", "Observation", "Provenance", "Communication", "Patient"} {
		for _, payload := range []string{"", `,"payload":"application/fhir+json"`} {
			if _, _, err := l.g.guard.Create(l.g.t.Context(), c, "Subscription", fmt.Appendf(nil, `{"resourceType":"Subscription","status":"requested","reason":"r","criteria":%q,
				"channel":{"type":"rest-hook","endpoint":%q%s}}`, kind, endpoint+"/"+reader+"/"+string(kind), payload)); err == nil {
				made++
			}
		}
	}
	if made == 0 && reader != "nurse0" {
		l.g.t.Errorf("%s subscribes to nothing", reader)
	}
}
