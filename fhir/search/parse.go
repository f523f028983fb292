package search

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// Limits of one query.
const (
	maxAlternatives = 2000 // values, over all parameters
	maxJoins        = 5    // steps of one chain, counting _has
	maxTargets      = 10   // types that a chain without a type may lead to
	maxJoined       = 100  // joins, over all parameters and the types they may lead to, unless the options say
)

// A problem is why a parameter is refused.
type problem struct {
	code      string // of the issue; empty: the kind's own
	text      string
	ignorable bool // unknown or not supported: left out when lenient
}

func (p *problem) Error() string { return p.text }

// issue names the parameter.
func (p *problem) issue(key string) fhir.Issue {
	return fhir.Issue{Code: p.code, Text: p.text + ".", Expression: "http." + key}
}

// badValue refuses a value that makes no sense.
func badValue(format string, args ...any) error {
	return &problem{code: "value", text: fmt.Sprintf(format, args...)}
}

// unknown refuses a parameter that the type does not have.
func unknown(format string, args ...any) error {
	return &problem{code: "not-supported", text: fmt.Sprintf(format, args...), ignorable: true}
}

// unsupported refuses what is understood but not offered, lenient or not: a
// modifier that is ignored turns the meaning round.
func unsupported(format string, args ...any) error {
	return &problem{code: "not-supported", text: fmt.Sprintf(format, args...)}
}

// A parser reads one query.
type parser struct {
	r            *Registry
	opt          Options
	q            *Query
	types        []fhir.Type   // all that are searched, of which q is about one
	left         map[pair]bool // not to be read
	skipped      map[pair]bool // not read, since unknown
	includes     bool          // there is an _include or _revinclude
	elementsOf   map[string]elementNames
	key          string // the parameter that is being read
	alternatives int    // values so far
	joined       int    // joins so far
}

// Parse reads the query of a search of one type; values is the decoded query
// string, or the form of a POST. A parameter given twice must hold twice. All
// refusals of a query come together, as one [fhir.Error] of kind Invalid with an
// issue for each parameter. _cursor is set aside for the caller, see [Query].
func (r *Registry) Parse(t fhir.Type, values url.Values, opt Options) (*Query, error) {
	ps, err := r.newParser(t, opt)
	if err != nil {
		return nil, err
	}
	issues, err := ps.all(values)
	if err == nil {
		err = refuse(issues)
	}
	if err != nil {
		return nil, err
	}
	ps.q.joined, ps.q.values = ps.joined, ps.alternatives
	return ps.q, nil
}

func (r *Registry) newParser(t fhir.Type, opt Options) (*parser, error) {
	if r.types[t] == nil {
		return nil, fhir.Errorf(fhir.Invalid, "%q is no resource type of R4.", t)
	}
	if opt.MaxCount <= 0 {
		opt.MaxCount = 1000
	}
	if opt.DefaultCount <= 0 {
		opt.DefaultCount = 50
	}
	q := &Query{registry: r, Type: t, Applied: url.Values{}, Count: min(opt.DefaultCount, opt.MaxCount)}
	return &parser{r: r, opt: opt, q: q, types: []fhir.Type{t}, skipped: map[pair]bool{}, elementsOf: map[string]elementNames{}}, nil
}

// all reads every parameter and gives the refusals.
func (ps *parser) all(values url.Values) (issues []fhir.Issue, err error) {
	for key := range values {
		name, _, _ := strings.Cut(key, ":")
		ps.includes = ps.includes || name == "_include" || name == "_revinclude"
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		for _, value := range values[key] {
			if ps.left[pair{key, value}] {
				continue
			}
			applied, err := ps.parameter(key, value)
			var p *problem
			switch {
			case err == nil:
				if applied {
					ps.q.Applied.Add(key, value)
				}
			case errors.As(err, &p) && p.ignorable && ps.opt.Lenient:
				ps.skipped[pair{key, value}] = true
			case errors.As(err, &p):
				issues = append(issues, p.issue(key))
			default:
				return nil, err
			}
		}
	}
	return issues, nil
}

// refuse makes one error of all refusals, of the first twenty at most.
func refuse(issues []fhir.Issue) error {
	if len(issues) == 0 {
		return nil
	}
	return &fhir.Error{Kind: fhir.Invalid, Issues: issues[:min(len(issues), 20)]}
}

