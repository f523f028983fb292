package consent

import (
	"context"
	"slices"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// consentList runs a list of consents through the guard: those that the caller
// may see and that match, audited as one search.
func (g *Guard) consentList(ctx context.Context, c Caller, patients []string, where store.Expr, row func(tx *engine.Tx, v *store.Version, n node) error) error {
	e := g.entry(c, "search", "Consent")
	if err := g.requireScope(c, "Consent", smart.MaySearch); err != nil {
		return g.refused(ctx, e, err)
	}
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		e.Returned, e.Patients = nil, nil
		s, err := g.look(tx, c, "Consent", smart.MaySearch, patients)
		if err != nil {
			return err
		}
		if len(patients) > 0 && len(s.decisions) == 0 {
			return fhir.ErrNotFound()
		}
		e.seenBy(s)
		found, err := findAll(tx, "Consent", store.And{where, s.sight("Consent")})
		if err != nil {
			return err
		}
		for _, v := range found {
			tree, err := fhir.Tree(v.Body)
			if err != nil {
				return err
			}
			e.Returned = append(e.Returned, v.Key.String())
			if err := row(tx, v, tree); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return g.refused(ctx, e, err)
	}
	return g.auditor.write(ctx, e)
}

// MyRequests lists a provider's own requests and used invitations, newest first.
func (g *Guard) MyRequests(ctx context.Context, c Caller) ([]RequestView, error) {
	var list []RequestView
	where := store.And{store.Equal{Name: termKind, Value: kindRequest}, store.Equal{Name: termActors, Value: c.Identity.FHIRUser}}
	err := g.consentList(ctx, c, []string{}, where, func(tx *engine.Tx, v *store.Version, n node) error {
		view, err := g.requestView(tx, c, v, n)
		list = append(list, view)
		return err
	})
	newestFirst(list)
	return list, err
}

// WaitingRequests lists the requests that wait for an answer about a patient,
// for those who may see them.
func (g *Guard) WaitingRequests(ctx context.Context, c Caller, patientID string) ([]RequestView, error) {
	var list []RequestView
	where := store.And{ownedBy("Patient/" + patientID), store.Equal{Name: termKind, Value: kindRequest}, search.TokenTerm("status", "", "proposed")}
	err := g.consentList(ctx, c, []string{"Patient/" + patientID}, where, func(tx *engine.Tx, v *store.Version, n node) error {
		view, err := g.requestView(tx, c, v, n)
		if view.State == StateWaiting {
			list = append(list, view)
		}
		return err
	})
	newestFirst(list)
	return list, err
}

func newestFirst(list []RequestView) {
	slices.SortFunc(list, func(a, b RequestView) int { return b.Asked.Compare(a.Asked) })
}

// Request shows one request to those who may see it.
func (g *Guard) Request(ctx context.Context, c Caller, consentID string) (*RequestView, error) {
	e := g.entry(c, "read", "Consent")
	if err := g.requireScope(c, "Consent", smart.MayRead); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	var view RequestView
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		key := fhir.Key{Type: "Consent", ID: consentID}
		s, err := g.lookAt(tx, c, key, smart.MayRead)
		if err != nil {
			return err
		}
		r, err := tx.Read(key, s.sight)
		if err != nil {
			return err
		}
		n, err := decode(r)
		if err != nil {
			return err
		}
		if g.rules.kindOf(n) != kindRequest {
			return fhir.ErrNotFound()
		}
		e.seenBy(s)
		e.returned(r)
		view, err = g.requestView(tx, c, &store.Version{Key: store.Key{Type: "Consent", ID: r.ID}, Version: r.Version, Time: r.Updated}, n)
		return err
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return &view, g.auditor.write(ctx, e)
}

func (g *Guard) requestView(tx *engine.Tx, c Caller, v *store.Version, n node) (RequestView, error) {
	w := readPeriod(n.obj("provision").obj("period"), g.zone)
	asked, _, _ := dateSpan(n.str("dateTime"), g.zone)
	view := RequestView{
		ID: v.ID, Version: v.Version, State: g.stateOf(tx.Now(), v.Time, n), Asked: asked, From: w.start, Until: w.end, AnswerBy: g.answerBy(n),
		Reason: n.extension(g.rules.extension("request-reason")).str("valueString"),
	}
	for _, class := range n.obj("provision").list("class") {
		view.Classes = append(view.Classes, fhir.Type(class.str("code")))
	}
	for _, label := range n.obj("provision").list("securityLabel") {
		view.Label = or(view.Label, label.str("code"))
	}
	var err error
	if view.Provider, err = g.provider(tx, g.providerOf(n)); err != nil {
		return view, err
	}
	if err := g.showFamily(tx, c, n, &view); err != nil {
		return view, err
	}
	card, _, err := g.visibleCard(tx, c, relativeTo(g.base, n.ref("patient")))
	if card != nil {
		view.Patient = *card
	}
	return view, err
}

// stateOf names the state of a request for people; updated is when it last moved.
func (g *Guard) stateOf(now, updated time.Time, n node) string {
	answered := n["performer"] != nil
	switch n.str("status") {
	case "proposed":
		if now.Before(g.answerBy(n)) {
			return StateWaiting
		}
		return StateLapsed
	case "active":
		if end := g.until(n); !end.IsZero() && !now.Before(end) {
			return StateEnded
		}
		return StateApproved
	case "rejected":
		return StateDeclined
	case "inactive":
		switch {
		case answered:
			return StateStopped
		case !updated.Before(g.answerBy(n)):
			return StateLapsed
		}
		return StateWithdrawn
	}
	return StateEnded
}

// Invitations lists the invitations to a patient's record, for those who may see
// them.
func (g *Guard) Invitations(ctx context.Context, c Caller, patientID string) ([]InvitationView, error) {
	var list []InvitationView
	where := store.And{ownedBy("Patient/" + patientID), store.Equal{Name: termKind, Value: kindInvitation}}
	err := g.consentList(ctx, c, []string{"Patient/" + patientID}, where, func(tx *engine.Tx, v *store.Version, n node) error {
		issued, _, _ := dateSpan(n.str("dateTime"), g.zone)
		expires, _, _ := dateSpan(n.extension(g.rules.extension("invitation-expires")).str("valueDateTime"), g.zone)
		view := InvitationView{ID: v.ID, Version: v.Version, Issued: issued, Expires: expires,
			For: n.extension(g.rules.extension("invitation-addressee")).str("valueString")}
		switch {
		case n.str("status") == "active":
			view.State = "used"
		case n.str("status") != "draft" && g.providerOf(n) != "":
			view.State = "ended"
		case n.str("status") != "draft":
			view.State = "cancelled"
		case !tx.Now().Before(expires):
			view.State = "expired"
		default:
			view.State = "open"
		}
		var err error
		if view.UsedBy, err = g.provider(tx, g.providerOf(n)); err == nil && view.State == "open" {
			err = g.showAgreement(tx, c, n, &view)
		}
		list = append(list, view)
		return err
	})
	slices.SortFunc(list, func(a, b InvitationView) int { return b.Issued.Compare(a.Issued) })
	return list, err
}

// WhoCanSee lists who may see a patient's record now, and why, for the patient
// and those who decide for them.
func (g *Guard) WhoCanSee(ctx context.Context, c Caller, patientID string) ([]AccessEntry, error) {
	var list []AccessEntry
	patient := fhir.Key{Type: "Patient", ID: patientID}
	if err := g.engine.View(ctx, func(tx *engine.Tx) error {
		_, err := g.authority(tx, c, patient.String())
		return err
	}); err != nil {
		return nil, g.refused(ctx, g.entry(c, "who-can-see", "Patient"), err)
	}
	where := store.And{ownedBy(patient.String()), search.TokenTerm("status", "", "active"), store.In{Name: termKind, Values: []string{kindRequest, kindInvitation}}}
	err := g.consentList(ctx, c, []string{patient.String()}, where, func(tx *engine.Tx, v *store.Version, n node) error {
		w := readPeriod(n.obj("provision").obj("period"), g.zone)
		if !w.end.IsZero() && !tx.Now().Before(w.end) {
			return nil
		}
		group := BasisConsent
		if g.rules.kindOf(n) == kindInvitation {
			group = BasisInvitation
		}
		_, tree, err := live(tx, patient.String())
		if err != nil {
			return err
		}
		left := g.isLeftOver(n, tree, tx.Now())
		if left && !g.policy.KeepGuardianGrants || g.policy.off(group) {
			return nil
		}
		view, err := g.provider(tx, g.providerOf(n))
		list = append(list, AccessEntry{Group: group, Provider: view, Until: w.end, ConsentID: v.ID, Version: v.Version, LeftOver: left})
		return err
	})
	if err != nil {
		return nil, err
	}
	err = g.engine.View(ctx, func(tx *engine.Tx) error {
		more, err := g.standingAccess(tx, patient)
		list = append(more, list...)
		return err
	})
	return list, err
}

// standingAccess lists the PCP, the members of the care teams and the guardians.
func (g *Guard) standingAccess(tx *engine.Tx, patient fhir.Key) ([]AccessEntry, error) {
	_, tree, err := live(tx, patient.String())
	if err != nil {
		return nil, err
	}
	var list []AccessEntry
	for _, gp := range tree.list("generalPractitioner") {
		if g.policy.off(BasisPCP) {
			break
		}
		view, err := g.whoever(tx, relativeTo(g.base, gp.str("reference")), gp.str("display"))
		if err != nil {
			return nil, err
		}
		list = append(list, AccessEntry{Group: BasisPCP, Provider: view})
	}
	teams, err := g.activeTeams(tx, patient)
	if err != nil {
		return nil, err
	}
	if g.policy.off(BasisCareTeam) {
		teams = nil
	}
	for _, team := range teams {
		for _, m := range team.list("participant") {
			ref := relativeTo(g.base, m.ref("member"))
			w := readPeriod(m.obj("period"), g.zone)
			if !w.holds(tx.Now()) || strings.HasPrefix(ref, "Patient/") || strings.HasPrefix(ref, "Organization/") && !g.policy.CareTeamOrganizations {
				continue
			}
			view, err := g.whoever(tx, ref, m.obj("member").str("display"))
			if err != nil {
				return nil, err
			}
			entry := AccessEntry{Group: BasisCareTeam, Provider: view, Until: w.end}
			if view.Key.Type == "Practitioner" {
				entry.Member = view.Key
			}
			list = append(list, entry)
		}
	}
	family, err := g.guardians(tx, patient.String(), tree)
	for _, related := range family {
		list = append(list, AccessEntry{Group: BasisProxy, Provider: ProviderView{Key: related.key, Name: related.name}, Until: related.until})
	}
	return list, err
}

// whoever shows a person or an organisation by reference.
func (g *Guard) whoever(tx *engine.Tx, ref, display string) (ProviderView, error) {
	key, err := fhir.ParseKey(ref)
	if err != nil {
		return ProviderView{Name: display}, nil
	}
	switch key.Type {
	case "Practitioner":
		return g.provider(tx, ref)
	case "PractitionerRole":
		_, role, err := live(tx, ref)
		if err != nil || role == nil {
			return ProviderView{Key: key, Name: display}, err
		}
		return g.provider(tx, relativeTo(g.base, role.ref("practitioner")))
	case "Organization":
		name, err := g.organizationName(tx, ref)
		return ProviderView{Key: key, Name: or(name, display)}, err
	}
	return ProviderView{Key: key, Name: display}, nil
}
