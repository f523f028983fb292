package consent

import (
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mypatients/consent/audit"
	"mypatients/consent/emergency"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/smart"
)

// Config is what a Guard needs.
type Config struct {
	Rules     *Rules // whose engine was made
	Now       func() time.Time
	Key       []byte // 32 bytes: hashes tokens, seals handles and page links
	MRNSystem string // the identifier system of medical record numbers
	Policy    Policy
	StepUp    map[string]StepUp // by issuer; whose is not here is asked for nothing. May be nil

	// ListAtMost is how many patients of a provider are looked at one by one; of those
	// who have more a condition on all patients is made. 0: a thousand; below: none.
	ListAtMost int

	PrivacyEmail string       // who is told of every emergency access beside the family; may be empty
	Logger       *slog.Logger // told of the state of the audit log; nil: nobody is

	// Translate gives a sentence of a notice in a language, by its BCP 47 tag; false
	// when it cannot. nil: notices are in English.
	Translate func(tag, english string) (string, bool)

	// Launch makes a launch handle for a redeemed invitation; nil: none is given.
	Launch func(ctx context.Context, l smart.Launch) (handle string, err error)
	// AppCode tells whether app states of a code ("system|code") are a client's to
	// keep; nil: no client keeps any.
	AppCode func(ctx context.Context, clientID, code string) (bool, error)
	// Standing tells what is left today of a grant that a subscription was made with,
	// and Endpoint whether a URL is one that is called; both nil: no subscriptions.
	Standing func(ctx context.Context, held smart.Grant) (left smart.Grant, ok bool, err error)
	Endpoint func(url string) bool

	// Unreadable is told of each consent that a decision met and that cannot be
	// evaluated, once: such a consent permits nothing, and what it denies it denies in
	// doubt. It must return at once. nil: nobody is told.
	Unreadable func(UnreadableConsent)
}

// A Guard stands in front of the engine. It is safe for concurrent use.
type Guard struct {
	engine    *engine.Engine
	rules     *Rules
	now       func() time.Time
	zone      *time.Location
	base      string
	key       []byte
	seal      cipher.AEAD
	mrnSystem string
	policy    Policy

	privacyEmail string

	stepUps   map[string]StepUp
	translate func(tag, english string) (string, bool)
	launch    func(ctx context.Context, l smart.Launch) (string, error)
	appCode   func(ctx context.Context, clientID, code string) (bool, error)
	standing  func(ctx context.Context, held smart.Grant) (smart.Grant, bool, error)
	endpoint  func(url string) bool

	maxListed   int
	auditor     *auditor
	persons     *cache[who, *person]
	decisions   *cache[about, *decision]
	emergencies *cache[string, []*emergency.Session] // that grants have begun and that run
	panels      *cache[who, *panel]
	bases       *cache[about, []Basis]   // of patients whom a panel joins
	shown       *cache[pageOf, []string] // the patients on first pages of such panels; rests on nothing, and decides nothing
	large       *cache[who, bool]        // whether callers have very many patients
	denied      *cache[string, []string] // care teams and groups that consents deny
	accounts    *cache[string, *Account]
	statement   atomic.Pointer[statement]
	faults      faults
	scratches   sync.Pool // of *[]byte
}

// Sizes of the caches, in values; each is a kilobyte or so.
const (
	maxPersons   = 4096
	maxDecisions = 65536
	maxPanels    = 1024
	maxJoined    = 16384
	maxAccounts  = 16384
)

