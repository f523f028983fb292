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
	Kinds []string // to choose from; none: the list has no kinds
	Text  string
	From  string // YYYY-MM-DD
	To    string // YYYY-MM-DD, the last day
	Kind  string
}

// Narrows reports whether anything is left out.
func (f *filterView) Narrows() bool { return f != nil && cmp.Or(f.Text, f.From, f.To, f.Kind) != "" }

// A filterDef says by which search parameters a list is narrowed.
type filterDef struct {
	words, day string
	kinds      [][3]string // code, parameter, value; those of one without a parameter are chosen by the tab
}

var filters = map[string]filterDef{
	"results": {"code:text", "date", [][3]string{{"laboratory"}, {"vital-signs"}}},
	"medications": {"code:text", "authoredon", [][3]string{
		{"current", "status", "active,on-hold,draft"}, {"past", "status", "completed,stopped,cancelled,unknown"}}},
	"immunizations": {"vaccine-code:text", "date", nil},
	"visits": {"type:text", "date", [][3]string{
		{"AMB", "class", "AMB"}, {"EMER", "class", "EMER"}, {"IMP", "class", "IMP,ACUTE,NONAC"}, {"HH", "class", "HH"}, {"VR", "class", "VR"}}},
	"notes": {"type:text", "date", nil},
}

// maxFilter is the length in bytes of the words of a filter.
const maxFilter = 100

// filter reads how the list of a tab is to be narrowed; nil: it cannot be.
func (v *visit) filter(tab string, wrong problems) *filterView {
	def, ok := filters[tab]
	if !ok {
		return nil
	}
	f := &filterView{Text: strings.ToValidUTF8(v.query("text"), ""), From: v.query("from"), To: v.query("to"), Kind: v.query("kind")}
	for _, kind := range def.kinds {
		f.Kinds = append(f.Kinds, kind[0])
	}
	if !slices.Contains(f.Kinds, f.Kind) {
		f.Kind = ""
	}
	if len(f.Text) > maxFilter {
		wrong["text"] = "long"
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

// leavesOut reports whether the filter is for another kind than this one.
func (f *filterView) leavesOut(kind string) bool { return f != nil && f.Kind != "" && f.Kind != kind }

// searched writes what is looked for as the value of a search parameter
// (https://hl7.org/fhir/R4/search.html#escaping).
var searched = strings.NewReplacer(`\`, `\\`, `,`, `\,`, `|`, `\|`, `$`, `\$`)
