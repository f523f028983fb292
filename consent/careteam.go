package consent

import (
	"context"
	"slices"
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// gatewayTeamName is the name of the care team that families and staff edit; other
// teams of a patient belong to those who made them.
const gatewayTeamName = "Care team kept by the family"

const removeFromTeam = "remove from care team"

// AddToCareTeam puts a provider on a patient's care team. The patient, a guardian,
// and staff on a caller's word (who must give word) may do so.
func (g *Guard) AddToCareTeam(ctx context.Context, c Caller, patientID string, provider fhir.Key, word *CallersWord) error {
	return g.editCareTeam(ctx, c, patientID, provider, word, "add to care team", func(tx *engine.Tx, team node, teams []node) ([]node, error) {
		if !exists(tx, provider.String()) || provider.Type != "Practitioner" {
			return nil, refuse("practitioner", "There is no such provider.")
		}
		if err := g.notOneself(tx, c, provider.String()); err != nil {
			return nil, err
		}
		if isFamily(c) {
			if _, err := g.sayAlone(tx, c, "Patient/"+patientID); err != nil {
				return nil, err
			}
		}
		for _, t := range teams {
			for _, m := range t.list("participant") {
				if relativeTo(g.base, m.ref("member")) == provider.String() && readPeriod(m.obj("period"), g.zone).holds(tx.Now()) {
					return nil, nil // a member already
				}
			}
		}
		if err := g.requireProof(tx, c); err != nil {
			return nil, err
		}
		if team == nil {
			team = node{
				"resourceType": "CareTeam", "status": "active", "name": gatewayTeamName,
				"subject": reference("Patient/" + patientID),
			}
		}
		team = without(team)
		members, _ := team["participant"].([]any)
		team["participant"] = append(slices.Clone(members), map[string]any{
			"member": reference(provider.String()), "period": map[string]any{"start": instant(tx.Now(), g.zone)},
		})
		return []node{team}, nil
	})
}

// RemoveFromCareTeam ends a provider's membership of every active team of a
// patient.
func (g *Guard) RemoveFromCareTeam(ctx context.Context, c Caller, patientID string, provider fhir.Key, word *CallersWord) error {
	return g.editCareTeam(ctx, c, patientID, provider, word, removeFromTeam, func(tx *engine.Tx, _ node, teams []node) ([]node, error) {
		p, err := g.personOf(tx, Caller{Grant: smart.Grant{Identity: smart.Identity{Role: smart.Provider, FHIRUser: provider.String()}}})
		if err != nil {
			return nil, err
		}
		var changed []node
		for _, team := range teams {
			var members []any
			hit := false
			for _, m := range team.list("participant") {
				if slices.Contains(p.selves, relativeTo(g.base, m.ref("member"))) && readPeriod(m.obj("period"), g.zone).holds(tx.Now()) {
					m = without(m)
					period := without(m.obj("period"))
					period["end"] = instant(tx.Now(), g.zone)
					m["period"] = period.any()
					hit = true
				}
				members = append(members, m.any())
			}
			if hit {
				team = without(team)
				team["participant"] = members
				changed = append(changed, team)
			}
		}
		if len(changed) == 0 {
			return nil, refuse("practitioner", "This provider is not on the care team.")
		}
		return changed, nil
	})
}

// editCareTeam does what all edits of a care team have in common. edit is given
// the team that the gateway keeps (nil when there is none yet) and all active
// teams of the patient, and gives those to be written.
func (g *Guard) editCareTeam(ctx context.Context, c Caller, patientID string, provider fhir.Key, word *CallersWord, action string, edit func(tx *engine.Tx, own node, teams []node) ([]node, error)) error {
	e := g.entry(c, action, "CareTeam")
	if err := g.requireScope(c, "CareTeam", smart.MayUpdate); err != nil {
		return g.refused(ctx, e, err)
	}
	note, err := noteOf(c, word)
	if err != nil {
		return g.refused(ctx, e, err)
	}
	patient := "Patient/" + patientID
	err = g.engine.Update(ctx, func(tx *engine.Tx) error {
		if err := g.mayEditCareTeam(tx, c, patient); err != nil {
			return err
		}
		teams, err := g.activeTeams(tx, fhir.Key{Type: "Patient", ID: patientID})
		if err != nil {
			return err
		}
		var own node
		for _, t := range teams {
			if t.str("name") == gatewayTeamName {
				own = t
			}
		}
		changed, err := edit(tx, own, teams)
		if err != nil {
			return err
		}
		versions := map[string]int64{}
		for _, t := range changed {
			r, err := g.writeCareTeam(tx, c, t, patient, action, note)
			if err != nil {
				return err
			}
			versions[r.Key.String()] = r.Version
		}
		if action == removeFromTeam {
			return keepUndo(tx, c, removal(patient, provider), versions)
		}
		return nil
	})
	if err != nil {
		e.Patients = []string{patient}
		return g.refused(ctx, e, err)
	}
	return nil
}

func (g *Guard) writeCareTeam(tx *engine.Tx, c Caller, team node, patient, action, note string) (*fhir.Resource, error) {
	write := g.replace
	if team.str("id") == "" {
		write = func(tx *engine.Tx, n node) (*fhir.Resource, error) { return g.put(tx, n, "") }
	}
	r, err := write(tx, team)
	if err != nil {
		return nil, err
	}
	if err := g.provenance(tx, c, r.Key, patient, action, note); err != nil {
		return nil, err
	}
	return r, g.auditWrite(tx, c, action, r, nil)
}

// mayEditCareTeam: somebody with authority, or staff who see the patient and are
// none of the family: on their own word they would decide alone what a family
// decides together, or what they have no say in.
func (g *Guard) mayEditCareTeam(tx *engine.Tx, c Caller, patient string) error {
	d, err := g.decisionFor(tx, c, patient, smart.MayRead)
	if err != nil {
		return err
	}
	if !d.permitted() {
		return fhir.ErrNotFound()
	}
	if c.Identity.Role == smart.Staff || c.Identity.Role == smart.Admin {
		return g.notOfOneself(tx, c, patient)
	}
	_, err = g.say(tx, c, patient)
	return err
}

// maxTeams is how many care teams of a patient may be active at a time, as far as
// families write them: each decision about the patient reads all.
const maxTeams = 50

// checkTeams refuses a family one active team too many.
func (g *Guard) checkTeams(tx *engine.Tx, c Caller, team node) error {
	patient, err := fhir.ParseKey(relativeTo(g.base, team.ref("subject")))
	if err != nil || c.Identity.Role == smart.System {
		return nil
	}
	active, err := findAll(tx, "CareTeam", store.And{
		ownedBy(patient.String()), search.TokenTerm("status", "", "active"), store.Not{Expr: store.Equal{Name: store.ID, Value: team.str("id")}}})
	if err == nil && len(active) >= maxTeams {
		return refuse("CareTeam", "There are %d active care teams of this patient already.", len(active))
	}
	return err
}

// noteOf writes down the caller's word; staff must give it.
func noteOf(c Caller, word *CallersWord) (string, error) {
	if c.Identity.Role != smart.Staff && c.Identity.Role != smart.Admin {
		return "", nil
	}
	if word == nil {
		word = &CallersWord{}
	}
	var issues []fhir.Issue
	for _, f := range []struct{ field, value, text string }{
		{"caller", word.Caller, "Say who called."},
		{"check", word.Check, "Say how you checked who it was."},
		{"asked", word.Asked, "Say what they asked for."},
	} {
		if strings.TrimSpace(f.value) == "" || len(f.value) > maxReason {
			issues = append(issues, fhir.Issue{Expression: f.field, Text: f.text})
		}
	}
	if issues != nil {
		return "", &fhir.Error{Kind: fhir.Unprocessable, Issues: issues}
	}
	return "Called: " + word.Caller + ". Checked: " + word.Check + ". Asked: " + word.Asked, nil
}

// activeTeams lists the patient's care teams that are active.
func (g *Guard) activeTeams(tx *engine.Tx, patient fhir.Key) ([]node, error) {
	found, err := findAll(tx, "CareTeam", store.And{
		ownedBy(patient.String()), search.ReferenceTerm("patient", patient), search.TokenTerm("status", "", "active"),
	})
	if err != nil {
		return nil, err
	}
	var teams []node
	for _, v := range found {
		tree, err := fhir.Tree(v.Body)
		if err != nil {
			return nil, err
		}
		if readPeriod(node(tree).obj("period"), g.zone).holds(tx.Now()) {
			teams = append(teams, tree)
		}
	}
	return teams, nil
}
