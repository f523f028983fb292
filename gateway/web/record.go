package web

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// A recordView is a patient's record, open at one tab.
type recordView struct {
	Patient    patientView
	Alerts     []alert
	Allergies  []allergy
	NoAllergy  bool // somebody asked, and there are none
	Report     *consent.AccessReport
	Tab        string
	Tabs       []tabView
	Hidden     bool        // the tab's information is not part of what the caller may see
	Filter     *filterView // nil: the tab has no list to narrow
	Older      string
	OlderSigns string
	Conditions []condition
	Past       []condition
	Vitals     []series
	Results    []series
	Signs      []series // vital signs
	Growth     *growthView
	Medicines  []medicine
	Stopped    []medicine
	Shots      []shot
	Visits     []encounter
	Notes      []note
	Team       []member
	Print      bool
	Launches   bool // apps can be opened: the caller is a provider
}

type tabView struct {
	Code    string
	Current bool
}

// A patientView is who the record is about.
type patientView struct {
	ID        string
	Name      string
	BirthDate string
	Gender    string
	BirthSex  string // M, F; "" when it is not recorded
	MRN       string
	Died      bool
}

// Singles are the tests without a trend to draw.
func (r *recordView) Singles() []series {
	return slices.DeleteFunc(slices.Clone(r.Results), func(s series) bool { return s.Chart != nil })
}

// Charted reports whether the results have drawings.
func (r *recordView) Charted() bool {
	drawn := func(s series) bool { return s.Chart != nil }
	return slices.ContainsFunc(r.Results, drawn) || slices.ContainsFunc(r.Signs, drawn)
}

// growthSex is the sex whose growth charts fit: that of the birth, if it is
// recorded.
func (p patientView) growthSex() string {
	switch p.BirthSex {
	case "M":
		return "male"
	case "F":
		return "female"
	}
	return p.Gender
}

// tabs lists the tabs in their order; growth is for those who still grow.
func (w words) tabs(current, birthDate string) []tabView {
	var list []tabView
	for _, code := range []string{"summary", "results", "growth", "medications", "immunizations", "visits", "notes", "care-team"} {
		if code == "growth" && !w.grows(birthDate) {
			continue
		}
		list = append(list, tabView{code, code == current})
	}
	return list
}

// grows reports whether somebody is below twenty, as far as one can tell.
func (w words) grows(birthDate string) bool {
	age := w.age(birthDate)
	return age.Unit != "year" || age.N < 20
}

// recordPage shows a record. A record that the person may not see and one that
// does not exist give the same page.
func (s *site) recordPage(v *visit) error {
	id := v.param("id")
	tab := cmp.Or(v.param("tab"), "summary")
	if !fhir.ValidID(id) {
		return fhir.ErrNotFound()
	}
	view, err := v.recordHead(id, tab)
	if err != nil {
		return err
	}
	fill := map[string]func(*recordView) error{
		"summary": v.summary, "results": v.results, "growth": v.growth, "medications": v.medications, "immunizations": v.immunizations,
		"visits": v.visits, "notes": v.notes, "care-team": v.team, "print": v.everything,
	}[tab]
	if fill == nil {
		return errNotHere
	}
	wrong := problems{}
	if view.Filter = v.filter(tab, wrong); len(wrong) > 0 { // nothing is searched for in vain
		return v.show(http.StatusOK, "record", view, wrong)
	}
	if err := fill(view); kindIs(err, fhir.NotFound, fhir.Forbidden) {
		view.Hidden = true
	} else if err != nil {
		return err
	}
	if err := s.Guard.Opened(v.ctx, v.caller(), id); err != nil {
		return err
	}
	if view.Print {
		return v.show(http.StatusOK, "print", view, nil)
	}
	return v.show(http.StatusOK, "record", view, nil)
}

// recordHead reads what stands beside every tab.
func (v *visit) recordHead(id, tab string) (*recordView, error) {
	r, err := v.site.Guard.Read(v.ctx, v.caller(), fhir.Key{Type: "Patient", ID: id})
	if err != nil {
		return nil, err
	}
	patient, err := patientOf(r)
	if err != nil {
		return nil, err
	}
	view := &recordView{Patient: patient, Tab: tab, Tabs: v.site.words.tabs(tab, patient.BirthDate), Launches: v.who.role == smart.Provider}
	if view.Report, err = v.site.Guard.Access(v.ctx, v.caller(), id); err != nil {
		return nil, err
	}
	if view.Alerts, err = v.alerts(id); err != nil {
		return nil, err
	}
	all, _, err := list[allergy](v, "AllergyIntolerance", id, "", 50)
	if err != nil && !kindIs(err, fhir.NotFound, fhir.Forbidden) {
		return nil, err
	}
	for _, a := range all {
		switch {
		case a.Verification.has("entered-in-error") || a.Verification.has("refuted") || a.Clinical.has("inactive") || a.Clinical.has("resolved"):
		case a.Code.has("716186003"): // SNOMED CT: no known allergy
			view.NoAllergy = true
		default:
			view.Allergies = append(view.Allergies, a)
		}
	}
	return view, nil
}

