package consent

import (
	"context"
	"slices"
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// systemKey is where the states whose codes are of a system are listed, by subject
// and id: an origin in the form in which apps are compared by it, anything else as
// it is.
func systemKey(system string) string {
	if origin, ok := smart.CanonicalOrigin(system); ok {
		system = origin
	}
	return stateKey("", system+"|")
}

func stateIndexes(subject, code, id string) []*store.Record {
	system, _, _ := strings.Cut(code, "|")
	return []*store.Record{{Kind: recordAppStateOf, Key: stateKey(subject, code) + id}, {Kind: recordAppStateIn, Key: systemKey(system) + stateKey(subject, "") + id}}
}

// roomFor refuses a state more than there may be of a code, or of a system, about one subject.
func roomFor(r store.Reader, subject, code string) error {
	system, _, _ := strings.Cut(code, "|")
	for _, list := range []struct {
		kind, prefix string
		most         int
	}{{recordAppStateOf, stateKey(subject, code), maxAppStateOf}, {recordAppStateIn, systemKey(system) + stateKey(subject, ""), maxAppStateIn}} {
		listed, err := r.Records(list.kind, list.prefix, "", list.most)
		if err != nil {
			return err
		}
		if len(listed) == list.most {
			return fhir.ElementErrorf(fhir.Unprocessable, "Basic.code", "There are %d states like this about this subject already.", list.most)
		}
	}
	return nil
}

// remove takes a state out of the store.
func (a *appState) remove(w store.Writer, id string) error {
	for _, index := range stateIndexes(a.Subject, a.Code, id) {
		if err := w.DeleteRecord(index.Kind, index.Key); err != nil {
			return err
		}
	}
	return w.DeleteRecord(recordAppState, id)
}

// forgottenAtOnce is how many states go in one transaction; each is read for its code.
const forgottenAtOnce = 20

// ForgetStates removes the states whose codes are of some systems, as those of an
// app that was removed, but for the codes that keep says are another's too.
func (g *Guard) ForgetStates(ctx context.Context, systems []string, keep func(code string) bool) error {
	for _, system := range systems {
		prefix := systemKey(system)
		for after := ""; ; {
			var listed []*store.Record
			err := g.engine.Update(ctx, func(tx *engine.Tx) (err error) {
				if listed, err = tx.Reader().Records(recordAppStateIn, prefix, after, forgottenAtOnce); err != nil {
					return err
				}
				e := g.entry(Caller{Grant: smart.Grant{ClientID: "gateway", ClientName: "Gateway", Identity: smart.Identity{Role: smart.System}}}, "delete", "Basic")
				for _, rec := range listed {
					id := rec.Key[strings.LastIndexByte(rec.Key, ' ')+1:]
					state, err := readState(tx.Reader(), id)
					if err != nil {
						return err
					}
					if state == nil || keep(state.Code) {
						continue
					}
					if err := state.remove(tx.Writer(), id); err != nil {
						return err
					}
					e.Returned = append(e.Returned, "Basic/"+id)
					if strings.HasPrefix(state.Subject, "Patient/") && !slices.Contains(e.Patients, state.Subject) {
						e.Patients = append(e.Patients, state.Subject)
					}
				}
				if len(e.Returned) == 0 {
					return nil
				}
				return file(tx, e)
			})
			if err != nil {
				return err
			}
			if len(listed) < forgottenAtOnce {
				break
			}
			after = listed[len(listed)-1].Key
		}
	}
	return nil
}
