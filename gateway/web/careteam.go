package web

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	"mypatients/consent"
	"mypatients/fhir"
)

// A member is somebody on a care team.
type member struct {
	Key  fhir.Key // of the Practitioner or other; zero when it is not one of ours
	Name string
	Role string

	Provider consent.ProviderView // as the directory knows them; zero when it does not
}

// A careTeamView is the care team of a patient, with the search for more.
type careTeamView struct {
	about
	Team  []consent.AccessEntry
	Query string
	Found []consent.ProviderView
}

// A memberView asks once before somebody is taken off a care team.
type memberView struct {
	about
	Entry consent.AccessEntry
}

func (s *site) careTeamPage(v *visit) error {
	return v.showCareTeam(v.query("q"), nil)
}

func (v *visit) showCareTeam(query string, wrong problems) error {
	who, err := v.about()
	if err != nil {
		return err
	}
	view := careTeamView{about: who, Query: query}
	if view.Team, err = v.teamEntries(who.Patient.Patient.ID); err != nil {
		return err
	}
	if query != "" {
		if view.Found, err = v.directory(query, view.Team); err != nil {
			return err
		}
	}
	return v.show(http.StatusOK, "careteam", view, wrong)
}

// teamEntries lists who can see a record by being on the care team.
func (v *visit) teamEntries(patient string) ([]consent.AccessEntry, error) {
	entries, err := v.site.Guard.WhoCanSee(v.ctx, v.caller(), patient)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(entries, func(e consent.AccessEntry) bool { return e.Group != consent.BasisCareTeam }), nil
}

// directory searches providers, without those who are on the team already.
func (v *visit) directory(query string, team []consent.AccessEntry) ([]consent.ProviderView, error) {
	found, err := v.site.Guard.Directory(v.ctx, v.caller(), query)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(p consent.ProviderView) bool {
		return slices.ContainsFunc(team, func(e consent.AccessEntry) bool { return e.Provider.Key == p.Key })
	}), nil
}

// addMember adds somebody to a care team, or puts back who was just taken off.
func (s *site) addMember(v *visit) error {
	who, err := v.about()
	if err != nil {
		return err
	}
	if undo := v.form("undo"); undo != "" {
		return v.undoRemoval(who.Patient.Patient.ID, undo)
	}
	key, err := practitioner(v.form("provider"))
	if err != nil {
		return v.showCareTeam(v.form("q"), problems{"provider": "missing"})
	}
	err = s.Guard.AddToCareTeam(v.ctx, v.caller(), who.Patient.Patient.ID, key, nil)
	if kindIs(err, fhir.Forbidden) && !unproven(err) {
		return v.showCareTeam(v.form("q"), problems{"provider": "others"})
	}
	if err != nil {
		return err
	}
	team, err := v.teamEntries(who.Patient.Patient.ID)
	if err != nil {
		return err
	}
	v.flash(flash{Code: "added", Name: nameIn(team, key)})
	return v.redirect(v.request.URL.Path)
}

func nameIn(team []consent.AccessEntry, key fhir.Key) string {
	for _, e := range team {
		if e.Provider.Key == key {
			return e.Provider.Name
		}
	}
	return ""
}

// practitioner reads the key of a provider: "Practitioner/1" or its id alone.
func practitioner(s string) (fhir.Key, error) {
	if fhir.ValidID(s) {
		return fhir.Key{Type: "Practitioner", ID: s}, nil
	}
	key, err := fhir.ParseKey(s)
	if err != nil || key.Type != "Practitioner" {
		return fhir.Key{}, fhir.Errorf(fhir.Invalid, "No provider was chosen.")
	}
	return key, nil
}

func (v *visit) memberEntry() (memberView, error) {
	who, err := v.about()
	if err != nil {
		return memberView{}, err
	}
	team, err := v.teamEntries(who.Patient.Patient.ID)
	if err != nil {
		return memberView{}, err
	}
	for _, e := range team {
		if e.Provider.Key.ID == v.param("member") {
			return memberView{about: who, Entry: e}, nil
		}
	}
	return memberView{}, fhir.ErrNotFound()
}

