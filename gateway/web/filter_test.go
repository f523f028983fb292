package web_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// Lists of a record are narrowed to words, days and kinds; what is typed stays, and
// older pages are narrowed alike.
func TestFilters(t *testing.T) {
	w := newWorld(t)
	const subject = `"subject":{"reference":"Patient/mateo"}`
	w.put(`{"resourceType":"MedicationRequest","id":"m2","status":"stopped","intent":"order","medicationCodeableConcept":{"text":"Amoxicillin, 50%% |$"},%s,"authoredOn":"2020-03-04"}`, subject)
	w.put(`{"resourceType":"Encounter","id":"e2","status":"finished","class":{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"EMER"},"type":[{"text":"Broken arm"}],%s,"period":{"start":"2020-05-05T10:00:00Z"}}`, subject)
	w.put(`{"resourceType":"Encounter","id":"e3","status":"finished","class":{"code":"AMB"},"type":[{"text":"Urgent visit"}],"reasonCode":[{"text":"Fever, cough"}],"participant":[{"individual":{"reference":"Practitioner/chen"}}],%s,"period":{"start":"2022-05-05T10:00:00Z"}}`, subject)
	w.put(`{"resourceType":"DocumentReference","id":"d2","status":"current","type":{"text":"Allergy letter"},%s,"author":[{"reference":"Practitioner/okafor"},{"reference":"Practitioner/chen"}],"date":"2023-05-05T10:00:00Z","content":[{"attachment":{"title":"Letter"}}]}`, subject)
	w.put(`{"resourceType":"MedicationRequest","id":"m3","status":"active","intent":"order","medicationCodeableConcept":{"text":"Cetirizine"},%s,"requester":{"reference":"Practitioner/chen"},"authoredOn":"2020-02-04"}`, subject)
	for i := range 60 {
		w.put(`{"resourceType":"Encounter","id":"many%d","status":"finished","class":{"code":"AMB"},"type":[{"text":"Allergy shot"}],"participant":[{"individual":{"reference":"Practitioner/chen"}}],%s,"period":{"start":"2019-%02d-%02dT10:00:00Z"}}`, i, subject, 1+i/28, 1+i%28)
	}
	b, _ := w.as("adams", "/patients/mateo")
	for _, c := range []struct{ tab, query, shows, hides string }{
		{"medications", "text=amox", "Amoxicillin", "Albuterol"},
		{"medications", "text=" + url.QueryEscape("lin, 50% |$"), "Amoxicillin", "Albuterol"},
		{"medications", "kind=current", "Albuterol", "Amoxicillin"},
		{"medications", "kind=past", "Amoxicillin", "Albuterol"},
		{"medications", "from=2021-01-01", "Albuterol", "Amoxicillin"},
		{"medications", "to=2020-03-04", "Amoxicillin", "Albuterol"},
		{"medications", "from=2020-03-05&to=2020-12-31", "Nothing matches.", "Albuterol"},
		{"results", "text=hemo", "Hemoglobin", "Vital signs Blood"},
		{"results", "kind=vital-signs", "98 / 60", "Hemoglobin"},
		{"results", "kind=laboratory", "Hemoglobin", "98 / 60"},
		{"results", "kind=laboratory&to=2020-12-31", "Hemoglobin", "16.1"},
		{"immunizations", "text=mmr&from=2019-03-04&to=2019-03-04", "MMR", "Nothing matches."},
		{"immunizations", "text=polio", "Nothing matches.", "MMR"},
		{"visits", "kind=EMER", "Broken arm", "Well child visit"},
		{"visits", "text=well", "Well child visit", "Broken arm"},
		{"notes", "text=visit", "Visit note", "Nothing matches."},
		{"notes", "from=2025-01-01", "Nothing matches.", "Visit note"},
		{"visits", "reason=COUGH", "Urgent visit", "Well child visit"},
		{"visits", "reason=cough&text=well", "Nothing matches.", "Urgent visit"},
		{"visits", "who=" + url.QueryEscape("Dr. Mei che"), "Urgent visit", "Well child visit"},
		{"visits", "who=mei+okafor", "Nothing matches.", "Urgent visit"},
		{"notes", "who=chen", "Allergy letter", "Visit note"},
		{"notes", "who=dr.", "Visit note", "Nothing matches."}, // a title alone says nothing
		{"notes", "who=" + url.QueryEscape("a,b|$\\"), "Nothing matches.", "Visit note"},
		{"medications", "who=chen&kind=current", "Cetirizine", "Albuterol"},
		{"medications", "reason=x", "Cetirizine", "Nothing matches."}, // has no such field
		{"visits", "kind=nonsense&text=", "Well child visit", "Nothing matches."},
	} {
		page := b.get("/patients/mateo/"+c.tab+"?"+c.query).shows(200, c.shows).hides(c.hides)
		if q, _ := url.ParseQuery(c.query); filled(mustForm(page, "Show these")).Get("text") != q.Get("text") {
			t.Errorf("%s?%s: what was typed is lost", c.tab, c.query)
		}
	}
	for query, problem := range map[string]string{
		"from=yesterday": "Enter a day", "to=2020-13-01": "Enter a day", "from=2021-01-01&to=2020-01-01": "before the first one", "text=" + strings.Repeat("x", 101): "Use fewer words",
		"who=a+b+c+d+e+f": "Use fewer words",
	} {
		b.get("/patients/mateo/medications?"+query).shows(422, problem, "Mateo Rivera").hides("Albuterol")
	}
	older := b.get("/patients/mateo/visits?text=shot&who=chen&kind=AMB&to=2019-12-31").shows(200, "Allergy shot").follow("Show older ones").shows(200, "Allergy shot").hides("Well child visit", "Broken arm")
	if n := strings.Count(older.text(), "Allergy shot"); n != 10 {
		t.Errorf("%d older ones, want 10", n)
	}
	b.get("/patients/mateo").hides("Narrow this list")
	b.get("/patients/ava/medications?text=x").shows(200, "Ava") // hers, too
	okafor, _ := w.as("okafor", "/")
	okafor.get("/patients/mateo/medications?text=albu&from=x").shows(404).hides("Mateo")
}

