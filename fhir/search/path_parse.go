package search

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mypatients/fhir"
)

// Limits of an expression: it may come from a SearchParameter that a client wrote.
const (
	maxExpression = 8192
	maxNesting    = 40
)

// compile reads a FHIRPath expression of the subset that search parameters use:
// paths, | and, or, xor, implies, = and !=, is and as, indexers, literals,
// %resource, and the functions where, exists, empty, not, first, last, resolve,
// as, ofType, is, extension. context is the path of the input, "Observation" or
// "Observation.component", by which choice elements are known.
func compile(expression, context string, known *choices) (node, error) {
	return (&pathParser{choices: known, context: context}).parse(expression)
}

func (p *pathParser) parse(expression string) (node, error) {
	if len(expression) > maxExpression {
		return nil, fmt.Errorf("expression longer than %d bytes", maxExpression)
	}
	if err := p.scan(expression); err != nil {
		return nil, err
	}
	n, err := p.implies()
	if err != nil {
		return nil, err
	}
	if p.at < len(p.tokens) {
		return nil, fmt.Errorf("unexpected %q", p.tokens[p.at].text)
	}
	return n, nil
}

// A lexeme is one token of an expression; kind is 'i' identifier, 's' string,
// 'n' number, 'o' operator.
type lexeme struct {
	kind byte
	text string
}

type pathParser struct {
	choices *choices
	context string
	tokens  []lexeme
	at      int
	depth   int

	paths []string    // of the elements that were named, where they are known
	heads []fhir.Type // at the heads of paths
}

func (p *pathParser) scan(s string) error {
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case isLetter(c) || c == '_' || c == '%' || c == '$':
			j := i + 1
			for j < len(s) && (isLetter(s[j]) || isDigit(s[j]) || s[j] == '_') {
				j++
			}
			p.tokens = append(p.tokens, lexeme{'i', s[i:j]})
			i = j
		case isDigit(c):
			j := i + 1
			for j < len(s) && (isDigit(s[j]) || s[j] == '.' && j+1 < len(s) && isDigit(s[j+1])) {
				j++
			}
			p.tokens = append(p.tokens, lexeme{'n', s[i:j]})
			i = j
		case c == '\'':
			text, n, err := quoted(s[i:])
			if err != nil {
				return err
			}
			p.tokens = append(p.tokens, lexeme{'s', text})
			i += n
		case c == '!' && strings.HasPrefix(s[i:], "!="):
			p.tokens = append(p.tokens, lexeme{'o', "!="})
			i += 2
		case strings.IndexByte(".()[]|=,", c) >= 0:
			p.tokens = append(p.tokens, lexeme{'o', s[i : i+1]})
			i++
		default:
			return fmt.Errorf("unexpected %q", c)
		}
	}
	return nil
}

// quoted reads a string in single quotes and gives its length in the source.
func quoted(s string) (text string, n int, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\'':
			return b.String(), i + 1, nil
		case '\\':
			i++
			if i == len(s) {
				return "", 0, fmt.Errorf("string without end")
			}
		}
		b.WriteByte(s[i])
	}
	return "", 0, fmt.Errorf("string without end")
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// take moves on when the next token is an operator or word of the list.
func (p *pathParser) take(texts ...string) (string, bool) {
	if p.at < len(p.tokens) && p.tokens[p.at].kind != 's' && slices.Contains(texts, p.tokens[p.at].text) {
		p.at++
		return p.tokens[p.at-1].text, true
	}
	return "", false
}

func (p *pathParser) need(text string) error {
	if _, ok := p.take(text); !ok {
		return fmt.Errorf("%q is missing", text)
	}
	return nil
}

// binary reads a chain of operators of one rank.
func (p *pathParser) binary(next func() (node, error), ops []string, make func(op string, a, b node) node) (node, error) {
	a, err := next()
	if err != nil {
		return nil, err
	}
	for {
		op, ok := p.take(ops...)
		if !ok {
			return a, nil
		}
		b, err := next()
		if err != nil {
			return nil, err
		}
		a = make(op, a, b)
	}
}

func (p *pathParser) implies() (node, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxNesting {
		return nil, fmt.Errorf("nested too deep")
	}
	join := func(op string, a, b node) node { return &logic{op, a, b} }
	or := func() (node, error) {
		and := func() (node, error) { return p.binary(p.equality, []string{"and"}, join) }
		return p.binary(and, []string{"or", "xor"}, join)
	}
	return p.binary(or, []string{"implies"}, join)
}

func (p *pathParser) equality() (node, error) {
	return p.binary(p.union, []string{"=", "!="}, func(op string, a, b node) node { return &equal{a, b, op == "!="} })
}

func (p *pathParser) union() (node, error) {
	return p.binary(p.typed, []string{"|"}, func(_ string, a, b node) node {
		if u, ok := a.(*union); ok {
			return &union{append(slices.Clone(u.parts), b)}
		}
		return &union{[]node{a, b}}
	})
}

// typed reads "x is T" and "x as T".
func (p *pathParser) typed() (node, error) {
	n, err := p.path()
	if err != nil {
		return nil, err
	}
	op, ok := p.take("is", "as")
	if !ok {
		return n, nil
	}
	name, err := p.typeName()
	if err != nil {
		return nil, err
	}
	if op == "is" {
		return &isType{n, name}, nil
	}
	return p.as(n, name), nil
}

// typeName reads a type, possibly qualified: FHIR.Patient, System.String.
func (p *pathParser) typeName() (string, error) {
	name, err := p.identifier()
	if err != nil {
		return "", err
	}
	if name == "FHIR" || name == "System" {
		if err := p.need("."); err != nil {
			return "", err
		}
		return p.identifier()
	}
	return name, nil
}

