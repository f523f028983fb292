package consent

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// App state is what apps keep with us for themselves
// (https://hl7.org/fhir/smart-app-launch/STU2.2/app-state.html): Basic resources
// of their own endpoint, each about one patient, one user or nobody. They are
// records beside the resources, so that no search of the record comes upon them.
//
//   - A code belongs to an app if its system is an origin of the app on the wide
//     web, or if the app was registered for it; see Config.AppCode.
//   - About a patient: with patient/Basic for the patient in context, with
//     user/Basic for any whose record is open to the caller now.
//   - About a user: about oneself, with user/Basic.
//   - About nobody: read with user/Basic, written by an administrator.
const (
	recordAppState   = "app-state"    // by id
	recordAppStateOf = "app-state-of" // by subject, code and id
	recordAppStateIn = "app-state-in" // by system of the code and id, so that those of an app that is gone are found
)

// Limits on app state.
const (
	maxAppState   = 256 << 10 // bytes of one
	maxAppStateOf = 50        // for one subject and code
	maxAppStateIn = 200       // for one subject, of all codes of a system
)

// An appState is a stored Basic.
type appState struct {
	Subject string          `json:"subject,omitempty"` // "Patient/1"; empty: global
	Code    string          `json:"code"`              // "system|code"
	Version int64           `json:"version"`
	Updated time.Time       `json:"updated"`
	Body    json.RawMessage `json:"body"`
}

func (a *appState) resource(id string) *fhir.Resource {
	return &fhir.Resource{Key: fhir.Key{Type: "Basic", ID: id}, Version: a.Version, Updated: a.Updated, JSON: a.Body}
}

// stateKey is where the states of a subject and code are listed.
func stateKey(subject, code string) string {
	sum := sha256.Sum256([]byte(subject + "\x00" + code))
	return base64.RawURLEncoding.EncodeToString(sum[:]) + " "
}

// errStale is what every write gets that does not fit what is stored: a wrong
// version, a removed state, another's. They look alike.
func errStale() error {
	return fhir.Errorf(fhir.Precondition, "If-Match, subject or code is not that of the state as it is now.")
}

// CreateState stores a new state of an app.
func (g *Guard) CreateState(ctx context.Context, c Caller, body []byte) (*fhir.Resource, error) {
	return g.writeState(ctx, c, "create", smart.MayCreate, body, func(tx *engine.Tx, b *stateBody) (*fhir.Resource, error) {
		if b.id != "" || b.versioned {
			return nil, fhir.ElementErrorf(fhir.Unprocessable, "Basic.id", "A new state has no id and no version.")
		}
		if err := roomFor(tx.Reader(), b.subject, b.code); err != nil {
			return nil, err
		}
		id := strings.ToLower(rand.Text())
		for _, index := range stateIndexes(b.subject, b.code, id) {
			if err := tx.Writer().PutRecord(index); err != nil {
				return nil, err
			}
		}
		return b.store(tx, id, 1)
	})
}

// UpdateState replaces a state; version is the one that the app read.
func (g *Guard) UpdateState(ctx context.Context, c Caller, id string, version int64, body []byte) (*fhir.Resource, error) {
	return g.writeState(ctx, c, "update", smart.MayUpdate, body, func(tx *engine.Tx, b *stateBody) (*fhir.Resource, error) {
		if b.id != id {
			return nil, fhir.ElementErrorf(fhir.Unprocessable, "Basic.id", "The id is not that of the address.")
		}
		old, err := readState(tx.Reader(), id)
		if err != nil {
			return nil, err
		}
		if old == nil || old.Version != version || old.Subject != b.subject || old.Code != b.code {
			return nil, errStale()
		}
		return b.store(tx, id, version+1)
	})
}

