package consent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"

	"mypatients/consent/emergency"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/smart"
)

// Emergency access ("break-glass"): a provider opens a record on which they have
// no basis, for a while, by their own act, for a reason that the family and the
// privacy officers read. See [emergency.Policy] for what a site decides.
//
// It reads and writes nothing. What it opens is judged by the consents of the
// patient for the purpose BTG. A deny for everybody does not hold then, unless the
// site says so: it was written without this emergency in mind, and who cannot be
// asked is better treated. A deny that names the provider, or an organisation,
// role, team or group of theirs, does hold, and so does an exception in what was
// granted to them: the family meant this very person. What cannot be told apart
// counts as meant. So do labels on the site's list of those that stay shut. What
// belongs to several patients, one of whom denies, stays closed.

// purposeBTG is the purpose of v3-ActReason that emergencies have, and nothing else.
const purposeBTG = "BTG"

// An Emergency is what a provider says who breaks the glass.
type Emergency struct {
	Patient string // a handle from Select, or "Patient/1" of one whom they see in part
	Purpose string // BTG: said, not supposed
	Reason  string
}

// An EmergencyView shows an emergency access.
type EmergencyView struct {
	ID       string
	Patient  Card // for a reviewer; for others its key alone
	Provider ProviderView
	Client   string
	Reason   string // empty for a guardian from whom it may have to be hidden
	Began    time.Time
	Ends     time.Time
	Over     bool
	EndedBy  string // emergency.By…, empty: by itself, or it runs
	Review   *emergency.Review
}

// BreakGlass begins an emergency access for the grant of the call; while one runs
// it gives that, begun false. Errors: Forbidden when the caller may not (with
// [Unproven] as its cause when they must sign in anew), Invalid when something is
// missing or the patient is not one that they found by Patient Selection, Throttled.
func (g *Guard) BreakGlass(ctx context.Context, c Caller, ask Emergency) (view *EmergencyView, begun bool, err error) {
	e := g.entry(c, "break-glass", "Patient")
	e.Purpose = purposeBTG
	if err := g.checkEmergency(c, &ask); err != nil {
		return nil, false, g.refused(ctx, e, err)
	}
	if err := g.countEmergency(ctx, c); err != nil {
		return nil, false, g.refused(ctx, e, err)
	}
	err = g.engine.Update(ctx, func(tx *engine.Tx) error {
		view, begun = nil, false
		patient, err := g.emergencyPatient(tx, c, ask.Patient)
		if err != nil {
			return err
		}
		s, err := g.runningEmergency(tx, c, patient.String())
		if err != nil {
			return err
		}
		if s == nil {
			if s, err = g.beginEmergency(tx, c, patient, ask.Reason); err != nil {
				return err
			}
			begun = true
		}
		view = &EmergencyView{ID: s.ID, Patient: Card{Patient: patient}, Reason: s.Reason, Began: s.Began, Ends: s.Ends}
		return nil
	})
	if err != nil {
		return nil, false, g.refused(ctx, e, err)
	}
	return view, begun, nil
}

// checkEmergency checks what needs no data.
func (g *Guard) checkEmergency(c Caller, ask *Emergency) error {
	if !g.policy.BreakGlass.Enabled {
		return fhir.Errorf(fhir.Forbidden, "There is no emergency access here.")
	}
	if err := g.requireUserScope(c, "Consent", smart.MayCreate); err != nil {
		return err
	}
	if err := g.requireUserScope(c, "Patient", smart.MayRead); err != nil {
		return err
	}
	provider, err := fhir.ParseKey(c.Identity.FHIRUser)
	if err != nil || c.Identity.Role != smart.Provider || provider.Type != "Practitioner" || c.Identity.Login == "" || c.ID == "" {
		return fhir.Errorf(fhir.Forbidden, "Only a registered provider who is signed in can open a record in an emergency.")
	}
	if ask.Purpose != purposeBTG {
		return fhir.ElementErrorf(fhir.Invalid, "purpose", "The purpose of this is BTG, and has to be said.")
	}
	if ask.Reason = strings.TrimSpace(ask.Reason); ask.Reason == "" {
		return fhir.ElementErrorf(fhir.Invalid, "reason", "Say why this record has to be opened now.")
	}
	if len(ask.Reason) > maxReason || strings.ContainsFunc(ask.Reason, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' }) {
		return fhir.ElementErrorf(fhir.Invalid, "reason", "The reason is too long or holds control characters.")
	}
	return nil
}

// countEmergency refuses those who may not, and counts the attempts of the others,
// also those that come to nothing.
func (g *Guard) countEmergency(ctx context.Context, c Caller) error {
	var refusal error
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		p, err := g.cachedPerson(tx, c)
		if err != nil {
			return err
		}
		may, err := g.mayBreakGlass(tx, p)
		if err != nil {
			return err
		}
		if !may {
			return fhir.Errorf(fhir.Forbidden, "This account cannot open records in an emergency.")
		}
		if err := g.requireFreshProof(tx, c); err != nil {
			return err
		}
		refusal = allowAttempt(tx.Writer(), tx.Now(), "break-glass", c.Identity.Login, g.policy.BreakGlass.PerHour)
		return nil
	})
	return orElse(err, refusal)
}

