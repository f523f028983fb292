package oracletest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// object is FHIR JSON in the making; what is empty is left out.
type object = map[string]any

func bodies(w *world) [][]byte {
	var list [][]byte
	add := func(o object) {
		body, err := json.Marshal(o)
		if err != nil {
			panic(err)
		}
		list = append(list, body)
	}
	for _, id := range w.organizations {
		add(object{"resourceType": "Organization", "id": id, "name": id})
	}
	for _, id := range w.everybody() {
		o := object{"resourceType": "Practitioner", "id": id, "name": []any{object{"family": id}}, "telecom": mailTo(id)}
		if slices.Contains(w.left, id) {
			o["active"] = false
		}
		add(o)
	}
	for _, p := range w.patients {
		add(renderPatient(p))
	}
	for _, r := range w.related {
		add(renderRelated(r))
	}
	for _, r := range w.roles {
		add(renderRole(r))
	}
	for _, t := range w.teams {
		add(renderTeam(t))
	}
	for _, g := range w.groups {
		add(renderGroup(g))
	}
	for _, c := range w.consents {
		if begun := *c; c.kind == "emergency" && c.status == "inactive" { // it begins otherwise
			begun.status = "active"
			add(renderConsent(&begun))
		}
		add(renderConsent(c))
	}
	for _, r := range slices.Concat(w.resources, w.notes) {
		add(renderResource(r))
	}
	return list
}

func to(reference string) object { return object{"reference": reference} }

func flag(o object, active string) {
	if active != "" {
		o["active"] = active == "true"
	}
}

func put(o object, name string, p period) {
	if !p.given() {
		return
	}
	value := object{}
	if p.start != "" {
		value["start"] = p.start
	}
	if p.end != "" {
		value["end"] = p.end
	}
	o[name] = value
}

func codings(codes []coding) []any {
	var list []any
	for _, c := range codes {
		list = append(list, object{"system": c.system, "code": c.code})
	}
	return list
}

func concept(c coding) object { return object{"coding": codings([]coding{c})} }

func labelled(o object, labels []coding) object {
	if len(labels) > 0 {
		o["meta"] = object{"security": codings(labels)}
	}
	return o
}

func renderPatient(p *patient) object {
	o := labelled(object{"resourceType": "Patient", "id": p.id, "name": []any{object{"family": "Family" + p.id, "given": []any{"Given"}}},
		"identifier": []any{object{"system": mrnSystem, "value": "MRN" + p.id}}, "telecom": mailTo(p.id)}, p.labels)
	if p.birth != "" {
		o["birthDate"] = p.birth
	}
	if p.pcp != nil {
		var list []any
		for _, ref := range p.pcp {
			list = append(list, to(ref))
		}
		o["generalPractitioner"] = list
	}
	if p.links != nil {
		var list []any
		for _, id := range p.links {
			list = append(list, object{"type": "seealso", "other": to("Patient/" + id)})
		}
		o["link"] = list
	}
	if p.emancipated != "" {
		o["extension"] = []any{object{"url": base + "/fhir/StructureDefinition/emancipation", "extension": []any{
			object{"url": "date", "valueDate": p.emancipated}, object{"url": "document", "valueReference": to("DocumentReference/judgement")}}}}
	}
	return o
}

func renderRelated(r *related) object {
	o := labelled(object{"resourceType": "RelatedPerson", "id": r.id, "patient": to("Patient/" + r.patient),
		"relationship": []any{concept(coding{"http://terminology.hl7.org/CodeSystem/v3-RoleCode", r.relation})}}, r.labels)
	o["telecom"] = mailTo(r.id)
	flag(o, r.active)
	put(o, "period", r.period)
	return o
}

func mailTo(id string) []any {
	return []any{object{"system": "email", "value": id + "@example.org"}}
}

func renderRole(r *employment) object {
	o := object{"resourceType": "PractitionerRole", "id": r.id, "practitioner": to("Practitioner/" + r.practitioner), "organization": to("Organization/" + r.organization)}
	flag(o, r.active)
	put(o, "period", r.period)
	if r.code != "" {
		o["code"] = []any{concept(coding{unknown, r.code})}
	}
	return o
}

func renderTeam(t *team) object {
	o := labelled(object{"resourceType": "CareTeam", "id": t.id, "status": t.status, "subject": to("Patient/" + t.subject)}, t.labels)
	put(o, "period", t.period)
	var members []any
	for _, m := range t.members {
		p := object{"member": to(m.reference)}
		put(p, "period", m.period)
		members = append(members, p)
	}
	if members != nil {
		o["participant"] = members
	}
	return o
}

func renderGroup(g *group) object {
	o := object{"resourceType": "Group", "id": g.id, "type": "person", "actual": true}
	var members []any
	for _, m := range g.members {
		e := object{"entity": to(m.reference)}
		put(e, "period", m.period)
		if m.inactive {
			e["inactive"] = true
		}
		members = append(members, e)
	}
	if members != nil {
		o["member"] = members
	}
	return o
}

var nobodyKnows = []any{object{"url": unknown, "valueBoolean": true}}

func renderConsent(c *directive) object {
	o := labelled(object{"resourceType": "Consent", "id": c.id, "status": c.status, "scope": concept(coding{consentScope, c.scope}),
		"category": []any{concept(coding{"http://loinc.org", "59284-0"})}, "patient": to("Patient/" + c.patient),
		"policy": []any{object{"uri": "urn:oracle:policy"}}}, c.labels)
	if root := renderProvision(c.root); len(root) > 0 {
		o["provision"] = root
	}
	switch c.kind {
	case "request":
		o["policy"] = []any{object{"uri": base + "/fhir/policy/access-grant"}}
	case "invitation", "emergency":
		o["category"] = []any{concept(coding{base + "/fhir/CodeSystem/workflow", c.kind})}
	}
	if c.given != "" {
		o["dateTime"] = c.given
	}
	if c.performers != nil {
		var list []any
		for _, ref := range c.performers {
			list = append(list, to(ref))
		}
		o["performer"] = list
	}
	if c.optOut {
		o["policyRule"] = concept(coding{actCode, "OPTOUT"})
	}
	if c.modifier {
		o["modifierExtension"] = nobodyKnows
	}
	return o
}

