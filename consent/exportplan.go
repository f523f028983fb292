package consent

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// Limits on what an export is asked for.
const (
	maxExportPatients = 1000
	maxExportFilters  = 100
	maxExportText     = 64 << 10 // bytes of all parameters
	maxExportJoins    = 100      // chains and _has, and values, of all filters together: as of one search
	maxExportValues   = 2000
)

// exportParameters are those of the query of a kick-off.
var exportParameters = []string{"_elements", "_outputFormat", "_since", "_type", "_typeFilter"}

// exportFormats are the names of the one format of files.
var exportFormats = []string{"application/fhir+ndjson", "application/ndjson", "ndjson"}

// An exportPlan is what an export comes to for the caller, with the scopes they have
// when they read it.
type exportPlan struct {
	g     *Guard
	c     Caller
	x     *export
	types []fhir.Type
	query engine.EverythingQuery // of which Since and Subset count

	filters map[fhir.Type][]*search.Query

	// Set by open. Of a Group of very many a join is made, not a list.
	listed []string // the patients whose data it is; nil: all, or those who are in the Group
	left   []string // ids of those who are named in the Group and are not in it now
}

// checkExport checks what is asked for, and leaves out what is not known when lenient.
func (g *Guard) checkExport(c Caller, x *export) error {
	if len(x.Patients) > maxExportPatients {
		return &fhir.Error{Kind: fhir.TooBig, Issues: []fhir.Issue{{Text: fmt.Sprintf("Name at most %d patients.", maxExportPatients), Expression: "http.patient"}}}
	}
	for i, p := range x.Patients {
		key, err := patientKey(p)
		if err != nil {
			return fhir.ElementErrorf(fhir.Invalid, "http.patient", "patient must refer to a Patient of this server: Patient/[id].")
		}
		x.Patients[i] = key.String()
	}
	var issues []fhir.Issue
	known := url.Values{}
	for _, name := range slices.Sorted(maps.Keys(x.Values)) {
		if slices.Contains(exportParameters, name) {
			known[name] = x.Values[name]
		} else if !x.Lenient {
			issues = append(issues, fhir.Issue{Code: "not-supported", Text: fmt.Sprintf("An export has no parameter %q.", name), Expression: "http." + name})
		}
	}
	if issues != nil {
		return &fhir.Error{Kind: fhir.Invalid, Issues: issues[:min(len(issues), 20)]}
	}
	if list, given := known["_outputFormat"]; given && (len(list) != 1 || !slices.Contains(exportFormats, strings.ReplaceAll(list[0], " ", "+"))) {
		return &fhir.Error{Kind: fhir.Invalid, Issues: []fhir.Issue{{Code: "value", Text: "_outputFormat must be application/fhir+ndjson, application/ndjson or ndjson.", Expression: "http._outputFormat"}}}
	}
	if len(known.Encode()) > maxExportText {
		return &fhir.Error{Kind: fhir.TooBig, Issues: []fhir.Issue{{Code: "too-long", Text: fmt.Sprintf("The parameters are longer than %d bytes.", maxExportText)}}}
	}
	x.Values = known
	_, err := g.exportPlan(c, x)
	return err
}

// exportPlan reads what was asked for. It needs what a search of each type needs.
func (g *Guard) exportPlan(c Caller, x *export) (*exportPlan, error) {
	p := &exportPlan{g: g, c: c, x: x, filters: map[fhir.Type][]*search.Query{}}
	shared := url.Values{}
	for _, name := range []string{"_type", "_since", "_elements"} {
		if list, given := x.Values[name]; given {
			shared[name] = list
		}
	}
	var err error
	if p.query, err = engine.ParseEverything(shared, x.Lenient, g.zone); err != nil {
		return nil, err
	}
	if x.Level == ExportGroup {
		if err := g.requireScope(c, "Group", smart.MayRead); err != nil {
			return nil, err
		}
	}
	if p.types, err = p.openTypes(); err != nil {
		return nil, err
	}
	return p, p.readFilters()
}

// openTypes gives the types that there are files of, if there is something in them.
// Those that are named and not open are refused, or left out when lenient.
func (p *exportPlan) openTypes() ([]fhir.Type, error) {
	candidates := fhir.Types()
	if p.x.Level != ExportSystem {
		candidates = p.g.engine.RecordTypes()
	}
	named := p.query.Types
	if named != nil && p.x.Lenient {
		named = slices.DeleteFunc(slices.Clone(named), func(t fhir.Type) bool {
			return t == "AuditEvent" || !slices.Contains(candidates, t) || p.g.requireScope(p.c, t, smart.MaySearch) != nil
		})
		if len(named) == 0 { // nothing of it can be done
			named = p.query.Types
		}
	}
	for _, t := range named {
		if !slices.Contains(candidates, t) {
			return nil, fhir.ElementErrorf(fhir.Invalid, "http._type", "A %s belongs to no patient: it is in the export of the system.", t)
		}
	}
	open, err := p.g.openTypes(p.c, named)
	if err != nil {
		return nil, err
	}
	open = slices.DeleteFunc(open, func(t fhir.Type) bool { return !slices.Contains(candidates, t) })
	if len(open) == 0 {
		return nil, fhir.Errorf(fhir.Forbidden, "The scopes granted do not allow to search any type.")
	}
	return open, nil
}

