package web

import (
	"net/http"
	"slices"

	"mypatients/consent"
	"mypatients/consent/quorum"
)

// A privateView explains to a teenager what their guardians see, and to a guardian
// what they do not see. It says what is so for everybody of that age: nothing of it
// comes from the record.
type privateView struct {
	about
	consent.AgeRules
	Kinds  []string // of information that is hidden; codes of the template hiddenkind
	Decide string   // who lets others in: guardian, either, both
}

func (s *site) privatePage(v *visit) error {
	who, err := v.about()
	if err != nil {
		return err
	}
	rules, err := s.Guard.AgeRules(v.ctx, v.caller(), who.Patient.Patient.ID)
	if err != nil {
		return err
	}
	view := privateView{about: who, AgeRules: *rules, Kinds: hiddenKinds(rules.Hidden), Decide: "guardian"}
	switch rules.Approval {
	case quorum.Either:
		view.Decide = "either"
	case quorum.Both:
		view.Decide = "both"
	}
	return v.show(http.StatusOK, "private", view, nil)
}

// hiddenKinds says of sensitivities, codes of v3-ActCode, in which kinds people think
// of them. What has no words of its own comes last, as other information.
func hiddenKinds(codes []string) []string {
	var kinds []string
	other := false
	for _, k := range []struct {
		kind  string
		codes []string
	}{
		{"sexual", []string{"SEX", "GENDER"}}, {"infections", []string{"STD"}}, {"hiv", []string{"HIV"}}, {"mental", []string{"PSY", "MH", "BH", "PSYTHPN", "EMOTDIS"}},
		{"drugs", []string{"SUD", "ETH", "ETHUD", "OPIOIDUD"}}, {"violence", []string{"SDV", "DVD", "MST"}},
	} {
		if slices.ContainsFunc(k.codes, func(code string) bool { return slices.Contains(codes, code) }) {
			kinds = append(kinds, k.kind)
		}
		codes = slices.DeleteFunc(slices.Clone(codes), func(code string) bool { return slices.Contains(k.codes, code) })
	}
	for _, code := range codes {
		if code == "ADOL" {
			kinds = append(kinds, "teen")
		} else {
			other = true
		}
	}
	if other {
		kinds = append(kinds, "other")
	}
	return kinds
}
