package consent_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// guard makes another guard on the engine of a world, with no cache filled, that
// lists panels of up to so many patients.
func (w *world) another(listed int, change func(*consent.Policy)) *consent.Guard {
	w.t.Helper()
	policy := consent.DefaultPolicy()
	change(&policy)
	g, err := consent.New(consent.Config{Rules: w.rules, Now: w.clock.Now, Key: []byte(strings.Repeat("k", 32)), MRNSystem: mrnSystem, Policy: policy})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = g.Close() })
	g.ListAtMost(listed)
	return g
}

// TestPanelJoined lets one guard list every panel and another join every panel,
// and asks both the same while the world changes: what they give must be the same,
// and what a guard gives that remembers nothing.
func TestPanelJoined(t *testing.T) {
	steps := 60
	if os.Getenv("LONG") != "" {
		steps = 20_000
	}
	if testing.Short() || os.Getenv("STORE") == "postgres" {
		steps = 30
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", seed)
	for _, orgs := range []bool{false, true} {
		t.Run(fmt.Sprintf("organizations=%v", orgs), func(t *testing.T) {
			w := newWorld(t)
			c := &chance{w, rand.New(rand.NewPCG(seed, 1))}
			change := func(p *consent.Policy) { p.CareTeamOrganizations = orgs }
			listed, joined := w.another(1000, change), w.another(-1, change)
			for step := range steps {
				for range 1 + c.IntN(3) {
					c.write()
				}
				if c.IntN(4) == 0 {
					w.clock.pass(time.Duration(c.IntN(30*24)) * time.Hour)
				}
				guards := []*consent.Guard{listed, joined}
				if step%10 == 0 {
					guards = append(guards, w.another(1000, change), w.another(-1, change))
				}
				if !c.compare(guards...) {
					t.Fatalf("step %d, seed %d", step, seed)
				}
			}
		})
	}
}

// TestPanelOfInnerTeams has teams in teams, for a time and for good, join and leave
// a panel that is not looked up again but when it must be.
func TestPanelOfInnerTeams(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"CareTeam","id":"cardiology","status":"active","participant":[{"member":{"reference":"Practitioner/okafor"}}]}`)
	g := w.another(-1, func(*consent.Policy) {})
	sees := func(want string) {
		t.Helper()
		page, err := g.Search(t.Context(), w.as("okafor"), "Observation", url.Values{}, false)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range page.Entries {
			got = append(got, e.Resource.ID)
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("at %v: got %q, want %q", w.clock.Now(), got, want)
		}
	}
	team := func(patient, inner, period string) {
		w.put(`{"resourceType":"CareTeam","id":"team-%s","status":"active","subject":{"reference":"Patient/%[1]s"},"participant":[{"member":{"reference":"CareTeam/%s"}%s}]}`, patient, inner, period)
	}
	sees("")
	team("sofia", "cardiology", "")
	sees("sofia-weight")
	team("lily", "cardiology", `,"period":{"start":"2026-03-12","end":"2026-03-13"}`)
	sees("sofia-weight")
	w.clock.set(time.Date(2026, 3, 11, 23, 59, 59, 0, w.zone))
	sees("sofia-weight")
	w.clock.pass(time.Second)
	sees("lily-weight sofia-weight")
	team("noah", "team-lily", "")
	sees("lily-weight noah-weight sofia-weight")
	w.clock.set(time.Date(2026, 3, 13, 23, 59, 59, 0, w.zone))
	sees("lily-weight noah-weight sofia-weight")
	w.clock.pass(time.Second)
	sees("sofia-weight")
	// Who denies something that must be read is decided on, from the moment they are
	// on the panel.
	w.put(`{"resourceType":"Observation","id":"ava-hiv","meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"HIV"}]},"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/ava"}}`)
	w.put(`{"resourceType":"Consent","id":"ava-no-hiv","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/ava"},"dateTime":"2026-01-01","performer":[{"reference":"Patient/ava"}],"policyRule":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"OPTIN"}]},"provision":{"type":"deny","securityLabel":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"HIV"}]}}`)
	sees("sofia-weight")
	team("ava", "cardiology", "")
	sees("ava-secret ava-weight sofia-weight")
}

var chanceProviders = []string{"adams", "baker", "chen", "okafor"}

// A chance changes a world at random.
type chance struct {
	w *world
	*rand.Rand
}

func (c *chance) one(list ...string) string { return list[c.IntN(len(list))] }

func (c *chance) maybe(text string) string { return c.one("", text) }

func (c *chance) patient() string {
	return c.one("mateo", "sofia", "ava", "noah", "lily", "p1", "p2", "p3")
}

// day is a date around today, mostly a whole day.
func (c *chance) day() string {
	return c.w.clock.Now().AddDate(0, 0, c.IntN(60)-30).Format(c.one("2006-01-02", "2006-01-02", "2006-01", "2006", time.RFC3339))
}

func (c *chance) period() string {
	switch c.IntN(5) {
	case 0:
		return fmt.Sprintf(`,"period":{"start":%q}`, c.day())
	case 1:
		return fmt.Sprintf(`,"period":{"end":%q}`, c.day())
	case 2:
		return fmt.Sprintf(`,"period":{"start":%q,"end":%q}`, c.day(), c.w.clock.Now().AddDate(0, 0, c.IntN(90)-5).Format("2006-01-02"))
	}
	return ""
}

func (c *chance) provider() string {
	return c.one("Practitioner/adams", "Practitioner/baker", "Practitioner/chen", "Practitioner/okafor", "PractitionerRole/r1", "PractitionerRole/r2", "Organization/o1", "Organization/o2")
}

// write stores something that decisions rest on; what the rules refuse is left.
func (c *chance) write() {
	c.w.t.Helper()
	body := ""
	switch c.IntN(9) {
	case 0:
		body = fmt.Sprintf(`{"resourceType":"Patient","id":%q,"identifier":[{"system":%q,"value":"M%[1]s"}],"name":[{"family":%[3]q,"given":["A"]}],"birthDate":%q,"generalPractitioner":[{"reference":%q}]}`,
			c.patient(), mrnSystem, c.one("Rivera", "Thompson", "Nguyen"), c.one("2020-02-02", "2011-01-01", "2000-03-01"), c.provider())
	case 1:
		body = fmt.Sprintf(`{"resourceType":"PractitionerRole","id":%q,"active":%s,"practitioner":{"reference":"Practitioner/%s"},"organization":{"reference":"Organization/%s"}%s}`,
			c.one("r1", "r2"), c.one("true", "true", "false"), c.one(chanceProviders...), c.one("o1", "o2"), c.period())
	case 2, 3:
		body = c.team()
	case 4:
		body = fmt.Sprintf(`{"resourceType":"Group","id":%q,"type":"practitioner","actual":true,"member":[{"entity":{"reference":%q}%s}]}`, c.one("g1", "g2"),
			c.one("Practitioner/adams", "Practitioner/baker", "PractitionerRole/r1"), c.period())
	case 5, 6:
		body = c.consent()
	case 7:
		label := c.label()
		if label != "" {
			label = `,"security":[` + label + `]`
		}
		body = fmt.Sprintf(`{"resourceType":"Observation","id":"o%d","meta":{"tag":[{"code":"t"}]%s},"status":"final","code":{"coding":[{"system":"http://loinc.org","code":"29463-7"}]},"subject":{"reference":"Patient/%s"},"effectiveDateTime":%q%s}`,
			c.IntN(20), label, c.patient(), c.w.clock.Now().AddDate(0, 0, -c.IntN(60)).Format("2006-01-02"), c.maybe(`,"performer":[{"reference":"Patient/`+c.patient()+`"}]`))
	case 8:
		body = fmt.Sprintf(`{"resourceType":"List","id":"l%d","status":"current","mode":"working","subject":{"reference":"Patient/%s"}}`, c.IntN(5), c.patient())
		if c.IntN(4) == 0 {
			c.remove()
			return
		}
	}
	p, err := c.w.eng.Prepare([]byte(body))
	if fhir.KindOf(err) == fhir.Unprocessable {
		return // a period that ends before it begins
	}
	if err != nil {
		c.w.t.Fatalf("%s: %v", body, err)
	}
	if err := c.w.load(p); err != nil && fhir.KindOf(err) != fhir.Unprocessable {
		c.w.t.Fatalf("%s: %v", body, err)
	}
}

func (c *chance) team() string {
	var members []string
	for range 1 + c.IntN(3) {
		who := c.provider()
		switch c.IntN(5) {
		case 0:
			who = "CareTeam/" + c.one("t1", "t2", "t3", "t4", "mateo-team")
		case 1:
			who = "Patient/" + c.patient()
		}
		members = append(members, fmt.Sprintf(`{"member":{"reference":%q}%s}`, who, c.period()))
	}
	subject := c.one("", fmt.Sprintf(`,"subject":{"reference":"Patient/%s"}`, c.patient()), fmt.Sprintf(`,"subject":{"reference":"Patient/%s"}`, c.patient()))
	return fmt.Sprintf(`{"resourceType":"CareTeam","id":%q,"status":%q%s%s,"participant":[%s]}`, c.one("t1", "t2", "t3", "t4", "mateo-team"),
		c.one("active", "active", "active", "inactive"), subject, c.period(), strings.Join(members, ","))
}

func (c *chance) label() string {
	return c.one("", `{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"`+c.one("N", "R", "V")+`"}`,
		`{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"`+c.one("SEX", "SUD", "HIV")+`"}`)
}

func (c *chance) consent() string {
	patient := c.patient()
	return fmt.Sprintf(`{"resourceType":"Consent","id":"%s-%d","status":%q,"scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":%q}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/%[1]s"},"dateTime":"2026-01-01","performer":[{"reference":"Patient/%[1]s"}],"policyRule":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":%[5]q}]},"provision":%[6]s}`,
		patient, c.IntN(2), c.one("active", "active", "active", "inactive"), c.one("patient-privacy", "patient-privacy", "patient-privacy", "treatment"), c.one("OPTIN", "OPTOUT"), c.provision(1))
}

func (c *chance) provision(depth int) string {
	parts := []string{}
	if depth > 1 || c.IntN(4) > 0 {
		parts = append(parts, fmt.Sprintf(`"type":%q`, c.one("permit", "deny", "deny")))
	}
	if p := c.period(); p != "" && c.IntN(2) == 0 {
		parts = append(parts, p[1:])
	}
	if c.IntN(2) == 0 {
		who := c.one(c.provider(), c.provider(), "CareTeam/t1", "CareTeam/t2", "Group/g1", "Practitioner/nobody", "RelatedPerson/luis-mateo")
		parts = append(parts, fmt.Sprintf(`"actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":%q}]},"reference":{"reference":%q}}]`, c.one("IRCP", "IRCP", "IRCP", "AUT"), who))
	}
	if c.IntN(4) == 0 {
		parts = append(parts, fmt.Sprintf(`"class":[{"system":"http://hl7.org/fhir/resource-types","code":%q}]`, c.one("Observation", "List", "Patient")))
	}
	if c.IntN(5) == 0 {
		parts = append(parts, fmt.Sprintf(`"action":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentaction","code":%q}]}]`, c.one("access", "access", "correct", "use")))
	}
	if c.IntN(6) == 0 {
		parts = append(parts, fmt.Sprintf(`"purpose":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":%q}]`, c.one("TREAT", "HPAYMT")))
	}
	if l := c.label(); l != "" && c.IntN(3) == 0 {
		parts = append(parts, `"securityLabel":[`+l+`]`)
	}
	if depth < 3 && c.IntN(4) == 0 {
		parts = append(parts, `"provision":[`+c.provision(depth+1)+`]`)
	}
	if len(parts) == 0 {
		return `{"type":"deny"}`
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// remove deletes something, if it is there.
func (c *chance) remove() {
	key, _ := fhir.ParseKey(c.one("Patient/p1", "CareTeam/t1", "CareTeam/t2", "Consent/mateo-0", "Consent/p1-1", "PractitionerRole/r1", "Group/g1", "Observation/o1"))
	err := c.w.guard.Delete(c.w.t.Context(), c.w.system("system/*.cruds"), key, nil)
	switch fhir.KindOf(err) {
	case fhir.NotFound, fhir.Gone, fhir.Forbidden, fhir.Unprocessable, fhir.Conflict:
	default:
		if err != nil {
			c.w.t.Fatal(err)
		}
	}
}

// compare asks several guards the same and reports whether all give the same.
func (c *chance) compare(guards ...*consent.Guard) bool {
	c.w.t.Helper()
	t, same := c.w.t, true
	for range 2 {
		name := c.one(chanceProviders...)
		id := smart.Identity{Login: name, Role: smart.Provider, FHIRUser: "Practitioner/" + name, Persons: []string{"Practitioner/" + name}}
		caller := consent.Caller{Grant: consent.Portal(id, "session"), Address: "192.0.2.1", RequestID: "r"}
		ask := func(what string, do func(g *consent.Guard) string) {
			want := do(guards[0])
			for i, g := range guards[1:] {
				if got := do(g); got != want {
					t.Errorf("%s: %s: guard %d\ngot  %s\nwant %s", name, what, i+1, got, want)
					same = false
				}
			}
		}
		queries := []string{"Patient?", "Patient?_sort=family&_total=accurate", "Observation?_total=accurate", "Observation?_sort=-date&_count=3", "Observation?code=29463-7&patient.family=Rivera",
			"List?", "CareTeam?", "Consent?", "Patient?_has:Observation:patient:code=29463-7", "Observation?_include=Observation:performer&_include=Observation:subject", "Practitioner?_revinclude=Patient:general-practitioner", "Observation?patient=" + c.patient()}
		for range 4 {
			q := c.one(queries...)
			kind, query, _ := strings.Cut(q, "?")
			values, _ := url.ParseQuery(query)
			ask(q, func(g *consent.Guard) string {
				return pageText(g.Search(t.Context(), caller, fhir.Type(kind), values, false))
			})
		}
		ask("system", func(g *consent.Guard) string {
			return pageText(g.SearchSystem(t.Context(), caller, url.Values{"_type": {"Patient,Observation,List"}, "_sort": {"_lastUpdated"}}, false))
		})
		ask("history", func(g *consent.Guard) string {
			return pageText(g.TypeHistory(t.Context(), caller, "Observation", nil, false))
		})
		ask("my patients", func(g *consent.Guard) string {
			cards, next, err := g.MyPatients(t.Context(), caller, "")
			var ids []string
			for _, card := range cards {
				ids = append(ids, fmt.Sprint(card.Patient, card.Bases))
			}
			slices.Sort(ids)
			return fmt.Sprint(ids, next, err)
		})
	}
	return same
}

// TestMyPatientsInPages walks the pages of a provider whose panel is listed, and of
// the same when it is joined.
func TestMyPatientsInPages(t *testing.T) {
	w := newWorld(t)
	for i := range 45 {
		w.put(`{"resourceType":"Patient","id":"many-%02d","name":[{"family":"F%02[1]d"}],"birthDate":"2020-02-02","generalPractitioner":[{"reference":"Practitioner/okafor"}]}`, i)
	}
	for _, listed := range []int{1000, -1} {
		g, c := w.another(listed, func(*consent.Policy) {}), w.as("okafor")
		var names []string
		pages, from := 0, ""
		for {
			cards, next, err := g.MyPatients(t.Context(), c, from)
			if err != nil {
				t.Fatal(err)
			}
			for _, card := range cards {
				names = append(names, card.Name)
			}
			pages++
			if next != "" {
				_, _, err := g.MyPatients(t.Context(), w.as("adams"), next)
				wantKind(t, err, fhir.Invalid)
			}
			if from = next; from == "" {
				break
			}
		}
		if pages != 3 || len(names) != 45 || !slices.IsSorted(names) || len(slices.Compact(names)) != 45 {
			t.Errorf("listed=%d: got %d pages, %v", listed, pages, names)
		}
		cards, err := g.ThePatients(t.Context(), c, []string{"many-03", "ava", "nobody", "many-07,mateo"})
		if err != nil || len(cards) != 1 || cards[0].Patient.ID != "many-03" {
			t.Errorf("listed=%d: got %v %v, want many-03 alone", listed, cards, err)
		}
	}
}

// TestJoinedIsRecorded has the log tell on which basis somebody looked whose panel
// is joined.
func TestJoinedIsRecorded(t *testing.T) {
	w := newWorld(t)
	g := w.another(-1, func(*consent.Policy) {})
	for name, why := range map[string]consent.BasisCode{"chen": consent.BasisCareTeam, "adams": consent.BasisPCP} {
		if _, err := g.Search(t.Context(), w.as(name), "Observation", url.Values{}, false); err != nil {
			t.Fatal(err)
		}
		looks, err := w.guard.WhoLooked(t.Context(), w.as("grace"), "mateo", 1)
		if err != nil || len(looks) != 1 || !slices.Equal(looks[0].Why, []consent.BasisCode{why}) {
			t.Errorf("%s: got %+v %v, want %s", name, looks, err, why)
		}
		w.clock.pass(time.Second)
	}
}

// TestJoinedBasesChange has the bases that the log tells be those of the moment: when a
// team, its times or the primary care provider change, and when time passes.
func TestJoinedBasesChange(t *testing.T) {
	w := newWorld(t)
	g, c := w.another(-1, func(*consent.Policy) {}), w.as("chen")
	looks := func(want ...consent.BasisCode) {
		t.Helper()
		for range 2 {
			w.clock.pass(time.Second)
			if _, err := g.Search(t.Context(), c, "Observation", url.Values{}, false); err != nil {
				t.Fatal(err)
			}
			looks, err := w.guard.WhoLooked(t.Context(), w.as("grace"), "mateo", 1)
			if err != nil || len(looks) != 1 || !slices.Equal(looks[0].Why, want) {
				t.Errorf("at %v: got %+v %v, want %v", w.clock.Now(), looks, err, want)
			}
		}
	}
	team := func(period string) {
		w.put(`{"resourceType":"CareTeam","id":"mateo-team","status":"active","subject":{"reference":"Patient/mateo"},"participant":[{"member":{"reference":"Practitioner/chen"}%s}]}`, period)
	}
	pcp := func(who string) {
		w.put(`{"resourceType":"Patient","id":"mateo","identifier":[{"system":%q,"value":"1001"}],"name":[{"family":"Rivera","given":["Mateo"]}],"birthDate":"2018-01-05","generalPractitioner":[{"reference":"Practitioner/%s"}]}`, mrnSystem, who)
	}
	looks(consent.BasisCareTeam)
	pcp("chen")
	looks(consent.BasisPCP, consent.BasisCareTeam)
	team(`,"period":{"end":"2026-03-11"}`)
	looks(consent.BasisPCP, consent.BasisCareTeam)
	w.clock.set(time.Date(2026, 3, 11, 23, 59, 57, 0, w.zone))
	looks(consent.BasisPCP, consent.BasisCareTeam)
	looks(consent.BasisPCP)
	team(`,"period":{"start":"2026-03-14"}`)
	looks(consent.BasisPCP)
	w.clock.set(time.Date(2026, 3, 14, 0, 0, 0, 0, w.zone))
	looks(consent.BasisPCP, consent.BasisCareTeam)
	pcp("adams")
	looks(consent.BasisCareTeam)
	pcp("chen")
	w.put(`{"resourceType":"CareTeam","id":"mateo-team","status":"inactive","subject":{"reference":"Patient/mateo"},"participant":[{"member":{"reference":"Practitioner/chen"}}]}`)
	looks(consent.BasisPCP)
}

// TestStrangers has a provider, whose list of patients is at hand, read of somebody who
// comes to be on it and leaves it: at once, like all that is decided.
func TestStrangers(t *testing.T) {
	w := newWorld(t)
	c, key := w.as("okafor"), fhir.Key{Type: "Observation", ID: "mateo-weight"}
	reads := func(may bool) {
		t.Helper()
		for range 2 {
			if _, err := w.guard.Search(t.Context(), c, "Observation", url.Values{}, false); err != nil {
				t.Fatal(err)
			}
			_, err := w.guard.Read(t.Context(), c, key)
			if may && err != nil || !may && fhir.KindOf(err) != fhir.NotFound {
				t.Errorf("got %v, may read: %v", err, may)
			}
		}
	}
	team := func(status string) {
		w.put(`{"resourceType":"CareTeam","id":"strangers","status":%q,"subject":{"reference":"Patient/mateo"},"participant":[{"member":{"reference":"Practitioner/okafor"}}]}`, status)
	}
	reads(false)
	team("active")
	reads(true)
	team("inactive")
	reads(false)
	w.put(`{"resourceType":"Group","id":"helpers","type":"practitioner","actual":true,"member":[{"entity":{"reference":"Practitioner/okafor"}}]}`)
	w.put(`{"resourceType":"Consent","id":"for-helpers","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/mateo"},"dateTime":"2026-01-01","performer":[{"reference":"Patient/mateo"}],"policyRule":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"OPTIN"}]},"provision":{"type":"permit","actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":"Group/helpers"}}]}}`)
	reads(true)
	w.put(`{"resourceType":"Group","id":"helpers","type":"practitioner","actual":true,"member":[{"entity":{"reference":"Practitioner/okafor"},"inactive":true}]}`)
	reads(false)
}
