package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A story rewrites one history.
type story struct {
	subject
	birth  time.Time
	cut    time.Time // what is after it has not happened yet
	hours  int       // added to every time, so that most visits fall in the morning
	staff  *staff
	dates  dates
	office map[string]bool // the practice's people and places, as the source refers to them
	ids    map[string]bool // kept resources, as "Type/id"
}

// retell gives the resources of a history as the demo tells it.
func retell(s subject, source []map[string]any, staff *staff) ([]map[string]any, error) {
	st := &story{subject: s, staff: staff, office: map[string]bool{}, ids: map[string]bool{}}
	for _, r := range source {
		if r["resourceType"] == "Patient" {
			birth, err := time.Parse(time.DateOnly, r["birthDate"].(string))
			if err != nil {
				return nil, err
			}
			// A few days of grace: the years between may hold more leap days here than there.
			st.birth, st.cut = birth, birth.AddDate(s.years, 0, s.days-3)
		}
	}
	st.settle(source)
	st.dates = dates{birth: st.birth, cut: st.cut, hours: st.hours}
	var kept []map[string]any
	for _, t := range taken {
		for _, r := range source {
			if r["resourceType"] == t && st.dates.happened(r) && !unlikely(r, s.years) {
				kept = append(kept, r)
				st.ids[t+"/"+newID(r["id"].(string))] = true
			}
		}
	}
	renewed(kept, source, st.cut)
	for _, r := range kept {
		if err := st.rewrite(r); err != nil {
			return nil, fmt.Errorf("%s: %w", r["id"], err)
		}
	}
	return kept, st.closed(kept)
}

// settle finds the practice (where the well-child visits are) and the hour of
// most visits.
func (st *story) settle(source []map[string]any) {
	hours := map[int]int{}
	for _, r := range source {
		if r["resourceType"] != "Encounter" || !strings.Contains(text(at(r, "type", 0)), "Well child") {
			continue
		}
		if start, err := time.Parse(time.RFC3339, at(r, "period", "start").(string)); err == nil {
			hours[start.Hour()]++
		}
		for _, ref := range []any{at(r, "participant", 0, "individual", "reference"), at(r, "serviceProvider", "reference"), at(r, "location", 0, "location", "reference")} {
			if s, ok := ref.(string); ok {
				st.office[s] = true
			}
		}
	}
	best := 0
	for h, n := range hours {
		if n > hours[best] || n == hours[best] && h < best {
			best = h
		}
	}
	st.hours = 10 - best
}

// unlikely leaves out what Synthea records of everyone but no one would of a
// child, and what is left over from its own modules.
func unlikely(r map[string]any, years int) bool {
	switch name := text(r["code"]); {
	case strings.Contains(name, "Sexual orientation"), strings.Contains(name, "HIV status"), strings.Contains(name, "Abuse Status"),
		strings.Contains(name, "Housing status"), strings.Contains(name, "covered by health insurance"), strings.Contains(name, "History of Hospitalizations"):
		return true
	default:
		return years < 12 && strings.Contains(name, "Tobacco smoking")
	}
}

// renewed marks as active what was ended only by a renewal that has not
// happened yet.
func renewed(kept, source []map[string]any, cut time.Time) {
	for _, r := range kept {
		if r["resourceType"] != "MedicationRequest" || r["status"] != "stopped" {
			continue
		}
		drug, authored := text(r["medicationCodeableConcept"]), r["authoredOn"].(string)
		var next string
		for _, o := range source {
			if o["resourceType"] == "MedicationRequest" && text(o["medicationCodeableConcept"]) == drug {
				if a := o["authoredOn"].(string); a > authored && (next == "" || a < next) {
					next = a
				}
			}
		}
		if next > cut.Format(time.RFC3339) {
			r["status"] = "active"
		}
	}
}

func (st *story) rewrite(r map[string]any) error {
	r["id"] = newID(r["id"].(string))
	delete(r, "text") // speaks of Synthea
	delete(r, "identifier")
	delete(r, "careTeam")
	if r["resourceType"] == "DocumentReference" {
		r["status"] = "current"
	}
	st.dates.future(r)
	return st.walk(r)
}

