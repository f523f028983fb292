package web

import (
	"encoding/json"
	"net/http"
	"slices"

	"mypatients/consent"
)

// A patientsView is Patient Selection.
type patientsView struct {
	ByName  bool // which of the two searches is open
	Typed   typed
	Result  *selectionView // of a search; nil before
	Recent  []consent.Card
	Mine    []basisView
	Next    string // where the next page of them begins; empty on the last
	Waiting int    // requests that nobody answered yet
}

// A basisView is those of a provider's patients whom they see for one reason.
type basisView struct {
	Code  consent.BasisCode
	Cards []consent.Card
}

// byBasis sorts patients by the first reason for which each is seen, the closest
// reasons first.
func byBasis(cards []consent.Card) []basisView {
	order := []consent.BasisCode{consent.BasisPCP, consent.BasisCareTeam, consent.BasisConsent, consent.BasisInvitation, consent.BasisSponsored, consent.BasisEmergency, ""}
	groups := make([]basisView, len(order))
	for _, card := range cards {
		at := len(order) - 1
		for _, basis := range card.Bases {
			if i := slices.Index(order, basis.Code); i >= 0 {
				at = min(at, i)
			}
		}
		groups[at].Code = order[at]
		groups[at].Cards = append(groups[at].Cards, card)
	}
	return slices.DeleteFunc(groups, func(g basisView) bool { return len(g.Cards) == 0 })
}

// What a provider typed to find a patient.
type typed struct {
	MRN       string `json:",omitempty"`
	Family    string `json:",omitempty"`
	Given     string `json:",omitempty"`
	BirthDate string `json:",omitempty"`
}

// A selectionView is the answer to a search.
type selectionView struct {
	Matches  []consent.Card
	Outcomes []consent.SelectionOutcome
}

// Nothing reports that no such patient is known.
func (s selectionView) Nothing() bool { return len(s.Matches) == 0 && len(s.Outcomes) == 0 }

// selectionPage is the home of providers.
func (s *site) selectionPage(v *visit) error {
	return v.showPatients(patientsView{ByName: v.query("by") == "name"}, nil)
}

func (v *visit) showPatients(view patientsView, wrong problems) error {
	cards, next, err := v.site.Guard.MyPatients(v.ctx, v.caller(), v.query("from"))
	if err != nil {
		return err
	}
	view.Next = next
	requests, err := v.site.Guard.MyRequests(v.ctx, v.caller())
	if err != nil {
		return err
	}
	for _, r := range requests {
		if r.State == consent.StateWaiting {
			view.Waiting++
		}
	}
	view.Mine = byBasis(cards)
	if view.Recent, err = v.site.Guard.RecentPatients(v.ctx, v.caller()); err != nil {
		return err
	}
	return v.show(http.StatusOK, "patients", view, wrong)
}

// selectPatient searches, and goes straight to the record of the one patient
// that the provider may see.
func (s *site) selectPatient(v *visit) error {
	view, wrong := patientsView{}, problems{}
	view.ByName, view.Typed = v.sought(wrong)
	if len(wrong) > 0 {
		return v.showPatients(view, wrong)
	}
	found, err := s.Guard.Select(v.ctx, v.caller(), consent.Selection(view.Typed))
	if err != nil {
		return err
	}
	if len(found.Matches) == 1 && len(found.Outcomes) == 0 {
		return v.redirect("/patients/" + found.Matches[0].Patient.ID)
	}
	view.Result = &selectionView{Matches: found.Matches, Outcomes: found.Outcomes}
	v.keepSelection(view)
	return v.showPatients(view, nil)
}

// sought reads which patient is searched for: by name and date of birth, or by MRN.
func (v *visit) sought(wrong problems) (byName bool, t typed) {
	if v.form("by") == "name" {
		return true, v.typedName(wrong)
	}
	if t.MRN = v.form("mrn"); t.MRN == "" {
		wrong["mrn"] = "missing"
	}
	return false, t
}

// typedName reads the name and the date of birth that were typed.
func (v *visit) typedName(wrong problems) typed {
	t := typed{Family: v.form("family"), Given: v.form("given"), BirthDate: v.form("birthdate")}
	if t.Family == "" {
		wrong["family"] = "missing"
	}
	if t.Given == "" {
		wrong["given"] = "missing"
	}
	if date, ok := v.site.words.birthDate(t.BirthDate); ok {
		t.BirthDate = date
	} else {
		wrong["birthdate"] = "invalid"
	}
	return t
}

// A selection remembers what was typed for which handles, so that the request
// form can repeat it without putting it into an address.
type selection struct {
	Handles []string
	Typed   typed
}

func (v *visit) keepSelection(view patientsView) {
	kept := selection{Typed: view.Typed}
	for _, o := range view.Result.Outcomes {
		for _, handle := range []string{o.Handle, o.Emergency} {
			if handle != "" {
				kept.Handles = append(kept.Handles, handle)
			}
		}
	}
	b, err := json.Marshal(kept)
	if err == nil {
		v.setSession(keySelection, string(b))
	}
}

// typedFor gives what the provider typed to get a handle.
func (v *visit) typedFor(handle string) typed {
	var kept selection
	if json.Unmarshal([]byte(v.session(keySelection)), &kept) != nil || !slices.Contains(kept.Handles, handle) {
		return typed{}
	}
	return kept.Typed
}