// requireFreshProof is requireProof, and asks of those on whom no rule lies that
// they signed in lately.
func (g *Guard) requireFreshProof(tx *engine.Tx, c Caller) error {
	a, err := readAccount(tx.Reader(), c.Identity.Login)
	if err != nil {
		return err
	}
	if _, ok := g.StepUp(a); ok {
		return g.requireProof(tx, c)
	}
	if within := g.policy.BreakGlass.SignedIn; tx.Now().Sub(c.AuthTime) > within {
		return &fhir.Error{Kind: fhir.Forbidden, Cause: &Unproven{StepUp{Within: within}}, Issues: []fhir.Issue{{Text: "This needs a sign-in that is not as long ago."}}}
	}
	return nil
}

// mayBreakGlass tells whether the site lets a provider do so at all: one whom it
// has checked, in one of the roles that it names. It is asked again whenever a
// decision is taken.
func (g *Guard) mayBreakGlass(tx *engine.Tx, p *person) (bool, error) {
	if !p.is(smart.Provider) || len(p.selves) == 0 {
		return false, nil
	}
	_, practitioner, err := live(tx, p.key)
	if err != nil || practitioner == nil || g.selfClaimed(practitioner) {
		return false, err
	}
	if len(g.policy.BreakGlass.Roles) == 0 {
		return true, nil
	}
	for _, ref := range p.selves[1:] { // the active roles
		_, role, err := live(tx, ref)
		if err != nil {
			return false, err
		}
		for _, concept := range append(role.list("code"), role.list("specialty")...) {
			for _, coding := range concept.list("coding") {
				if slices.Contains(g.policy.BreakGlass.Roles, coding.str("code")) {
					return true, nil
				}
			}
		}
	}
	return false, nil
}

// emergencyPatient gives the patient that a handle or a reference stands for. All
// that is wrong with it gets one answer, so that trying ids tells nothing.
func (g *Guard) emergencyPatient(tx *engine.Tx, c Caller, s string) (fhir.Key, error) {
	unknown := fhir.ElementErrorf(fhir.Invalid, "patient", "Search for the patient first, by MRN or by name and birth date.")
	var key fhir.Key
	if strings.HasPrefix(s, "h.") {
		h, ok := g.openHandle(c, s)
		if !ok {
			return fhir.Key{}, unknown
		}
		key, _ = patientKey(h.Patient)
	} else {
		var err error
		if key, err = patientKey(relativeTo(g.base, s)); err != nil {
			return fhir.Key{}, unknown
		}
		d, err := g.decisionFor(tx, c, key.String(), smart.MayRead)
		if err != nil {
			return fhir.Key{}, err
		}
		if !d.permitted() {
			return fhir.Key{}, unknown
		}
	}
	v, _, err := live(tx, key.String())
	if err != nil || v == nil {
		return fhir.Key{}, orElse(err, unknown)
	}
	return key, nil
}

// beginEmergency writes all that there is of a new session, in one transaction: the
// session, what tells the family, the notices, and the entry in the log.
func (g *Guard) beginEmergency(tx *engine.Tx, c Caller, patient fhir.Key, reason string) (*emergency.Session, error) {
	s := &emergency.Session{
		Login: c.Identity.Login, Name: c.Identity.Name, Person: c.Identity.FHIRUser, Grant: c.ID, Client: c.ClientName, Patient: patient.String(),
		Reason: reason, Began: tx.Now(), Ends: tx.Now().Add(g.policy.BreakGlass.Length),
	}
	r, err := g.put(tx, g.emergencyConsent(s), "")
	if err != nil {
		return nil, err
	}
	s.Record = r.Key.String()
	if err := g.emergencyProvenance(tx, c, s, r.Key); err != nil {
		return nil, err
	}
	if err := emergency.Begin(tx.Writer(), s); err != nil {
		return nil, err
	}
	if err := moveEpoch(tx.Writer(), emergencyEpoch(s.Grant)); err != nil {
		return nil, err
	}
	if err := g.NotifyBreakGlass(tx, patient); err != nil {
		return nil, err
	}
	return s, g.auditEmergency(tx, c, "break-glass", s)
}

// emergencyConsent tells the family, and whoever reads the record for them, of an
// emergency access. It is no consent of theirs and none about privacy: no decision
// rests on it.
func (g *Guard) emergencyConsent(s *emergency.Session) node {
	p := g.permit(s.Person, Narrowing{From: s.Began, Until: s.Ends})
	p["purpose"] = []any{map[string]any{"system": systemActReason, "code": purposeBTG}}
	return node{
		"resourceType": "Consent", "status": "active",
		"scope":     concept(systemConsentScope, "treatment").any(),
		"category":  []any{concept(g.rules.kindSystem(), kindEmergency).any()},
		"patient":   reference(s.Patient),
		"dateTime":  instant(s.Began, g.zone),
		"policy":    []any{map[string]any{"uri": g.rules.canonical + "/fhir/policy/break-glass"}},
		"provision": p.any(),
	}
}

