package consent

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// recordInvitation is the kind of the records that lead from the keyed hash of a
// token to its Consent. The token itself is stored nowhere.
const recordInvitation = "invitation"

// invitationRecord is what a token is checked against.
type invitationRecord struct {
	Consent string    `json:"c"` // id
	Patient string    `json:"p"` // key
	MRN     []byte    `json:"m"` // keyed hash
	Issuer  string    `json:"i"` // login
	As      string    `json:"r"` // the person in whose name it was made
	Expires time.Time `json:"e"`
	Email   string    `json:"a,omitempty"`
	NPI     string    `json:"n,omitempty"`
	PCP     bool      `json:"d,omitempty"` // it was made as the PCP
}

// crockford is Crockford's base32: no I, L, O or U.
var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// newToken makes a token of 100 random bits in groups of five: "7ZK4M-…".
func newToken() string {
	var b [13]byte
	rand.Read(b[:]) // never fails
	return inGroups(crockford.EncodeToString(b[:])[:20])
}

// inGroups writes the 20 characters of a token as people read them.
func inGroups(s string) string { return s[:5] + "-" + s[5:10] + "-" + s[10:15] + "-" + s[15:] }

// normalToken makes what people type comparable: case, dashes and blanks do not
// matter, and letters that look like digits are those digits.
func normalToken(s string) string {
	return strings.NewReplacer("-", "", " ", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(strings.TrimSpace(s)))
}