// New makes a guard; Close it to end its goroutine.
func New(c Config) (*Guard, error) {
	switch {
	case c.Rules == nil || c.Rules.engine == nil || c.Now == nil:
		return nil, errors.New("consent: Rules, with their engine, and Now are required")
	case len(c.Key) != 32:
		return nil, errors.New("consent: Key must have 32 bytes")
	case c.MRNSystem == "" || c.Policy.AdultAge == 0:
		return nil, errors.New("consent: MRNSystem and Policy are required")
	}
	if err := c.Policy.check(); err != nil {
		return nil, err
	}
	log, err := audit.Open(audit.Config{Store: c.Rules.engine.Store(), Now: c.Now, Key: derive(c.Key, "audit"), Logger: c.Logger})
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derive(c.Key, "seal"))
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &Guard{
		engine: c.Rules.engine, rules: c.Rules, now: c.Now, zone: c.Rules.zone, base: c.Rules.base,
		key: derive(c.Key, "hash"), seal: seal, mrnSystem: c.MRNSystem, policy: c.Policy, privacyEmail: c.PrivacyEmail, stepUps: c.StepUp, launch: c.Launch, appCode: c.AppCode,
		standing: c.Standing, endpoint: c.Endpoint, translate: c.Translate,
		auditor: newAuditor(log, c.Rules.engine), persons: newCache[who, *person](maxPersons),
		decisions: newCache[about, *decision](maxDecisions), panels: newCache[who, *panel](maxPanels),
		bases: newCache[about, []Basis](maxJoined), shown: newCache[pageOf, []string](maxPanels), large: newCache[who, bool](maxPersons), maxListed: cmp.Or(c.ListAtMost, maxListed),
		accounts: newCache[string, *Account](maxAccounts), emergencies: newCache[string, []*emergency.Session](maxPersons), denied: newCache[string, []string](1),
		faults: faults{tell: c.Unreadable, seen: map[fhir.Key]UnreadableConsent{}},
	}, nil
}

// Close writes what is left of the audit log and closes its part of the chain. No call may be running.
func (g *Guard) Close() error {
	g.auditor.log.Close()
	return nil
}

// derive makes a key for one use from the site's key.
func derive(key []byte, use string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("consent " + use))
	return h.Sum(nil)
}

// cachedPerson is [Guard.personOf] through the cache.
func (g *Guard) cachedPerson(tx *engine.Tx, c Caller) (*person, error) {
	return g.persons.get(tx, whoIs(c), func() (*person, []string, time.Time, error) {
		p, err := g.personOf(tx, c)
		if err != nil {
			return nil, nil, time.Time{}, err
		}
		if !p.treats() { // they are what their account says
			return p, nil, time.Time{}, nil
		}
		return p, append(append([]string{specialEpoch}, p.rests...), p.deniedRests...), p.until, nil
	})
}

// cachedDecision is [Guard.decide] through the cache, with what an emergency that
// the grant of the caller has begun adds. By an owner who is no patient here, as of
// another server, or what a Binary belongs to, nothing is open.
func (g *Guard) cachedDecision(tx *engine.Tx, c Caller, p *person, patient string) (*decision, error) {
	key, err := patientKey(patient)
	if err != nil {
		return &decision{patient: patient}, nil
	}
	s, err := g.runningEmergency(tx, c, patient)
	if err != nil {
		return nil, err
	}
	of := about{who: whoIs(c), patient: patient}
	if s != nil {
		of.emergency = s.ID
	}
	return g.decisions.get(tx, of, func() (*decision, []string, time.Time, error) {
		d, err := g.decideWith(tx, p, key, s)
		if err != nil {
			return nil, nil, time.Time{}, err
		}
		return d, append(d.rests, p.rests...), d.until, nil
	})
}

// decideWith is [Guard.decide] with what an emergency adds; nil: there is none.
func (g *Guard) decideWith(tx *engine.Tx, p *person, patient fhir.Key, s *emergency.Session) (*decision, error) {
	d, err := g.decide(tx, p, patient)
	if err == nil && s != nil {
		err = g.addEmergency(tx, p, d, s)
	}
	return d, err
}

// A who tells callers apart as far as decisions go: the person in their role,
// whatever the client.
type who struct {
	role          smart.Role
	user, persons string
}

func whoIs(c Caller) who {
	return who{c.Identity.Role, c.Identity.FHIRUser, strings.Join(c.Identity.Persons, ",")}
}

// callerKey is a who as text.
func callerKey(c Caller) string {
	w := whoIs(c)
	return string(w.role) + " " + w.user + " " + w.persons
}

// An about is what a decision is about: who wants to see whose record, and in which
// emergency, if it is one.
type about struct {
	who
	patient, emergency string
}