// Alerts stand beside the record while they hold.
func TestAlerts(t *testing.T) {
	w := newWorld(t)
	for i, f := range []struct{ status, text, end string }{{"active", "Difficult airway", ""}, {"inactive", "Was fasting", ""}, {"active", "Isolation", "2020-01-01"}, {"active", "Interpreter", "2999-01-01"}} {
		period := ""
		if f.end != "" {
			period = fmt.Sprintf(`,"period":{"end":%q}`, f.end)
		}
		w.put(`{"resourceType":"Flag","id":"f%d","status":%q,"code":{"text":%q},"subject":{"reference":"Patient/mateo"}%s}`, i, f.status, f.text, period)
	}
	b, p := w.as("adams", "/patients/mateo")
	p.shows(200, "Alerts", "Difficult airway", "Interpreter").hides("Was fasting", "Isolation")
	b.get("/patients/mateo/print").shows(200, "Difficult airway")
	b.get("/patients/sofia").shows(200, "Sofia").hides("Alerts")
}

// A provider finds their patients by why they see them, and those they opened last
// at the next sign-in.
func TestMineAndRecent(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"CareTeam","id":"sofia-team","status":"active","subject":{"reference":"Patient/sofia"},"participant":[{"member":{"reference":"Practitioner/both"}}]}`)
	w.put(`{"resourceType":"Patient","id":"own","name":[{"family":"Young","given":["Uma"]}],"birthDate":"2020-01-01","generalPractitioner":[{"reference":"Practitioner/both"}]}`)
	_, role := w.as("both", "/")
	role.submit("As a provider").shows(200, "My patients Primary care UYUma Young", "Care team SRSofia Rivera").hides("Recent")
	b, _ := w.as("adams", "/patients/sofia")
	b.get("/patients/mateo/results")
	b.get("/").submit("Sign out")
	again, _ := w.as("adams", "/")
	text := again.get("/").shows(200, "Recent").text()
	recent := text[strings.Index(text, "Recent"):strings.Index(text, "My patients")]
	if m, s := strings.Index(recent, "Mateo"), strings.Index(recent, "Sofia"); m < 0 || s < m || strings.Contains(recent, "Ava") {
		t.Errorf("recent: %s", recent)
	}
	w.put(`{"resourceType":"Patient","id":"mateo","identifier":[{"system":%q,"value":"1001"}],"name":[{"family":"Rivera","given":["Mateo"]}],"birthDate":"2018-01-05","generalPractitioner":[{"reference":"Practitioner/chen"}]}`, mrnSystem)
	again.get("/").shows(200, "Recent", "Sofia").hides("Mateo")
}