// Invite makes an invitation to a patient's record. The patient, a guardian, the
// PCP, and staff on the family's word may do so. The token is in the answer and
// nowhere else.
func (g *Guard) Invite(ctx context.Context, c Caller, patientID string, inv Invitation) (*Invited, error) {
	e := g.entry(c, "invite", "Consent")
	if err := g.requireScope(c, "Consent", smart.MayCreate); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	if err := g.checkNarrowing(&inv.Narrowing, false); err != nil {
		return nil, err
	}
	if inv.NPI != "" && !ValidNPI(inv.NPI) {
		return nil, refuse("npi", "This is not an NPI.")
	}
	note := ""
	if c.Identity.Role == smart.Staff || c.Identity.Role == smart.Admin {
		var err error
		if note, err = noteOf(c, inv.Word); err != nil {
			return nil, g.refused(ctx, e, err)
		}
	}
	token := newToken()
	var out *Invited
	err := g.engine.Update(ctx, func(tx *engine.Tx) (err error) {
		out, err = g.invite(tx, c, fhir.Key{Type: "Patient", ID: patientID}, inv, token, note)
		return err
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return out, nil
}

func (g *Guard) invite(tx *engine.Tx, c Caller, patient fhir.Key, inv Invitation, token, note string) (*Invited, error) {
	d, err := g.decisionFor(tx, c, patient.String(), smart.MayRead)
	if err != nil {
		return nil, err
	}
	if !d.permitted() {
		return nil, fhir.ErrNotFound()
	}
	performer, err := g.say(tx, c, patient.String())
	family := err == nil
	if err != nil {
		if !d.has(BasisPCP) && !d.has(BasisStaff) {
			return nil, err
		}
		if err := g.notOfOneself(tx, c, patient.String()); err != nil {
			return nil, err
		}
		performer = c.Identity.FHIRUser // on the family's word; such an access stays below restricted
	}
	if err := g.requireProof(tx, c); err != nil {
		return nil, err
	}
	_, tree, err := live(tx, patient.String())
	if err != nil {
		return nil, err
	}
	mrn := g.mrnOf(tree)
	if mrn == "" {
		return nil, refuse("Patient.identifier", "The patient has no MRN, which a token is bound to.")
	}
	expires := addMonths(tx.Now(), g.policy.InvitationMonths, g.zone)
	n := g.newInvitation(tx.Now(), patient, performer, inv, expires)
	if inv.Confidential {
		if performer != patient.String() {
			return nil, refuse("confidential", "Only a patient keeps an invitation to themself.")
		}
		if err := g.labelConfidential(tx, tree, n); err != nil {
			return nil, err
		}
	}
	r, err := g.put(tx, n, "")
	if err != nil {
		return nil, err
	}
	rec := invitationRecord{Consent: r.ID, Patient: patient.String(), MRN: g.hash("mrn", mrn), Issuer: c.Identity.Login,
		As: performer, Expires: expires, Email: strings.ToLower(inv.Email), NPI: inv.NPI, PCP: c.Identity.Role == smart.Provider}
	// The record outlives the expiry so that what is expired is still told from
	// what never was, in the audit log.
	if err := store.PutJSON(tx.Writer(), recordInvitation, g.tokenKey(token), rec, expires.AddDate(0, 1, 0)); err != nil {
		return nil, err
	}
	if err := g.provenance(tx, c, r.Key, patient.String(), "invite", note); err != nil {
		return nil, err
	}
	waits := false
	if family {
		if waits, err = g.askOthers(tx, c, tree, without(n), r, performer); err != nil {
			return nil, err
		}
	}
	if !waits {
		err = g.tellFamily(tx, noticeInvited, patient.String(), r.Key.String())
	}
	if err != nil {
		return nil, err
	}
	return &Invited{token, mrn, expires, r}, g.auditWrite(tx, c, "invite", r, d)
}

func (g *Guard) tokenKey(token string) string {
	return hex.EncodeToString(g.hash("token", normalToken(token)))
}

func (g *Guard) newInvitation(now time.Time, patient fhir.Key, performer string, inv Invitation, expires time.Time) node {
	ext := []any{map[string]any{"url": g.rules.extension("invitation-expires"), "valueDateTime": instant(expires, g.zone)}}
	if to := or(inv.Email, inv.NPI); to != "" {
		ext = append(ext, map[string]any{"url": g.rules.extension("invitation-addressee"), "valueString": to})
	}
	return node{
		"resourceType": "Consent", "status": "draft", "extension": ext,
		"scope":     concept(systemConsentScope, "patient-privacy").any(),
		"category":  []any{concept(g.rules.kindSystem(), kindInvitation).any(), concept(systemActCode, "INFA").any()},
		"patient":   reference(patient.String()),
		"dateTime":  instant(now, g.zone),
		"performer": []any{reference(performer)},
		"policy":    []any{map[string]any{"uri": g.rules.policyURI()}},
		"provision": g.permit("", inv.Narrowing).any(),
	}
}

// mrnOf gives a patient's medical record number.
func (g *Guard) mrnOf(patient node) string {
	for _, id := range patient.list("identifier") {
		if id.str("system") == g.mrnSystem {
			return id.str("value")
		}
	}
	return ""
}

// errToken is the one answer to every token that does not work, whatever is
// wrong with it.
func errToken() error {
	return fhir.Errorf(fhir.Unprocessable, "This token and MRN do not match an open invitation. Check both, or ask the family for a new one.")
}

// Redeem uses an invitation: a token, the MRN that it is bound to, a registered
// provider. Whatever does not fit gets the same answer; attempts are limited for
// each account and each address. clientID binds the launch handle; it may be
// empty.
func (g *Guard) Redeem(ctx context.Context, c Caller, token, mrn, clientID string) (*Redeemed, error) {
	e := g.entry(c, "redeem-invitation", "Consent")
	if err := g.requireUserScope(c, "Consent", smart.MayCreate); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	if c.Identity.Role != smart.Provider || c.Identity.FHIRUser == "" {
		return nil, g.refused(ctx, e, fhir.Errorf(fhir.Forbidden, "Only a registered provider can use an invitation."))
	}
	var out *Redeemed
	var refusal error
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		out, refusal = nil, nil
		refusal = allowAttempt(tx.Writer(), tx.Now(), "redeem", c.Identity.FHIRUser, g.policy.RedemptionsPerHour)
		if refusal == nil { // a practice may share one address
			refusal = allowAttempt(tx.Writer(), tx.Now(), "redeem-from", c.Address, 10*g.policy.RedemptionsPerHour)
		}
		if refusal != nil {
			return nil
		}
		rec, why, err := g.checkToken(tx, c, token, mrn)
		if err != nil {
			return err
		}
		if why != "" {
			refusal = errToken()
			e.Outcome = why
			if rec.Patient != "" {
				e.Patients = []string{rec.Patient}
			}
			return file(tx, e)
		}
		out, err = g.redeem(tx, c, rec)
		return err
	})
	switch {
	case err != nil:
		return nil, g.refused(ctx, e, err)
	case refusal != nil && e.Outcome == "":
		return nil, g.refused(ctx, e, refusal)
	case refusal != nil:
		return nil, refusal
	}
	return g.withLaunch(ctx, c, out, clientID), nil
}

