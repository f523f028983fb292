package consent

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"time"

	"mypatients/consent/audit"
	"mypatients/fhir"
)

// AuditEvents are rendered from the log when they are read, in the shape of IHE's
// Basic Audit Log Patterns (https://profiles.ihe.net/ITI/BALP): which codes stand
// for what, and who takes part in which role. An event that conforms to one of
// those profiles says so.

// Code systems of AuditEvents.
const (
	systemDCM         = "http://dicom.nema.org/resources/ontology/DCM"
	systemEventType   = "http://terminology.hl7.org/CodeSystem/audit-event-type"
	systemInteraction = "http://hl7.org/fhir/restful-interaction"
	systemEntityType  = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
	systemObjectRole  = "http://terminology.hl7.org/CodeSystem/object-role"
	systemBALP        = "https://profiles.ihe.net/ITI/BALP/"
)

// An auditAction says how an action of the log is rendered.
type auditAction struct {
	system, code string // AuditEvent.type
	subSystem    string // AuditEvent.subtype
	sub          string
	letter       string // AuditEvent.action
	profile      string // of BALP, for what succeeded; "Patient" before it when it is about one
	writes       bool   // an operation that changes the record
}

func interaction(sub, letter, profile string) auditAction {
	return auditAction{systemEventType, "rest", systemInteraction, sub, letter, profile, false}
}

func dicom(code, sub, letter string) auditAction {
	return auditAction{system: systemDCM, code: code, subSystem: systemDCM, sub: sub, letter: letter}
}

// auditActions are the actions that are no operations.
var auditActions = map[string]auditAction{
	"read": interaction("read", "R", "Read"), "vread": interaction("vread", "R", "Read"),
	"history": interaction("history-instance", "R", ""), "history-type": interaction("history-type", "R", ""), "history-system": interaction("history-system", "R", ""),
	"search": interaction("search-type", "E", "Query"), "search-system": interaction("search-system", "E", "Query"),
	"create": interaction("create", "C", "Create"), "update": interaction("update", "U", "Update"), "patch": interaction("patch", "U", ""), "delete": interaction("delete", "D", "Delete"),

	"select": dicom("110112", "", "E"), "list-patients": dicom("110112", "", "E"), "find-accounts": dicom("110112", "", "E"),
	"export": dicom("110106", "", "R"), "begin-export": dicom("110106", "", "E"), "list-export": dicom("110106", "", "E"), "end-export": dicom("110106", "", "E"),
	"export-audit": dicom("110106", "110101", "R"), "search-audit": dicom("110101", "", "R"), "verify-audit": dicom("110101", "", "E"), "compare-policies": dicom("110112", "", "E"),
	"sign-in": dicom("110114", "110122", "E"), "sign-out": dicom("110114", "110123", "E"),
	"register": dicom("110137", "", "C"), "unlink": dicom("110137", "", "U"), "roles": dicom("110136", "", "U"),
	"sponsor": dicom("110137", "", "C"), "take-up-sponsorship": dicom("110137", "", "U"), "confirm-sponsored": dicom("110137", "", "U"), "end-sponsored": dicom("110137", "", "U"),
	"list-sponsored": dicom("110112", "", "E"), "list-emergencies": dicom("110112", "", "E"),
	"link": dicom("110137", "", "U"), "check-provider": dicom("110137", "", "U"), "refuse-provider": dicom("110137", "", "U"), "appoint": dicom("110136", "", "U"),
	"list-unchecked": dicom("110112", "", "E"), "list-notices": dicom("110112", "", "E"), "retry-notice": dicom("110100", "", "E"), "dismiss-notice": dicom("110100", "", "E"),
	"grant-token": dicom("110114", "110122", "E"),
	"end-app":     dicom("110137", "", "U"), "end-account": dicom("110137", "", "U"), "approve-app": dicom("110137", "", "C"), "decline-app": dicom("110137", "", "E"),
	"add-client": dicom("110137", "", "C"), "change-client": dicom("110137", "", "U"), "end-client": dicom("110137", "", "U"), "remove-client": dicom("110137", "", "D"), "rotate-keys": dicom("110137", "", "U"),
}