// emergencyProvenance keeps the reason. What a provider writes about a teenager in
// a hurry may tell their guardians what is hidden from them, so it is labelled as
// that is; that the record was opened, by whom and when, they learn.
func (g *Guard) emergencyProvenance(tx *engine.Tx, c Caller, s *emergency.Session, record fhir.Key) error {
	n := node{
		"resourceType":   "Provenance",
		"target":         []any{reference(record.String()), reference(s.Patient)},
		"occurredPeriod": map[string]any{"start": instant(s.Began, g.zone), "end": instant(s.Ends, g.zone)},
		"recorded":       instant(s.Began, g.zone),
		"activity":       map[string]any{"text": "emergency access"},
		"reason":         []any{map[string]any{"coding": []any{map[string]any{"system": systemActReason, "code": purposeBTG}}, "text": s.Reason}},
		"agent": []any{node{
			"type": concept("http://terminology.hl7.org/CodeSystem/provenance-participant-type", "author").any(),
			"who":  g.agentOf(c),
		}.any()},
	}
	hides, err := g.hidesReason(tx, s.Patient)
	if err != nil {
		return err
	}
	if hides {
		code := g.policy.TeenHidden[0]
		if slices.Contains(g.policy.TeenHidden, "ADOL") {
			code = "ADOL"
		}
		n["meta"] = map[string]any{"security": []any{map[string]any{"system": systemActCode, "code": code}}}
	}
	_, err = g.put(tx, n, "")
	return err
}

// hidesReason tells whether the guardians of a patient are not to read reasons.
func (g *Guard) hidesReason(tx *engine.Tx, patient string) (bool, error) {
	_, tree, err := live(tx, patient)
	if err != nil {
		return false, err
	}
	return len(g.policy.TeenHidden) > 0 && g.bandOf(tree, tx.Now()) == bandTeen, nil
}

func (g *Guard) auditEmergency(tx *engine.Tx, c Caller, action string, s *emergency.Session) error {
	e := g.entry(c, action, "Patient")
	e.When, e.Purpose, e.Patients, e.Returned = tx.Now(), purposeBTG, []string{s.Patient}, []string{s.Record}
	p, err := g.cachedPerson(tx, c)
	if err != nil {
		return err
	}
	e.from(p)
	return file(tx, e)
}

// EndBreakGlass ends the emergency access to a patient that the grant of the call
// has begun. Of several who end one, one does; the others get Conflict. Where there
// was none it is NotFound.
func (g *Guard) EndBreakGlass(ctx context.Context, c Caller, patientID string) error {
	e := g.entry(c, "end-break-glass", "Patient")
	e.Purpose = purposeBTG
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		all, err := emergency.Of(tx.Reader(), c.ID)
		if err != nil {
			return err
		}
		for _, s := range all {
			if s.Patient == "Patient/"+patientID && s.Login == c.Identity.Login && c.Identity.Role == smart.Provider {
				return g.endEmergency(tx, c, s, emergency.ByProvider)
			}
		}
		return fhir.ErrNotFound()
	})
	if err != nil {
		return g.refused(ctx, e, err)
	}
	return nil
}

func (g *Guard) endEmergency(tx *engine.Tx, c Caller, s *emergency.Session, by string) error {
	switch err := emergency.End(tx.Writer(), s, tx.Now(), by); {
	case errors.Is(err, emergency.ErrOver):
		return fhir.Errorf(fhir.Conflict, "This emergency access has ended already.")
	case err != nil:
		return err
	}
	_, n, err := live(tx, s.Record)
	if err != nil {
		return err
	}
	if n != nil {
		n = without(n)
		n["status"] = "inactive"
		if _, err := g.replace(tx, n); err != nil {
			return err
		}
	}
	if err := moveEpoch(tx.Writer(), emergencyEpoch(s.Grant)); err != nil {
		return err
	}
	return g.auditEmergency(tx, c, "end-break-glass", s)
}

// EndGrant ends what emergency accesses run by a grant: its person has signed out.
// None is no error.
func (g *Guard) EndGrant(ctx context.Context, grantID string) error {
	if !g.policy.BreakGlass.Enabled || grantID == "" {
		return nil
	}
	var running []*emergency.Session
	look := func(tx *engine.Tx) (err error) {
		running, err = emergency.Of(tx.Reader(), grantID)
		running = slices.DeleteFunc(running, func(s *emergency.Session) bool { return s.Over(tx.Now()) })
		return err
	}
	if err := g.engine.View(ctx, look); err != nil || len(running) == 0 {
		return err
	}
	return g.engine.Update(ctx, func(tx *engine.Tx) error {
		if err := look(tx); err != nil {
			return err
		}
		for _, s := range running {
			c := Caller{Grant: smart.Grant{ID: grantID, ClientID: PortalClient, ClientName: "Portal",
				Identity: smart.Identity{Login: s.Login, Name: s.Name, Role: smart.Provider, FHIRUser: s.Person, Persons: []string{s.Person}}}}
			if err := g.endEmergency(tx, c, s, emergency.BySignOut); err != nil {
				return err
			}
		}
		return nil
	})
}
