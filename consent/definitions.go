package consent

import (
	"slices"
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
)

// An operationDef describes one of the gateway's operations, enough for its
// OperationDefinition and for the CapabilityStatement.
type operationDef struct {
	name     string // without the $
	resource fhir.Type
	typed    bool // on the type; else on an instance
	text     string
	in, out  []parameterDef
}

type parameterDef struct {
	name, kind, max string
	min             int
}

var (
	narrowing = []parameterDef{{"period", "Period", "1", 0}, {"class", "code", "*", 0}, {"label", "code", "1", 0}}
	word      = []parameterDef{{"caller", "string", "1", 0}, {"check", "string", "1", 0}, {"asked", "string", "1", 0}} // of staff
	reason    = []parameterDef{{"reason", "string", "1", 0}}
	between   = []parameterDef{{"confidential", "boolean", "1", 0}} // between a teenager and the provider
	consentIs = []parameterDef{{"return", "Consent", "1", 1}}

	operations = []operationDef{
		{"request-access", "Patient", true, "Ask the patient or a guardian for access to a record; confidential: only the patient, a teenager, without their guardians.",
			slices.Concat([]parameterDef{{"patient", "Reference", "1", 1}}, narrowing, reason, between), consentIs},
		{"redeem-invitation", "Patient", true, "Use an invitation: a token and the MRN it is bound to.",
			[]parameterDef{{"token", "string", "1", 1}, {"mrn", "string", "1", 1}, {"client_id", "string", "1", 0}},
			[]parameterDef{{"consent", "Reference", "1", 1}, {"patient", "Reference", "1", 1}, {"launch", "string", "1", 0}}},
		{"break-glass", "Patient", true, "Open a record in an emergency, for a short time, with the authorization that asks.",
			[]parameterDef{{"patient", "Reference", "1", 1}, {"purpose", "code", "1", 1}, {"reason", "string", "1", 1}},
			[]parameterDef{{"patient", "Reference", "1", 1}, {"until", "dateTime", "1", 1}}},
		{"end-break-glass", "Patient", false, "End the emergency access to this patient that the authorization has begun.", nil, nil},
		{"invite", "Patient", false, "Make an invitation to this patient's record.",
			slices.Concat([]parameterDef{{"email", "string", "1", 0}, {"npi", "string", "1", 0}}, narrowing, word, between),
			[]parameterDef{{"token", "string", "1", 1}, {"mrn", "string", "1", 1}, {"expires", "dateTime", "1", 1}, {"consent", "Reference", "1", 1}}},
		{"access", "Patient", false, "Tell whether the caller may see this record, why, how far, and what they can do if not. As an administrator, with as, the same of somebody else: a Practitioner, RelatedPerson or Patient, or an account by its id.",
			[]parameterDef{{"as", "Reference", "1", 0}}, []parameterDef{{"permitted", "boolean", "1", 1}, {"role", "code", "1", 0}, {"basis", "Coding", "*", 0}, {"basis-source", "", "*", 0}, {"limit", "Coding", "*", 0}, {"next", "Coding", "*", 0}, {"from", "dateTime", "1", 0}}},
		{"approve", "Consent", false, "Approve an access request, or less than it asks for. Where others have to agree it stays proposed, with the extension answer-state. Of age, a patient takes over what guardians gave.", narrowing, consentIs},
		{"decline", "Consent", false, "Decline an access request. While others may still answer it stays proposed, with the extension answer-state.", reason, consentIs},
		{"revoke", "Consent", false, "End an access that was given, or cancel an invitation.", reason, consentIs},
		{"withdraw", "Consent", false, "Take an access request back.", reason, consentIs},
	}
)

// parts are those of the parameters that have no value of their own. The sponsor is
// the source of what sponsored staff see.
var parts = map[string][]parameterDef{
	"basis-source": {{"basis", "Coding", "1", 1}, {"source", "Reference", "1", 0}, {"sponsor", "Reference", "1", 0}, {"until", "dateTime", "1", 0}},
}

// A codeSystemDef describes one of the gateway's code systems.
type codeSystemDef struct {
	id, title string
	codes     [][2]string
}

