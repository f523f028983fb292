package lang

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A node is a piece of a template's source.
type node struct {
	kind     kind
	raw      string     // the text, the action, or the tag or action that opens
	name     string     // of an element, or of the template that a define defines
	branches []([]node) // what is inside: one for an element, one or more for a control
	between  []string   // the actions that part the branches of a control
	end      string     // the tag or action that closes
}

type kind int

const (
	text    kind = iota
	action       // one that stands alone: {{.Name}}
	control      // if, with, range, define
	element
	void // an element without an inside: <br>
)

// inline are the elements that can be a part of a sentence.
var inline = []string{"a", "strong", "em", "b", "i", "span", "abbr", "code", "time"}

// voids are the elements that are never closed.
var voids = []string{"br", "img", "input", "link", "meta", "hr", "wbr", "col", "source"}

// block reports whether a node parts sentences.
func (n node) block() bool {
	switch n.kind {
	case text:
		return strings.TrimSpace(n.raw) == "" && strings.Contains(n.raw, "\n")
	case action:
		return strings.HasPrefix(n.raw, "{{/*") || declares.MatchString(n.raw) || strings.HasPrefix(n.raw, `{{template "csrf"`)
	case void:
		return true
	case element:
		if !slices.Contains(inline, n.name) {
			return true
		}
	}
	for _, branch := range n.branches {
		if slices.ContainsFunc(branch, func(n node) bool { return n.kind != text && n.block() && n.name != "br" }) {
			return true
		}
	}
	return false
}

// declares matches an action that sets a variable and shows nothing.
var declares = regexp.MustCompile(`^\{\{-? *\$\w* *:?=`)

// write gives the source of nodes.
func write(nodes []node) string {
	var b strings.Builder
	for _, n := range nodes {
		b.WriteString(n.raw)
		for i, branch := range n.branches {
			if i > 0 {
				b.WriteString(n.between[i-1])
			}
			b.WriteString(write(branch))
		}
		b.WriteString(n.end)
	}
	return b.String()
}

// parse takes a template apart. It fails for one whose tags are not closed within
// the branch that opens them.
func parse(source string) ([]node, error) {
	tokens, err := lex(source)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	nodes, err := p.list()
	if err == nil && len(p.tokens) > 0 {
		err = fmt.Errorf("lang: %s closes nothing", p.tokens[0])
	}
	return nodes, err
}

type parser struct{ tokens []string }

var (
	tag  = regexp.MustCompile(`^<(/?)([a-zA-Z][a-zA-Z0-9]*)`)
	name = regexp.MustCompile(`^\{\{-?\s*define\s+"([^"]+)"`)
)

// keyword gives the first word of an action, or "".
func keyword(token string) string {
	act, ok := strings.CutPrefix(token, "{{")
	if !ok {
		return ""
	}
	act = strings.TrimLeft(strings.TrimPrefix(act, "-"), " \t\r\n\f")
	end := strings.IndexFunc(act, func(r rune) bool { return r != '_' && !letter(r) && (r < '0' || r > '9') })
	return act[:max(end, 0)] // an action goes on after its word
}

func letter(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }

// list reads nodes up to what closes the thing that they are in, which it leaves.
func (p *parser) list() ([]node, error) {
	var nodes []node
	for len(p.tokens) > 0 {
		token := p.tokens[0]
		m := tag.FindStringSubmatch(token)
		switch key := keyword(token); {
		case key == "else" || key == "end" || m != nil && m[1] == "/":
			return nodes, nil
		case slices.Contains([]string{"if", "with", "range", "define", "block"}, key):
			n, err := p.control()
			if err != nil {
				return nil, err
			}
			nodes = append(nodes, n)
			continue
		case strings.HasPrefix(token, "{{"):
			nodes = append(nodes, node{kind: action, raw: token})
		case m == nil && strings.HasPrefix(token, "<!"), m != nil && (slices.Contains(voids, strings.ToLower(m[2])) || strings.HasSuffix(token, "/>")):
			n := node{kind: void, raw: token}
			if m != nil {
				n.name = strings.ToLower(m[2])
			}
			nodes = append(nodes, n)
		case m != nil:
			n, err := p.element(strings.ToLower(m[2]))
			if err != nil {
				return nil, err
			}
			nodes = append(nodes, n)
			continue
		default:
			nodes = append(nodes, node{kind: text, raw: token})
		}
		p.tokens = p.tokens[1:]
	}
	return nodes, nil
}

