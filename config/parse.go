package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// A Problem is one thing wrong with a configuration.
type Problem struct {
	Line int    // 0 when it is about something that is not there
	Key  string // "issuers[0].issuer"; empty when it is about the file as a whole
	Text string
}

// Problems is everything wrong with a configuration, in the order of the file.
type Problems struct {
	Name string // of the file, as it was given
	List []Problem
}

func (p *Problems) Error() string {
	lines := make([]string, len(p.List))
	for i, problem := range p.List {
		place := p.Name
		if problem.Line > 0 {
			place = fmt.Sprintf("%s:%d", p.Name, problem.Line)
		}
		if problem.Key != "" {
			place += ": " + problem.Key
		}
		lines[i] = place + ": " + problem.Text
	}
	return strings.Join(lines, "\n")
}

// Parse reads a file's text, fills in defaults and checks the whole. Lookup
// finds environment variables, as os.LookupEnv does. The name of the file is
// for messages. Others who know what this package does not, like the codes of FHIR,
// can add problems, by their keys. An error is a [*Problems].
func Parse(name string, text []byte, lookup func(string) (string, bool), others ...func(*Config) []Problem) (*Config, error) {
	found := &Problems{Name: name}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		found.addYAML(err)
		return nil, found
	}
	c := new(Config)
	lines := map[string]int{}
	for i, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType {
			continue
		}
		if i > 0 {
			found.add(doc.Body.GetToken().Position.Line, "", "only one document is allowed")
			break
		}
		w := walk{found: found, lines: lines, lookup: lookup}
		w.check(doc.Body, reflect.TypeFor[Config](), "")
		if err := yaml.NodeToValue(doc.Body, c); err != nil {
			found.addYAML(err)
			return nil, found // what was read is half a configuration: checking it would mislead
		}
	}
	c.setDefaults()
	all := c.problems()
	for _, more := range others {
		all = append(all, more(c)...)
	}
	for _, p := range all {
		if slices.ContainsFunc(found.List, func(q Problem) bool { return q.Key == p.Key }) {
			continue // the first problem with a key is the cause
		}
		p.Line = lines[p.Key]
		found.List = append(found.List, p)
	}
	if len(found.List) == 0 {
		return c, nil
	}
	slices.SortStableFunc(found.List, func(a, b Problem) int { return a.Line - b.Line })
	return nil, found
}

func (p *Problems) add(line int, key, format string, args ...any) {
	p.List = append(p.List, Problem{line, key, fmt.Sprintf(format, args...)})
}

// addYAML adds an error of the YAML library with its position and without the
// excerpt of the file, which could show a secret.
func (p *Problems) addYAML(err error) {
	var positioned interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if !errors.As(err, &positioned) {
		p.add(0, "", "not YAML of the expected shape")
		return
	}
	line := 0
	if t := positioned.GetToken(); t != nil && t.Position != nil {
		line = t.Position.Line
	}
	p.add(line, "", "%s", positioned.GetMessage())
}

// A walk goes through the YAML tree before it is decoded: it notes where keys
// stand, refuses unknown ones, and puts in values from the environment.
type walk struct {
	found  *Problems
	lines  map[string]int
	lookup func(string) (string, bool)
}

var variable = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$`)

func (w *walk) check(node ast.Node, t reflect.Type, key string) {
	if tok := node.GetToken(); tok != nil && w.lines[key] == 0 {
		w.lines[key] = tok.Position.Line
	}
	switch n := node.(type) {
	case *ast.MappingNode:
		for _, pair := range n.Values {
			w.pair(pair, t, key)
		}
	case *ast.MappingValueNode:
		w.pair(n, t, key)
	case *ast.SequenceNode:
		for i, item := range n.Values {
			if t.Kind() == reflect.Slice {
				w.check(item, t.Elem(), fmt.Sprintf("%s[%d]", key, i))
			}
		}
	case *ast.StringNode:
		w.environment(n, key)
	}
}

func (w *walk) pair(pair *ast.MappingValueNode, t reflect.Type, key string) {
	line := pair.Key.GetToken().Position.Line
	name := pair.Key.GetToken().Value
	inner := strings.TrimPrefix(key+"."+name, ".")
	if t.Kind() != reflect.Struct {
		return // decoding will say that this is no place for keys
	}
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("yaml") == name {
			w.lines[inner] = line
			w.check(pair.Value, t.Field(i).Type, inner)
			return
		}
	}
	w.found.add(line, inner, "there is no such key")
}

func (w *walk) environment(n *ast.StringNode, key string) {
	match := variable.FindStringSubmatch(n.Value)
	if match == nil {
		return
	}
	value, ok := w.lookup(match[1])
	if !ok || value == "" {
		w.found.add(n.Token.Position.Line, key, "the environment variable %s is not set", match[1])
	}
	n.Value = value
}
