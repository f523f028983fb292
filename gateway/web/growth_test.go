package web_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// measure gives a patient a measurement; the quantity is the JSON of one.
func (w *world) measure(patient, code, when, quantity string, more ...string) {
	w.t.Helper()
	w.measured++
	w.put(`{"resourceType":"Observation","id":"x%d","status":"final","category":[{"coding":[{"code":"vital-signs"}]}],"code":{"coding":[{"system":"http://loinc.org","code":%q}]},
		"subject":{"reference":"Patient/%s"},"effectiveDateTime":%q,"valueQuantity":%s%s}`, w.measured, code, patient, when, quantity, strings.Join(more, ""))
}

func ucum(value any, code string) string {
	return fmt.Sprintf(`{"value":%v,"unit":%q,"system":"http://unitsofmeasure.org","code":%q}`, value, code, code)
}

// baby is a patient of adams, born on a day.
func (w *world) baby(id, gender, birth, more string) {
	w.t.Helper()
	w.put(`{"resourceType":"Patient","id":%q,"name":[{"family":"Stone","given":["Ada"]}],"gender":%q,"birthDate":%q,"generalPractitioner":[{"reference":"Practitioner/adams"}]%s}`, id, gender, birth, more)
}

// daysOn gives the date so many days after another.
func daysOn(t *testing.T, date string, days int) string {
	t.Helper()
	d, err := time.Parse(time.DateOnly, date)
	if err != nil {
		t.Fatal(err)
	}
	return d.AddDate(0, 0, days).Format(time.DateOnly)
}

// drawings gives the text alternatives of the drawings of a page, and the words
// of their marks.
func (p *page) drawings() (names, marks []string) {
	for n := range p.doc.Descendants() {
		switch {
		case attr(n, "role") == "img":
			names = append(names, attr(n, "aria-label"))
		case n.Type == html.ElementNode && n.Data == "title" && n.Parent.Data == "use":
			marks = append(marks, text(n))
		}
	}
	return names, marks
}

// row gives the words of the row of a table that begins with a date.
func (p *page) row(begins string) string {
	p.b.t.Helper()
	for n := range p.doc.Descendants() {
		if n.DataAtom != atom.Tr {
			continue
		}
		var cells []string
		for c := range n.ChildNodes() {
			if c.Type == html.ElementNode {
				cells = append(cells, text(c))
			}
		}
		if row := strings.Join(cells, "|"); strings.HasPrefix(row, begins) {
			return row
		}
	}
	p.b.t.Errorf("no row %q in %s", begins, p.text())
	return ""
}

func contains(t *testing.T, list []string, want string) {
	t.Helper()
	for _, s := range list {
		if strings.Contains(s, want) {
			return
		}
	}
	t.Errorf("%q is in none of %q", want, list)
}

func TestGrowthPage(t *testing.T) {
	w := newWorld(t)
	birth := w.clock.Now().AddDate(-4, 0, 0).Format(time.DateOnly)
	w.baby("ada", "female", birth, "")
	at := daysOn(t, birth, 1111) // 36.5 months
	w.measure("ada", "29463-7", at, ucum(13.905, "kg"))
	w.measure("ada", "8302-2", at, ucum(37.46, "[in_i]"))
	w.measure("ada", "29463-7", daysOn(t, birth, 190), ucum(7200, "g"))
	w.measure("ada", "8306-3", daysOn(t, birth, 190), ucum(65.5, "cm"))
	w.measure("ada", "9843-4", daysOn(t, birth, 190), ucum(42, "cm"))
	_, p := w.as("adams", "/patients/ada/growth")
	p.shows(200, "Growth", "girls", "Weight", "Height", "Body mass index", "2 to 20 years", "49th percentile").hides("Head circumference", "Not drawn")
	names, marks := p.drawings()
	contains(t, names, "Weight by age: from 13.9 kg on")
	contains(t, marks, "13.9 kg on "+date(t, at)+": 49th percentile")
	if got := p.row(date(t, at) + "|3 years|37.46 in (95.15 cm)|"); !strings.HasSuffix(got, "|59.3|0.24|") {
		t.Errorf("height: %q", got)
	}
	contains(t, names, "Body mass index (BMI) by age") // worked out
	p = p.follow("Birth to 3 years").shows(200, "Length", "Weight for length", "Head circumference", "Age in months")
	names, _ = p.drawings()
	contains(t, names, "Weight for length by length: from 7.2 kg / 65.5 cm")
	if got := p.row(date(t, daysOn(t, birth, 190)) + "|6 months|7200 g (7.2 kg)|"); got == "" {
		t.Error("the weight in grams is missing")
	}
	p.follow("Show the charts for all ages").shows(200, "Fit the charts to the measurements")
	if len(p.body) > 150_000 {
		t.Errorf("%d bytes", len(p.body))
	}
	print := p.b.get("/patients/ada/print").shows(200, "Growth", "Age in years")
	if names, _ := print.drawings(); len(names) != 3 {
		t.Errorf("on paper are %d drawings, want those of the age that the child has", len(names))
	}
}

