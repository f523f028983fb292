package demo

import "mypatients/smart"

// Password is everyone's at the demo issuer.
const Password = "demo"

// MRNSystem is the identifier system of the demo's medical record numbers.
const MRNSystem = "urn:mypatients:mrn"

// A Link says that a login stands for a resource, in a role.
type Link struct {
	Role   smart.Role
	Person string // "Practitioner/1", "RelatedPerson/2", "Patient/3"
}

// A Person is a login of the demo issuer. The username is also the subject of
// the ID tokens.
type Person struct {
	Username string
	Name     string
	Email    string
	Part     string // in the story, in a few words
	Links    []Link // what the account is linked to from the start
	NPI      string // of someone who has to register first: a number to register with
}

// People lists the demo logins.
func People() []Person {
	provider := func(id string) []Link { return []Link{{smart.Provider, "Practitioner/" + id}} }
	proxy := func(ids ...string) (links []Link) {
		for _, id := range ids {
			links = append(links, Link{smart.Proxy, "RelatedPerson/" + id})
		}
		return links
	}
	return []Person{
		{Username: "grace", Name: "Grace Rivera", Email: "grace@example.org", Part: "mother of Mateo and Sofia", Links: proxy("rp-1", "rp-2")},
		{Username: "luis", Name: "Luis Rivera", Email: "luis@example.org", Part: "father of Mateo", Links: proxy("rp-3")},
		{Username: "ava", Name: "Ava Thompson", Email: "ava@example.org", Part: "patient, 15", Links: []Link{{smart.Patient, "Patient/pt-3"}}},
		{Username: "helen", Name: "Helen Thompson", Email: "helen@example.org", Part: "mother of Ava", Links: proxy("rp-4")},
		{Username: "noah", Name: "Noah Williams", Email: "noah@example.org", Part: "patient, 18", Links: []Link{{smart.Patient, "Patient/pt-4"}}},
		{Username: "mark", Name: "Mark Williams", Email: "mark@example.org", Part: "father of Noah, who is of age", Links: proxy("rp-5")},
		{Username: "dr.adams", Name: "Dr. Emily Adams", Email: "dr.adams@example.org", Part: "primary care of Mateo and Sofia", Links: provider("pr-adams")},
		{Username: "dr.baker", Name: "Dr. James Baker", Email: "dr.baker@example.org", Part: "primary care of Ava, Noah and Lily", Links: provider("pr-baker")},
		{Username: "dr.chen", Name: "Dr. Linda Chen", Email: "dr.chen@example.org", Part: "allergist on Mateo's care team", Links: provider("pr-chen")},
		{Username: "dr.okafor", Name: "Dr. Samir Okafor", Email: "dr.okafor@example.org", Part: "cardiologist with no tie to anyone", Links: provider("pr-okafor")},
		{Username: "dr.new", Name: "Dr. Nora Newton", Email: "dr.new@example.org", Part: "provider who has not registered", NPI: "1730155060"},
		{Username: "sam", Name: "Sam Porter", Email: "sam@example.org", Part: "scheduling staff", Links: []Link{{smart.Staff, "Practitioner/pr-sam"}}},
		{Username: "ana", Name: "Ana Silva", Email: "ana@example.org", Part: "administrator", Links: []Link{{smart.Admin, "Practitioner/pr-ana"}}},
	}
}
