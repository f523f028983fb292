package rest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"mypatients/fhir"
)

// arguments are the parameters of an operation, taken out of a Parameters
// resource one by one. What is wrong is collected; finish reports it all.
type arguments struct {
	list   []argument
	asked  map[string]bool
	issues []fhir.Issue
}

type argument struct {
	at    string // "Parameters.parameter[2]"
	name  string
	kind  string // "valueString"; empty when it has no value
	value any
}

// arguments reads the body of an operation. No body at all is as good as empty
// Parameters.
func (q *request) arguments() (*arguments, error) {
	if err := q.noQuery(); err != nil {
		return nil, err
	}
	return q.queryArguments()
}

// queryArguments is arguments for an operation that reads the query too.
func (q *request) queryArguments() (*arguments, error) {
	a := &arguments{asked: map[string]bool{}}
	if q.Request.ContentLength == 0 {
		return a, nil
	}
	body, err := q.resourceBody()
	if err != nil {
		return nil, err
	}
	doc, err := fhir.Parse(body)
	if err != nil {
		return nil, err
	}
	if doc.Type != "Parameters" {
		return nil, fhir.Errorf(fhir.Invalid, "The body must be a Parameters resource.")
	}
	rows, _ := doc.Tree["parameter"].([]any)
	for i, row := range rows {
		fields, _ := row.(map[string]any)
		name, _ := fields["name"].(string)
		arg := argument{at: fmt.Sprintf("Parameters.parameter[%d]", i), name: name}
		for field, value := range fields {
			if len(field) > len("value") && field[:len("value")] == "value" {
				arg.kind, arg.value = field, value
			}
		}
		a.list = append(a.list, arg)
	}
	return a, nil
}

// finish reports what is wrong, parameters that nobody asked for included.
func (a *arguments) finish() error {
	for _, arg := range a.list {
		if !a.asked[arg.name] {
			a.wrong(arg, "This operation has no such parameter.")
		}
	}
	if len(a.issues) == 0 {
		return nil
	}
	return &fhir.Error{Kind: fhir.Invalid, Issues: a.issues}
}

func (a *arguments) wrong(arg argument, text string) {
	a.issues = append(a.issues, fhir.Issue{Text: text, Expression: arg.at})
}

func (a *arguments) many(name string) []argument {
	a.asked[name] = true
	var found []argument
	for _, arg := range a.list {
		if arg.name == name {
			found = append(found, arg)
		}
	}
	return found
}

// one gives the only argument of a name.
func (a *arguments) one(name string) (argument, bool) {
	found := a.many(name)
	if len(found) > 1 {
		a.wrong(found[1], "This parameter may be given once.")
	}
	if len(found) == 0 {
		return argument{}, false
	}
	return found[0], true
}

// required notes that an argument is missing.
func (a *arguments) required(name string, given bool) {
	if !given {
		a.issues = append(a.issues, fhir.Issue{Code: "required", Text: fmt.Sprintf("The parameter %q is required.", name), Expression: "Parameters.parameter"})
	}
}

// text takes a string; empty when it is not given.
func (a *arguments) text(name string) string {
	arg, ok := a.one(name)
	if !ok {
		return ""
	}
	return a.word(arg)
}

func (a *arguments) word(arg argument) string {
	switch arg.kind {
	case "valueString", "valueCode", "valueId", "valueUri", "valueMarkdown":
		if s, ok := arg.value.(string); ok {
			return s
		}
	case "valueCoding":
		coding, _ := arg.value.(map[string]any)
		if s, ok := coding["code"].(string); ok {
			return s
		}
	}
	a.wrong(arg, "This must be a text.")
	return ""
}

// truth takes a boolean; false when it is not given.
func (a *arguments) truth(name string) bool {
	arg, ok := a.one(name)
	if !ok {
		return false
	}
	b, ok := arg.value.(bool)
	if !ok || arg.kind != "valueBoolean" {
		a.wrong(arg, "This must be a boolean.")
	}
	return b
}

// into adds arguments that are primitives to a query.
func (a *arguments) into(query url.Values, names ...string) {
	for _, name := range names {
		var words []string
		for _, arg := range a.many(name) {
			switch value := arg.value.(type) {
			case string:
				words = append(words, value)
			case json.Number:
				words = append(words, value.String())
			default:
				a.wrong(arg, "This must be a primitive value.")
			}
		}
		if words != nil {
			query.Add(name, strings.Join(words, ","))
		}
	}
}

// types takes the resource types given under a name.
func (a *arguments) types(name string) []fhir.Type {
	var list []fhir.Type
	for _, arg := range a.many(name) {
		t := fhir.Type(a.word(arg))
		if t != "" && !t.Valid() {
			a.wrong(arg, "This must be a resource type.")
			continue
		}
		list = append(list, t)
	}
	return list
}

// subject takes a reference, or a text that stands for one.
func (a *arguments) subject(name string) string {
	arg, ok := a.one(name)
	if !ok {
		return ""
	}
	if arg.kind != "valueReference" {
		return a.word(arg)
	}
	reference, _ := arg.value.(map[string]any)
	s, ok := reference["reference"].(string)
	if !ok {
		a.wrong(arg, "This must hold a reference.")
	}
	return s
}

// period takes a Period as a half-open stretch of time: a bound that names a day,
// a month or a year covers all of it, in the site's zone. A bound that is not
// given is zero.
func (a *arguments) period(name string, zone *time.Location) (from, until time.Time) {
	arg, ok := a.one(name)
	if !ok {
		return
	}
	period, isPeriod := arg.value.(map[string]any)
	if arg.kind != "valuePeriod" || !isPeriod {
		a.wrong(arg, "This must be a Period.")
		return
	}
	bound := func(field string) (first, after time.Time) {
		s, given := period[field].(string)
		if !given {
			return
		}
		first, after, err := stretch(s, zone)
		if err != nil {
			arg.at += ".valuePeriod." + field
			a.wrong(arg, "This must be a dateTime.")
		}
		return first, after
	}
	from, _ = bound("start")
	_, until = bound("end")
	return from, until
}

// stretch gives the first moment of a dateTime and the first one after it
// (https://hl7.org/fhir/R4/datatypes.html#dateTime).
func stretch(s string, zone *time.Location) (first, after time.Time, err error) {
	for _, p := range []struct {
		layout              string
		years, months, days int
	}{{"2006", 1, 0, 0}, {"2006-01", 0, 1, 0}, {"2006-01-02", 0, 0, 1}} {
		if t, err := time.ParseInLocation(p.layout, s, zone); err == nil {
			return t, t.AddDate(p.years, p.months, p.days), nil
		}
	}
	t, err := time.Parse(time.RFC3339, s)
	return t, t, err
}

// A result is a row of the Parameters that an operation answers with.
type result map[string]any

func row(name, kind string, value any) result { return result{"name": name, kind: value} }

// parameters answers with a Parameters resource.
func (q *request) parameters(status int, rows []result) error {
	body, err := json.Marshal(map[string]any{"resourceType": "Parameters", "parameter": rows})
	if err != nil {
		return err
	}
	q.Header("Cache-Control", "no-store")
	q.write(status, body)
	return nil
}
