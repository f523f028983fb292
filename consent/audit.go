package consent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// The audit log is append-only. The entries of one commit round are written
// together, a few to a record (kind "audit", key: time and a random part), with
// one pointer for each patient concerned (kind "audit-of", newest first). AuditEvents are rendered
// from it when they are read.
const (
	recordAudit   = "audit"
	recordAuditOf = "audit-of"
)

// An auditEntry says who did what on whose record, why they could, and what came
// of it. It holds ids and codes, no clinical content.
type auditEntry struct {
	When     time.Time              `json:"t"`
	Login    string                 `json:"l,omitempty"`
	Name     string                 `json:"n,omitempty"`
	Person   string                 `json:"p,omitempty"` // fhirUser
	Role     smart.Role             `json:"r,omitempty"`
	Client   string                 `json:"c,omitempty"`
	ClientID string                 `json:"ci,omitempty"`
	Org      string                 `json:"o,omitempty"` // key of an organisation where the person practises
	Address  string                 `json:"a,omitempty"`
	Request  string                 `json:"q,omitempty"`
	Action   string                 `json:"x"`
	Type     fhir.Type              `json:"y,omitempty"`
	Returned []string               `json:"i,omitempty"` // keys of what was returned or written
	Patients []string               `json:"w,omitempty"` // whose record
	Bases    map[string][]BasisCode `json:"b,omitempty"` // by patient
	Purpose  string                 `json:"u,omitempty"`
	Outcome  string                 `json:"e,omitempty"` // empty: it was done; else the kind of refusal
}

// entry begins an audit entry for a call.
func (g *Guard) entry(c Caller, action string, t fhir.Type) *auditEntry {
	return &auditEntry{
		When: g.now(), Login: c.Identity.Login, Name: c.Identity.Name, Person: c.Identity.FHIRUser, Role: c.Identity.Role,
		Client: c.ClientName, ClientID: c.ClientID, Address: c.Address, Request: c.RequestID, Action: action, Type: t, Purpose: "TREAT",
	}
}

// seenBy notes who looked and whose record, on which bases.
func (e *auditEntry) seenBy(s *sighting) {
	e.from(s.person)
	e.concern(s.decisions...)
}

// from notes the organisation that a provider practises at.
func (e *auditEntry) from(p *person) {
	if len(p.orgs) > 0 {
		e.Org = p.orgs[0]
	}
}

// concern notes whose record is concerned and on which bases.
func (e *auditEntry) concern(decisions ...*decision) {
	for _, d := range decisions {
		if !slices.Contains(e.Patients, d.patient) {
			e.Patients = append(e.Patients, d.patient)
		}
		for _, b := range d.bases {
			if !slices.Contains(e.Bases[d.patient], b.Code) {
				if e.Bases == nil {
					e.Bases = map[string][]BasisCode{}
				}
				e.Bases[d.patient] = append(e.Bases[d.patient], b.Code)
			}
		}
	}
}

// returned notes a resource that left the gateway or was written.
func (e *auditEntry) returned(r *fhir.Resource) {
	e.Returned = append(e.Returned, r.Key.String())
	terms := store.Terms(r.Terms)
	for value := range terms.Values(store.Owner) {
		if !slices.Contains(e.Patients, string(value)) {
			e.Patients = append(e.Patients, string(value))
		}
	}
}

// page notes what a page returns, and on which bases.
func (e *auditEntry) page(s *sighting, page *fhir.Page) {
	e.from(s.person)
	for _, entry := range page.Entries {
		if entry.Resource != nil {
			e.returned(entry.Resource)
		}
	}
	for _, d := range s.decisions {
		if slices.Contains(e.Patients, d.patient) || len(s.decisions) == 1 {
			e.concern(d)
		}
	}
}

// auditKey orders rounds by time; the random part keeps nodes apart.
func auditKey(t time.Time) string {
	var r [6]byte
	rand.Read(r[:]) // never fails
	return fmt.Sprintf("%016x%s", t.UnixNano(), hex.EncodeToString(r[:]))
}

// auditSize is about how large the records of the log are, in bytes: small enough
// that the embedded engine keeps them beside their keys, so that a round costs
// one flush to disk and not two.
const auditSize = 900

// writeAudit adds a round of entries inside a transaction.
func writeAudit(w store.Writer, entries []*auditEntry) error {
	pointers := map[string]string{} // by patient: "key row,row;key row"
	for first := 0; first < len(entries); {
		value, next, err := packAudit(entries, first)
		if err != nil {
			return err
		}
		key := auditKey(entries[first].When)
		if err := w.PutRecord(&store.Record{Kind: recordAudit, Key: key, Value: value}); err != nil {
			return err
		}
		for i, e := range entries[first:next] {
			for _, p := range e.Patients {
				pointers[p] = addPointer(pointers[p], key, i)
			}
		}
		first = next
	}
	if len(pointers) == 0 {
		return nil
	}
	key := auditKey(entries[0].When)
	newestFirst := fmt.Sprintf("%016x", uint64(math.MaxInt64-entries[0].When.UnixNano())) + key[16:]
	for p, rows := range pointers {
		if err := w.PutRecord(&store.Record{Kind: recordAuditOf, Key: p + "/" + newestFirst, Value: []byte(rows)}); err != nil {
			return err
		}
	}
	return nil
}

// file records an entry in the transaction that makes what it tells of; one that
// gathers entries writes them at its end.
func file(tx *engine.Tx, e *auditEntry) error {
	if in := gatheringOf(tx); in != nil {
		in.audits = append(in.audits, e)
		return nil
	}
	return writeAudit(tx.Writer(), []*auditEntry{e})
}