// writingOperations are those that change the record.
var writingOperations = []string{"request-access", "approve", "decline", "revoke", "withdraw", "lapse", "correct", "invite", "redeem-invitation",
	"add to care team", "remove from care team", "restore", "break-glass", "end-break-glass", "stop-emergency", "review-emergency"}

func auditActionOf(action string) auditAction {
	if a, ok := auditActions[action]; ok {
		return a
	}
	a := interaction("operation", "E", "")
	a.writes = slices.Contains(writingOperations, action)
	return a
}

// denied tells whether a row is about an access that the decision did not permit.
func denied(e *audit.Entry) bool {
	switch e.Outcome {
	case fhir.Forbidden.String(), NotAuthorized, RequestPending, NoPortalAccount:
		return true
	case fhir.NotFound.String():
		return len(e.Patients) > 0
	}
	return false
}

// outcomeOf gives a code of AuditEvent.outcome.
func outcomeOf(e *audit.Entry) string {
	switch {
	case e.Outcome == "":
		return "0"
	case denied(e):
		return "8"
	}
	return "4"
}

// typeOf gives the type and subtypes of a row.
func typeOf(e *audit.Entry) (kind node, sub []node) {
	a := auditActionOf(e.Action)
	own := node{"display": e.Action}
	if a.sub != "" {
		own["system"], own["code"] = a.subSystem, a.sub
	}
	if denied(e) && a.system == systemEventType {
		return coding(systemDCM, "110113"), []node{coding(systemBALP+"CodeSystem/AuthZsubType", "AuthZ-Consent"), own}
	}
	return coding(a.system, a.code), []node{own}
}

func coding(system, code string) node { return node{"system": system, "code": code} }

func codingConcept(system, code string) map[string]any { return concept(system, code).any() }

// auditEvent renders a row.
func (g *Guard) auditEvent(row audit.Row) *fhir.Resource {
	kind, subtypes := typeOf(row.Entry)
	n := node{
		"resourceType": "AuditEvent", "id": row.ID,
		"type":     kind.any(),
		"action":   auditActionOf(row.Action).letter,
		"recorded": instant(row.When, time.UTC),
		"outcome":  outcomeOf(row.Entry),
		"agent":    g.auditAgents(row.Entry),
		"source": map[string]any{"site": siteName(g.base), "observer": map[string]any{"display": g.base},
			"type": []any{coding("http://terminology.hl7.org/CodeSystem/security-source-type", "4").any()}},
	}
	var subs []any
	for _, s := range subtypes {
		subs = append(subs, s.any())
	}
	n["subtype"] = subs
	if entities := g.auditEntities(row.Entry); len(entities) > 0 {
		n["entity"] = entities
	}
	if row.Outcome != "" {
		n["outcomeDesc"] = row.Outcome
	}
	if row.Purpose != "" {
		n["purposeOfEvent"] = []any{codingConcept(systemActReason, row.Purpose)}
	}
	if p := balpProfile(row.Entry); p != "" {
		n["meta"] = map[string]any{"profile": []any{p}}
	}
	return &fhir.Resource{Key: fhir.Key{Type: "AuditEvent", ID: row.ID}, Version: 1, Updated: row.When, JSON: encode(n)}
}

// balpProfile gives the profile that an event conforms to. They are about one
// patient at most, and name the network addresses of both sides.
func balpProfile(e *audit.Entry) string {
	a := auditActionOf(e.Action)
	one := len(e.Returned) == 1
	if a.profile == "Query" {
		one = e.Query != ""
	}
	if a.profile == "" || e.Outcome != "" || len(e.Patients) > 1 || e.Address == "" || e.ClientID == "" || !one {
		return ""
	}
	name := a.profile
	if len(e.Patients) == 1 {
		name = "Patient" + name
	}
	return systemBALP + "StructureDefinition/IHE.BasicAudit." + name
}

func siteName(base string) string {
	u, err := url.Parse(base)
	if err != nil || u.Hostname() == "" {
		return base
	}
	return u.Hostname()
}