func (p *parser) control() (node, error) {
	n := node{kind: control, raw: p.tokens[0]}
	if m := name.FindStringSubmatch(n.raw); m != nil {
		n.name = m[1]
	}
	p.tokens = p.tokens[1:]
	for {
		branch, err := p.list()
		if err != nil {
			return n, err
		}
		n.branches = append(n.branches, branch)
		if len(p.tokens) == 0 {
			return n, fmt.Errorf("lang: %s is never closed", n.raw)
		}
		token := p.tokens[0]
		p.tokens = p.tokens[1:]
		switch keyword(token) {
		case "else":
			n.between = append(n.between, token)
		case "end":
			n.end = token
			return n, nil
		default:
			return n, fmt.Errorf("lang: %s closes nothing within %s", token, n.raw)
		}
	}
}

func (p *parser) element(name string) (node, error) {
	n := node{kind: element, raw: p.tokens[0], name: name}
	p.tokens = p.tokens[1:]
	inside, err := p.list()
	if err != nil {
		return n, err
	}
	n.branches = [][]node{inside}
	if len(p.tokens) == 0 || !strings.EqualFold(p.tokens[0], "</"+name+">") {
		return n, fmt.Errorf("lang: %s is not closed where it was opened", n.raw)
	}
	n.end = p.tokens[0]
	p.tokens = p.tokens[1:]
	return n, nil
}

// lex cuts a template into texts, actions and tags. A tag keeps the actions in it.
func lex(source string) ([]string, error) {
	var tokens []string
	for source != "" {
		n, err := token(source)
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, source[:n])
		source = source[n:]
	}
	return tokens, nil
}

// token gives the length of the first token.
func token(source string) (int, error) {
	if strings.HasPrefix(source, "{{") {
		return actionLength(source)
	}
	if opensTag(source) {
		return tagLength(source)
	}
	for i := 1; i < len(source); i++ {
		next := strings.IndexAny(source[i:], "{<")
		if next < 0 {
			break
		}
		if i += next; strings.HasPrefix(source[i:], "{{") || opensTag(source[i:]) {
			return i, nil
		}
	}
	return len(source), nil
}

// opensTag is asked at every "<" and looks at no more than it must.
func opensTag(source string) bool {
	rest, ok := strings.CutPrefix(source, "<")
	if !ok || strings.HasPrefix(rest, "!") {
		return ok
	}
	rest = strings.TrimPrefix(rest, "/")
	return rest != "" && letter(rune(rest[0]))
}

// actionLength gives where the action ends that the source begins with.
func actionLength(source string) (int, error) {
	if open, _, _ := strings.Cut(source, "*"); open == "{{/" || open == "{{- /" {
		if i := strings.Index(source, "*/"); i >= 0 {
			if j := strings.Index(source[i:], "}}"); j >= 0 {
				return i + j + 2, nil
			}
		}
		return 0, fmt.Errorf("lang: a comment is never closed")
	}
	quote := byte(0)
	for i := 2; i < len(source); i++ {
		switch c := source[i]; {
		case quote == 0 && strings.HasPrefix(source[i:], "}}"):
			return i + 2, nil
		case quote == 0 && (c == '"' || c == '`' || c == '\''):
			quote = c
		case c == '\\' && quote != 0 && quote != '`':
			i++
		case c == quote:
			quote = 0
		}
	}
	return 0, fmt.Errorf("lang: %.40q is never closed", source)
}

// tagLength gives where the tag ends that the source begins with.
func tagLength(source string) (int, error) {
	quote := byte(0)
	for i := 1; i < len(source); i++ {
		switch c := source[i]; {
		case strings.HasPrefix(source[i:], "{{"):
			n, err := actionLength(source[i:])
			if err != nil {
				return 0, err
			}
			i += n - 1
		case quote == 0 && c == '>':
			return i + 1, nil
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		}
	}
	return 0, fmt.Errorf("lang: %.40q is never closed", source)
}
