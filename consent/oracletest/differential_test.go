package oracletest_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/fhir"
)

// kinds are the types that a search is asked for.
var kinds = append(slices.Clone(clinical), "Patient", "RelatedPerson", "CareTeam", "Group", "Consent", "Practitioner", "PractitionerRole", "Organization", "Location", "Medication")

// TestDecisionEqualsChecker asks random worlds by every way in.
func TestDecisionEqualsChecker(t *testing.T) {
	enough := 20_000
	if long() {
		enough = 1_000_000
	}
	seed, asked, worlds, acted := seeded(t), 0, 0, map[string]int{}
	for ; asked < enough && !t.Failed(); worlds++ {
		asked += compareWorld(t, seed+uint64(worlds), acted)
	}
	t.Logf("%d decisions in %d worlds, %v", asked, worlds, acted)
}

// compareWorld makes the world of a seed and asks it at several times. It counts what
// the people in it achieved.
func compareWorld(t *testing.T, seed uint64, acted map[string]int) (asked int) {
	r := rand.New(rand.NewPCG(seed, 0))
	zone, now := someTime(t, r)
	w := makeWorld(r, zone, now)
	m := &maker{r, w, now}
	before := w.lives()
	defer func() {
		for what, n := range w.lives() {
			acted[what] += n - before[what]
		}
	}()
	callers := m.callers()
	m.emergencies(callers)
	t.Run(fmt.Sprint(seed), func(t *testing.T) {
		g := newGate(t, w, now)
		ask := func(callers []*caller) {
			for _, c := range callers {
				d := &difference{t: t, g: g, w: w, m: m, c: c, all: w.all()}
				asked += d.compare()
				if d.ref != "" {
					t.Fatalf("SEED=%d\n%s at %s: %s differs:\n%s", seed, d.who(), m.now.Format(time.RFC3339), d.ref, shrink(t, w, c, d.ref, m.now))
				}
				if t.Failed() {
					t.Fatalf("SEED=%d", seed)
				}
			}
		}
		ask(callers)
		for range 2 {
			m.change(g)
			for range 20 {
				m.act(g, callers)
			}
			ask(m.part(callers, 50))
			if at, ok := m.approach(g); ok {
				few := m.part(callers, 30)
				ask(few)
				m.now = at
				g.set(at)
				ask(few)
			}
		}
	})
	return asked
}

// part draws so many of a hundred callers.
func (m *maker) part(callers []*caller, percent int) (list []*caller) {
	for _, c := range callers {
		if m.chance(percent) {
			list = append(list, c)
		}
	}
	return list
}

// someTime is a moment of some year in some zone; many are near midnight, some
// near a change of the clocks.
func someTime(t testing.TB, r *rand.Rand) (*time.Location, time.Time) {
	zone, err := time.LoadLocation([]string{"America/New_York", "Pacific/Auckland", "UTC"}[r.IntN(3)])
	if err != nil {
		t.Fatal(err)
	}
	day := time.Date(2026, time.Month(1+r.IntN(12)), 1+r.IntN(28), 0, 0, 0, 0, zone)
	if r.IntN(4) == 0 {
		day = time.Date(2026, []time.Month{3, 4, 9, 11}[r.IntN(4)], []int{8, 5, 27, 1}[r.IntN(4)], 0, 0, 0, 0, zone)
	}
	return zone, day.Add(time.Duration(r.IntN(4)-1) * []time.Duration{time.Second, time.Hour, 7 * time.Hour}[r.IntN(3)])
}

// A difference looks for something about which a caller is told other than the
// checker says.
type difference struct {
	t   *testing.T
	g   *gate
	w   *world
	m   *maker
	c   *caller
	all []*resource
	ref string // what was found
}

func (d *difference) who() string {
	return fmt.Sprintf("%s (%s %v %s %s)", d.c.name, d.c.role, d.c.persons, scopesText(d.c.scopes), d.c.launch)
}

// compare asks for everything by a search of the system, for some types by a
// search of theirs, and for some resources by reading. It returns how many
// decisions that took.
func (d *difference) compare() (asked int) {
	who := d.g.caller(d.c)
	reads, finds := map[string]bool{}, map[string]bool{}
	for _, r := range d.all {
		reads[r.ref()], finds[r.ref()] = d.w.may(d.c, r, d.m.now)
	}
	whole := func(v url.Values) (*fhir.Page, error) { return d.g.guard.SearchSystem(d.t.Context(), who, v, false) }
	pages, err := d.g.pages(whole, "_count=1000&_type="+strings.Join(kinds, ","))
	if d.c.scopes == nil || err == nil {
		d.same("system", pages, err, finds, kinds...)
		asked += len(d.all)
	}
	for range 4 {
		kind := kinds[d.m.IntN(len(kinds))]
		pages, err := d.g.search(who, kind, fmt.Sprintf("_count=%d&_total=accurate", 1+d.m.IntN(30)))
		asked += d.same(kind, pages, err, finds, kind)
	}
	for range 6 {
		ref := d.all[d.m.IntN(len(d.all))].ref()
		if d.g.reads(who, ref) != reads[ref] {
			d.found("reads "+ref, ref)
		}
		asked++
	}
	if d.c.scopes == nil && d.ref == "" {
		d.paths(who, finds)
	}
	return asked
}

func (d *difference) found(what, ref string) {
	if d.ref == "" {
		d.ref = ref
	}
	d.t.Errorf("%s %s: differs in %s", d.who(), what, ref)
}

// same compares what pages hold with what they should of some types.
func (d *difference) same(what string, pages []*fhir.Page, err error, finds map[string]bool, kinds ...string) (asked int) {
	want, got := 0, map[string]int{}
	for _, ref := range refs(pages) {
		got[ref]++
	}
	for _, r := range d.all {
		if !slices.Contains(kinds, r.kind) {
			continue
		}
		asked++
		n := 0
		if finds[r.ref()] {
			n = 1
		}
		if n == 1 && d.w.unsettled(d.c, r, d.w.patient(d.c.launch), d.m.now) {
			n = min(got[r.ref()], 1)
		}
		if want += n; got[r.ref()] != n && (err == nil || n > 0) {
			d.found("searches "+what, r.ref())
		}
	}
	if err != nil && want > 0 {
		d.t.Errorf("%s searches %s: %v", d.who(), what, err)
	}
	if err == nil && len(pages) > 0 && len(kinds) == 1 && (pages[0].Total == nil || *pages[0].Total != want) {
		d.t.Errorf("%s searches %s: total %v, want %d", d.who(), what, pages[0].Total, want)
	}
	return asked
}