// notInFilters are parameters that say what a page looks like, and not what is found.
var notInFilters = []string{"_count", "_sort", "_total", "_summary", "_elements", "_include", "_revinclude", "_contained", "_containedType", "_cursor", "_format", "_pretty", "_type"}

// readFilters reads _typeFilter: searches of types, of which what is given must meet
// one, if there is one of its type.
func (p *exportPlan) readFilters() error {
	refuse := func(format string, args ...any) error {
		return fhir.ElementErrorf(fhir.Invalid, "http._typeFilter", format, args...)
	}
	n, joins, alternatives := 0, 0, 0
	for _, list := range p.x.Values["_typeFilter"] {
		for _, filter := range splitFilters(list) {
			if n++; n > maxExportFilters {
				return refuse("There are more than %d searches in _typeFilter.", maxExportFilters)
			}
			name, query, _ := strings.Cut(filter, "?")
			t := fhir.Type(name)
			if !t.Valid() {
				return refuse("A _typeFilter is a search of a type: [type]?[parameters].")
			}
			if !slices.Contains(p.types, t) {
				if p.x.Lenient {
					continue
				}
				return refuse("There is a _typeFilter of a type that is not exported: %s.", t)
			}
			values, err := fhir.ParseQuery(query)
			if err != nil {
				return refuse("A _typeFilter holds a query that cannot be read.")
			}
			for name := range values {
				if before, _, _ := strings.Cut(name, ":"); slices.Contains(notInFilters, before) {
					return refuse("%s cannot be in a _typeFilter.", before)
				}
			}
			q, err := p.g.engine.Registry().Parse(t, values, p.g.searchOptions(p.x.Lenient))
			if err != nil {
				return inFilter(err)
			}
			j, v := q.Cost()
			if joins, alternatives = joins+j, alternatives+v; joins > maxExportJoins || alternatives > maxExportValues {
				return refuse("The searches in _typeFilter are too costly together: more than %d joins, or %d values.", maxExportJoins, maxExportValues)
			}
			p.filters[t] = append(p.filters[t], q)
		}
	}
	return nil
}

// splitFilters takes a list of searches apart: at the commas behind which there is a
// type, as the values in a search have commas too.
func splitFilters(list string) (filters []string) {
	for part := range strings.SplitSeq(list, ",") {
		name, _, query := strings.Cut(part, "?")
		if len(filters) == 0 || query && fhir.Type(name).Valid() {
			filters = append(filters, part)
		} else {
			filters[len(filters)-1] += "," + part
		}
	}
	return filters
}

// inFilter makes the refusal of a search one of _typeFilter.
func inFilter(err error) error {
	var known *fhir.Error
	if !errors.As(err, &known) {
		return err
	}
	said := *known
	said.Issues = slices.Clone(known.Issues)
	for i := range said.Issues {
		said.Issues[i].Text = strings.TrimPrefix(said.Issues[i].Expression, "http.") + ": " + said.Issues[i].Text
		said.Issues[i].Expression = "http._typeFilter"
	}
	return &said
}

// subset gives how much of each resource of a type is asked for: all, when _elements
// names elements of other types alone.
func (p *exportPlan) subset(t fhir.Type) fhir.Subset {
	mine := slices.ContainsFunc(p.query.Subset.Elements, func(name string) bool {
		first, _, deeper := strings.Cut(name, ".")
		return !deeper || !fhir.Type(first).Valid() || fhir.Type(first) == t
	})
	if !mine {
		return fhir.Subset{}
	}
	return p.query.Subset
}

// open settles whose data it is: those who are in the Group, which the caller must be
// able to read, and who are asked for.
func (p *exportPlan) open(tx *engine.Tx, e *auditEntry) error {
	if p.x.Patients != nil {
		p.listed = slices.Compact(slices.Sorted(slices.Values(p.x.Patients)))
	}
	if p.x.Level != ExportGroup {
		return nil
	}
	group, err := p.g.readGroup(tx, p.c, e, p.x.Group)
	if err != nil {
		return err
	}
	members, left, err := p.g.groupMembers(group, tx.Now())
	switch {
	case err != nil:
		return err
	case p.listed != nil:
		p.listed = slices.DeleteFunc(p.listed, func(k string) bool { return !members[k] })
	case len(members) <= p.g.maxListed:
		p.listed = sorted(members)
	default:
		p.left = left
	}
	return nil
}

