package lang

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// A Source is a sentence of a template.
type Source struct {
	Template string // the innermost define that it is in
	Text     string // with its tags and actions, white space run together
}

// A Translator gives the translation of a sentence, a piece of template itself.
type Translator func(Source) string

// Translate makes a template in another language: every sentence of it is replaced
// by what t says. Sentences are also the values of attributes that are read out or
// shown ([attributes]), and the words that an action falls back on ({{or .Name
// "A provider"}}).
func Translate(source string, t Translator) (string, error) {
	nodes, err := parse(source)
	if err != nil {
		return "", err
	}
	w := &walker{t: t}
	return write(w.list("", nodes)), nil
}

// TranslateFiles translates the templates whose names match a pattern, and hands on
// the text of each.
func TranslateFiles(files fs.FS, pattern string, t Translator, each func(name, text string) error) error {
	names, err := fs.Glob(files, pattern)
	if err != nil {
		return err
	}
	for _, name := range names {
		source, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		text, err := Translate(string(source), t)
		if err != nil {
			return err
		}
		if err := each(name, text); err != nil {
			return err
		}
	}
	return nil
}

// Mark wraps every text of a template that is shown, so that a rendered page
// tells what did not come from the template's translated parts.
func Mark(source string, wrap func(string) string) (string, error) {
	nodes, err := parse(source)
	if err != nil {
		return "", err
	}
	var each func(nodes []node) []node
	each = func(nodes []node) []node {
		if insideTag(nodes) {
			return nodes
		}
		for i := range nodes {
			n := &nodes[i]
			if n.kind == text && wordy(n.raw) {
				n.raw = wrap(n.raw)
			}
			if n.kind == action {
				n.raw = fallbacks(n.raw, wrap)
			}
			if n.kind == element || n.kind == void {
				n.raw = inAttributes(n.raw, wrap)
			}
			for k := range n.branches {
				n.branches[k] = each(n.branches[k])
			}
		}
		return nodes
	}
	return write(each(nodes)), nil
}

// attributes are those whose value people read or hear.
var attributes = []string{"aria-label", "alt", "title", "placeholder", "data-copied", "data-empty", "data-label", "data-say"}

type walker struct{ t Translator }

// list translates the sentences among sibling nodes.
func (w *walker) list(scope string, nodes []node) []node {
	var out []node
	for len(nodes) > 0 {
		end := slices.IndexFunc(nodes, node.block)
		switch end {
		case -1:
			end = len(nodes)
		case 0:
			out = append(out, w.inside(scope, nodes[0]))
			nodes = nodes[1:]
			continue
		}
		out = append(out, w.run(scope, nodes[:end])...)
		nodes = nodes[end:]
	}
	return out
}

// run translates what stands between two blocks: as one sentence when there are
// words beside its elements and controls, and else each of those by itself.
func (w *walker) run(scope string, nodes []node) []node {
	if insideTag(nodes) {
		return nodes
	}
	if !slices.ContainsFunc(nodes, func(n node) bool { return n.kind == text && wordy(n.raw) }) {
		var out []node
		for _, n := range nodes {
			out = append(out, w.inside(scope, n))
		}
		return out
	}
	raw := write(nodes)
	trimmed := strings.TrimSpace(raw)
	before, after, _ := strings.Cut(raw, trimmed)
	key := strings.Join(strings.Fields(trimmed), " ")
	return []node{{kind: text, raw: before + w.t(Source{scope, key}) + after}}
}

// insideTag reports whether nodes are attributes, as of a template that is called
// within a tag.
func insideTag(nodes []node) bool {
	return len(nodes) > 0 && nodes[0].kind == text && isAttribute.MatchString(nodes[0].raw)
}

// inside translates what is inside a node.
func (w *walker) inside(scope string, n node) node {
	say := func(s string) string { return w.t(Source{scope, s}) }
	if n.kind == action {
		n.raw = fallbacks(n.raw, say)
	}
	if n.kind == element || n.kind == void {
		n.raw = inAttributes(n.raw, say)
	}
	if n.kind == control && n.name != "" {
		scope = n.name
	}
	branches := make([][]node, len(n.branches))
	for i := range n.branches {
		branches[i] = w.list(scope, n.branches[i])
	}
	n.branches = branches
	return n
}

// wordy reports whether a text has words in it.
func wordy(s string) bool {
	return strings.ContainsFunc(entity.ReplaceAllString(s, ""), unicode.IsLetter)
}

var (
	isAttribute = regexp.MustCompile(`^\s+[a-z-]+="`)
	entity      = regexp.MustCompile(`&#?\w+;`)
	inAction    = regexp.MustCompile(`\{\{[^{}]*\bor\b[^{}]*\}\}`)
	literal     = regexp.MustCompile(`"[^"]*"`)
)

// fallbacks changes the words that actions fall back on.
func fallbacks(raw string, say func(string) string) string {
	return inAction.ReplaceAllStringFunc(raw, func(act string) string {
		if key := keyword(act); key != "or" && !strings.Contains(act, "(or ") { // {{if or …}} shows nothing
			return act
		}
		return literal.ReplaceAllStringFunc(act, func(quoted string) string {
			words := strings.Trim(quoted, `"`)
			if !wordy(words) {
				return quoted
			}
			return `"` + say(words) + `"`
		})
	})
}

// inAttributes changes the values of a tag's attributes that people read.
func inAttributes(raw string, say func(string) string) string {
	for _, name := range attributes {
		open := " " + name + `="`
		start := strings.Index(raw, open)
		if start < 0 {
			continue
		}
		start += len(open)
		end := start
		for end < len(raw) && raw[end] != '"' {
			if strings.HasPrefix(raw[end:], "{{") {
				n, err := actionLength(raw[end:])
				if err != nil {
					return raw
				}
				end += n
				continue
			}
			end++
		}
		if value := raw[start:end]; wordy(actions.ReplaceAllString(value, "")) {
			raw = raw[:start] + say(value) + raw[end:]
		}
	}
	return raw
}

var actions = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