var codeSystems = []codeSystemDef{
	{"workflow", "Kinds of workflow resources", [][2]string{
		{kindInvitation, "An invitation to a record"}, {kindEmergency, "An emergency access to a record"}, {kindNotice, "A notice about access"}}},
	{"notice", "Kinds of notices", [][2]string{
		{string(NoticeRequest), "Somebody asks for access"}, {string(NoticeReminder), "A request lapses soon"},
		{string(NoticeConflict), "Those who decide answer differently"}, {string(NoticeInvited), "An invitation was made"},
		{string(NoticeRedeemed), "An invitation was used"}, {string(NoticeInvitationEnding), "An invitation ends soon"},
		{string(NoticeApproved), "A request was approved"}, {string(NoticeDeclined), "A request was declined"},
		{string(NoticeRevoked), "An access was ended"}, {string(NoticeEnding), "An access ends soon"},
		{string(NoticeBreakGlass), "A record was opened under the emergency rule"},
		{string(NoticeLinked), "An account was connected to somebody who decides about the record"},
		{string(NoticeCode), "An address of a registration is to be proven"}, {string(NoticeRegistration), "A registration was decided on"},
		{string(NoticeSponsored), "Somebody who works for a provider has to be confirmed"}}},
	{"selection-outcome", "Outcomes of Patient Selection", [][2]string{
		{NotAuthorized, "The provider may not see the record"}, {RequestPending, "The provider's request waits for an answer"},
		{NoPortalAccount, "Nobody with a portal account can answer a request"},
		{RecentlyDeclined, "The provider's request was declined a short time ago"}}},
	{"access-basis", "Why somebody may see a record", [][2]string{
		{string(BasisSelf), "It is their own"}, {string(BasisProxy), "They act for the patient"}, {string(BasisPCP), "They are the primary care provider"},
		{string(BasisCareTeam), "They are on the care team"}, {string(BasisConsent), "The family approved their request"},
		{string(BasisInvitation), "The family invited them"}, {string(BasisEmergency), "They opened it in an emergency"},
		{string(BasisSponsored), "They work for a provider who may see it"}, {string(BasisStaff), "They are staff"}, {string(BasisSystem), "It is a registered system"}}},
	{"answer-state", "What the answers to an open request have come to", [][2]string{
		{AnswersWaiting, "Somebody else has to answer too"}, {AnswersConflict, "Guardians have answered differently: one of them declines"}}},
	{"access-limit", "Limits of an access", [][2]string{
		{limitTypes, "Only some kinds of information"}, {limitLevel, "Up to a confidentiality"}, {limitTeen, "Not everything that is sensitive"},
		{limitRestrict, "Less what the family has excluded"}, {limitNonClinic, "Nothing clinical"}}},
	{"access-next", "What somebody without access can do", [][2]string{
		{nextRequest, "Request access"}, {nextLater, "Request access again later"}, {nextWait, "Wait for the answer to a request"}, {nextToken, "Use an invitation"},
		{nextTeam, "Ask the family to be put on the care team"}}},
}

// An extensionDef describes one of the gateway's extensions; without a kind it is
// made of extensions that the text names.
type extensionDef struct {
	id, text, kind string
	context        string
}

var extensions = []extensionDef{
	{"answer-by", "Until when an access request can be answered", "dateTime", "Consent"},
	{"request-reason", "Why a provider asks for access, for the family to read", "string", "Consent"},
	{"answer-reason", "Why a request was declined", "string", "Consent"},
	{"answer-state", "In what $approve and $decline give: why the request is still open, a code of the code system answer-state", "code", "Consent"},
	{"invitation-expires", "Until when an invitation can be used", "dateTime", "Consent"},
	{"invitation-addressee", "For whom an invitation is", "string", "Consent"},
	{"labelled-by", "The gateway's rules gave this security label, by what the resource says (content) or what it refers to (reference)", "code", "Coding"},
	{"emancipation", "That a minor is treated as an adult: document, a valueReference to the DocumentReference that it rests on; date, a valueDate; withdrawn, a valueBoolean, of what was a mistake", "", "Patient"},
	{"self-registered", "The provider registered themself, and nobody has checked what they said", "boolean", "Practitioner"},
	{"request-from", "From when a request that was declined can be made again", "dateTime", "OperationOutcome.issue"},
	{"subscriber", "Stands for the app and the person that a subscription belongs to", "string", "Subscription"},
	{"emergency-handle", "Stands for a patient in $break-glass, for the caller it was given to", "string", "OperationOutcome.issue"},
	{"request-handle", "Stands for a patient in $request-access, for the caller it was given to", "string", "OperationOutcome.issue"},
}

