package consent

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// AuditEvents are rendered from the audit log when they are read. Patients and
// those who decide for them see the log of their record, each patient's apart;
// reading it is logged.

// forViewer gives a row as a viewer of one patient's log may see it: of what was
// returned only what belongs to that patient and is open to the viewer now, so
// that the log tells nobody of what they may not know. A row about nothing else
// is not shown at all.
func forViewer(tx *engine.Tx, s *sighting, patient string, row auditRow) (auditRow, bool, error) {
	own := *row.auditEntry
	own.Returned = nil
	about := false // something else than this patient's own was returned
	for _, ref := range row.Returned {
		key, err := fhir.ParseKey(ref)
		if err != nil {
			continue
		}
		v, err := tx.Reader().Resource(store.Key{Type: string(key.Type), ID: key.ID})
		if err == store.ErrNotFound {
			continue
		}
		if err != nil {
			return row, false, err
		}
		ours, err := store.Eval(tx.Reader(), v, ownedBy(patient))
		if err != nil {
			return row, false, err
		}
		if !ours {
			continue
		}
		about = true
		if open, err := store.Eval(tx.Reader(), v, s.ownership(key.Type)); err != nil {
			return row, false, err
		} else if open {
			own.Returned = append(own.Returned, ref)
		}
	}
	own.Patients = []string{patient}
	own.Bases = map[string][]BasisCode{patient: row.Bases[patient]}
	return auditRow{row.id, &own}, !about || len(own.Returned) > 0, nil
}

// maxHidden is how many hidden rows one page of the log steps over at most.
const maxHidden = 10000

// auditPageOf gives rows of a patient's log that the caller may see. The caller
// must have authority over the patient.
func (g *Guard) auditPageOf(tx *engine.Tx, c Caller, patient, cursor string, count int) (rows []auditRow, next string, err error) {
	if _, err := g.authority(tx, c, patient); err != nil {
		return nil, "", err
	}
	s, err := g.look(tx, c, "AuditEvent", smart.MaySearch, []string{patient})
	if err != nil {
		return nil, "", err
	}
	// A cursor is the last pointer that was read whole and how many rows of the
	// next one were.
	key, done, _ := strings.Cut(cursor, "+")
	skip, _ := strconv.Atoi(done)
	for hidden := 0; ; skip = 0 {
		batch, after, err := auditOf(tx.Reader(), patient, key, 1)
		if err != nil {
			return nil, "", err
		}
		for i := skip; i < len(batch); i++ {
			if len(rows) == count || hidden == maxHidden {
				return rows, key + "+" + strconv.Itoa(i), nil
			}
			shown, ok, err := forViewer(tx, s, patient, batch[i])
			if err != nil {
				return nil, "", err
			}
			if ok {
				rows = append(rows, shown)
			} else {
				hidden++
			}
		}
		if after == "" {
			return rows, "", nil
		}
		key = after
	}
}