func (s *site) memberPage(v *visit) error {
	view, err := v.memberEntry()
	if kindIs(err, fhir.NotFound) {
		return v.redirect("/patient/" + v.param("id") + "/care-team")
	}
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "member", view, nil)
}

func (s *site) removeMember(v *visit) error {
	view, err := v.memberEntry()
	if err != nil {
		return err
	}
	id := view.Patient.Patient.ID
	if err := s.Guard.RemoveFromCareTeam(v.ctx, v.caller(), id, view.Entry.Provider.Key, nil); err != nil {
		return err
	}
	at := "/patient/" + id + "/care-team"
	v.flash(flash{Code: "removed", Name: view.Entry.Provider.Name, Undo: view.Entry.Provider.Key.ID, At: at, Ends: s.Now().Add(consent.UndoTime)})
	return v.redirect(at)
}

// undoRemoval puts somebody back on the care team as they were on it.
func (v *visit) undoRemoval(patient, member string) error {
	key, err := practitioner(member)
	if err != nil {
		return err
	}
	err = v.site.Guard.UndoRemoval(v.ctx, v.caller(), patient, key)
	if kindIs(err, fhir.Unprocessable, fhir.Conflict) {
		v.flash(flash{Code: "undo-late"})
		return v.redirect(v.request.URL.Path)
	}
	if err != nil {
		return err
	}
	team, err := v.teamEntries(patient)
	if err != nil {
		return err
	}
	v.flash(flash{Code: "back", Name: nameIn(team, key)})
	return v.redirect(v.request.URL.Path)
}

// careTeam reads the members of a patient's care teams, for those who see the
// record and for staff.
func (v *visit) careTeam(patient string) ([]member, error) {
	page, err := v.site.Guard.Search(v.ctx, v.caller(), "CareTeam", url.Values{"patient": {patient}, "status": {"active"}, "_count": {"50"}}, false)
	if err != nil {
		return nil, err
	}
	type team struct {
		Participant []struct {
			Role   []codeable `json:"role"`
			Member reference  `json:"member"`
			Period period     `json:"period"`
		} `json:"participant"`
	}
	now := v.site.Now()
	var members []member
	for _, t := range decode[team](page) {
		for _, p := range t.Participant {
			if end, precision := v.site.words.parse(p.Period.End); precision == "time" && !end.After(now) ||
				precision == "day" && !end.AddDate(0, 0, 1).After(now) {
				continue
			}
			key, _ := fhir.ParseKey(p.Member.Reference)
			if key.Type == "Patient" || slices.ContainsFunc(members, func(m member) bool { return !key.IsZero() && m.Key == key }) {
				continue
			}
			m := member{Key: key, Name: cmp.Or(p.Member.Display, v.practitionerName(key))}
			for _, r := range p.Role {
				m.Role = cmp.Or(m.Role, r.String())
			}
			if key.Type == "Practitioner" && m.Name != "" {
				if m.Provider, err = v.provider(key, cmp.Or(v.practitionerName(key), m.Name)); err != nil && !kindIs(err, fhir.NotFound, fhir.Forbidden, fhir.Invalid) {
					return nil, err
				}
			}
			members = append(members, m)
		}
	}
	return members, nil
}

// practitionerName reads the directory for the name behind a reference.
func (v *visit) practitionerName(key fhir.Key) string {
	if key.Type != "Practitioner" {
		return ""
	}
	r, err := v.site.Guard.Read(v.ctx, v.caller(), key)
	if err != nil {
		return ""
	}
	var p struct {
		Name []humanName `json:"name"`
	}
	if json.Unmarshal(r.JSON, &p) != nil {
		return ""
	}
	return nameOf(p.Name)
}
