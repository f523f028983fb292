package lang

import (
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

//go:embed es.txt
var spanish string

// A Catalogue has the translations of one language.
type Catalogue struct {
	entries []Entry
	shared  []Entry
	found   map[Source]string
}

// An Entry is a sentence and its translation. Without a template it holds in all
// of them.
type Entry struct {
	Source
	Translation string
}

// Of gives the catalogue of a language; that of English is empty, and translates
// everything into itself.
func Of(l Language) (*Catalogue, error) {
	if l == Spanish {
		return Read(spanish)
	}
	return Read("")
}

// Read reads a catalogue: see the head of es.txt for its form.
func Read(source string) (*Catalogue, error) {
	c := &Catalogue{found: map[Source]string{}}
	scope, pending := "", ""
	for i, line := range strings.Split(source, "\n") {
		translation, indented := strings.CutPrefix(line, "\t")
		section, isSection := strings.CutPrefix(line, "[")
		switch {
		case indented && pending == "":
			return nil, fmt.Errorf("lang: line %d translates nothing", i+1)
		case indented:
			if err := c.add(Entry{Source{scope, pending}, translation}); err != nil {
				return nil, fmt.Errorf("lang: line %d: %w", i+1, err)
			}
			pending = ""
		case pending != "":
			return nil, fmt.Errorf("lang: line %d has no translation", i)
		case isSection && strings.HasSuffix(section, "]"):
			scope = strings.TrimSuffix(section, "]")
		case line != "" && !strings.HasPrefix(line, "# ") && line != "#":
			pending = line
		}
	}
	if pending != "" {
		return nil, errors.New("lang: the last line has no translation")
	}
	return c, nil
}

func (c *Catalogue) add(e Entry) error {
	if name, ok := strings.CutPrefix(e.Text, "= "); ok {
		c.shared = append(c.shared, Entry{Source{name, ""}, e.Translation})
		return nil
	}
	if _, twice := c.found[e.Source]; twice {
		return errors.New("a sentence is there twice")
	}
	if err := e.check(); err != nil {
		return err
	}
	c.entries = append(c.entries, e)
	c.found[e.Source] = e.Translation
	return nil
}

// Entries lists the translations, in the order of the file.
func (c *Catalogue) Entries() []Entry { return slices.Clone(c.entries) }

// Find gives the translation of a sentence, by the template that it is in or by
// itself.
func (c *Catalogue) Find(s Source) (Entry, bool) {
	for _, at := range []Source{s, {Text: s.Text}} {
		if t, ok := c.found[at]; ok {
			return Entry{at, t}, true
		}
	}
	return Entry{}, false
}

// Say is a [Translator]: what has no translation stays in English.
func (c *Catalogue) Say(s Source) string {
	if e, ok := c.Find(s); ok {
		return e.Translation
	}
	return s.Text
}

// Text translates a sentence that is no template; ok says whether it could.
func (c *Catalogue) Text(english string) (translation string, ok bool) {
	e, ok := c.Find(Source{Text: english})
	if !ok {
		return english, false
	}
	return e.Translation, true
}

// Shared is the source of the templates that the translations share.
func (c *Catalogue) Shared() string {
	var b strings.Builder
	for _, e := range c.shared {
		fmt.Fprintf(&b, "{{define %q}}%s{{end}}\n", e.Template, e.Translation)
	}
	return b.String()
}

// check reports what a translation has and its sentence has not, or the other way
// round: tags, and values that are shown.
func (e Entry) check() error {
	if strings.ContainsAny(e.Translation, "\n\r\t") || strings.TrimSpace(e.Translation) == "" {
		return errors.New("a translation is empty, or not one line")
	}
	from, err := piecesOf(e.Text)
	if err != nil {
		return err
	}
	to, err := piecesOf(e.Translation)
	if err != nil {
		return err
	}
	if !slices.Equal(from.tags, to.tags) {
		return fmt.Errorf("%q has the tags %q, and its translation %q", e.Text, from.tags, to.tags)
	}
	for _, p := range from.shown {
		if !slices.ContainsFunc(to.paths, func(q string) bool { return covers(q, p) }) {
			return fmt.Errorf("the translation of %q does not show %s", e.Text, p)
		}
	}
	for _, q := range to.paths {
		if !slices.ContainsFunc(from.paths, func(p string) bool { return covers(q, p) || covers(p, q) }) {
			return fmt.Errorf("the translation of %q knows %s", e.Text, q)
		}
	}
	for _, words := range from.words {
		if slices.Contains(to.words, words) {
			return fmt.Errorf("the translation of %q still says %q", e.Text, words)
		}
	}
	return nil
}

// covers reports whether a value holds another: "." holds ".Name".
func covers(whole, part string) bool {
	return part == whole || strings.HasPrefix(part, whole+".") || (whole == "." || whole == "$") && strings.HasPrefix(part, whole)
}

// pieces are what a sentence and its translation must have in common.
type pieces struct {
	tags  []string // of HTML, each once
	paths []string // of the values it uses: .Name, $.Role
	shown []string // those of them that are shown
	words []string // that actions fall back on
}

// path matches a value in an action that has no quoted words any more.
var path = regexp.MustCompile(`(\$\w*)?(\.\w+)+|\$\w*|(^|[\s(])\.($|[\s)])`)

func piecesOf(source string) (pieces, error) {
	var p pieces
	nodes, err := parse(source)
	if err != nil {
		return p, err
	}
	p.collect(nodes)
	for _, list := range []*[]string{&p.tags, &p.paths, &p.shown, &p.words} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return p, nil
}

func (p *pieces) collect(nodes []node) {
	for _, n := range nodes {
		switch n.kind {
		case element, void:
			p.tags = append(p.tags, inAttributes(n.raw, func(string) string { return "" }), n.end)
			for _, act := range actions.FindAllString(n.raw, -1) {
				p.use(act, false)
			}
		case action:
			p.use(n.raw, true)
			fallbacks(n.raw, func(s string) string { p.words = append(p.words, s); return s })
		case control:
			p.use(n.raw, keyword(n.raw) == "with")
			for _, act := range n.between {
				p.use(act, false)
			}
		}
		for _, branch := range n.branches {
			p.collect(branch)
		}
	}
}

// use notes the values of an action.
func (p *pieces) use(act string, shown bool) {
	inside := literal.ReplaceAllString(strings.Trim(act, "{}- "), "")
	for _, found := range path.FindAllString(inside, -1) {
		found = strings.Trim(found, " ()")
		p.paths = append(p.paths, found)
		if shown {
			p.shown = append(p.shown, found)
		}
	}
}