func date(t *testing.T, iso string) string {
	t.Helper()
	d, err := time.Parse(time.DateOnly, iso)
	if err != nil {
		t.Fatal(err)
	}
	return d.Format("2 January 2006")
}

// What cannot be compared is in the table, with the reason, and not drawn.
func TestGrowthOfOddValues(t *testing.T) {
	w := newWorld(t)
	birth := w.clock.Now().AddDate(-5, 0, 0).Format(time.DateOnly)
	w.baby("ada", "male", birth, "")
	w.measure("ada", "29463-7", daysOn(t, birth, 1000), ucum(14, "kg"))
	for i, c := range []struct{ when, quantity, why string }{
		{"", ucum(14, "[stone_av]"), "the unit is not one that the chart knows"}, {"", `{"value":14,"unit":"Kg"}`, "the unit is not one"}, {"", `{"value":14}`, "the unit is not one"},
		{"", `{"value":14,"unit":"kg","system":"urn:other","code":"kg"}`, "the unit is not one"}, {"", `{"value":14,"comparator":">","unit":"kg"}`, "the exact value is not known"},
		{"", ucum("1e308", "kg"), "please check this value"}, {"", ucum(-14, "kg"), "please check this value"}, {"", ucum(0, "kg"), "please check this value"},
		{"", ucum("1e-300", "kg"), "please check this value"}, {"", ucum(14000, "kg"), "please check this value"},
		{birth[:4], ucum(14, "kg"), "the date is not complete"}, {birth[:7], ucum(14, "kg"), "the date is not complete"},
		{"1999-01-01", ucum(14, "kg"), "the chart does not have this age"}, {"2999-01-01", ucum(14, "kg"), "the chart does not have this age"},
	} {
		when := c.when
		if when == "" {
			when = daysOn(t, birth, 1100+i)
		}
		w.measure("ada", "29463-7", when, c.quantity)
		defer func() {
			_, p := w.as("adams", "/patients/ada/print")
			begins := when
			if len(when) == len(time.DateOnly) {
				begins = date(t, when)
			} else if len(when) == 7 {
				begins = date(t, when+"-01")[2:]
			}
			if got := p.row(begins + "|"); !strings.Contains(got, c.why) {
				t.Errorf("%s on %s: %q, want %q", c.quantity, when, got, c.why)
			}
		}()
	}
	w.put(`{"resourceType":"Observation","id":"wrong","status":"entered-in-error","category":[{"coding":[{"code":"vital-signs"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"29463-7"}]},
		"subject":{"reference":"Patient/ada"},"effectiveDateTime":%q,"valueQuantity":%s}`, daysOn(t, birth, 1050), ucum(14.5, "kg"))
	_, p := w.as("adams", "/patients/ada/growth")
	if _, marks := p.shows(200, "boys").hides("14.5 kg").drawings(); len(marks) != 1 {
		t.Errorf("drawn are %q, want one", marks)
	}
	for _, bad := range []string{"NaN", "Inf"} {
		if strings.Contains(p.body, bad) {
			t.Errorf("the page says %s", bad)
		}
	}
}

// Who is neither a boy nor a girl to CDC has points and no curves; whose birth
// date is not known has a line over time.
func TestGrowthWithoutReference(t *testing.T) {
	w := newWorld(t)
	birth := w.clock.Now().AddDate(-5, 0, 0).Format(time.DateOnly)
	for _, c := range []struct{ gender, birth, extension, says, not string }{
		{"other", birth, "", "CDC has growth charts for girls and for boys", "Percentile"},
		{"unknown", birth, "", "CDC has growth charts for girls and for boys", "Percentile"},
		{"female", birth[:7], "", "The birth date is not complete", "Age in years"},
		{"female", birth[:4], "", "The birth date is not complete", "Age in years"},
		{"other", birth, `,"extension":[{"url":"http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex","valueCode":"M"}]`, "boys", "girls"},
	} {
		w.baby("ada", c.gender, c.birth, c.extension)
		w.measure("ada", "29463-7", daysOn(t, birth, 1000), ucum(14, "kg"))
		w.measure("ada", "29463-7", daysOn(t, birth, 1200), ucum(15, "kg"))
		_, p := w.as("adams", "/patients/ada/growth")
		names, marks := p.shows(200, c.says).hides(c.not, "Not drawn").drawings()
		if len(names) != 1 || len(marks) < 2 {
			t.Errorf("%v: drawn are %q %q", c, names, marks)
		}
		if curves := strings.Contains(p.body, `class="curve`); curves != (c.says == "boys") {
			t.Errorf("%v: curves %t", c, curves)
		}
	}
}

