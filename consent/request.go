package consent

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// maxReason is how long a reason may be, in bytes.
const maxReason = 1000

// RequestAccess asks the family of a patient for access. One request per patient
// and provider is open at a time: a second one returns the first, created false.
// The patient is given by a handle from Select, or by reference.
func (g *Guard) RequestAccess(ctx context.Context, c Caller, req AccessRequest) (consent *fhir.Resource, created bool, err error) {
	e := g.entry(c, "request-access", "Consent")
	patient, err := g.checkRequest(c, &req)
	if err == nil {
		e.Patients = []string{patient.String()}
		err = g.countRequest(ctx, c)
	}
	if err != nil {
		return nil, false, g.refused(ctx, e, err)
	}
	err = g.engine.Update(ctx, func(tx *engine.Tx) error {
		consent, created, err = g.request(tx, c, patient, req, "")
		return err
	})
	if err != nil {
		return nil, false, g.refused(ctx, e, err)
	}
	return consent, created, nil
}

// checkRequest checks what is asked for, fills in what was left out, and gives
// the patient.
func (g *Guard) checkRequest(c Caller, req *AccessRequest) (fhir.Key, error) {
	if err := g.requireUserScope(c, "Consent", smart.MayCreate); err != nil {
		return fhir.Key{}, err
	}
	provider, err := fhir.ParseKey(c.Identity.FHIRUser)
	if err != nil || c.Identity.Role != smart.Provider || provider.Type != "Practitioner" {
		return fhir.Key{}, fhir.Errorf(fhir.Forbidden, "Only a registered provider can ask for access.")
	}
	patient, err := g.requestedPatient(c, req.Patient)
	if err != nil {
		return fhir.Key{}, err
	}
	if err := g.checkNarrowing(&req.Narrowing, true); err != nil {
		return fhir.Key{}, err
	}
	if len(req.Reason) > maxReason || strings.ContainsFunc(req.Reason, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' }) {
		return fhir.Key{}, refuse("reason", "The reason is too long or holds control characters.")
	}
	return patient, nil
}

// countRequest counts an attempt to ask, and refuses it when there were too many.
// It counts also what is then refused, so it is a transaction of its own.
func (g *Guard) countRequest(ctx context.Context, c Caller) error {
	var refusal error
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		refusal = allowAttempt(tx.Writer(), tx.Now(), "request", c.Identity.FHIRUser, g.policy.SelectionsPerHour)
		return nil
	})
	return orElse(err, refusal)
}

func (g *Guard) requestedPatient(c Caller, s string) (fhir.Key, error) {
	if strings.HasPrefix(s, "h.") {
		h, ok := g.openHandle(c, s)
		if !ok {
			return fhir.Key{}, fhir.ElementErrorf(fhir.Invalid, "patient", "This handle is not valid any more. Search for the patient again.")
		}
		return patientKey(h.Patient)
	}
	return patientKey(relativeTo(g.base, s))
}

// checkNarrowing checks what is asked for, and fills in what was left out of a
// new request.
func (g *Guard) checkNarrowing(n *Narrowing, fill bool) error {
	if fill {
		if n.From.IsZero() {
			n.From = g.now()
		}
		if n.Until.IsZero() {
			n.Until = addMonths(n.From, g.policy.GrantMonths, g.zone)
		}
	}
	if !n.Until.IsZero() && !n.Until.After(g.now()) || !n.Until.IsZero() && !n.Until.After(n.From) {
		return refuse("period", "The access must end in the future, after it starts.")
	}
	for _, t := range n.Classes {
		if !t.Valid() {
			return refuse("class", "%q is not a resource type.", string(t))
		}
	}
	if n.Label != "" && n.Label != "N" && n.Label != "R" {
		return refuse("label", "An access reaches up to N (normal) or R (restricted).")
	}
	if limit := addMonths(g.now(), g.policy.MaxGrantMonths, g.zone); n.Until.After(limit) {
		return refuse("period", "An access may last %d months at most.", g.policy.MaxGrantMonths)
	}
	return nil
}

// request writes a new request under an id, or finds the open one.
func (g *Guard) request(tx *engine.Tx, c Caller, patient fhir.Key, req AccessRequest, id string) (*fhir.Resource, bool, error) {
	v, _, err := live(tx, patient.String())
	if err != nil || v == nil {
		return nil, false, orNotFound(err)
	}
	open, err := g.openRequest(tx, patient.String(), c.Identity.FHIRUser)
	if err != nil {
		return nil, false, err
	}
	if open != nil {
		r, err := tx.Read(fhir.Key{Type: "Consent", ID: open.ID}, engine.Everything)
		if err != nil {
			return nil, false, err
		}
		return r, false, g.auditWrite(tx, c, "request-access", r, nil)
	}
	if err := g.afterDecline(tx, patient.String(), c.Identity.FHIRUser); err != nil {
		return nil, false, err
	}
	d, err := g.decisionFor(tx, c, patient.String(), smart.MayRead)
	if err != nil {
		return nil, false, err
	}
	if slices.ContainsFunc(d.bases, func(b Basis) bool { return b.Code == BasisPCP || b.Code == BasisCareTeam }) {
		return nil, false, refuse("patient", "You can see this record already.")
	}
	asked, err := g.compose(tx, c, v, patient, req)
	if err != nil {
		return nil, false, err
	}
	r, err := g.put(tx, asked, id)
	if err != nil {
		return nil, false, err
	}
	if err := g.provenance(tx, c, r.Key, patient.String(), "request access", ""); err != nil {
		return nil, false, err
	}
	if err := g.tellFamily(tx, noticeAsked, patient.String(), r.Key.String()); err != nil {
		return nil, false, err
	}
	return r, true, g.auditWrite(tx, c, "request-access", r, nil)
}

