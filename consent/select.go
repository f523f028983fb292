package consent

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// selectionOf reads a Patient search that is a Patient Selection: by MRN, or by
// family name, given name and birth date, and nothing else that narrows it.
func (g *Guard) selectionOf(t fhir.Type, values url.Values) (Selection, bool) {
	if t != "Patient" {
		return Selection{}, false
	}
	var s Selection
	for name, list := range values {
		if len(list) != 1 || strings.ContainsAny(list[0], ",") {
			return Selection{}, false
		}
		value := list[0]
		switch strings.TrimSuffix(name, ":exact") {
		case "identifier":
			system, mrn, found := strings.Cut(value, "|")
			if !found {
				mrn = value
			} else if system != g.mrnSystem {
				return Selection{}, false
			}
			s.MRN = mrn
		case "family":
			s.Family = value
		case "given":
			s.Given = value
		case "birthdate":
			s.BirthDate = strings.TrimPrefix(value, "eq")
		case "_count", "_format", "_pretty", "_total", "_summary", "_elements", "_sort":
		default:
			return Selection{}, false
		}
	}
	return s, s.complete()
}

// complete reports whether a selection is an exact one.
func (s Selection) complete() bool {
	if s.MRN != "" {
		return s.Family == "" && s.Given == "" && s.BirthDate == ""
	}
	return s.Family != "" && s.Given != "" && len(s.BirthDate) == len("2006-01-02")
}

// Select finds a patient for a provider: as a match when they may see them, else,
// for an exact hit, as an outcome that tells what they can do.
func (g *Guard) Select(ctx context.Context, c Caller, sel Selection) (*Selected, error) {
	e := g.entry(c, "select", "Patient")
	if err := g.requireUserScope(c, "Patient", smart.MaySearch); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	if !sel.complete() {
		return nil, fhir.Errorf(fhir.Invalid, "Give an MRN, or family name, given name and birth date.")
	}
	if c.Identity.Role != smart.Provider {
		return nil, g.refused(ctx, e, fhir.Errorf(fhir.Forbidden, "Patient Selection is for providers."))
	}
	outcomes, err := g.selectOutcomes(ctx, c, sel)
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	out := &Selected{Outcomes: outcomes}
	err = g.engine.View(ctx, func(tx *engine.Tx) error {
		out.Matches = nil
		hits, err := g.exactHits(tx, sel)
		if err != nil {
			return err
		}
		for _, v := range hits {
			d, err := g.decisionFor(tx, c, v.Key.String(), smart.MaySearch)
			if err != nil {
				return err
			}
			if d.permitted() {
				e.concern(d)
				e.Returned = append(e.Returned, v.Key.String())
				card, err := g.card(v, d, tx.Now())
				if err != nil {
					return err
				}
				out.Matches = append(out.Matches, *card)
			}
		}
		return nil
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return out, g.auditor.write(ctx, e)
}

// decisionFor gives the decision of a caller on a patient as far as the patient
// resource itself goes: without a basis that opens it, and the scopes for it,
// nothing is permitted.
func (g *Guard) decisionFor(tx *engine.Tx, c Caller, patient string, want smart.Permission) (*decision, error) {
	s, err := g.look(tx, c, "Patient", want, []string{patient})
	if err != nil {
		return nil, err
	}
	none := &decision{patient: patient}
	if len(s.decisions) == 0 && !seesByRole(s.person.identity.Role) {
		return none, nil // whether there is such a patient or not
	}
	v, err := tx.Reader().Resource(store.Key{Type: "Patient", ID: strings.TrimPrefix(patient, "Patient/")})
	if err == store.ErrNotFound {
		return none, nil
	}
	if err != nil {
		return nil, err
	}
	visible, err := store.Eval(tx.Reader(), v, s.sight("Patient"))
	if err != nil || !visible {
		return none, err
	}
	if len(s.decisions) == 1 {
		return s.decisions[0], nil
	}
	return g.cachedDecision(tx, c, s.person, patient) // staff and systems
}

// exactHits finds the patients that a selection describes exactly.
func (g *Guard) exactHits(tx *engine.Tx, sel Selection) ([]*store.Version, error) {
	var values url.Values
	if sel.MRN != "" {
		values = url.Values{"identifier": {escape(g.mrnSystem) + "|" + escape(sel.MRN)}}
	} else {
		values = url.Values{"family": {escape(sel.Family)}, "given": {escape(sel.Given)}, "birthdate": {sel.BirthDate}}
	}
	q, err := g.engine.Registry().Parse("Patient", values, search.Options{Base: g.base + "/fhir"})
	if err != nil {
		return nil, err
	}
	found, err := findAll(tx, "Patient", q.Plan(engine.Everything).Where)
	if err != nil || sel.MRN != "" {
		return found, err
	}
	// The search matches beginnings of names; a selection must give them whole.
	return slices.DeleteFunc(found, func(v *store.Version) bool { return !namedExactly(v, sel) }), nil
}

func namedExactly(v *store.Version, sel Selection) bool {
	tree, err := fhir.Tree(v.Body)
	if err != nil {
		return false
	}
	for _, name := range node(tree).list("name") {
		if !strings.EqualFold(name.str("family"), sel.Family) {
			continue
		}
		given := name.strs("given")
		if slices.ContainsFunc(given, func(g string) bool { return strings.EqualFold(g, sel.Given) }) || strings.EqualFold(strings.Join(given, " "), sel.Given) {
			return true
		}
	}
	return false
}

// escape makes a text one search value (https://hl7.org/fhir/R4/search.html#escaping).
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `,`, `\,`, `|`, `\|`, `$`, `\$`).Replace(s)
}

