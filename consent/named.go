package consent

import (
	"slices"

	"mypatients/consent/emergency"
	"mypatients/consent/sponsor"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// maxRunning is how many emergency accesses to one patient are looked at.
const maxRunning = 1000

// A candidate is somebody whom something of a patient's names, so that they may have a
// basis. Whether they do is for decide to say.
type candidate struct {
	smart.Identity
	grant string // with which an emergency access to the patient was begun that runs
}

// A naming gathers the people whom a patient's resources name. It is the other
// direction of a panel: it lists too many rather than too few.
type naming struct {
	g       *Guard
	tx      *engine.Tx
	orgs    bool            // an organisation on a care team stands for its people
	seen    map[string]bool // references that were followed
	doctors []string        // Practitioners, in the order in which they were met
}

// namedBy lists those who may have a basis on a patient; teamOrgs tells whether
// organisations on care teams count.
func (g *Guard) namedBy(tx *engine.Tx, patient *store.Version, teamOrgs bool) ([]candidate, error) {
	n := &naming{g: g, tx: tx, orgs: teamOrgs, seen: map[string]bool{}}
	self := patient.Key.String()
	people := []candidate{{Identity: identityOf(smart.Patient, self)}}
	related, err := findAll(tx, "RelatedPerson", ownedBy(self))
	if err != nil {
		return nil, err
	}
	for _, v := range related {
		people = append(people, candidate{Identity: identityOf(smart.Proxy, v.Key.String())})
	}
	if err := n.record(patient); err != nil {
		return nil, err
	}
	running, err := emergency.On(tx.Reader(), self, maxRunning)
	if err != nil {
		return nil, err
	}
	running = slices.DeleteFunc(running, func(s *emergency.Session) bool { return s.Over(tx.Now()) })
	for _, s := range running {
		id := identityOf(smart.Provider, s.Person)
		id.Login = s.Login
		people = append(people, candidate{id, s.Grant})
	}
	helpers := map[string]bool{}
	for _, doctor := range n.doctors {
		if !slices.ContainsFunc(running, func(s *emergency.Session) bool { return s.Person == doctor }) {
			people = append(people, candidate{Identity: identityOf(smart.Provider, doctor)})
		}
		all, err := sponsor.By(tx.Reader(), doctor, 100*maxSponsored)
		if err != nil {
			return nil, err
		}
		for _, s := range all {
			if s.Awake(tx.Now()) && !helpers[s.Person] {
				helpers[s.Person] = true
				people = append(people, candidate{Identity: identityOf(smart.Sponsored, s.Person)})
			}
		}
	}
	return people, nil
}

func identityOf(role smart.Role, person string) smart.Identity {
	return smart.Identity{Role: role, FHIRUser: person, Persons: []string{person}}
}

// record follows what a patient, their care teams and their consents name.
func (n *naming) record(patient *store.Version) error {
	if err := n.values(patient, panelTerms["Patient"]); err != nil {
		return err
	}
	self := patient.Key.String()
	teams, err := findAll(n.tx, "CareTeam", store.And{ownedBy(self), active()})
	if err != nil {
		return err
	}
	for _, team := range teams {
		n.seen[team.Key.String()] = true
		if err := n.members(team); err != nil {
			return err
		}
	}
	consents, err := findAll(n.tx, "Consent", store.And{ownedBy(self), active()})
	for _, consent := range consents {
		if err := n.values(consent, termActors); err != nil {
			return err
		}
	}
	return err
}

// members follows the members of a care team or group.
func (n *naming) members(v *store.Version) error { return n.values(v, panelTerms[v.Type]) }

// values follows the references that are terms of a resource.
func (n *naming) values(v *store.Version, term string) error {
	for value := range v.Terms.Values(term) {
		if err := n.follow(string(value), v.Type == "CareTeam" && !n.orgs); err != nil {
			return err
		}
	}
	return nil
}

// follow gathers whom a reference stands for. An organisation is passed over where
// it stands for itself alone.
func (n *naming) follow(ref string, noOrgs bool) error {
	key, err := fhir.ParseKey(ref)
	if err != nil || n.seen[ref] || noOrgs && key.Type == "Organization" {
		return nil
	}
	n.seen[ref] = true
	switch key.Type {
	case "Practitioner":
		n.doctors = append(n.doctors, ref)
	case "PractitionerRole":
		_, role, err := live(n.tx, ref)
		if err != nil {
			return err
		}
		return n.follow(relativeTo(n.g.base, role.ref("practitioner")), false)
	case "Organization":
		roles, err := findAll(n.tx, "PractitionerRole", search.ReferenceTerm("organization", key))
		if err != nil {
			return err
		}
		for _, role := range roles {
			if err := n.values(role, "practitioner"); err != nil {
				return err
			}
		}
	case "CareTeam", "Group":
		v, _, err := live(n.tx, ref)
		if err != nil || v == nil {
			return err
		}
		return n.members(v)
	}
	return nil
}