// readGroup gives the Group of an export. It is looked for under what is open to the
// caller, not under the decisions on all who are in it.
func (g *Guard) readGroup(tx *engine.Tx, c Caller, e *auditEntry, id string) (*fhir.Resource, error) {
	key := fhir.Key{Type: "Group", ID: id}
	s, err := g.look(tx, c, key.Type, smart.MayRead, limitsTo(c, key.Type, smart.MayRead))
	if err != nil {
		return nil, err
	}
	e.from(s.person)
	found, err := tx.Read(key, s.sight)
	if err != nil {
		e.about(key)
	}
	return found, err
}

// groupMembers gives the patients who are in a Group now, as a set, and the ids of those
// whom it names and who are not. Most Groups need not be decoded for that. A Group in
// it is not followed.
func (g *Guard) groupMembers(group *fhir.Resource, now time.Time) (members map[string]bool, left []string, err error) {
	members = map[string]bool{}
	for value := range store.Terms(group.Terms).Values(referenceTerm("member")) {
		if bytes.HasPrefix(value, []byte("Patient/")) {
			members[string(value)] = true
		}
	}
	plain := !slices.ContainsFunc([]string{`"active":false`, `"inactive"`, `"period"`}, func(s string) bool { return bytes.Contains(group.JSON, []byte(s)) })
	if plain {
		return members, nil, nil
	}
	tree, err := fhir.Tree(group.JSON)
	if err != nil {
		return nil, nil, err
	}
	active, given := node(tree)["active"].(bool)
	in := map[string]bool{}
	for _, m := range node(tree).list("member") {
		inactive, _ := m["inactive"].(bool)
		if ref := relativeTo(g.base, m.obj("entity").str("reference")); !inactive && readPeriod(m.obj("period"), g.zone).holds(now) {
			in[ref] = active || !given
		}
	}
	for member := range members {
		if !in[member] {
			left = append(left, idOf(member))
			delete(members, member)
		}
	}
	slices.Sort(left)
	return members, left, nil
}

// look prepares what the caller may see of types, of anybody: what belongs to several
// patients is seen by a basis on any of them, whoever is listed.
func (p *exportPlan) look(tx *engine.Tx, types ...fhir.Type) (*sighting, error) {
	of := types
	for _, t := range types {
		if isDirectory(t) && slices.ContainsFunc(p.filters[t], (*search.Query).Joins) { // which may lead to a patient
			of = append(slices.Clone(types), "Patient")
		}
	}
	s, err := p.g.look(tx, p.c, "", smart.MaySearch, limitsToAny(p.c, of, smart.MaySearch))
	if err == nil {
		s.types = types
	}
	return s, err
}

// seen gives the types of which the caller sees something. That there is something is in
// the log of those whose it is: with a filter it tells as much as a file.
func (p *exportPlan) seen(tx *engine.Tx, e *auditEntry) (list []fhir.Type, err error) {
	all, err := p.look(tx, p.types...)
	if err != nil {
		return nil, err
	}
	p.asked(e, all, true)
	first := &fhir.Page{}
	for _, t := range p.types {
		s := all
		if len(p.filters[t]) > 0 { // which may lead to other types, as those of its own
			if s, err = p.look(tx, t); err != nil {
				return nil, err
			}
		}
		page, err := p.page(tx, s, t, p.walk(s, t), 1)
		if err != nil {
			return nil, err
		}
		if len(page.Entries) > 0 {
			list = append(list, t)
			first.Entries = append(first.Entries, page.Entries...)
		}
	}
	return list, e.shows(tx, all, first)
}

// asked notes what was asked for, and of whom if it is of one, as of a search that names
// one patient: whatever is found.
func (p *exportPlan) asked(e *auditEntry, s *sighting, first bool) {
	e.asked(s, p.x.Values, first)
	if !first || len(p.x.Patients) != 1 {
		return
	}
	for _, d := range s.decisions {
		if d.patient == p.x.Patients[0] {
			e.concern(d)
			e.Asked = []string{d.patient}
		}
	}
}

// within is the condition on whose data it is, beside what may be seen, when nobody is
// listed.
func (p *exportPlan) within(s *sighting, t fhir.Type) store.Expr {
	switch {
	case p.x.Level == ExportGroup:
		in := store.And{store.Back{Type: "Group", Name: referenceTerm("member"), Where: store.Equal{Name: store.ID, Value: p.x.Group}}}
		if len(p.left) > 0 {
			in = append(in, store.Not{Expr: store.In{Name: store.ID, Values: p.left}})
		}
		return ofPatients(t, in)
	case p.x.Level == ExportSystem || t == "Patient":
		return nil
	case t == "Consent" && s.person.is(smart.Provider): // they see their requests, also about others
		return ofPatients(t, s.ownership("Patient"))
	}
	return rowwise(store.Prefix{Name: store.Owner, Prefix: "Patient/"})
}

// ofPatients holds for what belongs to patients for whom a condition does: very many.
func ofPatients(t fhir.Type, where store.Expr) store.Expr {
	if t == "Patient" {
		return rowwise(where)
	}
	return rowwise(store.Ref{Name: store.Owner, Type: "Patient", Where: where})
}