func renderProvision(n *provision) object {
	o := object{}
	if n.kind != "" {
		o["type"] = n.kind
	}
	put(o, "period", n.period)
	put(o, "dataPeriod", n.dataPeriod)
	if n.modifier {
		o["modifierExtension"] = nobodyKnows
	}
	var actors, data, children, codes, actions []any
	for _, a := range n.actors {
		who := object{"display": "somebody"}
		if a.reference != "" {
			who = to(a.reference)
		}
		e := object{"role": concept(a.role), "reference": who}
		if a.modifier {
			e["modifierExtension"] = nobodyKnows
		}
		actors = append(actors, e)
	}
	for _, d := range n.data {
		data = append(data, object{"meaning": d.meaning, "reference": to(d.reference)})
	}
	for _, c := range n.code {
		codes = append(codes, concept(c))
	}
	for _, c := range n.action {
		actions = append(actions, concept(c))
	}
	for _, child := range n.children {
		children = append(children, renderProvision(child))
	}
	for name, list := range map[string][]any{"actor": actors, "data": data, "code": codes, "action": actions, "provision": children,
		"purpose": codings(n.purpose), "class": codings(n.class), "securityLabel": codings(n.labels)} {
		if list != nil {
			o[name] = list
		}
	}
	return o
}

// shapes are what each type needs beside its links: its status, the element of its
// code, and those of its time.
var shapes = map[string]struct {
	status, code, when string
	more               object
}{
	"Observation": {"final", "code", "effective", nil}, "Condition": {"", "code", "onset", object{"clinicalStatus": concept(coding{"http://terminology.hl7.org/CodeSystem/condition-clinical", "active"})}},
	"Encounter":         {"finished", "", "period", object{"class": object{"code": "AMB"}}},
	"MedicationRequest": {"active", "medicationCodeableConcept", "authoredOn", object{"intent": "order"}},
	"Procedure":         {"completed", "code", "performed", nil}, "DiagnosticReport": {"final", "code", "effective", nil},
	"DocumentReference": {"current", "type", "date", object{"content": []any{object{"attachment": object{"contentType": "text/plain"}}}}},
	"Immunization":      {"completed", "vaccineCode", "occurrence", nil}, "AllergyIntolerance": {"", "code", "onset", object{"clinicalStatus": concept(coding{"http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "active"})}},
	"List": {"current", "code", "date", object{"mode": "working"}}, "Task": {"requested", "code", "authoredOn", object{"intent": "order"}},
	"Device": {"", "", "", nil}, "Binary": {"", "", "", object{"contentType": "text/plain", "data": "YQ=="}},
	"Provenance": {"", "", "", object{"agent": []any{object{"who": object{"display": "somebody"}}}}},
	"Basic":      {"", "code", "", nil}, "Location": {"", "", "", nil}, "Medication": {"", "", "", nil},
}

// lists are the elements of links that repeat, by type and name.
var lists = []string{"Observation.performer", "Observation.focus", "Observation.hasMember", "DocumentReference.author", "DiagnosticReport.result",
	"Provenance.target", "List.entry", "Procedure.performer", "Procedure.reasonReference", "Encounter.diagnosis", "Condition.evidence"}

// inside names the element that holds the reference, where a link is a backbone.
var inside = map[string]string{"List.entry": "item", "Procedure.performer": "actor", "Encounter.diagnosis": "condition", "Condition.evidence": "detail"}

func renderResource(r *resource) object {
	shape, ok := shapes[r.kind]
	if !ok {
		panic("no shape of " + r.kind)
	}
	o := labelled(object{"resourceType": r.kind, "id": r.id}, r.labels)
	for name, value := range shape.more {
		o[name] = value
	}
	if shape.status != "" {
		o["status"] = shape.status
	}
	if shape.code != "" && r.code.code != "" {
		o[shape.code] = concept(r.code)
	}
	for element, refs := range r.links {
		var list []any
		for _, ref := range refs {
			path := r.kind + "." + element
			switch name := inside[path]; {
			case path == "Condition.evidence":
				list = append(list, object{name: []any{to(ref)}})
			case name != "":
				list = append(list, object{name: to(ref)})
			default:
				list = append(list, to(ref))
			}
		}
		if slices.Contains(lists, r.kind+"."+element) {
			o[element] = list
		} else {
			o[element] = list[0]
		}
	}
	renderTime(o, r, shape.when)
	if r.kind == "MedicationRequest" && r.code.code == "" {
		o["medicationReference"] = object{"display": "some"}
	}
	return o
}

func renderTime(o object, r *resource, element string) {
	switch {
	case r.kind == "Provenance":
		o["recorded"] = r.when.start
	case !r.when.given() || element == "":
	case element == "period":
		put(o, element, r.when)
	case slices.Contains([]string{"effective", "onset", "performed", "occurrence"}, element) && r.when.end != "":
		put(o, element+"Period", r.when)
	case slices.Contains([]string{"effective", "onset", "performed", "occurrence"}, element):
		o[element+"DateTime"] = r.when.start
	default:
		o[element] = r.when.start
	}
}

// String shows a world as its resources, one a line.
func (w *world) String() string {
	var b strings.Builder
	for _, body := range bodies(w) {
		fmt.Fprintf(&b, "%s\n", body)
	}
	return b.String()
}
