package oracletest_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// A maker makes random worlds around a moment. Small domains make collisions, and
// so decisions, likely.
type maker struct {
	*rand.Rand
	w   *world
	now time.Time
}

func pick[T any](m *maker, list ...T) T { return list[m.IntN(len(list))] }

func (m *maker) chance(percent int) bool { return m.IntN(100) < percent }

func (m *maker) id(prefix string, n int) string { return fmt.Sprintf("%s%d", prefix, m.IntN(n)) }

const (
	manyPatients = 6
	manyDoctors  = 5
	manyOrgs     = 2
	manyGroups   = 2
	manyNurses   = 2
)

func makeWorld(r *rand.Rand, zone *time.Location, now time.Time) *world {
	m := &maker{r, &world{zone: zone}, now.In(zone)}
	w := m.w
	for n := range manyDoctors {
		w.practitioners = append(w.practitioners, fmt.Sprintf("doc%d", n))
	}
	for n := range manyNurses {
		w.nurses = append(w.nurses, fmt.Sprintf("nurse%d", n))
	}
	if m.chance(20) {
		w.left = append(w.left, pick(m, w.everybody()...))
	}
	w.site = m.site()
	for n := range manyOrgs {
		w.organizations = append(w.organizations, fmt.Sprintf("org%d", n))
	}
	for n := range 5 {
		w.roles = append(w.roles, m.employment(n))
	}
	for n := range manyPatients {
		w.patients = append(w.patients, m.patient(n))
	}
	for n := range 8 {
		w.related = append(w.related, m.related(n))
	}
	for n := range 5 {
		w.teams = append(w.teams, m.team(n))
	}
	for n := range manyGroups {
		w.groups = append(w.groups, m.group(n))
	}
	for n := range 100 {
		w.resources = append(w.resources, m.resource(n))
	}
	for n := range m.IntN(14) {
		w.consents = append(w.consents, m.directive(n))
	}
	for range 2 * min(len(w.consents), 1) { // written about consents, by others than the gateway
		r := m.resource(len(w.resources))
		r.kind, r.code, r.when, r.links = "Provenance", coding{}, period{start: "2026-01-01T00:00:00Z"}, map[string][]string{"target": {"Consent/" + pick(m, w.consents...).id, "Patient/" + m.id("pat", manyPatients)}}
		w.resources = append(w.resources, r)
	}
	for _, r := range w.resources {
		if r.kind == "List" && len(w.consents) > 0 && m.chance(20) {
			r.links["entry"] = []string{"Consent/" + pick(m, w.consents...).id}
		}
	}
	m.vouchings()
	return w
}

// person is a reference to somebody or something that may act.
func (m *maker) person() string {
	switch m.IntN(8) {
	case 0:
		return "Patient/" + m.id("pat", manyPatients)
	case 1:
		return "RelatedPerson/" + m.id("rel", 8)
	case 2:
		return "PractitionerRole/" + m.id("role", 5)
	case 3:
		return "Organization/" + m.id("org", manyOrgs)
	}
	return "Practitioner/" + m.somebody()
}

// somebody is mostly a provider, sometimes one of those who work for them.
func (m *maker) somebody() string {
	if m.chance(12) {
		return m.id("nurse", manyNurses)
	}
	return m.id("doc", manyDoctors)
}

// moment is a time around now as FHIR writes it, to a second, a day, a month or a
// year.
func (m *maker) moment(around time.Time) string {
	t := around.Add(time.Duration(m.IntN(5)-2) * pick(m, time.Second, time.Hour, 24*time.Hour, 31*24*time.Hour, 366*24*time.Hour)).In(m.w.zone)
	if m.chance(20) {
		t = t.UTC()
	}
	return t.Format(pick(m, "2006", "2006-01", "2006-01-02", "2006-01-02", time.RFC3339))
}

// period is one around now, given in so many of a hundred cases.
func (m *maker) period(percent int) period { return m.periodAround(percent, m.now) }

func (m *maker) periodAround(percent int, around time.Time) period {
	if !m.chance(percent) {
		return period{}
	}
	p := period{m.moment(around.AddDate(0, 0, -m.IntN(3))), m.moment(around.AddDate(0, 0, m.IntN(3)))}
	switch m.IntN(3) {
	case 0:
		p.end = ""
	case 1:
		p.start = ""
	}
	if p.start != "" && p.end != "" {
		from, _ := span(p.start, m.w.zone)
		if _, end := span(p.end, m.w.zone); !end.After(from) { // of no length: it would be refused
			p.start = ""
		}
	}
	return p
}

