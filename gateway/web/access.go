package web

import (
	"net/http"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// An about names the patient that a family page is about.
type about struct {
	Patient consent.Card
	Self    bool // the person is the patient
}

// about finds one of the person's own patients, or says that there is no such page.
func (v *visit) about() (about, error) {
	id := v.param("id")
	if !fhir.ValidID(id) {
		return about{}, fhir.ErrNotFound()
	}
	card, err := v.card(id)
	if err != nil {
		return about{}, err
	}
	return about{Patient: *card, Self: v.who.role == smart.Patient}, nil
}

// An accessView lists who can see a record, in groups.
type accessView struct {
	about
	Groups []accessGroup
}

type accessGroup struct {
	Code    consent.BasisCode
	Entries []consent.AccessEntry
}

func (s *site) accessPage(v *visit) error {
	who, err := v.about()
	if err != nil {
		return err
	}
	entries, err := s.Guard.WhoCanSee(v.ctx, v.caller(), who.Patient.Patient.ID)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "access", accessView{about: who, Groups: grouped(entries)}, nil)
}

// grouped sorts entries into the groups of the page, in its order.
func grouped(entries []consent.AccessEntry) []accessGroup {
	order := []consent.BasisCode{consent.BasisPCP, consent.BasisCareTeam, consent.BasisConsent, consent.BasisInvitation, consent.BasisProxy}
	var groups []accessGroup
	for _, code := range order {
		g := accessGroup{Code: code}
		for _, e := range entries {
			if e.Group == code {
				g.Entries = append(g.Entries, e)
			}
		}
		if len(g.Entries) > 0 {
			groups = append(groups, g)
		}
	}
	return groups
}

// A stopView asks once before an access is stopped.
type stopView struct {
	about
	Entry consent.AccessEntry
}

// entry finds the access that a page is about, by the id of its consent.
func (v *visit) entry() (stopView, error) {
	who, err := v.about()
	if err != nil {
		return stopView{}, err
	}
	entries, err := v.site.Guard.WhoCanSee(v.ctx, v.caller(), who.Patient.Patient.ID)
	if err != nil {
		return stopView{}, err
	}
	for _, e := range entries {
		if e.ConsentID != "" && e.ConsentID == v.param("consent") {
			return stopView{about: who, Entry: e}, nil
		}
	}
	return stopView{}, fhir.ErrNotFound()
}

func (s *site) stopPage(v *visit) error {
	view, err := v.entry()
	if kindIs(err, fhir.NotFound) {
		return v.redirect("/patient/" + v.param("id") + "/access") // stopped already
	}
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "stop", view, nil)
}

func (s *site) stop(v *visit) error {
	view, err := v.entry()
	if err != nil {
		return err
	}
	_, err = s.Guard.Revoke(v.ctx, v.caller(), view.Entry.ConsentID, "", nil)
	if err != nil && !kindIs(err, fhir.Conflict, fhir.Precondition, fhir.Unprocessable) {
		return err
	}
	at := "/patient/" + view.Patient.Patient.ID + "/access"
	said := flash{Code: "stopped", Name: view.Entry.Provider.Name}
	if err == nil {
		said.Undo, said.At, said.Ends = view.Entry.ConsentID, at, s.Now().Add(consent.UndoTime)
	}
	v.flash(said)
	return v.redirect(at)
}

// undoStop gives back an access that the person has just stopped. What they come too
// late for, or somebody else stopped, stays as it is.
func (s *site) undoStop(v *visit) error {
	if _, err := v.about(); err != nil {
		return err
	}
	id := v.form("undo")
	if !fhir.ValidID(id) {
		return fhir.ErrNotFound()
	}
	restored, err := s.Guard.UndoRevoke(v.ctx, v.caller(), id)
	switch {
	case kindIs(err, fhir.Unprocessable, fhir.Conflict):
		v.flash(flash{Code: "undo-late"})
	case err != nil:
		return err
	default:
		v.flash(v.restored(restored.ID))
	}
	return v.redirect(v.request.URL.Path)
}

// restored says of an access who has it again, and until when.
func (v *visit) restored(id string) flash {
	said := flash{Code: "restored"}
	entries, err := v.site.Guard.WhoCanSee(v.ctx, v.caller(), v.param("id"))
	for _, e := range entries {
		if err == nil && e.ConsentID == id {
			said.Name, said.Until = e.Provider.Name, e.Until
		}
	}
	return said
}