// auditAgents gives who took part: the person first, then the client, the server,
// and the organisation where the person practises.
func (g *Guard) auditAgents(e *audit.Entry) []any {
	client, server := "110153", "110152" // the source of the request, and its destination
	if auditActionOf(e.Action).letter == "R" {
		client, server = server, client // the source of the data
	}
	var agents []any
	person := e.Person != "" || e.Login != ""
	if person {
		agents = append(agents, auditPerson(e))
	}
	app := node{"type": codingConcept(systemDCM, client), "requestor": !person,
		"who": map[string]any{"identifier": map[string]any{"value": or(e.ClientID, "gateway")}, "display": or(e.Client, or(e.ClientID, "gateway"))}}
	if denied(e) {
		app["type"] = codingConcept(systemDCM, "110150")
	}
	if e.Address != "" {
		app["network"] = map[string]any{"address": e.Address, "type": "2"}
	}
	here := node{"type": codingConcept(systemDCM, server), "requestor": false, "who": map[string]any{"identifier": map[string]any{"value": g.base}, "display": siteName(g.base)},
		"network": map[string]any{"address": g.base, "type": "5"}}
	if denied(e) {
		here = node{"type": codingConcept("http://terminology.hl7.org/CodeSystem/extra-security-role-type", "authserver"), "requestor": false, "who": here["who"]}
	}
	agents = append(agents, app.any(), here.any())
	if e.Org != "" {
		agents = append(agents, node{"type": codingConcept("http://terminology.hl7.org/CodeSystem/v3-RoleClass", "PROV"), "requestor": false, "who": reference(e.Org)}.any())
	}
	return agents
}

func auditPerson(e *audit.Entry) map[string]any {
	as := "IRCP"
	switch auditActionOf(e.Action).letter {
	case "C", "U":
		as = "AUT"
	case "D":
		as = "CST"
	}
	n := node{"type": codingConcept("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", as), "requestor": true}
	who := map[string]any{"identifier": map[string]any{"value": e.Login}}
	if e.Person != "" {
		who = reference(e.Person)
		if e.Login != "" {
			n["altId"] = e.Login
		}
	}
	if e.Name != "" {
		who["display"], n["name"] = e.Name, e.Name
	}
	n["who"] = who
	if e.Role != "" {
		n["role"] = []any{map[string]any{"text": string(e.Role)}}
	}
	if e.Purpose != "" {
		n["purposeOfUse"] = []any{codingConcept(systemActReason, e.Purpose)}
	}
	return n.any()
}

// auditEntities gives whose record it was, on which bases, what was returned or
// written, the query and the request.
func (g *Guard) auditEntities(e *audit.Entry) []any {
	var entities []any
	for _, p := range e.Patients {
		n := node{"what": reference(p), "type": coding(systemEntityType, "1").any(), "role": coding(systemObjectRole, "1").any()}
		var details []any
		for _, b := range e.Bases[p] {
			code, source, _ := strings.Cut(b, " ")
			details = append(details, map[string]any{"type": "basis", "valueString": code})
			if source != "" {
				details = append(details, map[string]any{"type": "basis-source", "valueString": source})
			}
		}
		if details != nil {
			n["detail"] = details
		}
		entities = append(entities, n.any())
	}
	query := auditActionOf(e.Action).profile == "Query"
	for _, k := range append(slices.Clone(e.Returned), e.About...) {
		kind := coding(systemEntityType, "2")
		if t, _, _ := strings.Cut(k, "/"); query || len(e.Returned) != 1 {
			kind = coding("http://hl7.org/fhir/resource-types", t) // the code above is that of the query, or of the one resource
		}
		entities = append(entities, node{"what": reference(k), "type": kind.any(), "role": coding(systemObjectRole, "4").any()}.any())
	}
	if query && e.Query != "" {
		asked := or(string(e.Type), "") + "?" + e.Query
		entities = append(entities, node{"type": coding(systemEntityType, "2").any(), "role": coding(systemObjectRole, "24").any(),
			"description": asked, "query": base64.StdEncoding.EncodeToString([]byte("GET " + g.base + "/fhir/" + asked))}.any())
	}
	if e.Detail != "" {
		entities = append(entities, node{"what": map[string]any{"identifier": map[string]any{"value": e.Detail}}, "type": coding(systemEntityType, "2").any(), "role": coding(systemObjectRole, "11").any()}.any())
	}
	if e.Request != "" {
		entities = append(entities, node{"what": map[string]any{"identifier": map[string]any{"value": e.Request}}, "type": coding(systemBALP+"CodeSystem/BasicAuditEntityType", "XrequestId").any()}.any())
	}
	return entities
}