// Definition gives one of the gateway's own definitions, which anybody may read.
func (g *Guard) Definition(t fhir.Type, id string) ([]byte, bool) {
	n := g.definition(t, id)
	if n == nil {
		return nil, false
	}
	n["resourceType"], n["id"] = string(t), id
	n["url"] = g.rules.canonical + "/fhir/" + string(t) + "/" + id
	n["name"], n["status"] = nameOf(id), "active"
	return encode(n), true
}

func (g *Guard) definition(t fhir.Type, id string) node {
	switch t {
	case "OperationDefinition":
		if i := slices.IndexFunc(operations, func(o operationDef) bool { return o.id() == id }); i >= 0 {
			return operations[i].definition()
		}
	case "CodeSystem":
		if i := slices.IndexFunc(codeSystems, func(c codeSystemDef) bool { return c.id == id }); i >= 0 {
			return codeSystems[i].definition()
		}
	case "StructureDefinition":
		if i := slices.IndexFunc(extensions, func(e extensionDef) bool { return e.id == id }); i >= 0 {
			return extensions[i].definition(g.rules.extension(id))
		}
	}
	return nil
}

func (o operationDef) id() string { return string(o.resource) + "-" + o.name }

func (o operationDef) definition() node {
	var params []any
	for _, side := range []struct {
		use  string
		list []parameterDef
	}{{"in", o.in}, {"out", o.out}} {
		for _, p := range side.list {
			param := p.definition(side.use)
			var inner []any
			for _, part := range parts[p.name] {
				inner = append(inner, part.definition(side.use))
			}
			if inner != nil {
				param["part"] = inner
			}
			params = append(params, param)
		}
	}
	n := node{
		"kind": "operation", "code": o.name, "description": o.text, "affectsState": o.name != "access",
		"resource": []any{string(o.resource)}, "system": false, "type": o.typed, "instance": !o.typed,
	}
	if params != nil {
		n["parameter"] = params
	}
	return n
}

func (p parameterDef) definition(use string) map[string]any {
	n := map[string]any{"name": p.name, "use": use, "min": p.min, "max": p.max}
	if p.kind != "" {
		n["type"] = p.kind
	}
	return n
}

func (c codeSystemDef) definition() node {
	var concepts []any
	for _, code := range c.codes {
		concepts = append(concepts, map[string]any{"code": code[0], "display": code[1]})
	}
	return node{"title": c.title, "content": "complete", "caseSensitive": true, "concept": concepts}
}

func (e extensionDef) definition(url string) node {
	value := "Extension.value[x]"
	content := map[string]any{"id": value, "path": value, "min": 1, "type": []any{map[string]any{"code": e.kind}}}
	if e.kind == "" { // it is made of others
		content = map[string]any{"id": value, "path": value, "max": "0"}
	}
	return node{
		"title": e.text, "description": e.text, "fhirVersion": "4.0.1", "kind": "complex-type", "abstract": false, "type": "Extension",
		"baseDefinition": "http://hl7.org/fhir/StructureDefinition/Extension", "derivation": "constraint",
		"context": []any{map[string]any{"type": "element", "expression": e.context}},
		"differential": map[string]any{"element": []any{
			map[string]any{"id": "Extension", "path": "Extension", "short": e.text},
			map[string]any{"id": "Extension.url", "path": "Extension.url", "fixedUri": url},
			content,
		}},
	}
}

// A statement is a CapabilityStatement and the search parameters that it tells of.
type statement struct {
	of   *search.Registry
	body []byte
}

// Capabilities gives the CapabilityStatement: what the engine does, and what the
// gateway adds to it. It is made anew when other search parameters are in force.
func (g *Guard) Capabilities() []byte {
	of := g.engine.Registry()
	if last := g.statement.Load(); last != nil && last.of == of {
		return last.body
	}
	body := g.capabilities()
	g.statement.Store(&statement{of, body})
	return body
}

