package search

import (
	_ "embed"
	"fmt"
	"strings"
	"time"

	"mypatients/fhir"
)

// A Kind is the type of a search parameter, as in
// https://hl7.org/fhir/R4/search.html#ptypes.
type Kind string

// The kinds of parameters.
const (
	Number    Kind = "number"
	Date      Kind = "date"
	String    Kind = "string"
	Token     Kind = "token"
	Reference Kind = "reference"
	Composite Kind = "composite"
	Quantity  Kind = "quantity"
	URI       Kind = "uri"
	Special   Kind = "special" // near
)

// A Param is a search parameter of one resource type.
type Param struct {
	Name       string      // as in a query: "birthdate"
	Kind       Kind        // what its values look like
	Targets    []fhir.Type // of a reference: the types it may lead to; empty: none on this server
	Expression string      // FHIRPath, for this type only
	URL        string      // canonical URL of its definition

	systems    []string     // of a code element: the systems of its binding
	components []*component // of a composite
	each       node         // the compiled expression
	unionOf    []*Param     // stands for these parameters, has no terms of its own
	names      termNames
	custom     bool // was added
}

// A component is one part of a composite parameter.
type component struct {
	url        string // of the parameter that tells the kind
	expression string
	param      *Param
	each       node
}

// termNames are the names under which a parameter has terms.
type termNames struct{ plain, coded, text, ofType, identifier, identifierCoded string }

func namesOf(name string) termNames {
	return termNames{name, name + "|", name + ":text", name + ":of-type", name + ":identifier", name + ":identifier|"}
}

// A Registry holds the search parameters of every resource type and the rules
// of the Patient compartment. It is immutable and safe for concurrent use.
type Registry struct {
	types    map[fhir.Type]*typeParams
	byURL    map[string]*Param
	choices  *choices
	zone     *time.Location // of dates that name none
	units    units
	text     bool                         // words are indexed
	heldText bool                         // but not searched by
	held     func(fhir.Type, *Param) bool // not to be searched by
}

// typeParams are the parameters of one type.
type typeParams struct {
	list     []*Param // by name
	byName   map[string]*Param
	indexed  []*Param // those with terms of their own
	clinical []clinicalRule

	compartment []string        // names of parameters, as the compartment gives them
	owners      []*Param        // those that put a resource into a patient's compartment
	limits      map[*Param]bool // those whose value limits a query to patients
}

//go:embed r4/params.tsv
var paramsTSV string

//go:embed r4/choices.tsv
var choicesTSV string

//go:embed r4/compartment.tsv
var compartmentTSV string

// R4 reads the registry of R4 (4.0.1) that is built in: HL7's own search
// parameters and Patient compartment. Reading it takes some milliseconds;
// do it once.
func R4() (*Registry, error) {
	defs, err := readDefinitions(paramsTSV)
	if err != nil {
		return nil, err
	}
	compartment := map[string][]string{}
	for row := range rows(compartmentTSV) {
		compartment[row[0]] = strings.Split(row[1], ",")
	}
	units, err := readUnits(unitsTSV)
	if err != nil {
		return nil, err
	}
	r, err := newRegistry(defs, compartment)
	if err != nil {
		return nil, err
	}
	r.units = units
	return r, nil
}

// In gives a registry that takes dates and times without a zone, in resources and
// queries, to be of the zone given; that of R4 takes them as UTC. What was indexed
// before must be indexed again.
func (r *Registry) In(zone *time.Location) *Registry {
	moved := *r
	moved.zone = zone
	return &moved
}

// Zone is that of dates that name none, see [Registry.In].
func (r *Registry) Zone() *time.Location { return r.zone }

// Params lists the parameters of a type that can be searched by, in order of
// their names; nil for what is no type.
func (r *Registry) Params(t fhir.Type) []*Param {
	tp := r.types[t]
	if tp == nil {
		return nil
	}
	return r.visible(t, tp.list)
}

// Param gives one parameter of a type, or false.
func (r *Registry) Param(t fhir.Type, name string) (*Param, bool) {
	tp := r.types[t]
	if tp == nil {
		return nil, false
	}
	p, ok := tp.byName[name]
	if ok && r.holds(t, p) {
		return nil, false
	}
	return p, ok
}

// InCompartment reports whether resources of a type can belong to a patient's
// record: whether there is a rule by which they get owners.
func (r *Registry) InCompartment(t fhir.Type) bool {
	tp := r.types[t]
	return t == "Patient" || t == "Binary" || tp != nil && len(tp.owners) > 0
}

// A definition is one line of params.tsv.
type definition struct {
	base, name, kind string
	targets          []string
	expression, url  string
	systems          []string
	components       []*component
}

func readDefinitions(tsv string) ([]definition, error) {
	var defs []definition
	for row := range rows(tsv) {
		if len(row) != 8 {
			return nil, fmt.Errorf("search: definition of %d columns", len(row))
		}
		d := definition{base: row[0], name: row[1], kind: row[2], targets: split(row[3], ","), expression: row[4], url: row[5], systems: split(row[6], ",")}
		for _, c := range split(row[7], ";") {
			url, expression, _ := strings.Cut(c, "=")
			d.components = append(d.components, &component{url: url, expression: expression})
		}
		defs = append(defs, d)
	}
	return defs, nil
}

// rows gives the lines of a table without its comments, cut at tabs.
func rows(tsv string) func(func([]string) bool) {
	return func(yield func([]string) bool) {
		for line := range strings.Lines(tsv) {
			if line = strings.TrimRight(line, "\n"); line == "" || line[0] == '#' {
				continue
			}
			if !yield(strings.Split(line, "\t")) {
				return
			}
		}
	}
}

func split(s, sep string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, sep)
}