// packAudit writes entries from first on as one value, and gives the first that
// did not fit.
func packAudit(entries []*auditEntry, first int) (value []byte, next int, err error) {
	value = []byte("[")
	for next = first; next < len(entries); next++ {
		row, err := json.Marshal(entries[next])
		if err != nil {
			return nil, 0, err
		}
		if next > first {
			if len(value)+len(row) > auditSize {
				break
			}
			value = append(value, ',')
		}
		value = append(value, row...)
	}
	return append(value, ']'), next, nil
}

func addPointer(rows, key string, row int) string {
	switch {
	case rows == "":
		return key + " " + strconv.Itoa(row)
	case strings.HasPrefix(rows[strings.LastIndexByte(rows, ';')+1:], key+" "):
		return rows + "," + strconv.Itoa(row)
	}
	return rows + ";" + key + " " + strconv.Itoa(row)
}

// An auditor gathers the entries of reads that happen at the same time and
// writes them in one transaction: no audit, no answer, yet one fsync for many.
type auditor struct {
	engine *engine.Engine
	in     chan *auditWait
	done   chan struct{}
}

type auditWait struct {
	entry *auditEntry
	err   chan error
}

// auditRound is the most entries that one round takes.
const auditRound = 256

func startAuditor(e *engine.Engine) *auditor {
	a := &auditor{engine: e, in: make(chan *auditWait, auditRound), done: make(chan struct{})}
	go a.run()
	return a
}

func (a *auditor) run() {
	defer close(a.done)
	busy := false
	for first := range a.in {
		round := a.gather(first, busy)
		busy = len(round) >= busyRound
		entries := make([]*auditEntry, len(round))
		for i, w := range round {
			entries[i] = w.entry
		}
		err := a.engine.Update(context.Background(), func(tx *engine.Tx) error { return writeAudit(tx.Writer(), entries) })
		for _, w := range round {
			w.err <- err
		}
	}
}

// When many wait, those who were just answered come back at once: waiting a
// moment for them makes one flush of what would be two.
const (
	busyRound = 32
	linger    = 200 * time.Microsecond
)

// gather takes what waits, and when it is busy, what comes within a moment.
func (a *auditor) gather(first *auditWait, busy bool) []*auditWait {
	round := []*auditWait{first}
	var late <-chan time.Time
	if busy {
		late = time.After(linger)
	}
	for len(round) < auditRound {
		select {
		case next, ok := <-a.in:
			if !ok {
				return round
			}
			round = append(round, next)
			continue
		default:
		}
		if late == nil {
			return round
		}
		select {
		case next, ok := <-a.in:
			if !ok {
				return round
			}
			round = append(round, next)
		case <-late:
			late = nil
		}
	}
	return round
}

// write returns when the entry is durable.
func (a *auditor) write(ctx context.Context, e *auditEntry) error {
	w := &auditWait{e, make(chan error, 1)}
	select {
	case a.in <- w:
	case <-ctx.Done():
		return &fhir.Error{Kind: fhir.Unavailable, Issues: []fhir.Issue{{Text: "The request was given up."}}, Cause: ctx.Err()}
	}
	if err := <-w.err; err != nil {
		return &fhir.Error{Kind: fhir.Unavailable, Issues: []fhir.Issue{{Text: "The access could not be recorded, so it was not given."}}, Cause: err}
	}
	return nil
}

func (a *auditor) close() {
	close(a.in)
	<-a.done
}

// refused audits a call that was refused and gives back its error.
func (g *Guard) refused(ctx context.Context, e *auditEntry, err error) error {
	e.Outcome = fhir.KindOf(err).String()
	e.Returned = nil
	if auditErr := g.auditor.write(ctx, e); auditErr != nil {
		return auditErr
	}
	return err
}

// auditOf lists the entries about a patient, newest first, that lie after a
// cursor, at most limit; next is empty on the last page.
func auditOf(r store.Reader, patient, after string, limit int) (entries []auditRow, next string, err error) {
	prefix := patient + "/"
	if after != "" {
		after = prefix + after
	}
	pointers, err := r.Records(recordAuditOf, prefix, after, limit+1)
	if err != nil {
		return nil, "", err
	}
	if len(pointers) > limit {
		pointers = pointers[:limit]
		next = strings.TrimPrefix(pointers[limit-1].Key, prefix)
	}
	for _, p := range pointers {
		for _, part := range slices.Backward(strings.Split(string(p.Value), ";")) {
			if entries, err = appendRows(r, entries, part); err != nil {
				return nil, "", err
			}
		}
	}
	return entries, next, nil
}

// appendRows reads the rows that a part of a pointer names, newest first.
func appendRows(r store.Reader, entries []auditRow, part string) ([]auditRow, error) {
	key, rows, _ := strings.Cut(part, " ")
	record, err := readRound(r, key)
	if err != nil {
		return nil, err
	}
	for _, row := range slices.Backward(strings.Split(rows, ",")) {
		i, err := strconv.Atoi(row)
		if err != nil || i < 0 || i >= len(record) {
			return nil, errors.New("consent: damaged audit pointer")
		}
		entries = append(entries, auditRow{key + "-" + row, record[i]})
	}
	return entries, nil
}

// An auditRow is an entry with its id.
type auditRow struct {
	id string
	*auditEntry
}

func readRound(r store.Reader, key string) ([]*auditEntry, error) {
	rec, err := r.Record(recordAudit, key)
	if err != nil {
		return nil, err
	}
	var round []*auditEntry
	if err := json.Unmarshal(rec.Value, &round); err != nil {
		return nil, fmt.Errorf("consent: damaged audit record: %w", err)
	}
	return round, nil
}