func (g *Guard) capabilities() []byte {
	return g.engine.Capabilities(func(s *engine.Statement) {
		s.URL, s.Name, s.Title = g.base+"/fhir/metadata", "MyPatientsGateway", "MyPatients FHIR gateway"
		s.Software = &engine.Software{Name: "MyPatients gateway"}
		s.Implementation = &engine.Site{Description: "Who may see a child's record is decided by the family", URL: g.base + "/fhir"}
		rest := &s.Rest[0]
		rest.Security = map[string]any{
			"cors":        true,
			"service":     []any{concept("http://terminology.hl7.org/CodeSystem/restful-security-service", "SMART-on-FHIR").any()},
			"description": "SMART App Launch 2.2; see .well-known/smart-configuration",
			"extension": []any{map[string]any{"url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris", "extension": []any{
				map[string]any{"url": "authorize", "valueUri": g.base + "/oauth/authorize"},
				map[string]any{"url": "token", "valueUri": g.base + "/oauth/token"},
				map[string]any{"url": "introspect", "valueUri": g.base + "/oauth/introspect"},
				map[string]any{"url": "revoke", "valueUri": g.base + "/oauth/revoke"},
				map[string]any{"url": "register", "valueUri": g.base + "/oauth/register"},
				map[string]any{"url": "manage", "valueUri": g.base + "/patient/apps"},
			}}},
		}
		for _, o := range operations {
			if mode := rest.Of(o.resource); mode != nil {
				mode.Operation = append(mode.Operation, engine.OperationOffering{Name: o.name, Definition: g.base + "/fhir/OperationDefinition/" + o.id(), Documentation: o.text})
			}
		}
		g.offerExports(s)
		g.restrictAuditEvent(rest.Of("AuditEvent"))
		if mode := rest.Of("Subscription"); mode != nil {
			mode.Documentation = "Channels of type rest-hook, with payload application/fhir+json (PUT to endpoint/Type/id) or without (POST). Criteria look at one resource, of any type but AuditEvent and Subscription. An app sees the subscriptions that it made for the same person, and they live as long as its grant."
		}
	})
}

// bulkData is what the definitions of bulk exports are under.
const bulkData = "http://hl7.org/fhir/uv/bulkdata/"

// offerExports tells of the bulk exports of the system, of patients and of groups.
func (g *Guard) offerExports(s *engine.Statement) {
	s.Instantiates = append(s.Instantiates, bulkData+"CapabilityStatement/bulk-data")
	offer := func(id, of string) engine.OperationOffering {
		return engine.OperationOffering{Name: "export", Definition: bulkData + "OperationDefinition/" + id,
			Documentation: "NDJSON of what a search would find of " + of + ", under the same decision, made when a file is read. Parameters: _type, _typeFilter, _since, _elements, _outputFormat and, of patients or a group by POST, patient."}
	}
	rest := &s.Rest[0]
	rest.Operation = append(rest.Operation, offer("export", "all types"))
	if mode := rest.Of("Patient"); mode != nil {
		mode.Operation = append(mode.Operation, offer("patient-export", "what belongs to patients"))
	}
	if mode := rest.Of("Group"); mode != nil {
		mode.Operation = append(mode.Operation, offer("group-export", "what belongs to the patients in a Group"))
	}
}

// restrictAuditEvent says what can really be done with the log.
func (g *Guard) restrictAuditEvent(mode *engine.ResourceMode) {
	if mode == nil {
		return
	}
	mode.Interaction = []engine.Interaction{{Code: "read"}, {Code: "search-type"}}
	mode.ReadHistory, mode.UpdateCreate, mode.Versioning = false, false, "no-version"
	mode.ConditionalCreate, mode.ConditionalUpdate, mode.ConditionalDelete = false, false, "not-supported"
	mode.SearchInclude, mode.SearchRevInclude = nil, nil
	mode.SearchParam = slices.DeleteFunc(mode.SearchParam, func(p engine.SearchDefinition) bool { return !slices.Contains(auditParameters, p.Name) })
	mode.Documentation = "The log of a patient's record, for the patient and those who decide for them, newest first. It is written by the gateway alone."
}

// nameOf makes the computer-friendly name of a definition from its id.
func nameOf(id string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(id, "-") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}