// walk rewrites references, notes and dates in place.
func (st *story) walk(v any) error {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["reference"].(string); ok {
			if err := st.refer(v, ref); err != nil {
				return err
			}
		}
		for _, name := range slices.Sorted(maps.Keys(v)) { // in order: doctors are numbered as they are met
			value := v[name]
			if s, ok := value.(string); ok {
				changed, err := st.say(name, s)
				if err != nil {
					return err
				}
				v[name] = changed
				continue
			}
			if err := st.walk(value); err != nil {
				return err
			}
		}
	case []any:
		for _, e := range v {
			if err := st.walk(e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (st *story) say(name, s string) (string, error) {
	switch {
	case name == "data":
		note, err := base64.StdEncoding.DecodeString(s)
		return "@text:" + st.note(string(note)), err
	case name == "display" && strings.HasSuffix(s, "HOSPITAL"): // CarePlan.activity.detail.location
		return hospital, nil
	default:
		return st.dates.token(s)
	}
}

var (
	opening = regexp.MustCompile(`(?m)^\w+\n? is a (newborn|.+?-old) [^\n]*?(male|female)\.`)
	money   = regexp.MustCompile(`(?m)^Patient (comes from|currently has)[^\n]*\n+`)
	day     = regexp.MustCompile(`\b\d{4}-\d\d-\d\d\b`)
	leaning = regexp.MustCompile(`(?m)^ ?Patient identifies as[^\n]*\n`)
	digits  = regexp.MustCompile(`\b([A-Z][a-z]+)\d+\b`)
	smoker  = regexp.MustCompile(`# Social History\n Patient has never smoked\.\n+`)
)

// note tells a visit note of the demo's patient.
func (st *story) note(s string) string {
	s = opening.ReplaceAllString(s, st.given+" is a $1 $2.")
	s = leaning.ReplaceAllString(money.ReplaceAllString(s, ""), "")
	if st.years < 12 {
		s = smoker.ReplaceAllString(s, "")
	}
	s = digits.ReplaceAllString(s, "$1")
	s = strings.ReplaceAll(s, "is a 8 ", "is an 8 ")
	s = strings.ReplaceAll(s, "is a 11 ", "is an 11 ")
	return day.ReplaceAllStringFunc(strings.TrimSpace(s)+"\n", func(d string) string {
		t, err := st.dates.token(d)
		if err != nil {
			return d
		}
		return "{" + strings.TrimPrefix(t, "@") + "}"
	})
}

// refer makes a reference literal: Type/id of something that is in the set.
func (st *story) refer(v map[string]any, ref string) error {
	var to, display string
	switch {
	case strings.HasPrefix(ref, "Practitioner"):
		to, display = "Practitioner/"+st.pcp, ""
		if !st.office[ref] {
			to, display = st.staff.practitioner(ref)
		} else {
			display = st.staff.known[st.pcp]
		}
	case strings.HasPrefix(ref, "Organization"):
		to, display = "Organization/org-hospital", hospital
		if st.office[ref] {
			to, display = "Organization/org-"+st.subject.office, practices[st.subject.office]
		}
	case strings.HasPrefix(ref, "Location"):
		to, display = "Location/loc-hospital", hospital
		if st.office[ref] {
			to, display = "Location/loc-"+st.subject.office, practices[st.subject.office]
		}
	case strings.HasSuffix(ref, st.source):
		to = "Patient/" + st.id
	default:
		id := ref[strings.LastIndexAny(ref, ":/")+1:]
		for _, t := range taken {
			if st.ids[t+"/"+newID(id)] {
				to = t + "/" + newID(id)
			}
		}
		display, _ = v["display"].(string)
	}
	if to == "" {
		return fmt.Errorf("%s points outside the history", ref)
	}
	clear(v)
	v["reference"] = to
	if display != "" {
		v["display"] = display
	}
	return nil
}

// closed reports a reference to anything that is neither kept nor in the
// demo's own directory.
func (st *story) closed(kept []map[string]any) error {
	for _, r := range kept {
		for _, ref := range references(r) {
			typ, _, _ := strings.Cut(ref, "/")
			if !st.ids[ref] && !slices.Contains([]string{"Patient", "Practitioner", "Organization", "Location"}, typ) {
				return fmt.Errorf("%s: %s is not in the history", r["id"], ref)
			}
		}
	}
	return nil
}

func references(v any) (list []string) {
	switch v := v.(type) {
	case map[string]any:
		if s, ok := v["reference"].(string); ok {
			list = append(list, s)
		}
		for _, e := range v {
			list = append(list, references(e)...)
		}
	case []any:
		for _, e := range v {
			list = append(list, references(e)...)
		}
	}
	return list
}

// newID derives a stable id, so that the originals can be loaded beside the
// demo.
func newID(old string) string {
	h := sha256.Sum256([]byte("mypatients demo " + old))
	s := hex.EncodeToString(h[:16])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// at follows names and indexes; nil when something is missing.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func text(concept any) string {
	if s, ok := at(concept, "text").(string); ok {
		return s
	}
	s, _ := at(concept, "coding", 0, "display").(string)
	return s
}
