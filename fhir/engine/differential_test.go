package engine_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

type number = json.Number

// A dice makes resources and queries at random.
type dice struct {
	*rand.Rand
	naive *naive
	size  int // resources of a type
}

func pick[T any](d *dice, list ...T) T { return list[d.IntN(len(list))] }

func (d *dice) chance(percent int) bool { return d.IntN(100) < percent }

var (
	families = []string{"Ann", "ann", "Änn", "Anna", "Anna Bell", "Bo", "BO", "Bodé", "O'Neil", "a,b", "c|d", "e$f", `g\h`}
	codes    = []token{{"urn:a", "1"}, {"urn:a", "2"}, {"urn:b", "1"}, {"", "1"}, {"", "3"}, {"urn:a|x", "2"}, {"urn:b", "p,q"}}
	dates    = []string{"2019", "2020", "2020-02", "2020-02-29", "2020-03-01", "2021-07-15", "2024", "2024-02-29"}
	times    = []string{"2020-02-29T10:00:00Z", "2020-02-29T23:30:00-05:00", "2020-03-01T00:00:00.500Z", "2024-02-29T12:00:00Z", "2020-02-29T10:00:30+02:00"}
	numbers  = []string{"0", "1", "1.0", "1.5", "2", "1000", "999.5", "1000.4", "0.001", "-5", "10", "0.5", "0.9", "1.1", "1.05"}
	uris     = []string{"http://a.org", "http://a.org/b", "http://a.org/b/c", "http://a.org/bc", "urn:x:1"}
	prefixes = []string{"", "", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"}
)

func (d *dice) id(prefix string) string { return fmt.Sprintf("%s%03d", prefix, d.IntN(d.size)) }

func (d *dice) coding() map[string]any {
	c := pick(d, codes...)
	m := map[string]any{"code": c.code}
	if c.system != "" {
		m["system"] = c.system
	}
	return m
}

func (d *dice) concept() map[string]any {
	list := []any{}
	for range 1 + d.IntN(2) {
		list = append(list, d.coding())
	}
	return map[string]any{"coding": list}
}

func (d *dice) quantity() map[string]any {
	return map[string]any{"value": number(pick(d, numbers...)), "system": "http://unitsofmeasure.org", "code": pick(d, "g", "mg", "kg", "Cel")}
}

func reference(typ, id string) map[string]any { return map[string]any{"reference": typ + "/" + id} }

func (d *dice) period() map[string]any {
	p := map[string]any{}
	if d.chance(80) {
		p["start"] = pick(d, dates[:4]...)
	}
	if len(p) == 0 || d.chance(60) {
		p["end"] = pick(d, dates[4:]...)
	}
	return p
}

// resource makes the nth resource of a type.
func (d *dice) resource(typ string, n int) map[string]any {
	m := map[string]any{"resourceType": typ}
	may := func(percent int, name string, value func() any) {
		if d.chance(percent) {
			m[name] = value()
		}
	}
	may(30, "meta", func() any { return map[string]any{"tag": []any{d.coding()}} })
	switch typ {
	case "Patient":
		m["id"] = fmt.Sprintf("p%03d", n)
		may(80, "name", func() any {
			return []any{map[string]any{"family": pick(d, families...)}, map[string]any{"family": pick(d, families...), "given": []any{pick(d, families...)}}}[:1+d.IntN(2)]
		})
		may(80, "gender", func() any { return pick(d, "male", "female", "other") })
		may(70, "active", func() any { return d.chance(50) })
		may(80, "birthDate", func() any { return pick(d, dates...) })
		may(60, "identifier", func() any {
			c := pick(d, codes...)
			i := map[string]any{"value": c.code}
			if c.system != "" {
				i["system"] = c.system
			}
			return []any{i}
		})
		may(60, "managingOrganization", func() any { return reference("Organization", d.id("o")) })
	case "Organization":
		m["id"] = fmt.Sprintf("o%03d", n)
		m["name"] = pick(d, families...)
		may(60, "partOf", func() any { return reference("Organization", d.id("o")) })
	case "Observation":
		m["id"] = fmt.Sprintf("b%03d", n)
		m["status"] = pick(d, "final", "final", "preliminary")
		m["code"] = d.concept()
		may(80, "subject", func() any { return reference("Patient", d.id("p")) })
		may(40, "effectivePeriod", func() any { return d.period() })
		if m["effectivePeriod"] == nil {
			may(70, "effectiveDateTime", func() any { return pick(d, append(dates, times...)...) })
		}
		may(70, "valueQuantity", func() any { return d.quantity() })
		may(30, "hasMember", func() any { return []any{reference("Observation", d.id("b")), reference("Observation", d.id("b"))} })
		may(40, "component", func() any {
			return []any{map[string]any{"code": d.concept(), "valueQuantity": d.quantity()}, map[string]any{"code": d.concept(), "valueQuantity": d.quantity()}}
		})
		o := &record{tree: m}
		if slices.ContainsFunc(tokensOf(o.at("code"), ""), func(c token) bool { return slices.Contains(tokensOf(o.at("component.code"), ""), c) }) {
			delete(m, "valueQuantity") // obs-7
		}
	case "RiskAssessment":
		m["id"] = fmt.Sprintf("r%03d", n)
		m["status"], m["subject"] = "final", reference("Patient", d.id("p"))
		may(80, "prediction", func() any { return []any{map[string]any{"probabilityDecimal": number(pick(d, numbers[:5]...))}} })
	case "ValueSet":
		m["id"] = fmt.Sprintf("v%03d", n)
		m["status"] = "active"
		may(80, "url", func() any { return pick(d, uris...) })
	}
	return m
}

// A query is one at random and what it means.
type query struct {
	typ    string
	values url.Values
	holds  []func(*record) bool
	order  []comparison
}

func (q query) String() string { return q.typ + "?" + q.values.Encode() }

func (d *dice) query() query {
	q := query{typ: pick(d, "Patient", "Patient", "Observation", "Observation", "Organization", "RiskAssessment", "ValueSet"), values: url.Values{}}
	for range d.IntN(4) {
		key, value, holds := d.condition(q.typ, 0)
		q.values.Add(key, value)
		q.holds = append(q.holds, holds)
	}
	d.sort(&q)
	return q
}

// escaped writes a value so that a query means it literally.
func escaped(s string) string {
	return strings.NewReplacer(`\`, `\\`, `,`, `\,`, `|`, `\|`, `$`, `\$`).Replace(s)
}

// condition makes name=value for a type, and what it means.
func (d *dice) condition(typ string, depth int) (key, value string, holds func(*record) bool) {
	if depth < 3 && d.chance(30) {
		if key, value, holds = d.join(typ, depth); key != "" {
			return key, value, holds
		}
	}
	p := pick(d, parameters[typ]...)
	if d.chance(8) {
		want := d.chance(50)
		return p.name + ":missing", strconv.FormatBool(want), func(r *record) bool { return (len(p.get(r)) == 0) == want }
	}
	modifier, value, one := p.ask(d, p)
	negated := p.kind == "token" && modifier == "" && d.chance(20)
	list := []func(*record) bool{one}
	for d.chance(20) { // alternatives
		m, more, other := p.ask(d, p)
		if m == modifier {
			value, list = value+","+more, append(list, other)
		}
	}
	holds = func(r *record) bool {
		return slices.ContainsFunc(list, func(f func(*record) bool) bool { return f(r) }) != negated
	}
	if negated {
		modifier = ":not"
	}
	return p.name + modifier, value, holds
}

// links are the references of the test: type, parameter, element, target.
var links = []struct{ typ, name, path, target string }{
	{"Patient", "organization", "managingOrganization", "Organization"},
	{"Organization", "partof", "partOf", "Organization"},
	{"Observation", "subject", "subject", "Patient"},
	{"Observation", "patient", "subject", "Patient"},
	{"Observation", "has-member", "hasMember", "Observation"},
	{"RiskAssessment", "subject", "subject", "Patient"},
}

// join makes a chain or a _has; none when the type has no such link.
func (d *dice) join(typ string, depth int) (key, value string, holds func(*record) bool) {
	l := links[d.IntN(len(links))]
	n := d.naive
	switch {
	case l.typ == typ && d.chance(50):
		inner, value, holds := d.condition(l.target, depth+1)
		name := l.name
		if name == "subject" || name == "has-member" || d.chance(30) {
			name += ":" + l.target
		}
		return name + "." + inner, value, func(r *record) bool {
			return slices.ContainsFunc(referencesOf(r.at(l.path)), func(to string) bool {
				other := n.all[to]
				return other != nil && n.sees(other) && holds(other)
			})
		}
	case l.target == typ:
		inner, value, holds := d.condition(l.typ, depth+1)
		return "_has:" + l.typ + ":" + l.name + ":" + inner, value, func(r *record) bool {
			return slices.ContainsFunc(n.types[l.typ], func(other *record) bool {
				return n.sees(other) && slices.Contains(referencesOf(other.at(l.path)), r.typ+"/"+r.id) && holds(other)
			})
		}
	}
	return "", "", nil
}

// sort makes up to three sort keys.
func (d *dice) sort(q *query) {
	var names []string
	for range d.IntN(4) {
		p := pick(d, parameters[q.typ]...)
		if p.order == nil || slices.ContainsFunc(names, func(s string) bool { return strings.TrimPrefix(s, "-") == p.name }) {
			continue
		}
		descending := d.chance(50)
		q.order = append(q.order, p.order(p, descending))
		names = append(names, map[bool]string{true: "-"}[descending]+p.name)
	}
	if len(names) > 0 {
		q.values.Set("_sort", strings.Join(names, ","))
	}
}

// A searchable is a parameter of the test.
type searchable struct {
	name, kind string
	get        func(*record) []any
	ask        func(d *dice, p searchable) (modifier, value string, holds func(*record) bool)
	order      func(p searchable, descending bool) comparison
	system     string // of a code
}

func at(paths ...string) func(*record) []any {
	return func(r *record) []any { return r.all(paths...) }
}

func text(name string, paths ...string) searchable {
	return searchable{name: name, kind: "string", get: at(paths...), ask: askText, order: func(p searchable, descending bool) comparison {
		return byKey(func(r *record) []string {
			list := strs(p.get(r))
			for i, s := range list { // then as written, where that differs
				f := folded(s)
				list[i] = f + "\x00" + map[bool]string{false: s}[f == s]
			}
			return list
		}, strings.Compare, descending)
	}}
}

func coded(name, system string, paths ...string) searchable {
	return searchable{name: name, kind: "token", system: system, get: at(paths...), ask: askToken, order: func(p searchable, descending bool) comparison {
		return byKey(func(r *record) (list []string) {
			for _, t := range tokensOf(p.get(r), "") {
				list = append(list, t.code)
			}
			return list
		}, strings.Compare, descending)
	}}
}

func dated(name string, paths ...string) searchable {
	return searchable{name: name, kind: "date", get: at(paths...), ask: askDate, order: func(p searchable, descending bool) comparison {
		return byKey(func(r *record) []stretch { return stretchesOf(p.get(r)) }, func(a, b stretch) int {
			return cmp.Or(a.from.Compare(b.from), a.to.Compare(b.to))
		}, descending)
	}}
}

func measured(name string, paths ...string) searchable {
	return searchable{name: name, kind: "quantity", get: at(paths...), ask: askQuantity, order: func(p searchable, descending bool) comparison {
		return byKey(func(r *record) (list []*big.Rat) {
			for _, v := range p.get(r) {
				x, _ := new(big.Rat).SetString(string(v.(map[string]any)["value"].(number)))
				list = append(list, x)
			}
			return list
		}, (*big.Rat).Cmp, descending)
	}}
}

func linked(name, path string) searchable {
	return searchable{name: name, kind: "reference", get: at(path), ask: func(d *dice, p searchable) (string, string, func(*record) bool) {
		i := slices.IndexFunc(links, func(l struct{ typ, name, path, target string }) bool { return l.name == name && l.path == path })
		target := links[i].target
		to := target + "/" + d.id(map[string]string{"Patient": "p", "Organization": "o", "Observation": "b"}[target])
		value := to
		if d.chance(20) {
			value = base + "/" + to
		}
		return "", value, func(r *record) bool { return slices.Contains(referencesOf(p.get(r)), to) }
	}}
}

const genders = "http://hl7.org/fhir/administrative-gender"

// parameters are those of the test, by type. Paths are written out by hand.
var parameters = map[string][]searchable{
	"Patient": {
		text("family", "name.family"), text("name", "name.family", "name.given"), text("given", "name.given"),
		coded("gender", genders, "gender"), coded("active", "", "active"), coded("identifier", "", "identifier"),
		coded("_tag", "", "meta.tag"), dated("birthdate", "birthDate"), linked("organization", "managingOrganization"),
	},
	"Organization": {text("name", "name"), linked("partof", "partOf"), coded("_tag", "", "meta.tag")},
	"Observation": {
		coded("code", "", "code"), coded("status", "http://hl7.org/fhir/observation-status", "status"), coded("component-code", "", "component.code"),
		dated("date", "effectiveDateTime", "effectivePeriod"), measured("value-quantity", "valueQuantity"), linked("subject", "subject"),
		linked("has-member", "hasMember"), {name: "component-code-value-quantity", kind: "composite", get: at("component"), ask: askComposite},
	},
	"RiskAssessment": {{name: "probability", kind: "number", get: at("prediction.probabilityDecimal"), ask: askNumber}, linked("subject", "subject")},
	"ValueSet":       {{name: "url", kind: "uri", get: at("url"), ask: askURI}, coded("_tag", "", "meta.tag")},
}

func askText(d *dice, p searchable) (string, string, func(*record) bool) {
	word := pick(d, families...)
	if d.chance(40) {
		word = string([]rune(word)[:1])
	}
	modifier := pick(d, "", "", ":exact", ":contains")
	if letters := []rune(word); modifier == ":contains" {
		from := d.IntN(len(letters))
		if word = strings.TrimSpace(string(letters[from : from+1+d.IntN(len(letters)-from)])); word == "" {
			word = "n"
		}
	}
	holds := func(s string) bool { return strings.HasPrefix(folded(s), folded(word)) }
	switch modifier {
	case ":exact":
		holds = func(s string) bool { return s == word }
	case ":contains":
		holds = func(s string) bool { return strings.Contains(folded(s), folded(word)) }
	}
	return modifier, escaped(word), func(r *record) bool { return slices.ContainsFunc(strs(p.get(r)), holds) }
}

func askToken(d *dice, p searchable) (string, string, func(*record) bool) {
	want := pick(d, codes...)
	switch {
	case p.name == "active":
		want = token{"", pick(d, "true", "false")}
	case p.name == "gender" || p.name == "status":
		want = token{p.system, pick(d, "male", "female", "final", "preliminary")}
	}
	form := d.IntN(3)
	if p.name == "active" {
		form = 0
	}
	value := escaped(want.code)
	holds := func(t token) bool { return t.code == want.code }
	switch form {
	case 1:
		value = escaped(want.system) + "|" + value
		holds = func(t token) bool { return t == want }
	case 2:
		if want.system != "" {
			value = escaped(want.system) + "|"
			holds = func(t token) bool { return t.system == want.system }
		}
	}
	return "", value, func(r *record) bool { return slices.ContainsFunc(tokensOf(p.get(r), p.system), holds) }
}

func askDate(d *dice, p searchable) (string, string, func(*record) bool) {
	prefix, value := pick(d, prefixes...), pick(d, append(dates, times...)...)
	return "", prefix + value, func(r *record) bool {
		return slices.ContainsFunc(stretchesOf(p.get(r)), func(s stretch) bool {
			return dateHolds(prefix, s, stretchOf(value), d.naive.now)
		})
	}
}

func askNumber(d *dice, p searchable) (string, string, func(*record) bool) {
	prefix, value := pick(d, prefixes...), pick(d, numbers...)
	return "", prefix + value, func(r *record) bool {
		return slices.ContainsFunc(p.get(r), func(v any) bool { return numberHolds(prefix, string(v.(number)), value, big.NewRat(1, 1)) })
	}
}

func askQuantity(d *dice, p searchable) (string, string, func(*record) bool) {
	prefix, value, unit := pick(d, prefixes...), pick(d, numbers...), pick(d, "", "g", "mg", "kg", "Cel")
	text := prefix + value
	if unit != "" {
		text += pick(d, "|http://unitsofmeasure.org|", "||") + unit
	}
	return "", text, func(r *record) bool {
		return slices.ContainsFunc(p.get(r), func(v any) bool { return quantityHolds(prefix, v.(map[string]any), value, unit) })
	}
}

func askURI(d *dice, p searchable) (string, string, func(*record) bool) {
	value, modifier := pick(d, uris...), pick(d, "", ":below", ":above")
	holds := func(s string) bool { return s == value }
	switch modifier {
	case ":below":
		holds = func(s string) bool { return s == value || strings.HasPrefix(s, value+"/") }
	case ":above":
		holds = func(s string) bool { return s == value || strings.HasPrefix(value, s+"/") }
	}
	return modifier, value, func(r *record) bool { return slices.ContainsFunc(strs(p.get(r)), holds) }
}

func askComposite(d *dice, _ searchable) (string, string, func(*record) bool) {
	want := pick(d, codes...)
	prefix, value, unit := pick(d, prefixes...), pick(d, numbers...), pick(d, "", "g", "mg")
	text := escaped(want.code) + "$" + prefix + value
	if unit != "" {
		text += "|http://unitsofmeasure.org|" + unit
	}
	return "", text, func(r *record) bool {
		return slices.ContainsFunc(r.at("component"), func(v any) bool {
			part := &record{tree: v.(map[string]any)}
			return slices.ContainsFunc(tokensOf(part.at("code"), ""), func(t token) bool { return t.code == want.code }) &&
				slices.ContainsFunc(part.at("valueQuantity"), func(v any) bool { return quantityHolds(prefix, v.(map[string]any), value, unit) })
		})
	}
}

// long reports whether tests may take their time.
func long() bool { return os.Getenv("LONG") != "" }

// seeded gives the seed of a random test: SEED, or a new one.
func seeded(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("SEED=%d", seed)
	return seed
}

// Random queries over random resources find what a plain look at the JSON finds, in
// the same order, page by page, each page with the same total.
func TestSearchAgreesWithANaiveOne(t *testing.T) {
	size, rounds := 30, 1000
	if long() {
		size, rounds = 250, 20_000
	}
	w := newWorld(t)
	d := &dice{rand.New(rand.NewPCG(seeded(t), 1)), &naive{now: w.now}, size}
	for _, typ := range []string{"Organization", "Patient", "Observation", "RiskAssessment", "ValueSet"} {
		for n := range size {
			tree := d.resource(typ, n)
			body, err := json.Marshal(tree)
			if err != nil {
				t.Fatal(err)
			}
			w.put(string(body))
			d.naive.put(&record{typ, tree["id"].(string), tree, w.now})
		}
	}
	sights := []struct {
		sees  func(*record) bool
		sight engine.Sight
	}{
		{func(*record) bool { return true }, engine.Everything},
		{func(r *record) bool { return r.typ != "Observation" || r.tree["status"] == "final" }, func(t fhir.Type) store.Expr {
			if t == "Observation" {
				return search.TokenTerm("status", "", "final")
			}
			return store.All()
		}},
	}
	found := 0
	for range rounds {
		s := sights[d.IntN(len(sights))]
		d.naive.sees = s.sees
		q := d.query()
		want := d.naive.find(q.typ, func(r *record) bool {
			return !slices.ContainsFunc(q.holds, func(holds func(*record) bool) bool { return !holds(r) })
		}, q.order)
		got := w.pages(q, 1+d.IntN(max(len(want), 5)), s.sight, len(want))
		if !slices.Equal(got, want) {
			t.Fatalf("%s\ngot  %v\nwant %v", q, got, want)
		}
		found += min(len(want), 1)
	}
	if found < rounds/5 {
		t.Errorf("only %d of %d queries found anything", found, rounds)
	}
}

// pages follows a query to its end; every page must give the same total.
func (w *world) pages(q query, count int, sight engine.Sight, total int) (ids []string) {
	w.t.Helper()
	values := url.Values{"_count": {strconv.Itoa(count)}, "_total": {"accurate"}}
	for k, v := range q.values {
		values[k] = v
	}
	for {
		parsed, err := w.Registry().Parse(fhir.Type(q.typ), values, search.Options{Base: base, Now: w.now})
		if err != nil {
			w.t.Fatalf("%s: %v", q, err)
		}
		var page *fhir.Page
		w.view(func(tx *engine.Tx) error { page, err = tx.Search(parsed, sight); return err })
		if *page.Total != total {
			w.t.Fatalf("%s: total %d, want %d", q, *page.Total, total)
		}
		if len(page.Entries) > count || len(page.Entries) < count && page.Next != "" {
			w.t.Fatalf("%s: a page of %d with _count=%d", q, len(page.Entries), count)
		}
		for _, e := range page.Entries {
			ids = append(ids, e.Resource.ID)
		}
		if page.Next == "" {
			return ids
		}
		if values, err = url.ParseQuery(page.Next); err != nil {
			w.t.Fatal(err)
		}
	}
}