// handleLife is how long a handle from Patient Selection works.
const handleLife = time.Hour

// selectOutcomes gives one outcome for each exact hit that the caller may not
// see. Such searches are limited for each account and always audited.
func (g *Guard) selectOutcomes(ctx context.Context, c Caller, sel Selection) ([]SelectionOutcome, error) {
	var outcomes []SelectionOutcome
	var throttled error
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		outcomes, throttled = nil, nil
		hits, err := g.exactHits(tx, sel)
		if err != nil {
			return err
		}
		e := g.entry(c, "select", "Patient")
		p, err := g.cachedPerson(tx, c)
		if err != nil {
			return err
		}
		for _, v := range hits {
			d, err := g.cachedDecision(tx, c, p, v.Key.String())
			if err != nil {
				return err
			}
			// Whatever the scopes of the app: this is about what the person may see.
			if open, err := g.opensPatient(tx, d); err != nil {
				return err
			} else if open {
				continue
			}
			code, err := g.outcomeCode(tx, c, v)
			if err != nil {
				return err
			}
			o := SelectionOutcome{Code: code}
			if code == NotAuthorized {
				o.Handle = g.sealHandle(c, handle{v.Key.String(), sel, tx.Now().Add(handleLife)})
				if o.From, err = g.requestFrom(tx, v.Key.String(), c.Identity.FHIRUser); err != nil {
					return err
				}
			}
			if o.Emergency, err = g.emergencyHandle(tx, c, p, v, sel); err != nil {
				return err
			}
			outcomes = append(outcomes, o)
			e.Patients = append(e.Patients, v.Key.String())
			e.Outcome = code
		}
		if len(hits) > 0 && len(outcomes) == 0 {
			return nil // only patients of their own
		}
		// What finds nobody counts too: trying numbers must not be free.
		if throttled = allowAttempt(tx.Writer(), tx.Now(), "select", c.Identity.FHIRUser, g.policy.SelectionsPerHour); throttled != nil {
			outcomes = nil
			return nil
		}
		if len(outcomes) == 0 {
			return nil
		}
		return file(tx, e)
	})
	if err != nil {
		return nil, err
	}
	return outcomes, throttled
}

// outcomeCode tells a provider without a basis what stands in the way.
func (g *Guard) outcomeCode(tx *engine.Tx, c Caller, patient *store.Version) (string, error) {
	open, err := g.openRequest(tx, patient.Key.String(), c.Identity.FHIRUser)
	if err != nil {
		return "", err
	}
	if open != nil {
		return RequestPending, nil
	}
	approvers, err := g.approvers(tx, patient, nil)
	if err != nil {
		return "", err
	}
	if len(approvers) == 0 {
		return NoPortalAccount, nil
	}
	return NotAuthorized, nil
}

// outcomeJSON writes the OperationOutcome of an outcome entry.
func (g *Guard) outcomeJSON(o SelectionOutcome) []byte {
	texts := map[string]string{
		NotAuthorized:   "You are not authorized to view this record.",
		RequestPending:  "You asked for access to this record; the request waits for an answer.",
		NoPortalAccount: "This patient has no portal account, so nobody can approve a request online.",
	}
	issue := node{
		"severity": "information", "code": "forbidden", "diagnostics": texts[o.Code],
		"details": concept(g.rules.outcomeSystem(), o.Code).any(),
	}
	var handles []any
	if o.Handle != "" {
		handles = append(handles, node{"url": g.rules.extension("request-handle"), "valueString": o.Handle}.any())
		if !o.From.IsZero() {
			handles = append(handles, node{"url": g.rules.extension("request-from"), "valueDateTime": instant(o.From, g.zone)}.any())
		}
	}
	if o.Emergency != "" {
		handles = append(handles, node{"url": g.rules.extension("emergency-handle"), "valueString": o.Emergency}.any())
	}
	if handles != nil {
		issue["extension"] = handles
	}
	return encode(node{"resourceType": "OperationOutcome", "issue": []any{issue.any()}})
}