// checkToken tells why a token does not work, in a word for the audit log; empty
// when it does. It looks at everything in every case, so that answers take alike
// long.
func (g *Guard) checkToken(tx *engine.Tx, c Caller, token, mrn string) (invitationRecord, string, error) {
	var rec invitationRecord
	why := ""
	because := func(wrong bool, word string) {
		if wrong && why == "" {
			why = word
		}
	}
	err := store.GetJSON(tx.Reader(), recordInvitation, g.tokenKey(token), &rec)
	if err != nil && err != store.ErrNotFound {
		return rec, "", err
	}
	because(err == store.ErrNotFound, "no-such-token")
	because(!hmac.Equal(rec.MRN, g.hash("mrn", strings.TrimSpace(mrn))), "wrong-mrn")
	because(!tx.Now().Before(rec.Expires), "expired")
	status := ""
	_, consent, err := live(tx, "Consent/"+or(rec.Consent, "none"))
	if err != nil {
		return rec, "", err
	}
	status = consent.str("status")
	because(status != "draft", "used-or-revoked")
	stands, err := g.stillStands(tx, rec, mrn)
	if err != nil {
		return rec, "", err
	}
	because(!stands, "ground-gone")
	_, patient, err := live(tx, or(rec.Patient, "Patient/none"))
	if err != nil {
		return rec, "", err
	}
	agreed, err := g.isAgreed(tx, patient, consent)
	if err != nil {
		return rec, "", err
	}
	because(!agreed, "not-agreed")
	npi, email, err := g.registeredAs(tx, c)
	if err != nil {
		return rec, "", err
	}
	because(rec.NPI != "" && rec.NPI != npi || rec.Email != "" && !slices.Contains(email, rec.Email), "not-the-addressee")
	selves, err := g.personsOf(tx, c.Identity.FHIRUser)
	if err != nil {
		return rec, "", err
	}
	because(selves[rec.As] || rec.Issuer == c.Identity.Login, "issuer")
	return rec, why, nil
}

// stillStands reports whether the ground of an invitation holds: the MRN is the
// patient's own today, and a guardian who made it may still decide, or a provider is
// the PCP still.
func (g *Guard) stillStands(tx *engine.Tx, rec invitationRecord, mrn string) (bool, error) {
	v, tree, err := live(tx, or(rec.Patient, "Patient/none"))
	if err != nil || v == nil || g.mrnOf(tree) != strings.TrimSpace(mrn) {
		return false, err
	}
	if rec.PCP {
		d, err := g.decisionFor(tx, Caller{Grant: Portal(identityOf(smart.Provider, rec.As), "")}, rec.Patient, smart.MayRead)
		return err == nil && d.has(BasisPCP), err
	}
	if !strings.HasPrefix(rec.As, "RelatedPerson/") {
		return true, nil
	}
	guardian := Caller{Grant: smart.Grant{Identity: smart.Identity{Role: smart.Proxy, FHIRUser: rec.As}}}
	if _, err = g.authority(tx, guardian, rec.Patient); fhir.KindOf(err) == fhir.Forbidden {
		return false, nil
	}
	return err == nil, err
}