func (m *maker) patient(n int) *patient {
	p := &patient{id: fmt.Sprintf("pat%d", n), labels: m.labels(10)}
	born := m.now.AddDate(-pick(m, 3, 12, 13, 13, 15, 17, 18, 18, 40), 0, m.IntN(3)-1)
	if m.chance(15) { // 29 February
		born = time.Date(pick(m, 2008, 2012), 2, 29, 0, 0, 0, 0, m.w.zone)
	}
	p.birth = born.Format(pick(m, "2006-01-02", "2006-01-02", "2006-01-02", "2006-01", "2006"))
	if m.chance(5) {
		p.birth = ""
	}
	for range m.IntN(3) {
		p.pcp = append(p.pcp, pick(m, "Practitioner/"+m.id("doc", manyDoctors), "PractitionerRole/"+m.id("role", 5), "Organization/"+m.id("org", manyOrgs)))
	}
	if other := m.id("pat", manyPatients); m.chance(15) && other != p.id && n > 0 {
		p.links = []string{"pat0"}
	}
	if m.chance(12) {
		p.emancipated = m.now.AddDate(0, 0, m.IntN(3)-1).Format("2006-01-02")
	}
	return p
}

func (m *maker) employment(n int) *employment {
	return &employment{id: fmt.Sprintf("role%d", n), practitioner: m.somebody(), organization: m.id("org", manyOrgs),
		active: pick(m, "true", "true", "", "false"), period: m.period(30), code: pick(m, "", "er")}
}

func (m *maker) related(n int) *related {
	return &related{id: fmt.Sprintf("rel%d", n), patient: m.id("pat", manyPatients), relation: pick(m, "MTH", "FTH", "GUARD", "HPOWATT", "PRN", "NBOR"),
		active: pick(m, "true", "true", "", "false"), period: m.period(30)}
}

func (m *maker) group(n int) *group {
	g := &group{id: fmt.Sprintf("group%d", n)}
	for range m.IntN(4) {
		who := pick(m, "Practitioner/"+m.id("doc", manyDoctors), "PractitionerRole/"+m.id("role", 5), "Patient/"+m.id("pat", manyPatients))
		g.members = append(g.members, member{who, m.period(20), m.chance(15)})
	}
	return g
}

func (m *maker) team(n int) *team {
	t := &team{id: fmt.Sprintf("team%d", n), status: pick(m, "active", "active", "active", "inactive", "proposed"), subject: m.id("pat", manyPatients), period: m.period(30), labels: m.labels(5)}
	for range m.IntN(4) {
		ref := m.person()
		if m.chance(25) {
			ref = "CareTeam/" + m.id("team", 5)
		}
		t.members = append(t.members, member{reference: ref, period: m.period(30)})
	}
	return t
}

// labels are those of a resource.
func (m *maker) labels(percent int) []coding {
	if !m.chance(percent) {
		return nil
	}
	var list []coding
	if m.chance(50) {
		list = append(list, coding{confidentiality, string(levels[m.IntN(len(levels))])})
	}
	for range m.IntN(3) {
		list = append(list, coding{actCode, m.sensitivity()})
	}
	return list
}

func (m *maker) sensitivity() string {
	return pick(m, "ETH", "ETHUD", "OPIOIDUD", "PSY", "SDV", "HIV", "SEX", "STD", "SUD", "PSYTHPN", "ADOL", "GDIS", "GENDER", "MH")
}

var clinical = []string{"Observation", "Condition", "Encounter", "MedicationRequest", "Procedure", "DiagnosticReport", "DocumentReference",
	"Immunization", "AllergyIntolerance", "List", "Task", "Device", "Binary", "Provenance", "Basic"}

