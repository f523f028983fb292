package web

import (
	"net/http"

	"mypatients/consent"
)

// A teamSureView is a change to a care team on a caller's word, to be read back to
// the caller before it is made.
type teamSureView struct {
	Patient  consent.Card
	Word     consent.CallersWord
	Provider string // the name
	Chosen   string // the id
	Query    string
	Remove   bool
}

// askTeam shows what is to be read back.
func (v *visit) askTeam(card consent.Card, view staffPatientView, name string, remove bool) error {
	return v.show(http.StatusOK, "teamsure", teamSureView{card, view.Word, name, view.Chosen, view.Query, remove}, nil)
}