// writeState is what creating and updating share: the body is checked, the
// caller must have the right to a state of its subject and code, and the write is
// in the log.
func (g *Guard) writeState(ctx context.Context, c Caller, action string, want smart.Permission, body []byte,
	write func(*engine.Tx, *stateBody) (*fhir.Resource, error)) (*fhir.Resource, error) {
	e := g.entry(c, action, "Basic")
	b, err := g.readStateBody(body)
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	if err := g.stateCode(ctx, c, b.code); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	var written *fhir.Resource
	err = g.engine.Update(ctx, func(tx *engine.Tx) error {
		if err := g.openState(tx, c, e, want, b.subject, b.code); err != nil {
			return err
		}
		if written, err = write(tx, b); err != nil {
			return err
		}
		e.Returned = []string{written.Key.String()}
		return file(tx, e)
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return written, nil
}

// DeleteState removes a state for good.
func (g *Guard) DeleteState(ctx context.Context, c Caller, id string, version int64) error {
	e := g.entry(c, "delete", "Basic")
	var old *appState
	err := g.engine.View(ctx, func(tx *engine.Tx) (err error) { // which code it is, before the transaction asks whose
		old, err = readState(tx.Reader(), id)
		return err
	})
	if err == nil && old == nil {
		err = errStale()
	}
	if err == nil && g.stateCode(ctx, c, old.Code) != nil {
		err = errStale()
	}
	if err != nil {
		return g.refused(ctx, e, err)
	}
	err = g.engine.Update(ctx, func(tx *engine.Tx) error {
		now, err := readState(tx.Reader(), id)
		if err != nil {
			return err
		}
		if now == nil || now.Version != version || now.Code != old.Code {
			return errStale()
		}
		if err := g.openState(tx, c, e, smart.MayDelete, now.Subject, now.Code); err != nil {
			return errors.Join(errStale(), err)
		}
		if err := now.remove(tx.Writer(), id); err != nil {
			return err
		}
		e.Returned = []string{"Basic/" + id}
		return file(tx, e)
	})
	if err != nil {
		return g.refused(ctx, e, err)
	}
	return nil
}

// FindState lists the states of a code about a subject, an absolute reference;
// an empty one stands for global state.
func (g *Guard) FindState(ctx context.Context, c Caller, code, subject string) ([]*fhir.Resource, error) {
	e := g.entry(c, "search", "Basic")
	about, err := g.stateSubject(subject)
	if err == nil {
		err = g.stateCode(ctx, c, code)
	}
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	var found []*fhir.Resource
	err = g.engine.View(ctx, func(tx *engine.Tx) error {
		found = nil
		if err := g.openState(tx, c, e, smart.MaySearch, about, code); err != nil {
			return err
		}
		prefix := stateKey(about, code)
		listed, err := tx.Reader().Records(recordAppStateOf, prefix, "", maxAppStateOf)
		if err != nil {
			return err
		}
		for _, rec := range listed {
			id := strings.TrimPrefix(rec.Key, prefix)
			state, err := readState(tx.Reader(), id)
			if err != nil {
				return err
			}
			if state != nil {
				found = append(found, state.resource(id))
				e.Returned = append(e.Returned, "Basic/"+id)
			}
		}
		return nil
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return found, g.auditor.write(ctx, e)
}

// readState gives a state, nil when there is none.
func readState(r store.Reader, id string) (*appState, error) {
	a := new(appState)
	err := store.GetJSON(r, recordAppState, id, a)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return a, err
}

// store writes a state in a version.
func (b *stateBody) store(tx *engine.Tx, id string, version int64) (*fhir.Resource, error) {
	b.tree["id"] = id
	b.tree["meta"] = map[string]any{"versionId": strconv.FormatInt(version, 10), "lastUpdated": tx.Now().UTC().Format(time.RFC3339)}
	body, err := json.Marshal(b.tree)
	if err != nil {
		return nil, err
	}
	a := &appState{Subject: b.subject, Code: b.code, Version: version, Updated: tx.Now(), Body: body}
	return a.resource(id), store.PutJSON(tx.Writer(), recordAppState, id, a, time.Time{})
}
