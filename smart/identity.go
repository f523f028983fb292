package smart

// A Role is what a person acts as; one login can hold several, a session acts
// in one.
type Role string

// The roles.
const (
	Provider  Role = "provider"  // FHIRUser is a Practitioner
	Patient   Role = "patient"   // FHIRUser is a Patient
	Proxy     Role = "proxy"     // FHIRUser is one of the person's RelatedPersons
	Sponsored Role = "sponsored" // FHIRUser is a Practitioner who works for another and sees what they see
	Staff     Role = "staff"     // FHIRUser is a Practitioner
	Admin     Role = "admin"     // FHIRUser is a Practitioner
	System    Role = "system"    // a backend client; no person
)

// An Identity is who is acting, and as what.
type Identity struct {
	Login    string `json:"login,omitempty"`    // our id of the account, stable; empty for a system client
	Name     string `json:"name,omitempty"`     // as people write it
	Role     Role   `json:"role"`               //
	FHIRUser string `json:"fhirUser,omitempty"` // "Practitioner/1": the resource that stands for the person
	// Persons are all the resources that stand for this login in its role: a
	// guardian has one RelatedPerson for each child.
	Persons []string `json:"persons,omitempty"`
}
