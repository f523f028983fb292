package web

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mypatients/fhir"
)

// The chapters of a record: what each tab reads and shows.

type allergy struct {
	Code         codeable `json:"code"`
	Clinical     codeable `json:"clinicalStatus"`
	Verification codeable `json:"verificationStatus"`
	Criticality  string   `json:"criticality"`
	Reaction     []struct {
		Manifestation []codeable `json:"manifestation"`
	} `json:"reaction"`
}

// An alert is a Flag: what everybody who treats the patient has to know.
type alert struct {
	Status string   `json:"status"`
	Code   codeable `json:"code"`
	Period period   `json:"period"`
}

// alerts lists those that hold today. Whoever may not see them sees none.
func (v *visit) alerts(patient string) ([]alert, error) {
	all, _, err := list[alert](v, "Flag", patient, "", 50)
	if kindIs(err, fhir.NotFound, fhir.Forbidden) {
		return nil, nil
	}
	now := v.site.Now()
	return slices.DeleteFunc(all, func(a alert) bool {
		ends, precision := v.site.words.parse(a.Period.End)
		if precision == "day" {
			ends = ends.AddDate(0, 0, 1)
		}
		return a.Status != "active" || a.Code.String() == "" || precision != "" && ends.Before(now)
	}), err
}

type condition struct {
	Code         codeable `json:"code"`
	Clinical     codeable `json:"clinicalStatus"`
	Verification codeable `json:"verificationStatus"`
	Onset        string   `json:"onsetDateTime"`
	OnsetPeriod  period   `json:"onsetPeriod"`
	Abated       string   `json:"abatementDateTime"`
	Recorded     string   `json:"recordedDate"`
}

// Since is when it began, or when it was first written down.
func (c condition) Since() string { return cmp.Or(c.Onset, c.OnsetPeriod.Start, c.Recorded) }

type medicine struct {
	Status    string    `json:"status"`
	Name      codeable  `json:"medicationCodeableConcept"`
	Reference reference `json:"medicationReference"`
	Authored  string    `json:"authoredOn"`
	Requester reference `json:"requester"`
	Dosage    []struct {
		Text     string   `json:"text"`
		AsNeeded bool     `json:"asNeededBoolean"`
		Route    codeable `json:"route"`
	} `json:"dosageInstruction"`
	Reason []codeable `json:"reasonCode"`
}

// approval is the number of an American drug approval, which RxNorm puts in front
// of the names of some products.
var approval = regexp.MustCompile(`^(ANDA|NDA|BLA)[0-9]{6} `)

// Title is the name of the medicine.
func (m medicine) Title() string {
	name := cmp.Or(m.Name.String(), m.Reference.Display, m.Reference.Reference)
	return approval.ReplaceAllString(name, "")
}

type shot struct {
	Status  string   `json:"status"`
	Vaccine codeable `json:"vaccineCode"`
	When    string   `json:"occurrenceDateTime"`
	Text    string   `json:"occurrenceString"`
	Lot     string   `json:"lotNumber"`
	Place   struct {
		Display string `json:"display"`
	} `json:"location"`
}

type encounter struct {
	Status string `json:"status"`
	Class  struct {
		Code    string `json:"code"`
		Display string `json:"display"`
	} `json:"class"`
	Type        []codeable `json:"type"`
	Period      period     `json:"period"`
	Reason      []codeable `json:"reasonCode"`
	Provider    reference  `json:"serviceProvider"`
	Participant []struct {
		Individual reference `json:"individual"`
	} `json:"participant"`
}

// Title is what kind of visit it was.
func (e encounter) Title() string {
	for _, t := range e.Type {
		return t.String()
	}
	return e.Class.Display
}