func (m *maker) resource(n int) *resource {
	r := &resource{kind: pick(m, clinical...), id: fmt.Sprintf("r%d", n), labels: m.labels(45), code: coding{ourCodes, m.id("c", 4)}, links: map[string][]string{}}
	if m.chance(3) {
		r.kind = pick(m, "Location", "Medication")
	}
	if slicesHas([]string{"Encounter", "Device", "Binary", "Provenance", "Location", "Medication"}, r.kind) {
		r.code = coding{}
	}
	mine := "Patient/" + m.id("pat", manyPatients)
	for n, element := range owned[r.kind] {
		if n == 0 || m.chance(15) {
			r.links[element] = []string{mine}
		}
		if n > 0 && r.links[element] != nil {
			r.links[element] = []string{"Patient/" + m.id("pat", manyPatients)}
		}
	}
	if r.kind == "Provenance" && m.chance(30) {
		r.links["target"] = append(r.links["target"], "Patient/"+m.id("pat", manyPatients))
	}
	m.refer(r)
	if r.kind == "Provenance" {
		r.when.start = "2026-01-01T00:00:00Z"
	}
	if shapes[r.kind].when != "" && (m.chance(75) || r.kind == "Immunization") {
		m.date(r)
	}
	return r
}

// refer lets a resource refer to another, whosever it is.
func (m *maker) refer(r *resource) {
	element, kind := "", ""
	switch r.kind {
	case "Observation":
		element, kind = "hasMember", "Observation"
	case "DiagnosticReport":
		element, kind = "result", "Observation"
	case "List":
		element, kind = "entry", pick(m, "Observation", "Condition")
	case "Encounter":
		element, kind = "diagnosis", "Condition"
	case "Procedure":
		element, kind = "reasonReference", "Condition"
	case "Condition":
		element, kind = "evidence", "Observation"
	}
	if element == "" || !m.chance(50) {
		return
	}
	for range 5 {
		if len(m.w.resources) == 0 {
			return
		}
		if other := pick(m, m.w.resources...); other.kind == kind {
			r.links[element] = []string{other.ref()}
			return
		}
	}
}

// date gives a resource its clinical time.
func (m *maker) date(r *resource) {
	at := m.now.AddDate(-m.IntN(5), 0, 0)
	switch r.kind {
	case "DocumentReference":
		r.when.start = at.Add(time.Duration(m.IntN(1e6)) * time.Second).Format(time.RFC3339)
	case "Immunization", "MedicationRequest", "List", "Task":
		r.when.start = m.moment(at)
	case "Encounter":
		r.when = m.periodAround(100, at)
	default:
		if r.when.start = m.moment(at); m.chance(30) {
			r.when = m.periodAround(100, at)
		}
	}
}

// directive is a Consent; the most are of the kind that counts.
func (m *maker) directive(n int) *directive {
	d := &directive{id: fmt.Sprintf("cons%d", n), patient: m.id("pat", manyPatients), status: "active", scope: "patient-privacy", optOut: m.chance(10), modifier: m.chance(3)}
	if m.chance(10) {
		d.status = pick(m, "inactive", "rejected", "entered-in-error")
	}
	if m.chance(5) {
		d.scope = pick(m, "research", "treatment")
	}
	for n := m.IntN(3); n > 0 && m.chance(70); n-- {
		d.performers = append(d.performers, pick(m, "Patient/"+d.patient, "RelatedPerson/"+m.id("rel", 8), "RelatedPerson/"+m.id("rel", 8), "Practitioner/"+m.id("doc", manyDoctors)))
		d.given = m.now.AddDate(-m.IntN(3), 0, -m.IntN(2)).Format(pick(m, "2006", "2006-01-02", time.RFC3339))
	}
	d.root = m.provision(pick(m, 1, 2, 2, 3, 3, 4, 8))
	if m.chance(60) { // else they are about everybody
		d.root.actors = m.actors()
	}
	if m.chance(5) {
		d.root.kind = ""
	}
	return d
}

func (m *maker) provision(depth int) *provision {
	n := &provision{kind: pick(m, "permit", "permit", "deny"), period: m.period(10), modifier: m.chance(2), dataPeriod: m.periodAround(10, m.now.AddDate(-m.IntN(5), 0, 0))}
	if m.chance(15) {
		n.actors = m.actors()
	}
	if m.chance(10) {
		n.action = m.some(func() coding {
			return coding{consentAction, pick(m, "access", "access", "collect", "correct", "disclose")}
		}, 5)
	}
	if m.chance(15) {
		n.purpose = m.some(func() coding {
			return coding{actReason, pick(m, "TREAT", "TREAT", "ETREAT", "BTG", "BTG", "HPAYMT", "HOPERAT", "PATRQT", "FAMRQT", "HRESCH")}
		}, 5)
	}
	if m.chance(20) {
		n.class = m.some(func() coding { return coding{resourceTypes, pick(m, append(clinical, "Patient", "CareTeam")...)} }, 5)
	}
	if m.chance(15) {
		n.code = m.some(func() coding { return coding{ourCodes, m.id("c", 4)} }, 0)
	}
	if m.chance(8) {
		n.data = []datum{{pick(m, "instance", "instance", "instance", "related", "dependents"), pick(m, m.w.resources...).ref()}}
	}
	if m.chance(35) {
		n.labels = m.some(func() coding {
			if m.chance(50) {
				return coding{confidentiality, string(levels[m.IntN(len(levels))])}
			}
			return coding{actCode, m.sensitivity()}
		}, 4)
	}
	for depth > 1 && m.chance(60) {
		n.children = append(n.children, m.provision(depth-1))
		if m.chance(50) {
			break
		}
	}
	return n
}