// compose makes a new request; there must be somebody to answer it.
func (g *Guard) compose(tx *engine.Tx, c Caller, v *store.Version, patient fhir.Key, req AccessRequest) (node, error) {
	n := g.newRequest(tx.Now(), c, patient, req)
	if req.Confidential {
		tree, err := fhir.Tree(v.Body)
		if err == nil {
			err = g.labelConfidential(tx, tree, n)
		}
		if err != nil {
			return nil, err
		}
	}
	family, err := g.approvers(tx, v, node{"meta": n["meta"]}) // also who asks, if they are one of them
	if err == nil && len(family) == 0 {
		err = g.errNobodyAnswers()
	}
	return n, err
}

func (g *Guard) newRequest(now time.Time, c Caller, patient fhir.Key, req AccessRequest) node {
	n := node{
		"resourceType": "Consent", "status": "proposed",
		"extension": []any{
			map[string]any{"url": g.rules.extension("answer-by"), "valueDateTime": instant(now.Add(g.policy.AnswerBy), g.zone)},
		},
		"scope":     concept(systemConsentScope, "patient-privacy").any(),
		"category":  []any{concept(systemLOINC, "59284-0").any(), concept(systemActCode, "INFA").any()},
		"patient":   reference(patient.String()),
		"dateTime":  instant(now, g.zone),
		"policy":    []any{map[string]any{"uri": g.rules.policyURI()}},
		"provision": g.permit(c.Identity.FHIRUser, req.Narrowing).any(),
	}
	if req.Reason != "" {
		n["extension"] = append(n["extension"].([]any), map[string]any{"url": g.rules.extension("request-reason"), "valueString": req.Reason})
	}
	return n
}

// permit composes the provision of a request or invitation; without an actor
// when provider is empty.
func (g *Guard) permit(provider string, n Narrowing) node {
	p := node{
		"type":    "permit",
		"action":  []any{concept(systemConsentAction, "access").any()},
		"purpose": []any{map[string]any{"system": systemActReason, "code": "TREAT"}},
	}
	if provider != "" {
		p["actor"] = []any{g.actor(provider)}
	}
	period := map[string]any{}
	if !n.From.IsZero() {
		period["start"] = instant(n.From, g.zone)
	}
	if !n.Until.IsZero() {
		period["end"] = instant(n.Until, g.zone)
	}
	if len(period) > 0 {
		p["period"] = period
	}
	p.setClasses(n.Classes)
	if n.Label != "" {
		p["securityLabel"] = []any{map[string]any{"system": systemConfidentiality, "code": n.Label}}
	}
	return p
}

func (g *Guard) actor(provider string) map[string]any {
	return map[string]any{"role": concept(systemParticipation, "IRCP").any(), "reference": reference(provider)}
}

func (n node) setClasses(types []fhir.Type) {
	var classes []any
	for _, t := range types {
		classes = append(classes, map[string]any{"system": systemResourceTypes, "code": string(t)})
	}
	if classes != nil {
		n["class"] = classes
	}
}

// openRequest finds the open request of a provider for a patient, or nil.
func (g *Guard) openRequest(tx *engine.Tx, patient, provider string) (*store.Version, error) {
	found, err := findAll(tx, "Consent", store.And{
		ownedBy(patient), search.TokenTerm("status", "", "proposed"),
		store.Equal{Name: termKind, Value: kindRequest}, store.Equal{Name: termActors, Value: provider},
	})
	if err != nil {
		return nil, err
	}
	for _, v := range found {
		tree, err := fhir.Tree(v.Body)
		if err != nil {
			return nil, err
		}
		if tx.Now().Before(g.answerBy(tree)) {
			return v, nil
		}
	}
	return nil, nil
}

// answerBy tells when a request lapses.
func (g *Guard) answerBy(consent node) time.Time {
	if _, to, ok := dateSpan(consent.extension(g.rules.extension("answer-by")).str("valueDateTime"), g.zone); ok {
		return to
	}
	asked, _, _ := dateSpan(consent.str("dateTime"), g.zone)
	return asked.Add(g.policy.AnswerBy)
}

// maxBases is for how many patients of a resource it is noted on which bases it was
// written.
const maxBases = 3

// auditWrite records a write in the transaction that makes it, also in the logs of
// the patients whose the resource was before.
func (g *Guard) auditWrite(tx *engine.Tx, c Caller, action string, r *fhir.Resource, d *decision, before ...string) error {
	e := g.entry(c, action, r.Type)
	e.When = tx.Now()
	e.returned(r)
	for _, owner := range before {
		if !slices.Contains(e.Patients, owner) {
			e.Patients = append(e.Patients, owner)
		}
	}
	p, err := g.cachedPerson(tx, c)
	if err != nil {
		return err
	}
	e.from(p)
	if d != nil {
		e.concern(d)
		return file(tx, e)
	}
	if p.is(smart.Provider) || p.is(smart.Patient) || p.is(smart.Proxy) {
		for _, patient := range e.Patients[:min(len(e.Patients), maxBases)] {
			d, err := g.cachedDecision(tx, c, p, patient)
			if err != nil {
				return err
			}
			e.concern(d)
		}
	}
	return file(tx, e)
}

// AnswerBy is when a request made at a time lapses unless it is answered.
func (g *Guard) AnswerBy(asked time.Time) time.Time { return asked.Add(g.policy.AnswerBy) }
