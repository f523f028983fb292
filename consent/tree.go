package consent

import (
	"encoding/json"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

// A node is a decoded JSON object; its methods read members and never fail: what
// is absent or of another shape is the zero value.
type node map[string]any

func (n node) str(name string) string {
	s, _ := n[name].(string)
	return s
}

func (n node) obj(name string) node {
	m, _ := n[name].(map[string]any)
	return m
}

// list gives the objects of an array member.
func (n node) list(name string) []node {
	items, _ := n[name].([]any)
	var out []node
	for _, item := range items {
		if m, ok := item.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// strs gives the strings of an array member.
func (n node) strs(name string) []string {
	items, _ := n[name].([]any)
	var out []string
	for _, item := range items {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func (n node) ref(name string) string { return n.obj(name).str("reference") }

// extension gives the extension with a URL, or nil.
func (n node) extension(url string) node {
	for _, e := range n.list("extension") {
		if e.str("url") == url {
			return e
		}
	}
	return nil
}

// hasCoding reports whether a CodeableConcept holds a coding.
func (n node) hasCoding(system, code string) bool {
	for _, c := range n.list("coding") {
		if c.str("system") == system && c.str("code") == code {
			return true
		}
	}
	return false
}

// decode reads a stored body.
func decode(r *fhir.Resource) (node, error) { return fhir.Tree(r.JSON) }

// encode writes a resource that we composed; its members sort by name.
func encode(n node) []byte {
	b, err := json.Marshal(map[string]any(n))
	if err != nil {
		panic("consent: composing a resource: " + err.Error()) // only maps, slices and strings go in
	}
	return b
}

// live gives the newest version of a resource named by a relative reference, and
// its decoded body; both are nil when it is absent, deleted, or no reference.
func live(tx *engine.Tx, ref string) (*store.Version, node, error) {
	key, err := fhir.ParseKey(ref)
	if err != nil {
		return nil, nil, nil
	}
	v, err := tx.Reader().Resource(store.Key{Type: string(key.Type), ID: key.ID})
	if err == store.ErrNotFound || err == nil && v.Deleted {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	tree, err := fhir.Tree(v.Body)
	return v, tree, err
}

func concept(system, code string) node {
	return node{"coding": []any{node{"system": system, "code": code}.any()}}
}

func reference(key string) map[string]any { return map[string]any{"reference": key} }

func (n node) any() map[string]any { return n }

// instant writes a time as a FHIR instant in a zone.
func instant(t time.Time, zone *time.Location) string {
	return t.In(zone).Format("2006-01-02T15:04:05.000Z07:00")
}

// A span of time from a FHIR date or dateTime: what a partial date covers.
func dateSpan(s string, zone *time.Location) (from, to time.Time, ok bool) {
	switch len(s) {
	case 4:
		from, err := time.ParseInLocation("2006", s, zone)
		return from, from.AddDate(1, 0, 0), err == nil
	case 7:
		from, err := time.ParseInLocation("2006-01", s, zone)
		return from, from.AddDate(0, 1, 0), err == nil
	case 10:
		from, err := time.ParseInLocation("2006-01-02", s, zone)
		return from, from.AddDate(0, 0, 1), err == nil
	}
	from, err := time.Parse(time.RFC3339Nano, s)
	return from, from, err == nil
}

// A window is a FHIR Period read in a zone: start <= t < end, where a partial
// end covers its whole day, month or year. A zero end or start is open.
type window struct {
	start, end time.Time
	bad        bool // cannot be read
}

func readPeriod(p node, zone *time.Location) window {
	var w window
	if s := p.str("start"); s != "" {
		from, _, ok := dateSpan(s, zone)
		w.start, w.bad = from, w.bad || !ok
	}
	if s := p.str("end"); s != "" {
		_, to, ok := dateSpan(s, zone)
		w.end, w.bad = to, w.bad || !ok
	}
	for _, name := range []string{"start", "end"} { // there is one, and it is not said which
		w.bad = w.bad || p["_"+name] != nil && p.str(name) == ""
	}
	w.bad = w.bad || !w.end.IsZero() && !w.end.After(w.start)
	return w
}

func (w window) holds(t time.Time) bool {
	return !w.bad && !t.Before(w.start) && (w.end.IsZero() || t.Before(w.end))
}
