package consent

import (
	"context"

	"mypatients/consent/audit"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/smart"
)

// maxNamed is how many patients of a row of the log are named.
const maxNamed = 3

// namePatients names the patients of rows, each as far as their record is open to
// the caller, and notes whose names are given.
func (g *Guard) namePatients(tx *engine.Tx, c Caller, e *auditEntry, list []AuditRow) error {
	known := map[string]*Card{}
	for i := range list {
		patients := list[i].Patients
		for _, patient := range patients[:min(len(patients), maxNamed)] {
			card, met := known[patient]
			if !met {
				var err error
				if card, err = g.namedPatient(tx, c, patient); err != nil {
					return err
				}
				known[patient] = card
			}
			if card == nil {
				continue
			}
			list[i].Of = append(list[i].Of, *card)
			e.Patients = appendNew(e.Patients, patient)
		}
	}
	return nil
}

func (g *Guard) namedPatient(tx *engine.Tx, c Caller, patient string) (*Card, error) {
	if _, n, err := live(tx, patient); err != nil || n == nil {
		return nil, err
	}
	card, _, err := g.visibleCard(tx, c, patient)
	return card, err
}

// MaxAuditExport is how many rows of the log a search writes into one file.
const MaxAuditExport = 10_000

// ExportFound gives each row of the log that an administrator's search finds, newest
// first and at most [MaxAuditExport]; more tells that there are others. Patients are
// not named. It is logged as an export, also in the log of the patient whose rows
// were asked for, before the first row is given.
func (g *Guard) ExportFound(ctx context.Context, c Caller, q AuditQuery, each func(AuditRow) error) (more bool, err error) {
	e := g.entry(c, "export-audit", "AuditEvent")
	e.Detail = or(q.Person, or(q.Login, q.Client))
	if err := requireAdmin(c); err != nil {
		return false, g.refused(ctx, e, err)
	}
	if q.Patient != "" {
		if _, err := patientKey(q.Patient); err != nil {
			return false, g.refused(ctx, e, err)
		}
		e.Patients = []string{q.Patient}
	}
	if err := g.auditor.write(ctx, e); err != nil {
		return false, err
	}
	if err := g.auditor.log.Link(ctx); err != nil {
		return false, err
	}
	for n, cursor := 0, ""; ; {
		rows, next, err := g.slice(ctx, q.walk(), cursor)
		if err != nil {
			return false, err
		}
		for _, row := range rows {
			if n == MaxAuditExport {
				return true, nil
			}
			n++
			if err := each(row); err != nil {
				return false, err
			}
		}
		if cursor = next; cursor == "" {
			return false, nil
		}
	}
}

// exportSlice is how many rows an export reads at a time.
const exportSlice = 500

func (g *Guard) slice(ctx context.Context, q audit.Query, cursor string) (rows []AuditRow, next string, err error) {
	err = g.engine.View(ctx, func(tx *engine.Tx) error {
		rows = nil
		next, err = g.auditor.log.Walk(tx.Reader(), q, cursor, func(row audit.Row) (bool, error) {
			if len(rows) == exportSlice {
				return false, nil
			}
			rows = append(rows, AuditRow{ID: row.ID, Entry: *row.Entry})
			return true, nil
		})
		return err
	})
	return rows, next, err
}

// Appoint gives a login the role of administrator, as the operator of the gateway
// says by its configuration, with a person that stands for it. It is logged when it
// is new.
func (g *Guard) Appoint(ctx context.Context, issuer, subject string, person fhir.Key) error {
	link := Link{Role: smart.Admin, Person: person.String()}
	_, err := g.linkAccount(ctx, issuer, subject, "", "", func(tx *engine.Tx, a *Account, _ []Link) error {
		e := g.entry(Operator(), "appoint", "Practitioner")
		e.Client, e.ClientID = "Configuration", "configuration"
		e.When, e.Detail, e.Returned = tx.Now(), a.ID, []string{link.Person}
		return file(tx, e)
	}, link)
	return err
}
