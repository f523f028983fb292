package consent

import (
	"slices"
	"time"

	"mypatients/consent/emergency"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// What emergency sessions mean for decisions; see breakglass.go for how they begin
// and end.

// runningEmergency gives the session that opens a patient's record to a call, or
// nil. Each call asks for it: what the grant has begun is kept with the epoch that
// every begin and end moves, so an end holds for the next request on every node.
func (g *Guard) runningEmergency(tx *engine.Tx, c Caller, patient string) (*emergency.Session, error) {
	all, err := g.runningEmergencies(tx, c)
	for _, s := range all {
		if s.Patient == patient {
			return s, nil
		}
	}
	return nil, err
}

func (g *Guard) runningEmergencies(tx *engine.Tx, c Caller) ([]*emergency.Session, error) {
	if !g.policy.BreakGlass.Enabled || c.Identity.Role != smart.Provider || c.ID == "" || c.Identity.Login == "" {
		return nil, nil
	}
	all, err := g.emergencies.get(tx, c.ID, func() ([]*emergency.Session, []string, time.Time, error) {
		all, err := emergency.Of(tx.Reader(), c.ID)
		all = slices.DeleteFunc(all, func(s *emergency.Session) bool { return s.Over(tx.Now()) })
		until := time.Time{}
		for _, s := range all {
			until = earliest(until, tx.Now(), s.Ends)
		}
		return all, []string{emergencyEpoch(c.ID)}, until, err
	})
	if err != nil {
		return nil, err
	}
	var own []*emergency.Session
	for _, s := range all {
		if s.Login == c.Identity.Login && s.Person == c.Identity.FHIRUser && !s.Over(tx.Now()) {
			own = append(own, s)
		}
	}
	return own, nil
}

// emergencyEpoch is the epoch of the sessions of a grant.
func emergencyEpoch(grant string) string { return "emergency/" + grant }

// addEmergency adds to a decision what an emergency session opens.
func (g *Guard) addEmergency(tx *engine.Tx, p *person, d *decision, s *emergency.Session) error {
	d.rests = append(d.rests, emergencyEpoch(s.Grant))
	d.until = earliest(d.until, tx.Now(), s.Ends)
	v, patient, err := live(tx, d.patient)
	if err != nil || v == nil {
		return err
	}
	may, err := g.mayBreakGlass(tx, p)
	if err != nil || !may {
		return err
	}
	asks := *d.asker
	asks.purpose, asks.urgent = []string{purposeBTG}, !g.policy.BreakGlass.OptOutsHold
	shut := store.Not{Expr: sensitiveAny(g.policy.BreakGlass.Never)}
	add := func(b Basis, opens func(fhir.Type) store.Expr) {
		d.add(b, func(t fhir.Type) store.Expr { return store.And{opens(t), shut} }, &asks)
	}
	ceiling, _ := levelOf(g.policy.BreakGlass.Ceiling)
	add(Basis{Code: BasisEmergency, Source: s.Record, Until: s.Ends}, upTo(ceiling))
	for _, n := range d.consents { // what the family permits for emergencies, and for nothing else
		limit := g.giverLimit(d, n, patient, tx.Now())
		if limit == nil || !asks.permitsSome(n.obj("provision"), frame{}, 1) {
			continue
		}
		add(Basis{Code: BasisConsent, Source: "Consent/" + n.str("id"), Until: s.Ends}, func(t fhir.Type) store.Expr {
			return store.And{asks.read(n, t).opens, limit(t)}
		})
	}
	return nil
}

// knownEmergencies adds the patients of running sessions to those on whom a caller
// may have a basis.
func (g *Guard) knownEmergencies(tx *engine.Tx, c Caller, patients []string) ([]string, error) {
	running, err := g.runningEmergencies(tx, c)
	if err != nil || len(running) == 0 {
		return patients, err
	}
	patients = slices.Clone(patients)
	for _, s := range running {
		if !slices.Contains(patients, s.Patient) {
			patients = append(patients, s.Patient)
		}
	}
	return patients, nil
}

// emergencyHandle is the handle for an emergency that Patient Selection offers.
func (g *Guard) emergencyHandle(tx *engine.Tx, c Caller, p *person, patient *store.Version, sel Selection) (string, error) {
	if !g.policy.BreakGlass.Enabled {
		return "", nil
	}
	may, err := g.mayBreakGlass(tx, p)
	if err != nil || !may {
		return "", err
	}
	return g.sealHandle(c, handle{patient.Key.String(), sel, tx.Now().Add(handleLife)}), nil
}