// as narrows to a type: by the JSON name where the element is a choice.
func (p *pathParser) as(n node, name string) node {
	f, ok := n.(*field)
	if !ok || !p.choices.names[f.name] || fhir.Type(name).Valid() {
		return &asType{n, name}
	}
	return &field{f.of, f.name, f.path, []string{choiceKey(f.name, name)}}
}

func choiceKey(name, typ string) string { return name + strings.ToUpper(typ[:1]) + typ[1:] }

func (p *pathParser) identifier() (string, error) {
	if p.at == len(p.tokens) || p.tokens[p.at].kind != 'i' {
		return "", fmt.Errorf("a name is missing")
	}
	p.at++
	return p.tokens[p.at-1].text, nil
}

// path reads a term and what is chained to it by dots and brackets.
func (p *pathParser) path() (node, error) {
	n, err := p.head()
	if err != nil {
		return nil, err
	}
	for {
		op, ok := p.take(".", "[")
		if !ok {
			return n, nil
		}
		if op == "[" {
			n, err = p.indexer(n)
		} else {
			n, err = p.step(n)
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *pathParser) indexer(of node) (node, error) {
	if p.at == len(p.tokens) || p.tokens[p.at].kind != 'n' {
		return nil, fmt.Errorf("an index is missing")
	}
	i, err := strconv.Atoi(p.tokens[p.at].text)
	if err != nil {
		return nil, fmt.Errorf("%q is no index", p.tokens[p.at].text)
	}
	p.at++
	return &index{of, i}, p.need("]")
}

// head reads what a path may begin with.
func (p *pathParser) head() (node, error) {
	if _, ok := p.take("("); ok {
		n, err := p.implies()
		if err != nil {
			return nil, err
		}
		return n, p.need(")")
	}
	if p.at == len(p.tokens) {
		return nil, fmt.Errorf("unexpected end")
	}
	t := p.tokens[p.at]
	switch {
	case t.kind == 's':
		p.at++
		return literal{t.text}, nil
	case t.kind == 'n':
		p.at++
		return literal{json.Number(t.text)}, nil
	case t.kind != 'i':
		return nil, fmt.Errorf("unexpected %q", t.text)
	}
	switch t.text {
	case "true", "false":
		p.at++
		return literal{t.text == "true"}, nil
	case "$this":
		p.at++
		return thisNode{}, nil
	case "%resource", "%context", "%rootResource":
		p.at++
		return rootNode{}, nil
	}
	if fhir.Type(t.text).Valid() || t.text == "Resource" || t.text == "DomainResource" {
		p.at++
		p.heads = append(p.heads, fhir.Type(t.text))
		return typeNode{t.text}, nil
	}
	return p.step(thisNode{})
}

// step reads a field or a function.
func (p *pathParser) step(of node) (node, error) {
	name, err := p.identifier()
	if err != nil {
		return nil, err
	}
	if name[0] == '%' || name[0] == '$' {
		return nil, fmt.Errorf("%s is not supported", name)
	}
	if _, ok := p.take("("); ok {
		n, err := p.function(of, name)
		if err != nil {
			return nil, err
		}
		return n, p.need(")")
	}
	return p.field(of, name), nil
}

// field makes the step to an element, whose JSON name depends on its type where
// it is a choice.
func (p *pathParser) field(of node, name string) *field {
	f := &field{of, name, p.pathOf(of) + "." + name, []string{name}}
	if name == "extension" || name == "modifierExtension" {
		f.path = "Extension"
	}
	p.paths = append(p.paths, f.path)
	if types := p.choices.types[f.path]; types != nil {
		f.keys = nil
		for _, t := range types {
			f.keys = append(f.keys, choiceKey(name, t))
		}
	}
	return f
}

// pathOf gives the element path of what an expression yields, "Patient.contact".
func (p *pathParser) pathOf(n node) string {
	switch n := n.(type) {
	case typeNode:
		return n.name
	case *field:
		return n.path
	case *filter:
		return p.pathOf(n.of)
	case *index:
		return p.pathOf(n.of)
	case *last:
		return p.pathOf(n.of)
	case thisNode:
		return p.context
	}
	return ""
}

// condition reads an expression about the items of another.
func (p *pathParser) condition(of node) (node, error) {
	outer := p.context
	p.context = p.pathOf(of)
	defer func() { p.context = outer }()
	return p.implies()
}

// function reads the argument of a function whose name and bracket were read.
func (p *pathParser) function(of node, name string) (node, error) {
	switch name {
	case "first":
		return &index{of, 0}, nil
	case "last":
		return &last{of}, nil
	case "not":
		return &negate{of}, nil
	case "empty":
		return &negate{&exists{of, nil}}, nil
	case "resolve":
		return &target{of}, nil
	case "exists":
		if p.at < len(p.tokens) && p.tokens[p.at] == (lexeme{'o', ")"}) {
			return &exists{of, nil}, nil
		}
		cond, err := p.condition(of)
		return &exists{of, cond}, err
	case "where":
		cond, err := p.condition(of)
		return &filter{of, cond}, err
	case "extension":
		url, err := p.implies()
		return &filter{p.field(of, "extension"), &equal{&field{thisNode{}, "url", "Extension.url", []string{"url"}}, url, false}}, err
	case "as", "ofType":
		t, err := p.typeName()
		if err != nil {
			return nil, err
		}
		return p.as(of, t), nil
	case "is":
		t, err := p.typeName()
		return &isType{of, t}, err
	}
	return nil, fmt.Errorf("the function %s is not supported", name)
}
