package consent

import (
	"context"
	"slices"
	"time"

	"mypatients/consent/audit"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/smart"
)

// An AuditQuery is what an administrator looks for in the log. What is empty does
// not narrow.
type AuditQuery struct {
	Person  string // who acted: "Practitioner/1"
	Login   string // the id of the account that acted
	Client  string // the id of the app or system that it was done with
	Patient string // on whose record: "Patient/1"
	Since   time.Time
	Until   time.Time // rows before it
	Action  string    // as in Look.Action
	Actions []string  // any of these
	Refused *bool     // whether it was refused
	Cursor  string    // of the page before
	Count   int       // rows of a page; 0: 50
}

// An AuditRow is a row of the log as an administrator sees it.
type AuditRow struct {
	ID string
	audit.Entry
	Of []Card // the first of the patients, as far as their records are open to the caller
}

// FindAudit lists rows of the log for an administrator, newest first, and gives the
// cursor of the next page, empty at the end. A page can be short though more
// follow. Reading is logged, also in the log of the patient whose rows were asked
// for.
func (g *Guard) FindAudit(ctx context.Context, c Caller, q AuditQuery) (list []AuditRow, next string, err error) {
	e := g.entry(c, "search-audit", "AuditEvent")
	e.Detail = or(q.Person, q.Login)
	if err := requireAdmin(c); err != nil {
		return nil, "", g.refused(ctx, e, err)
	}
	if q.Patient != "" {
		if _, err := patientKey(q.Patient); err != nil {
			return nil, "", g.refused(ctx, e, err)
		}
		e.Patients = []string{q.Patient}
	}
	purpose := "audit search " + c.Identity.Login
	cursor := ""
	if q.Cursor != "" {
		var ok bool
		if cursor, ok = g.openText(purpose, q.Cursor); !ok {
			return nil, "", g.refused(ctx, e, fhir.ElementErrorf(fhir.Invalid, "cursor", "This page link is not valid for this caller."))
		}
	}
	if err := g.auditor.log.Link(ctx); err != nil { // what was written a moment ago is found, too
		return nil, "", g.refused(ctx, e, err)
	}
	count := q.Count
	if count <= 0 || count > maxPage {
		count = defaultPage
	}
	err = g.engine.View(ctx, func(tx *engine.Tx) error {
		list = nil
		var err error
		next, err = g.auditor.log.Walk(tx.Reader(), q.walk(), cursor, func(row audit.Row) (bool, error) {
			if len(list) == count {
				return false, nil
			}
			list = append(list, AuditRow{ID: row.ID, Entry: *row.Entry})
			return true, nil
		})
		if err != nil {
			return err
		}
		return g.namePatients(tx, c, e, list)
	})
	if err != nil {
		return nil, "", g.refused(ctx, e, err)
	}
	if next != "" {
		next = g.sealText(purpose, next)
	}
	return list, next, g.auditor.write(ctx, e)
}

func (q *AuditQuery) walk() audit.Query {
	return audit.Query{Patient: q.Patient, Person: q.Person, Login: q.Login, Since: q.Since, Until: q.Until, Match: func(e *audit.Entry) bool {
		return (q.Action == "" || e.Action == q.Action) && (len(q.Actions) == 0 || slices.Contains(q.Actions, e.Action)) &&
			(q.Client == "" || e.ClientID == q.Client) && (q.Refused == nil || *q.Refused == (e.Outcome != ""))
	}}
}

// Operator is the caller as whom commands of the program are logged: somebody with
// access to the machine, of whom no more is known.
func Operator() Caller {
	return Caller{Grant: smart.Grant{ClientID: "command", ClientName: "Command line"}}
}

// ExportAudit gives the rows recorded since a time and before another (zero:
// without a limit) as AuditEvents, in the order in which they were recorded, and
// logs that. It is for commands of the program: whoever calls it has the data.
func (g *Guard) ExportAudit(ctx context.Context, since, until time.Time, each func(*fhir.Resource) error) error {
	e := g.entry(Operator(), "export-audit", "AuditEvent")
	if err := g.auditor.write(ctx, e); err != nil {
		return err
	}
	return g.auditor.log.Export(ctx, since, until, func(row audit.Row) error { return each(g.auditEvent(row)) })
}

// VerifyAudit goes through the log and gives each place that is not as it was
// written; see [audit.Log.Verify]. It is for commands of the program.
func (g *Guard) VerifyAudit(ctx context.Context, c audit.Check, found func(audit.Damage)) (audit.Report, error) {
	return g.auditor.log.Verify(ctx, c, found)
}