// searchAuditEvents answers AuditEvent?patient=…, newest first.
func (g *Guard) searchAuditEvents(ctx context.Context, c Caller, values url.Values) (*fhir.Page, error) {
	e := g.entry(c, "search", "AuditEvent")
	if err := g.requireScope(withoutGranular(c), "AuditEvent", smart.MaySearch); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	patient, cursor, count, err := g.auditQuery(c, values)
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	e.Patients = []string{patient}
	page := &fhir.Page{Applied: withoutCursor(values)}
	err = g.engine.View(ctx, func(tx *engine.Tx) error {
		page.Entries, page.Next = nil, ""
		if limit := limitsTo(c, "AuditEvent", smart.MaySearch); limit != nil && !slices.Contains(limit, patient) {
			return nil
		}
		rows, next, err := g.auditPageOf(tx, c, patient, cursor, count)
		if err != nil {
			return err
		}
		for _, row := range rows {
			page.Entries = append(page.Entries, fhir.Entry{Mode: "match", Resource: g.auditEvent(row)})
		}
		if next != "" {
			v := cloneValues(values)
			v.Set("_cursor", next)
			page.Next = g.sealLink(c, "AuditEvent", v.Encode())
		}
		return nil
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return page, g.auditor.write(ctx, e)
}

func (g *Guard) auditQuery(c Caller, values url.Values) (patient, cursor string, count int, err error) {
	count = defaultPage
	if c.Launch.Patient != "" {
		patient = "Patient/" + c.Launch.Patient
	} else if c.Identity.Role == smart.Patient {
		patient = c.Identity.FHIRUser
	}
	for name, list := range values {
		value := list[len(list)-1]
		switch name {
		case "patient", "patient:Patient", "entity":
			if patient = relativeTo(g.base, value); !strings.Contains(patient, "/") {
				patient = "Patient/" + patient
			}
		case "_count":
			if count, err = strconv.Atoi(value); err != nil || count < 1 {
				return "", "", 0, fhir.ElementErrorf(fhir.Invalid, "http._count", "_count must be a number above 0.")
			}
			count = min(count, maxPage)
		case "_cursor":
			open, err := g.openLink(c, "AuditEvent", values)
			if err != nil {
				return "", "", 0, err
			}
			cursor = open.Get("_cursor")
		case "_format", "_pretty":
		default:
			return "", "", 0, fhir.ElementErrorf(fhir.Invalid, "http."+name, "AuditEvent has no search parameter %q here.", name)
		}
	}
	if patient == "" {
		return "", "", 0, fhir.ElementErrorf(fhir.Invalid, "http.patient", "Say whose log to read, with patient.")
	}
	return patient, cursor, count, nil
}

// withoutGranular drops the granular scopes of a caller: the log is not searched
// by what they could name.
func withoutGranular(c Caller) Caller {
	c.Scopes = slices.DeleteFunc(slices.Clone(c.Scopes), func(s smart.Scope) bool { return len(s.Params) > 0 })
	return c
}

// readAuditEvent gives one row of a log, under the id that a search gave.
func (g *Guard) readAuditEvent(ctx context.Context, c Caller, id string) (*fhir.Resource, error) {
	e := g.entry(c, "read", "AuditEvent")
	if err := g.requireScope(withoutGranular(c), "AuditEvent", smart.MayRead); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	var found *fhir.Resource
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		row, err := findAuditRow(tx, id)
		if err != nil {
			return err
		}
		for _, patient := range row.Patients {
			if limit := limitsTo(c, "AuditEvent", smart.MayRead); limit != nil && !slices.Contains(limit, patient) {
				continue
			}
			if _, err := g.authority(tx, c, patient); err != nil {
				continue
			}
			s, err := g.look(tx, c, "AuditEvent", smart.MayRead, []string{patient})
			if err != nil {
				return err
			}
			shown, ok, err := forViewer(tx, s, patient, row)
			if err != nil || !ok {
				return orNotFound(err)
			}
			e.Patients = []string{patient}
			found = g.auditEvent(shown)
			return nil
		}
		return fhir.ErrNotFound()
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return found, g.auditor.write(ctx, e)
}

func findAuditRow(tx *engine.Tx, id string) (auditRow, error) {
	key, index, ok := strings.Cut(id, "-")
	i, err := strconv.Atoi(index)
	if !ok || err != nil {
		return auditRow{}, fhir.ErrNotFound()
	}
	round, err := readRound(tx.Reader(), key)
	if err != nil || i < 0 || i >= len(round) {
		return auditRow{}, fhir.ErrNotFound()
	}
	return auditRow{id, round[i]}, nil
}

// interactions of http://hl7.org/fhir/restful-interaction, with the letter of
// AuditEvent.action; what is no RESTful interaction is an operation.
var interactions = map[string][2]string{
	"read": {"read", "R"}, "vread": {"vread", "R"}, "history": {"history-instance", "R"}, "search": {"search-type", "E"},
	"history-type": {"history-type", "R"}, "history-system": {"history-system", "R"}, "search-system": {"search-system", "E"},
	"create": {"create", "C"}, "update": {"update", "U"}, "patch": {"patch", "U"}, "delete": {"delete", "D"},
}

// auditEvent renders a row as an AuditEvent in the shape of IHE's Basic Audit Log
// Patterns.
func (g *Guard) auditEvent(row auditRow) *fhir.Resource {
	interaction, ok := interactions[row.Action]
	if !ok {
		interaction = [2]string{"operation", "E"}
	}
	agent := node{"requestor": true, "name": row.Name, "type": concept("http://dicom.nema.org/resources/ontology/DCM", "110153").any()}
	if row.Person != "" {
		agent["who"] = reference(row.Person)
	} else {
		agent["who"] = map[string]any{"display": or(row.Client, "gateway")}
	}
	if row.Name == "" {
		delete(agent, "name")
	}
	if row.Address != "" {
		agent["network"] = map[string]any{"address": row.Address, "type": "2"}
	}
	agents := []any{agent.any()}
	if row.ClientID != "" {
		agents = append(agents, map[string]any{"requestor": false, "who": map[string]any{"identifier": map[string]any{"value": row.ClientID}, "display": or(row.Client, row.ClientID)},
			"type": concept("http://dicom.nema.org/resources/ontology/DCM", "110150").any()})
	}
	if row.Org != "" {
		agents = append(agents, map[string]any{"requestor": false, "who": reference(row.Org), "type": concept("http://terminology.hl7.org/CodeSystem/v3-RoleClass", "PROV").any()})
	}
	n := node{
		"resourceType": "AuditEvent", "id": row.id,
		"type":     map[string]any{"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
		"subtype":  []any{map[string]any{"system": "http://hl7.org/fhir/restful-interaction", "code": interaction[0], "display": row.Action}},
		"action":   interaction[1],
		"recorded": instant(row.When, time.UTC),
		"outcome":  "0",
		"agent":    agents,
		"source":   map[string]any{"observer": map[string]any{"display": g.base}},
		"entity":   g.auditEntities(row),
	}
	if row.Outcome != "" {
		n["outcome"], n["outcomeDesc"] = "4", row.Outcome
	}
	if row.Purpose != "" {
		n["purposeOfEvent"] = []any{concept(systemActReason, row.Purpose).any()}
	}
	return &fhir.Resource{Key: fhir.Key{Type: "AuditEvent", ID: row.id}, Version: 1, Updated: row.When, JSON: encode(n)}
}

func (g *Guard) auditEntities(row auditRow) []any {
	role := func(code string) map[string]any {
		return map[string]any{"system": "http://terminology.hl7.org/CodeSystem/object-role", "code": code}
	}
	var entities []any
	for _, p := range row.Patients {
		e := node{"what": reference(p), "role": role("1")}
		var details []any
		for _, b := range row.Bases[p] {
			details = append(details, map[string]any{"type": "basis", "valueString": string(b)})
		}
		if details != nil {
			e["detail"] = details
		}
		entities = append(entities, e.any())
	}
	for _, k := range row.Returned {
		entities = append(entities, node{"what": reference(k), "role": role("4")}.any())
	}
	if row.Request != "" {
		entities = append(entities, node{"what": map[string]any{"identifier": map[string]any{"value": row.Request}}, "role": role("21")}.any())
	}
	return entities
}

// WhoLooked lists who looked at a patient's record, newest first, for the patient
// and those who decide for them.
func (g *Guard) WhoLooked(ctx context.Context, c Caller, patientID string, limit int) ([]Look, error) {
	e := g.entry(c, "search", "AuditEvent")
	if err := g.requireScope(c, "AuditEvent", smart.MaySearch); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	e.Patients = []string{"Patient/" + patientID}
	var looks []Look
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		looks = nil
		rows, _, err := g.auditPageOf(tx, c, "Patient/"+patientID, "", limit)
		for _, row := range rows {
			look := Look{When: row.When, Person: row.Name, Role: row.Role, What: string(row.Type), Action: row.Action, Why: row.Bases["Patient/"+patientID], Client: row.Client, Outcome: row.Outcome}
			if key, err := fhir.ParseKey(row.Person); err == nil && key.Type == "Practitioner" {
				view, err := g.provider(tx, row.Person)
				if err != nil {
					return err
				}
				look.Person, look.Organization = or(view.Name, row.Name), view.Organization
				if name, err := g.organizationName(tx, row.Org); err != nil {
					return err
				} else if name != "" { // as it was then
					look.Organization = name
				}
			}
			looks = append(looks, look)
		}
		return err
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return looks, g.auditor.write(ctx, e)
}
