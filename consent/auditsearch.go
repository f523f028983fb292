package consent

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"mypatients/consent/audit"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// An auditQuery is a search for AuditEvents: of one patient's log, newest first.
type auditQuery struct {
	audit.Query
	cursor  string
	count   int
	matches []func(*audit.Entry) bool
}

// searchAuditEvents answers AuditEvent?patient=…, newest first.
func (g *Guard) searchAuditEvents(ctx context.Context, c Caller, values url.Values) (*fhir.Page, error) {
	e := g.entry(c, "search", "AuditEvent")
	if err := g.requireScope(withoutGranular(c), "AuditEvent", smart.MaySearch); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	q, err := g.auditQuery(c, values)
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	e.Patients = []string{q.Patient}
	page := &fhir.Page{Applied: withoutCursor(values)}
	e.asked(&sighting{}, values, false)
	err = g.engine.View(ctx, func(tx *engine.Tx) error {
		page.Entries, page.Next = nil, ""
		if limit := limitsTo(c, "AuditEvent", smart.MaySearch); limit != nil && !slices.Contains(limit, q.Patient) {
			return nil
		}
		rows, next, err := g.auditPageOf(tx, c, q.Query, q.cursor, q.count)
		if err != nil {
			return err
		}
		for _, row := range rows {
			page.Entries = append(page.Entries, fhir.Entry{Mode: "match", Resource: g.auditEvent(row)})
		}
		if next != "" {
			v := cloneValues(values)
			v.Set("_cursor", next)
			page.Next = g.sealLink(c, "AuditEvent", v.Encode())
		}
		return nil
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return page, g.auditor.write(ctx, e)
}

// auditQuery reads the parameters. Each value of one narrows, but those that a
// comma joins.
func (g *Guard) auditQuery(c Caller, values url.Values) (*auditQuery, error) {
	q := &auditQuery{count: defaultPage}
	if c.Launch.Patient != "" {
		q.Patient = "Patient/" + c.Launch.Patient
	} else if c.Identity.Role == smart.Patient {
		q.Patient = c.Identity.FHIRUser
	}
	for _, name := range slices.Sorted(maps.Keys(values)) { // so that of several faults the same one is told
		for _, value := range values[name] {
			if err := g.auditParameter(c, q, values, name, value); err != nil {
				return nil, err
			}
		}
	}
	if q.Patient == "" {
		return nil, fhir.ElementErrorf(fhir.Invalid, "http.patient", "Say whose log to read, with patient.")
	}
	q.Match = func(e *audit.Entry) bool {
		return !slices.ContainsFunc(q.matches, func(m func(*audit.Entry) bool) bool { return !m(e) })
	}
	return q, nil
}

func (g *Guard) auditParameter(c Caller, q *auditQuery, values url.Values, name, value string) (err error) {
	any := strings.Split(value, ",")
	match := func(f func(e *audit.Entry) bool) { q.matches = append(q.matches, f) }
	switch name {
	case "patient", "patient:Patient":
		if q.Patient = relativeTo(g.base, value); !strings.Contains(q.Patient, "/") {
			q.Patient = "Patient/" + q.Patient
		}
	case "entity":
		keys := g.relativeAll(any)
		if q.Patient == "" && len(keys) == 1 && strings.HasPrefix(keys[0], "Patient/") {
			q.Patient = keys[0]
		}
		match(func(e *audit.Entry) bool {
			return slices.ContainsFunc(keys, func(k string) bool { return slices.Contains(e.Returned, k) || slices.Contains(e.Patients, k) })
		})
	case "agent", "agent:Practitioner", "agent:Patient", "agent:RelatedPerson", "agent:Organization":
		keys := g.relativeAll(any)
		if _, t, typed := strings.Cut(name, ":"); typed {
			for i, k := range keys {
				if !strings.Contains(k, "/") {
					keys[i] = t + "/" + k
				}
			}
		}
		match(func(e *audit.Entry) bool {
			return slices.Contains(keys, e.Person) && e.Person != "" || slices.Contains(keys, e.Org) && e.Org != ""
		})
	case "type":
		match(func(e *audit.Entry) bool { kind, _ := typeOf(e); return tokenMatches(any, kind) })
	case "subtype":
		match(func(e *audit.Entry) bool {
			_, subs := typeOf(e)
			return slices.ContainsFunc(subs, func(s node) bool { return tokenMatches(any, s) })
		})
	case "action":
		match(func(e *audit.Entry) bool {
			return tokenMatches(any, coding("http://hl7.org/fhir/audit-event-action", auditActionOf(e.Action).letter))
		})
	case "outcome":
		match(func(e *audit.Entry) bool {
			return tokenMatches(any, coding("http://terminology.hl7.org/CodeSystem/audit-event-outcome", outcomeOf(e)))
		})
	case "date":
		return g.auditDate(q, value)
	case "_count":
		if q.count, err = strconv.Atoi(value); err != nil || q.count < 1 {
			return fhir.ElementErrorf(fhir.Invalid, "http._count", "_count must be a number above 0.")
		}
		q.count = min(q.count, maxPage)
	case "_sort":
		if value != "-date" {
			return fhir.ElementErrorf(fhir.Invalid, "http._sort", "AuditEvents come in the order of -date only.")
		}
	case "_cursor":
		open, err := g.openLink(c, "AuditEvent", values)
		if err != nil {
			return err
		}
		q.cursor = open.Get("_cursor")
	case "_format", "_pretty":
	default:
		return fhir.ElementErrorf(fhir.Invalid, "http."+name, "AuditEvent has no search parameter %q here.", name)
	}
	return nil
}

// auditParameters are the search parameters of R4 that the log is searched by;
// patient must be given, by the query or the launch.
var auditParameters = []string{"patient", "date", "agent", "type", "subtype", "entity", "action", "outcome"}

func (g *Guard) relativeAll(refs []string) []string {
	keys := make([]string, len(refs))
	for i, r := range refs {
		keys[i] = relativeTo(g.base, r)
	}
	return keys
}

// tokenMatches compares a coding with tokens: code, system|code, system| or |code
// (https://hl7.org/fhir/R4/search.html#token).
func tokenMatches(tokens []string, c node) bool {
	return slices.ContainsFunc(tokens, func(token string) bool {
		system, code, both := strings.Cut(token, "|")
		if !both {
			return token == c.str("code")
		}
		return system == c.str("system") && (code == "" || code == c.str("code"))
	})
}

// auditDate narrows by a date with a prefix
// (https://hl7.org/fhir/R4/search.html#date).
func (g *Guard) auditDate(q *auditQuery, value string) error {
	prefix, text := "eq", value
	if len(value) > 2 && value[0] >= 'a' && value[0] <= 'z' {
		prefix, text = value[:2], value[2:]
	}
	from, to, ok := dateSpan(text, g.zone)
	if !ok {
		return fhir.ElementErrorf(fhir.Invalid, "http.date", "date must be a date or an instant, with at most one of the prefixes eq, gt, ge, lt, le, sa and eb; dates that a comma joins are not supported.")
	}
	if to.Equal(from) { // an instant: the last digit that was given
		to = from.Add(time.Second)
		if strings.Contains(text, ".") {
			to = from.Add(time.Millisecond)
		}
	}
	since := func(t time.Time) {
		if t.After(q.Since) {
			q.Since = t
		}
	}
	until := func(t time.Time) {
		if q.Until.IsZero() || t.Before(q.Until) {
			q.Until = t
		}
	}
	switch prefix {
	case "eq":
		since(from)
		until(to)
	case "gt", "sa":
		since(to)
	case "ge":
		since(from)
	case "lt", "eb":
		until(from)
	case "le":
		until(to)
	default:
		return fhir.ElementErrorf(fhir.Invalid, "http.date", "date does not have the prefix %q here.", prefix)
	}
	return nil
}

// withoutGranular drops the granular scopes of a caller: the log is not searched
// by what they could name.
func withoutGranular(c Caller) Caller {
	c.Scopes = slices.DeleteFunc(slices.Clone(c.Scopes), func(s smart.Scope) bool { return len(s.Params) > 0 })
	return c
}

// readAuditEvent gives one row of a log, under the id that a search gave.
func (g *Guard) readAuditEvent(ctx context.Context, c Caller, id string) (*fhir.Resource, error) {
	e := g.entry(c, "read", "AuditEvent")
	if err := g.requireScope(withoutGranular(c), "AuditEvent", smart.MayRead); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	var found *fhir.Resource
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		row, err := g.auditor.log.RowOf(tx.Reader(), id)
		if err == store.ErrNotFound {
			return fhir.ErrNotFound()
		}
		if err != nil {
			return err
		}
		for _, patient := range row.Patients {
			if limit := limitsTo(c, "AuditEvent", smart.MayRead); limit != nil && !slices.Contains(limit, patient) {
				continue
			}
			if _, err := g.authority(tx, c, patient); err != nil {
				continue
			}
			s, err := g.look(tx, c, "AuditEvent", smart.MayRead, []string{patient})
			if err != nil {
				return err
			}
			shown, ok, err := newViewer(tx, c, s, patient).show(row)
			if err != nil || !ok {
				return orNotFound(err)
			}
			e.Patients = []string{patient}
			found = g.auditEvent(shown)
			return nil
		}
		return fhir.ErrNotFound()
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return found, g.auditor.write(ctx, e)
}