// parameter reads one name=value pair; applied is false for what is not part of
// the query.
func (ps *parser) parameter(key, value string) (applied bool, err error) {
	if strings.IndexByte(key, 0) >= 0 || strings.IndexByte(value, 0) >= 0 {
		return false, badValue("a NUL character is not allowed")
	}
	if !utf8.ValidString(key) || !utf8.ValidString(value) {
		return false, badValue("the text is not UTF-8")
	}
	ps.key = key
	if read, ok := resultParameters[strings.SplitN(key, ":", 2)[0]]; ok {
		return read(ps, key, value)
	}
	c, err := ps.search(ps.q.Type, key, value, 0)
	if err != nil {
		return false, err
	}
	ps.q.where = append(ps.q.where, c)
	return true, nil
}

// search reads a search parameter of a type: plain, with a modifier, a chain or
// _has. joins counts the steps that led here.
func (ps *parser) search(t fhir.Type, key, value string, joins int) (condition, error) {
	if joins > maxJoins {
		return nil, badValue("a chain of more than %d steps is too costly", maxJoins)
	}
	if joins > 0 {
		ps.joined++
	}
	if limit := cmp.Or(ps.opt.MaxJoins, maxJoined); ps.joined > limit {
		return nil, badValue("more than %d joins are too costly: name the types, as in subject:Patient", limit)
	}
	if rest, ok := strings.CutPrefix(key, "_has:"); ok {
		return ps.has(t, rest, value, joins)
	}
	switch key {
	case "_list":
		return ps.list(t, value)
	case textParam, contentParam:
		if !ps.r.SearchesText() {
			return nil, unknown("the words of resources are not indexed on this server")
		}
		e, err := ps.fullText(key, value)
		if err != nil {
			return nil, err
		}
		return fixed(e), nil
	}
	head, rest, chained := strings.Cut(key, ".")
	name, modifier, _ := strings.Cut(head, ":")
	p, ok := ps.r.Param(t, name)
	if !ok {
		return nil, ps.noParam(t, name)
	}
	if chained {
		return ps.chain(t, p, modifier, rest, value, joins)
	}
	if looksUp(p, modifier) {
		return ps.lookUp(t, p, modifier, value)
	}
	e, err := ps.leaf(t, p, modifier, value)
	if err != nil {
		return nil, err
	}
	if joins == 0 && (modifier == "" || modifier == "Patient") {
		ps.limit(t, p, e)
	}
	return fixed(e), nil
}

// noParam says why a name is no parameter.
func (ps *parser) noParam(t fhir.Type, name string) error {
	switch name {
	case "_list", textParam, contentParam:
		return unsupported("modifiers of %s are not supported", name)
	case "_filter", "_query", "_type", "_has", "_contained", "_containedType", "_score":
		return unknown("the parameter %s is not supported", name)
	}
	if p := ps.r.types[t].byName[name]; p != nil {
		return unknown("the parameter %s is not searchable until the data is indexed anew", name)
	}
	return unknown("%s has no search parameter %q", t, name)
}

// limit notes that a condition limits the query to the records of some patients.
func (ps *parser) limit(t fhir.Type, p *Param, e store.Expr) {
	name := p.names.plain
	prefix := ""
	switch {
	case t == "Patient" && p.Name == store.ID:
		prefix = "Patient/"
	case !ps.r.types[t].limits[p]:
		return
	}
	values, ok := valuesOf(name, e)
	if !ok {
		return
	}
	owners := make([]string, len(values))
	for i, v := range values {
		if owners[i] = prefix + v; !strings.HasPrefix(owners[i], "Patient/") {
			return
		}
	}
	if !ps.q.limited || len(owners) < len(ps.q.owners) {
		ps.q.limited, ps.q.owners = true, owners
	}
}

// valuesOf gives the values of a condition that is no more than a list of them.
func valuesOf(name string, e store.Expr) ([]string, bool) {
	switch e := e.(type) {
	case store.Equal:
		return []string{e.Value}, e.Name == name
	case store.In:
		return e.Values, e.Name == name
	}
	return nil, false
}

// leaf reads the values of a parameter that is not chained: alternatives separated
// by commas.
func (ps *parser) leaf(t fhir.Type, p *Param, modifier, value string) (store.Expr, error) {
	if modifier == "missing" {
		return ps.missing(t, p, value)
	}
	not := modifier == "not"
	if not {
		modifier = ""
	}
	if not && p.Kind != Token {
		return nil, badModifier(p, "not")
	}
	var any store.Or
	for _, v := range splitEscaped(value, ',') {
		if v == "" {
			return nil, badValue("a value is missing")
		}
		if err := ps.spend(1); err != nil {
			return nil, err
		}
		e, err := ps.valueQuery(t, p, modifier, v)
		if err != nil {
			return nil, err
		}
		any = append(any, e)
	}
	if not {
		return store.Not{Expr: anyOf(any)}, nil
	}
	return anyOf(any), nil
}