func patientOf(r *fhir.Resource) (patientView, error) {
	var p struct {
		Name      []humanName `json:"name"`
		BirthDate string      `json:"birthDate"`
		Gender    string      `json:"gender"`
		Extension []struct {
			URL  string `json:"url"`
			Code string `json:"valueCode"`
		} `json:"extension"`
		Died       json.RawMessage `json:"deceasedDateTime"`
		Dead       bool            `json:"deceasedBoolean"`
		Identifier []struct {
			Type  codeable `json:"type"`
			Value string   `json:"value"`
		} `json:"identifier"`
	}
	if err := json.Unmarshal(r.JSON, &p); err != nil {
		return patientView{}, err
	}
	view := patientView{ID: r.ID, Name: nameOf(p.Name), BirthDate: p.BirthDate, Gender: p.Gender, Died: p.Dead || p.Died != nil}
	for _, e := range p.Extension {
		if e.URL == "http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex" {
			view.BirthSex = e.Code
		}
	}
	for _, i := range p.Identifier {
		if i.Type.has("MR") {
			view.MRN = i.Value
			break
		}
	}
	return view, nil
}

// list searches resources of one patient; sort is the _sort parameter. older is
// the parameter "after" of the next page, "" on the last.
func list[T any](v *visit, t fhir.Type, patient, sort string, count int, more ...string) (items []T, older string, err error) {
	q := url.Values{"patient": {patient}, "_count": {itoa(count)}}
	if sort != "" {
		q.Set("_sort", sort)
	}
	for i := 0; i+1 < len(more); i += 2 {
		q.Add(more[i], more[i+1])
	}
	of := string(t)
	if category := q.Get("category"); category != "" { // there are several lists of these on a page
		of += "-" + category
	}
	if after := v.continues(); after.Get("of") == of { // nothing else of an address that anyone can write
		q.Set("_cursor", after.Get("_cursor"))
	}
	page, err := v.site.Guard.Search(v.ctx, v.caller(), t, q, false)
	if err != nil {
		return nil, "", err
	}
	if page.Next != "" {
		next, err := url.ParseQuery(page.Next)
		if err != nil {
			return nil, "", err
		}
		older = url.Values{"of": {of}, "_cursor": {next.Get("_cursor")}}.Encode()
	}
	return decode[T](page), older, nil
}

// continues says which list the address asks for more of, and from where; it is
// empty for none.
func (v *visit) continues() url.Values {
	if v.param("tab") == "print" {
		return nil
	}
	after, err := url.ParseQuery(v.query("after"))
	if err != nil {
		return nil
	}
	return after
}

// An openView lets a provider open an app for a patient.
type openView struct {
	Patient patientView
	Apps    []smart.Client
}

func (s *site) openPage(v *visit) error {
	r, err := s.Guard.Read(v.ctx, v.caller(), fhir.Key{Type: "Patient", ID: v.param("id")})
	if err != nil {
		return err
	}
	view := openView{}
	if view.Patient, err = patientOf(r); err != nil {
		return err
	}
	if view.Apps, err = v.launchable(); err != nil {
		return err
	}
	v.reply.leadsAway = true
	return v.show(http.StatusOK, "open", view, nil)
}

// launchable lists the apps that can be opened from a record.
func (v *visit) launchable() ([]smart.Client, error) {
	clients, err := v.site.Server.Clients(v.ctx)
	if err != nil {
		return nil, err
	}
	clients = slices.DeleteFunc(clients, func(c smart.Client) bool { return c.LaunchURI == "" })
	slices.SortFunc(clients, func(a, b smart.Client) int { return strings.Compare(a.Name, b.Name) })
	return clients, nil
}

// open launches an app in the context of a record
// (https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#launch-app-ehr-launch).
func (s *site) open(v *visit) error {
	id := v.param("id")
	if _, err := s.Guard.Read(v.ctx, v.caller(), fhir.Key{Type: "Patient", ID: id}); err != nil {
		return err
	}
	clients, err := v.launchable()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(clients, func(c smart.Client) bool { return c.ID == v.form("app") })
	if i < 0 {
		return errNotHere
	}
	target, err := url.Parse(clients[i].LaunchURI)
	if err != nil || target.Scheme != "https" && target.Scheme != "http" {
		return errNotHere
	}
	handle, _, err := s.Server.Launch(v.ctx, smart.Launch{ClientID: clients[i].ID, Identity: v.who.identity, Context: smart.Context{Patient: id}})
	if err != nil {
		return err
	}
	q := target.Query()
	q.Set("iss", s.Base+"/fhir")
	q.Set("launch", handle)
	target.RawQuery = q.Encode()
	return v.redirect(target.String())
}