// some gives one to three codes, some of which nobody knows.
func (m *maker) some(one func() coding, unknowns int) []coding {
	var list []coding
	for range 1 + m.IntN(3) {
		c := one()
		if m.chance(unknowns) {
			c.system = unknown
		}
		list = append(list, c)
	}
	return list
}

func (m *maker) actors() []actor {
	var list []actor
	for range 1 + m.IntN(3) {
		a := actor{role: coding{participation, pick(m, "IRCP", "PRCP")}, reference: m.person(), modifier: m.chance(1)}
		switch m.IntN(30) {
		case 0:
			a.role.system = unknown
		case 1:
			a.reference = "Practitioner/gone"
		case 2:
			a.reference = ""
		case 3, 4, 5:
			a.reference = "CareTeam/" + m.id("team", 5)
		case 6, 7, 8:
			a.reference = "Group/" + m.id("group", manyGroups)
		}
		list = append(list, a)
	}
	return list
}

// callers are of every role, in the portal and through apps: providers first, then
// the family, then others, then three apps and two systems.
func (m *maker) callers() []*caller {
	var list []*caller
	add := func(name, role string, persons ...string) {
		list = append(list, &caller{name: name, login: name, role: role, persons: persons})
	}
	for _, id := range m.w.practitioners {
		add(id, "provider", "Practitioner/"+id)
	}
	for _, p := range m.w.patients {
		add(p.id, "patient", "Patient/"+p.id)
	}
	for n := range 4 { // each guardian stands for two RelatedPersons
		add(fmt.Sprintf("guard%d", n), "proxy", fmt.Sprintf("RelatedPerson/rel%d", 2*n), fmt.Sprintf("RelatedPerson/rel%d", 2*n+1))
	}
	for _, id := range m.w.nurses {
		add(id, "sponsored", "Practitioner/"+id)
	}
	people := len(list)
	add("staff", "staff", "Practitioner/doc0")
	for n := range 3 {
		app := *list[m.IntN(people)]
		app.name, app.launch = fmt.Sprintf("app%d-%s", n, app.name), m.id("pat", manyPatients)
		app.scopes = m.scopes("patient", "user")
		list = append(list, &app)
	}
	return append(list, &caller{name: "backend", role: "system", scopes: m.scopes("system")}, &caller{name: "everything", role: "system", scopes: []grantedScope{{level: "system", kind: "*", read: true, search: true}}})
}

// family are the callers who are patients and guardians.
func family(callers []*caller) (list []*caller) {
	for _, c := range callers {
		if c.family() && c.scopes == nil {
			list = append(list, c)
		}
	}
	return list
}

func (m *maker) scopes(levels ...string) []grantedScope {
	var list []grantedScope
	for range 1 + m.IntN(4) {
		s := grantedScope{level: pick(m, levels...), kind: pick(m, "*", "Observation", "Condition", "Patient", "Practitioner", "Encounter"), read: m.chance(80), search: m.chance(80)}
		if !s.read && !s.search {
			s.read = true
		}
		if (s.kind == "Observation" || s.kind == "Condition") && m.chance(40) {
			s.code = m.id("c", 4)
		}
		list = append(list, s)
	}
	return list
}

// text writes a scope as SMART does.
func (s grantedScope) text() string {
	text := s.level + "/" + s.kind + "."
	if s.read {
		text += "r"
	}
	if s.search {
		text += "s"
	}
	if s.code != "" {
		text += "?code=" + ourCodes + "|" + s.code
	}
	return text
}

func scopesText(list []grantedScope) string {
	var texts []string
	for _, s := range list {
		texts = append(texts, s.text())
	}
	return strings.Join(texts, " ")
}

func slicesHas(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