// registeredAs gives the NPI and the e-mail addresses of a provider, as far as
// somebody else vouches for them: the hospital's directory, or the issuer at which
// they sign in. What a provider said of themself at registration does not count.
func (g *Guard) registeredAs(tx *engine.Tx, c Caller) (npi string, email []string, err error) {
	if a, err := readAccount(tx.Reader(), c.Identity.Login); err == nil && a.Email != "" {
		email = append(email, strings.ToLower(a.Email))
	} else if err != nil && err != store.ErrNotFound {
		return "", nil, err
	}
	v, n, err := live(tx, c.Identity.FHIRUser)
	if err != nil {
		return "", nil, err
	}
	if v == nil || g.selfClaimed(n) {
		return "", email, nil
	}
	for _, id := range n.list("identifier") {
		if id.str("system") == systemNPI {
			npi = id.str("value")
		}
	}
	for _, t := range n.list("telecom") {
		if t.str("system") == "email" {
			email = append(email, strings.ToLower(t.str("value")))
		}
	}
	return npi, email, nil
}

// redeem turns the invitation into an access of the caller.
func (g *Guard) redeem(tx *engine.Tx, c Caller, rec invitationRecord) (*Redeemed, error) {
	_, tree, err := live(tx, "Consent/"+rec.Consent)
	if err != nil {
		return nil, err
	}
	n := without(tree)
	n["status"] = "active"
	provision := without(n.obj("provision"))
	provision["actor"] = []any{g.actor(c.Identity.FHIRUser)}
	if readPeriod(provision.obj("period"), g.zone).end.IsZero() {
		period := without(provision.obj("period"))
		period["end"] = instant(addMonths(tx.Now(), g.policy.GrantMonths, g.zone), g.zone)
		provision["period"] = period.any()
	}
	n["provision"] = provision.any()
	r, err := g.replace(tx, n)
	if err != nil {
		return nil, err
	}
	if err := g.provenance(tx, c, r.Key, rec.Patient, "redeem invitation", ""); err != nil {
		return nil, err
	}
	if err := g.tellFamily(tx, noticeRedeemed, rec.Patient, r.Key.String()); err != nil {
		return nil, err
	}
	key, err := patientKey(rec.Patient)
	if err != nil {
		return nil, err
	}
	return &Redeemed{Consent: r, Patient: key}, g.auditWrite(tx, c, "redeem-invitation", r, nil)
}

// withLaunch adds the launch handle: it saves the provider from searching, and is
// cut down to what the invitation opens. The access is the Consent, and the token is
// spent: a handle that cannot be made, as for an app that is not registered, is left
// out.
func (g *Guard) withLaunch(ctx context.Context, c Caller, out *Redeemed, clientID string) *Redeemed {
	if g.launch == nil {
		return out
	}
	tree, err := decode(out.Consent)
	if err != nil {
		return out
	}
	l := smart.Launch{ClientID: clientID, Identity: c.Identity, Context: smart.Context{Patient: out.Patient.ID}}
	if classes := tree.obj("provision").list("class"); len(classes) > 0 {
		for _, class := range append(classes, node{"code": "Patient"}) {
			for _, level := range []string{"patient", "user"} {
				l.Cap = append(l.Cap, smart.Scope{Level: level, Type: class.str("code"), May: smart.MayRead | smart.MaySearch})
			}
		}
	}
	if handle, err := g.launch(ctx, l); err == nil {
		out.Launch = handle
	}
	return out
}

// findMRN finds the patient with an MRN.
func (g *Guard) findMRN(tx *engine.Tx, mrn string) (*store.Version, error) {
	found, err := findAll(tx, "Patient", search.TokenTerm("identifier", g.mrnSystem, strings.TrimSpace(mrn)))
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fhir.ErrNotFound()
	}
	return found[0], nil
}
