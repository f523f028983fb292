package web

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// A filterView narrows the list of a tab to words, days and a kind. It is part of
// the address, so that a narrowed list can be reloaded and come back to.
type filterView struct {
	Kinds   []string // to choose from; none: the list has no kinds
	Reasons bool     // the list can be narrowed by reason
	People  bool     // and by who wrote, ordered or treated
	Text    string   // words of the name
	Reason  string   // words of the reason
	Who     string   // name of a provider
	From    string   // YYYY-MM-DD
	To      string   // YYYY-MM-DD, the last day
	Kind    string
}

// Narrows reports whether anything is left out.
func (f *filterView) Narrows() bool {
	return f != nil && cmp.Or(f.Text, f.Reason, f.Who, f.From, f.To, f.Kind) != ""
}

// A filterDef says by which search parameters a list is narrowed.
type filterDef struct {
	words, day  string
	reason, who string      // "": the list cannot be narrowed by it; who is a reference
	kinds       [][3]string // code, parameter, value; those of one without a parameter are chosen by the tab
}

var filters = map[string]filterDef{
	"results": {words: "code:text", day: "date", kinds: [][3]string{{"laboratory"}, {"vital-signs"}}},
	"medications": {words: "code:text", day: "authoredon", who: "requester", kinds: [][3]string{
		{"current", "status", "active,on-hold,draft"}, {"past", "status", "completed,stopped,cancelled,unknown"}}},
	"immunizations": {words: "vaccine-code:text", day: "date"},
	"visits": {words: "type:text", day: "date", reason: "reason-code:text", who: "participant", kinds: [][3]string{
		{"AMB", "class", "AMB"}, {"EMER", "class", "EMER"}, {"IMP", "class", "IMP,ACUTE,NONAC"}, {"HH", "class", "HH"}, {"VR", "class", "VR"}}},
	"notes": {words: "type:text", day: "date", who: "author"},
}

// The words of a filter are at most so long, in bytes, and those of a provider's
// name so many.
const (
	maxFilter = 100
	maxNames  = 5
)

// filter reads how the list of a tab is to be narrowed; nil: it cannot be.
func (v *visit) filter(tab string, wrong problems) *filterView {
	def, ok := filters[tab]
	if !ok {
		return nil
	}
	typed := func(field string) string {
		text := strings.TrimSpace(strings.ToValidUTF8(v.query(field), ""))
		if len(text) > maxFilter {
			wrong[field] = "long"
		}
		return text
	}
	f := &filterView{Reasons: def.reason != "", People: def.who != "", Text: typed("text"), From: v.query("from"), To: v.query("to"), Kind: v.query("kind")}
	if f.Reasons {
		f.Reason = typed("reason")
	}
	if f.People {
		f.Who = typed("who")
	}
	for _, kind := range def.kinds {
		f.Kinds = append(f.Kinds, kind[0])
	}
	if !slices.Contains(f.Kinds, f.Kind) {
		f.Kind = ""
	}
	if len(namesIn(f.Who)) > maxNames {
		wrong["who"] = "long"
	}
	for name, day := range map[string]string{"from": f.From, "to": f.To} {
		if _, err := time.Parse(time.DateOnly, day); day != "" && err != nil {
			wrong[name] = "invalid"
		}
	}
	if len(wrong) == 0 && f.From != "" && f.To != "" && f.To < f.From {
		wrong["to"] = "before"
	}
	return f
}

// params are the search parameters of the filter, names and values in turn.
func (f *filterView) params(tab string) []string {
	if f == nil {
		return nil
	}
	def := filters[tab]
	var list []string
	if f.Text != "" {
		list = append(list, def.words, searched.Replace(f.Text))
	}
	if f.Reason != "" {
		list = append(list, def.reason, searched.Replace(f.Reason))
	}
	for _, name := range namesIn(f.Who) {
		list = append(list, def.who+":Practitioner.name", searched.Replace(name))
	}
	if f.From != "" {
		list = append(list, def.day, "ge"+f.From)
	}
	if f.To != "" {
		list = append(list, def.day, "le"+f.To)
	}
	for _, kind := range def.kinds {
		if kind[0] == f.Kind && kind[1] != "" {
			list = append(list, kind[1], kind[2])
		}
	}
	return list
}

// namesIn gives the names in what was typed for a provider, each of which must be
// theirs; a title in front is left out, since the directory may not have it.
func namesIn(typed string) []string {
	return slices.DeleteFunc(strings.Fields(typed), func(name string) bool {
		return slices.Contains([]string{"dr", "dr.", "dra", "dra."}, strings.ToLower(name))
	})
}

// leavesOut reports whether the filter is for another kind than this one.
func (f *filterView) leavesOut(kind string) bool { return f != nil && f.Kind != "" && f.Kind != kind }

// searched writes what is looked for as the value of a search parameter
// (https://hl7.org/fhir/R4/search.html#escaping).
var searched = strings.NewReplacer(`\`, `\\`, `,`, `\,`, `|`, `\|`, `$`, `\$`)
