package consent

import (
	"encoding/binary"
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

// recordEpoch is the kind of the records that count, for each patient, provider
// and team, the writes that could change a decision. A cached decision carries
// the epochs it was taken at, so a revocation holds for the next request, on
// every node that shares the store.
const recordEpoch = "epoch"

// Lists of patients carry epochs of their own, so that no write makes anybody look
// up theirs but those whom it names.
const (
	specialEpoch = "panel/*"      // consents that deny what terms cannot tell, or name a team or group
	nestedEpoch  = "panel/nested" // teams with others in them
)

// panelEpoch counts the writes by which a provider, role, organisation, team or
// group came to be named, or ceased to be.
func panelEpoch(key string) string { return "panel/" + key }

// onWrite is called by the engine for every version written, inside its
// transaction: it holds the state machine and moves the epochs.
func (r *Rules) onWrite(tx *engine.Tx, before, after *store.Version) error {
	check := map[string]func(*engine.Tx, *store.Version, *store.Version) error{"Consent": r.checkConsent, "Patient": r.checkPatient}[after.Type]
	if check != nil {
		if err := check(tx, before, after); err != nil {
			return err
		}
		if err := r.setTimers(tx, before, after); err != nil {
			return err
		}
	}
	keys := map[string]bool{}
	for _, v := range []*store.Version{before, after} {
		if v != nil {
			epochKeys(v, keys)
		}
	}
	panelKeys(before, after, keys)
	for k := range keys {
		if err := moveEpoch(tx.Writer(), k); err != nil {
			return err
		}
	}
	return r.flow(tx, before, after)
}

// epochKeys collects whose decisions a version may change.
func epochKeys(v *store.Version, keys map[string]bool) {
	switch v.Type {
	case "Patient", "Consent", "RelatedPerson", "CareTeam", "Practitioner", "PractitionerRole", "Group":
	default:
		return
	}
	keys[v.Key.String()] = true
	for name, value := range v.Terms.All() {
		if string(name) == store.Owner || string(name) == "practitioner" && strings.HasPrefix(string(value), "Practitioner/") {
			keys[string(value)] = true
		}
	}
}

// panelKeys collects whose list of patients a write may change.
func panelKeys(before, after *store.Version, keys map[string]bool) {
	was, is := map[string]bool{}, map[string]bool{}
	listed(before, was)
	listed(after, is)
	for _, from := range []map[string]bool{was, is} {
		for k := range from {
			// Who stays a patient's PCP keeps them, whatever else is written of them.
			if after.Type != "Patient" || was[k] != is[k] {
				keys[k] = true
			}
		}
	}
}

// panelTerms are the terms that name the people by whom a patient comes to be on a
// list, by type.
var panelTerms = map[string]string{"Patient": "general-practitioner", "CareTeam": "participant", "Group": "member", "Consent": termActors}

// listed collects the epochs of the lists that a version may put a patient on.
func listed(v *store.Version, keys map[string]bool) {
	if v == nil || v.Deleted || panelTerms[v.Type] == "" {
		return
	}
	for name, value := range v.Terms.All() {
		switch t, _, _ := strings.Cut(string(value), "/"); string(name) {
		case panelTerms[v.Type]:
			switch t {
			case "CareTeam", "Group":
				keys[panelEpoch(string(value))] = true
				if v.Type == "Consent" {
					keys[specialEpoch] = true
				}
			case "Practitioner", "PractitionerRole", "Organization":
				keys[panelEpoch(string(value))] = true
			}
		case termOdd:
			keys[specialEpoch] = true
		case termNested:
			keys[nestedEpoch] = true
		}
	}
}

func moveEpoch(w store.Writer, key string) error {
	n, err := epochOf(w, key)
	if err != nil {
		return err
	}
	return w.PutRecord(&store.Record{Kind: recordEpoch, Key: key, Value: binary.BigEndian.AppendUint64(nil, n+1)})
}

func epochOf(r store.Reader, key string) (uint64, error) {
	rec, err := r.Record(recordEpoch, key)
	if err == store.ErrNotFound {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if len(rec.Value) != 8 {
		return 0, fhir.Errorf(fhir.Internal, "An epoch is damaged.")
	}
	return binary.BigEndian.Uint64(rec.Value), nil
}
