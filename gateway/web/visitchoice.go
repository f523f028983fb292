package web

import (
	"net/url"
	"slices"
	"strings"

	"mypatients/consent"
	"mypatients/smart"
	"mypatients/smart/authserver"
)

// A visitChoice is a visit that an app can be opened for.
type visitChoice struct {
	ID string `json:"id"`
	encounter
}

// noVisit is the answer that none of the visits is meant.
const noVisit = "none"

// visitChoices lists the latest visits of a patient, as the person may see them.
func (v *visit) visitChoices(patient string) ([]visitChoice, error) {
	found, _, err := list[visitChoice](v, "Encounter", patient, "-date", 20)
	return slices.DeleteFunc(found, func(c visitChoice) bool { return c.Status == "entered-in-error" || c.Status == "cancelled" }), err
}

// justification is the role of a Consent in fhirContext: what opened the record
// to this person. It is told to apps that ask for launch/consent with this role.
func (s *site) justification() string {
	return s.Base + "/fhir/CodeSystem/launch-context-role#access-basis"
}

// related is the context that an app asked for beside patient and visit: the
// consent that opens the record of the patient to the person, if one does.
func (v *visit) related(p *authserver.Pending, scopes smart.Scopes, patient string) ([]smart.Related, error) {
	asked := slices.ContainsFunc(scopes, func(s smart.Scope) bool {
		name, query, _ := strings.Cut(s.Text, "?")
		role, err := url.ParseQuery(query)
		return name == "launch/consent" && err == nil && (query == "" || role.Get("role") == v.site.justification())
	})
	if !asked || patient == "" {
		return nil, nil
	}
	report, err := v.site.Guard.Access(v.ctx, v.caller(), patient)
	if err != nil {
		return nil, err
	}
	for _, b := range report.Bases {
		if (b.Code == consent.BasisConsent || b.Code == consent.BasisInvitation) && strings.HasPrefix(b.Source, "Consent/") {
			return []smart.Related{{Reference: b.Source, Role: v.site.justification()}}, nil
		}
	}
	return nil, nil
}
