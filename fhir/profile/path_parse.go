package profile

import (
	"encoding/json"
	"fmt"
	"strings"
)

// compile turns a FHIRPath expression (http://hl7.org/fhirpath/N1/) into a
// function. It knows the part of the language that the invariants of R4 and US
// Core are written in; anything else is an error.
func compile(text string) (expr, error) {
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	e, err := p.binary(0)
	if err != nil {
		return nil, err
	}
	if p.peek() != "" {
		return nil, fmt.Errorf("%q is left over", p.peek())
	}
	return e, nil
}

// lex cuts an expression into words, numbers, strings (with their quote in front)
// and operators.
func lex(s string) ([]string, error) {
	var tokens []string
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case isLetter(c) || c == '%' || c == '$':
			from := i
			for i++; i < len(s) && (isLetter(s[i]) || isDigit(s[i])); i++ {
			}
			tokens = append(tokens, s[from:i])
		case isDigit(c):
			from := i
			for i++; i < len(s) && (isDigit(s[i]) || s[i] == '.' && i+1 < len(s) && isDigit(s[i+1])); i++ {
			}
			tokens = append(tokens, s[from:i])
		case c == '\'':
			value, after, err := unquote(s, i+1)
			if err != nil {
				return nil, err
			}
			tokens = append(tokens, "'"+value)
			i = after
		case i+1 < len(s) && strings.Contains(" != <= >= ", " "+s[i:i+2]+" "):
			tokens = append(tokens, s[i:i+2])
			i += 2
		case strings.IndexByte(".,()[]|&=<>+-*/", c) >= 0:
			tokens = append(tokens, s[i:i+1])
			i++
		default:
			return nil, fmt.Errorf("%q at %d", c, i)
		}
	}
	return tokens, nil
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

func unquote(s string, i int) (string, int, error) {
	var b strings.Builder
	for ; i < len(s); i++ {
		switch s[i] {
		case '\'':
			return b.String(), i + 1, nil
		case '\\':
			if i++; i == len(s) {
				continue
			}
			switch s[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case 'r':
				b.WriteByte('\r')
			default:
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return "", 0, fmt.Errorf("a string does not end")
}

type parser struct {
	tokens []string
	at     int
}

func (p *parser) peek() string {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return ""
}

func (p *parser) next() string {
	t := p.peek()
	p.at++
	return t
}

func (p *parser) expect(token string) error {
	if got := p.next(); got != token {
		return fmt.Errorf("%q instead of %q", got, token)
	}
	return nil
}

// levels are the binary operators, the loosest first.
var levels = [][]string{{"implies"}, {"or", "xor"}, {"and"}, {"in", "contains"}, {"=", "!="}, {"<", "<=", ">", ">="}, {"|"}, {"is", "as"}, {"+", "-", "&"}, {"*", "/", "div", "mod"}}

func (p *parser) binary(level int) (expr, error) {
	if level == len(levels) {
		return p.path()
	}
	left, err := p.binary(level + 1)
	if err != nil {
		return nil, err
	}
	for p.at < len(p.tokens) && contains(levels[level], p.peek()) {
		op := p.next()
		if op == "is" || op == "as" {
			name, err := p.typeName()
			if err != nil {
				return nil, err
			}
			left = ofType(left, name, op)
			continue
		}
		right, err := p.binary(level + 1)
		if err != nil {
			return nil, err
		}
		left = operator(op, left, right)
	}
	return left, nil
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func (p *parser) typeName() (string, error) {
	name := p.next()
	if p.peek() == "." { // System.String, FHIR.Patient
		p.next()
		name = p.next()
	}
	if name == "" || !isLetter(name[0]) {
		return "", fmt.Errorf("%q is no type", name)
	}
	return name, nil
}

// path is a term and the steps that follow it.
func (p *parser) path() (expr, error) {
	e, err := p.term()
	if err != nil {
		return nil, err
	}
	for {
		switch p.peek() {
		case ".":
			p.next()
			s, err := p.step(p.next())
			if err != nil {
				return nil, err
			}
			before := e
			e = func(r *run, this []item) []item { return s(r, before(r, this), this) }
		case "[":
			p.next()
			index, err := p.binary(0)
			if err != nil {
				return nil, err
			}
			if err := p.expect("]"); err != nil {
				return nil, err
			}
			before := e
			e = func(r *run, this []item) []item { return at(before(r, this), index(r, this)) }
		default:
			return e, nil
		}
	}
}

func (p *parser) term() (expr, error) {
	t := p.next()
	switch {
	case t == "":
		return nil, fmt.Errorf("it ends too early")
	case t == "(":
		e, err := p.binary(0)
		if err != nil {
			return nil, err
		}
		return e, p.expect(")")
	case t[0] == '\'':
		return constant(t[1:]), nil
	case isDigit(t[0]):
		return constant(json.Number(t)), nil
	case t == "true" || t == "false":
		return constant(t == "true"), nil
	case t == "$this":
		return func(_ *run, this []item) []item { return this }, nil
	case t[0] == '%':
		return variable(t)
	}
	s, err := p.step(t)
	if err != nil {
		return nil, err
	}
	return func(r *run, this []item) []item { return s(r, this, this) }, nil
}

// step is a name or the call of a function.
func (p *parser) step(name string) (step, error) {
	if name == "" || !isLetter(name[0]) {
		return nil, fmt.Errorf("%q is no name", name)
	}
	if p.peek() != "(" {
		return child(name), nil
	}
	p.next()
	if name == "is" || name == "as" || name == "ofType" {
		t, err := p.typeName()
		if err != nil {
			return nil, err
		}
		return func(_ *run, in, _ []item) []item { return typed(in, t, name) }, p.expect(")")
	}
	var args []expr
	for p.peek() != ")" {
		if len(args) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		arg, err := p.binary(0)
		if err != nil {
			return nil, err
		}
		args = append(args, arg)
	}
	p.next()
	return function(name, args)
}