// The ages of a child born early are corrected until 24 months.
func TestGrowthOfEarlyBirth(t *testing.T) {
	w := newWorld(t)
	birth := w.clock.Now().AddDate(-1, 0, 0).Format(time.DateOnly)
	w.baby("ada", "female", birth, "")
	at := daysOn(t, birth, 200)
	w.measure("ada", "29463-7", at, ucum(6, "kg"))
	b, p := w.as("adams", "/patients/ada/growth")
	_, before := p.shows(200).hides("weeks of pregnancy").drawings()
	w.measure("ada", "76516-4", birth, ucum(210, "d"))
	_, after := b.get("/patients/ada/growth").shows(200, "Born after 30 weeks of pregnancy").drawings()
	contains(t, before, "6 kg on "+date(t, at)+": 3rd percentile")
	contains(t, after, "6 kg on "+date(t, at)+": 34th percentile")
}

// A measurement that a reader may not see leaves no trace on any chart.
func TestChartsOfWhatIsHidden(t *testing.T) {
	w := newWorld(t)
	birth := w.clock.Now().AddDate(-15, 0, 0).Format(time.DateOnly)
	for i := range 4 {
		w.measure("ava", "29463-7", daysOn(t, birth, 3000+300*i), ucum(40+i, "kg"))
		w.measure("ava", "8867-4", daysOn(t, birth, 3000+300*i), ucum(70+i, "/min"))
	}
	b, _ := w.as("both", "/patient")
	pages := map[string]string{}
	for _, tab := range []string{"growth", "results", "print"} {
		pages[tab] = b.get("/patients/ava/" + tab).shows(200).body
	}
	const secret = `,"meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"R"},{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"SEX"}]}`
	w.measure("ava", "29463-7", daysOn(t, birth, 5000), ucum(61.5, "kg"), secret)
	w.measure("ava", "8867-4", daysOn(t, birth, 5000), ucum(133, "/min"), secret)
	for tab, before := range pages {
		if after := b.get("/patients/ava/" + tab).body; after != before {
			t.Errorf("%s differs: %d and %d bytes", tab, len(before), len(after))
		}
	}
	_, own := w.as("ava", "/patients/ava/growth")
	own.shows(200, "61.5 kg")
}

// However many there are, a page shows the newest and leads to the others.
func TestChartsAreBounded(t *testing.T) {
	w := newWorld(t)
	birth := w.clock.Now().AddDate(-3, 0, 0).Format(time.DateOnly)
	w.baby("ada", "female", birth, "")
	for i := range 245 {
		w.measure("ada", "29463-7", daysOn(t, birth, 750+i), ucum(12+float64(i)/100, "kg"))
		w.measure("ada", "8867-4", daysOn(t, birth, 750+i), ucum(90+i%20, "/min"))
	}
	_, p := w.as("adams", "/patients/ada/growth")
	_, marks := p.shows(200, "Only the newest 240 measurements are shown", "Show older ones").drawings()
	if len(marks) != 240 || len(p.body) > 150_000 {
		t.Errorf("%d values in %d bytes", len(marks), len(p.body))
	}
	if _, marks = p.follow("Show older ones").shows(200).drawings(); len(marks) != 5 {
		t.Errorf("%d older values", len(marks))
	}
	if paper := p.b.get("/patients/ada/print").shows(200, "Only the newest 120 measurements are shown"); len(paper.body) > 150_000 {
		t.Errorf("%d bytes to print", len(paper.body))
	}
	w.measure("sofia", "29463-7", birth, ucum(99, "kg"))
	p.b.get("/patients/ada/growth?after=of%3DObservation%26patient%3Dsofia").hides("99 kg") // the address cannot bring in another child
	p = p.b.get("/patients/ada/results").shows(200, "Heart rate", "Only the newest are shown")
	if _, marks = p.drawings(); len(marks) != 200 || len(p.body) > 150_000 {
		t.Errorf("%d values in %d bytes", len(marks), len(p.body))
	}
	if _, marks = p.follow("Show older vital signs").shows(200, "Heart rate").hides("Show older").drawings(); len(marks) != 45 {
		t.Errorf("%d older values", len(marks))
	}
}

// CDC's chart of the body mass index is not to be followed beyond the 97th
// percentile; how far a value is above the 95th says more there.
func TestHighBMI(t *testing.T) {
	w := newWorld(t)
	birth := w.clock.Now().AddDate(-12, 0, 0).Format(time.DateOnly)
	w.baby("ada", "female", birth, "")
	high, middle, low := daysOn(t, birth, 4018), daysOn(t, birth, 3653), daysOn(t, birth, 3288)
	w.measure("ada", "39156-5", high, ucum(30, "kg/m2"))
	w.measure("ada", "39156-5", middle, ucum(16.6, "kg/m2"))
	w.measure("ada", "39156-5", low, ucum(12, "kg/m2"))
	_, p := w.as("adams", "/patients/ada/growth")
	p.shows(200, "above the 97th percentile")
	if got, want := p.row(date(t, high)), date(t, high)+"|11 years|30 kg/m²|> 97||125 % of the 95th percentile"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := p.row(date(t, middle)); !strings.HasSuffix(got, "|45.8|−0.11|") {
		t.Errorf("got %q", got)
	}
	_, marks := p.drawings()
	contains(t, marks, "12 kg/m² on "+date(t, low)+": below the 1st percentile")
}