// With lists who was seen.
func (e encounter) With() []string {
	var names []string
	for _, p := range e.Participant {
		if n := p.Individual.Display; n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

type document struct {
	Status  string      `json:"status"`
	Type    codeable    `json:"type"`
	Date    string      `json:"date"`
	Author  []reference `json:"author"`
	Content []struct {
		Attachment attachment `json:"attachment"`
	} `json:"content"`
}

// A note is a document with the text that can be shown of it.
type note struct {
	Title  string
	Date   string
	Author string
	Text   string
}

// itoa writes a count.
func itoa(n int) string { return strconv.Itoa(n) }

func (v *visit) summary(view *recordView) error {
	id := view.Patient.ID
	steps := []func(*recordView) error{v.conditions, v.medications, v.vitals}
	for _, step := range steps {
		if err := step(view); err != nil && !kindIs(err, fhir.NotFound, fhir.Forbidden) {
			return err
		}
	}
	var err error
	view.Visits, _, err = list[encounter](v, "Encounter", id, "-date", 5)
	return err
}

func (v *visit) conditions(view *recordView) error {
	all, _, err := list[condition](v, "Condition", view.Patient.ID, "-onset-date", 100)
	for _, c := range all {
		switch {
		case c.Verification.has("entered-in-error") || c.Verification.has("refuted"):
		case c.Clinical.has("resolved") || c.Clinical.has("inactive") || c.Clinical.has("remission") || c.Abated != "":
			view.Past = append(view.Past, c)
		default:
			view.Conditions = append(view.Conditions, c)
		}
	}
	return err
}

func (v *visit) vitals(view *recordView) error {
	all, _, err := list[observation](v, "Observation", view.Patient.ID, "-date", 60, "category", "vital-signs")
	view.Vitals = v.site.words.vitalsOf(v.site.words.seriesOf(all))
	return err
}

// maxResults bounds the results that one page shows.
const maxResults = 200

// results shows laboratory results and vital signs; a page of older ones, only
// those that it continues.
func (v *visit) results(view *recordView) error {
	of := v.continues().Get("of")
	if of != signsPage && !view.Filter.leavesOut("laboratory") {
		all, older, err := list[observation](v, "Observation", view.Patient.ID, "-date", maxResults, append(view.Filter.params("results"), "category", "laboratory")...)
		if err != nil {
			return err
		}
		view.Results, view.Older = v.site.words.seriesOf(all), older
	}
	if (of == "" || of == signsPage) && !view.Filter.leavesOut("vital-signs") {
		return v.signs(view)
	}
	return nil
}

func (v *visit) medications(view *recordView) error {
	all, older, err := list[medicine](v, "MedicationRequest", view.Patient.ID, "-authoredon", 100, view.Filter.params("medications")...)
	for _, m := range all {
		switch m.Status {
		case "entered-in-error":
		case "active", "on-hold", "draft":
			view.Medicines = append(view.Medicines, m)
		default:
			view.Stopped = append(view.Stopped, m)
		}
	}
	view.Older = older
	return err
}

func (v *visit) immunizations(view *recordView) error {
	all, older, err := list[shot](v, "Immunization", view.Patient.ID, "-date", 100, view.Filter.params("immunizations")...)
	view.Shots = slices.DeleteFunc(all, func(s shot) bool { return s.Status == "entered-in-error" })
	view.Older = older
	return err
}

func (v *visit) visits(view *recordView) error {
	all, older, err := list[encounter](v, "Encounter", view.Patient.ID, "-date", 50, view.Filter.params("visits")...)
	view.Visits = slices.DeleteFunc(all, func(e encounter) bool { return e.Status == "entered-in-error" })
	view.Older = older
	return err
}

// maxNote is how much of one note is shown, in bytes.
const maxNote = 20_000

func (v *visit) notes(view *recordView) error {
	all, older, err := list[document](v, "DocumentReference", view.Patient.ID, "-date", 20, view.Filter.params("notes")...)
	for _, d := range all {
		if d.Status == "entered-in-error" {
			continue
		}
		n := note{Title: d.Type.String(), Date: d.Date}
		for _, a := range d.Author {
			n.Author = cmp.Or(n.Author, a.Display)
		}
		for _, c := range d.Content {
			n.Text = cmp.Or(n.Text, c.Attachment.text())
		}
		if len(n.Text) > maxNote {
			n.Text = strings.ToValidUTF8(n.Text[:maxNote], "") + " …"
		}
		view.Notes = append(view.Notes, n)
	}
	view.Older = older
	return err
}

func (v *visit) team(view *recordView) error {
	var err error
	view.Team, err = v.careTeam(view.Patient.ID)
	return err
}

// everything fills the page for printing; a chapter that the person may not see
// is left out.
func (v *visit) everything(view *recordView) error {
	view.Print = true
	steps := []func(*recordView) error{v.summary, v.results, v.immunizations, v.visits, v.team}
	if v.site.words.grows(view.Patient.BirthDate) {
		steps = append(steps, v.growth)
	}
	for _, step := range steps {
		if err := step(view); err != nil && !kindIs(err, fhir.NotFound, fhir.Forbidden) {
			return err
		}
	}
	view.Older, view.OlderSigns = "", ""
	return nil
}