// spend counts values against the limit.
func (ps *parser) spend(n int) error {
	if ps.alternatives += n; ps.alternatives > maxAlternatives {
		return badValue("more than %d values are too costly", maxAlternatives)
	}
	return nil
}

// missing reads name:missing=true|false.
func (ps *parser) missing(t fhir.Type, p *Param, value string) (store.Expr, error) {
	there := ps.present(t, p)
	switch value {
	case "true":
		return store.Not{Expr: there}, nil
	case "false":
		return there, nil
	}
	return nil, badValue("%q is neither true nor false", value)
}

// present is the condition that a parameter has any value.
func (ps *parser) present(t fhir.Type, p *Param) store.Expr {
	switch {
	case p.Name == store.ID:
		return store.All()
	case p.unionOf != nil:
		var any store.Or
		for _, member := range p.unionOf {
			any = append(any, ps.present(t, member))
		}
		return anyOf(any)
	case p.acrossResource(t):
		var all store.And
		for _, c := range p.components {
			all = append(all, ps.present(t, c.param))
		}
		return all
	case p.Kind == Reference:
		return store.Or{store.Exists{Name: p.names.plain}, store.Exists{Name: p.names.identifier}}
	case p.Kind == Token:
		return store.Or{store.Exists{Name: p.names.plain}, store.Exists{Name: p.names.text}}
	}
	return store.Exists{Name: p.names.plain}
}

// valueQuery is the condition of one value of a parameter.
func (ps *parser) valueQuery(t fhir.Type, p *Param, modifier, value string) (store.Expr, error) {
	if p.unionOf != nil {
		var any store.Or
		for _, member := range p.unionOf {
			e, err := ps.valueQuery(t, member, modifier, value)
			if err != nil {
				return nil, err
			}
			any = append(any, e)
		}
		return anyOf(any), nil
	}
	if p.Name == store.ID && modifier == "" {
		if value = unescape(value); !fhir.ValidID(value) {
			return nil, badValue("%q is not an id", value)
		}
		return store.Equal{Name: store.ID, Value: value}, nil
	}
	switch p.Kind {
	case String:
		if slices.Contains([]string{"", "exact", "contains"}, modifier) {
			return stringQuery(p.names.plain, modifier, unescape(value))
		}
	case URI:
		if slices.Contains([]string{"", "above", "below"}, modifier) {
			return uriQuery(p.names.plain, modifier, value)
		}
	case Token:
		return ps.tokenValue(p, modifier, value)
	case Reference:
		return ps.referenceValue(p, modifier, value)
	}
	if modifier != "" {
		return nil, badModifier(p, modifier)
	}
	switch p.Kind {
	case Date:
		return dateQuery(p.names.plain, unescape(value), ps.r.zone, ps.opt.Now)
	case Number:
		return numberQuery(p.names.plain, unescape(value))
	case Quantity:
		return ps.r.units.quantityQuery(p.names, value)
	case Composite:
		return ps.compositeQuery(t, p, value)
	case Special:
		return nearQuery(p.names.plain, value)
	}
	return nil, unsupported("parameters of type %s are not supported", p.Kind)
}

func (ps *parser) tokenValue(p *Param, modifier, value string) (store.Expr, error) {
	switch {
	case modifier == "":
		return tokenQuery(p.names.plain, p.names.coded, p.systems, value)
	case modifier == "text" && p.Name != store.ID:
		folded := fold(unescape(value))
		if folded == "" || len(folded) > maxText {
			return nil, badValue("a text of at most %d bytes is needed", maxText)
		}
		return store.Contains{Name: p.names.text, Part: folded}, nil
	case modifier == "of-type" && p.Name == "identifier":
		return ofTypeQuery(p.names.ofType, value)
	}
	return nil, badModifier(p, modifier)
}

func (ps *parser) referenceValue(p *Param, modifier, value string) (store.Expr, error) {
	switch {
	case modifier == "":
		return ps.referenceQuery(p, "", value)
	case modifier == "identifier":
		return tokenQuery(p.names.identifier, p.names.identifierCoded, nil, value)
	case slices.Contains(p.Targets, fhir.Type(modifier)):
		return ps.referenceQuery(p, fhir.Type(modifier), value)
	case fhir.Type(modifier).Valid():
		return nil, badValue("%s never refers to a %s", p.Name, modifier)
	}
	return nil, badModifier(p, modifier)
}

func badModifier(p *Param, modifier string) error {
	return unsupported("the modifier :%s is not supported for the %s parameter %s", modifier, p.Kind, p.Name)
}
