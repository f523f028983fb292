package web_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"mypatients/gateway/lang"
	"mypatients/gateway/web"
)

// TestEverySentenceIsTranslated: what the templates and the program say has a
// translation, and no translation is left over.
func TestEverySentenceIsTranslated(t *testing.T) {
	catalogue, err := lang.Of(lang.Spanish)
	if err != nil {
		t.Fatal(err)
	}
	files, err := web.TemplateSources()
	if err != nil {
		t.Fatal(err)
	}
	used := map[lang.Source]bool{}
	find := func(where string, s lang.Source) {
		e, ok := catalogue.Find(s)
		if !ok {
			t.Errorf("%s: gateway/lang/es.txt has no translation of\n%s", where, s.Text)
		}
		used[e.Source] = true
	}
	for file, source := range files {
		same, err := lang.Translate(source, func(s lang.Source) string {
			find(file+" ["+s.Template+"]", s)
			return s.Text
		})
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if strings.Join(strings.Fields(same), " ") != strings.Join(strings.Fields(source), " ") {
			t.Errorf("%s is not the same when every sentence is its own translation", file)
		}
	}
	said := sentencesOf(t)
	if len(said) < 35 {
		t.Errorf("only %d sentences were found in Go files", len(said))
	}
	for text, where := range said {
		find(where, lang.Source{Text: text})
	}
	for _, e := range catalogue.Entries() {
		if !used[e.Source] {
			t.Errorf("gateway/lang/es.txt: nothing says any more\n%s", e.Text)
		}
	}
}

// sentencesOf collects the sentences in Go files that people read: notices, and
// what the page of an error shows.
func sentencesOf(t *testing.T) map[string]string {
	t.Helper()
	said := map[string]string{}
	for _, pattern := range []string{"../../consent/*.go", "*.go", "../../smart/authserver/authorize.go", "../../smart/authserver/pending.go", "../notify/send.go"} {
		eachNode(t, pattern, func(file string, n ast.Node) {
			for _, text := range spoken(n) {
				said[text] = file
			}
		})
	}
	return said
}

// eachNode walks the syntax of Go files that are no tests.
func eachNode(t *testing.T, pattern string, each func(file string, n ast.Node)) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no files, %v", pattern, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			each(file, n)
			return true
		})
	}
}

// spoken gives the sentences of one node: the words of a notice, the constants that
// notices have in common, descriptions of errors, why a mail did not arrive.
func spoken(n ast.Node) []string {
	var parts []ast.Expr
	sentence := func(s string) bool { return strings.Contains(s, " ") }
	ended := func(s string) bool {
		return strings.HasSuffix(s, ".") && !strings.Contains(s, "%") && unicode.IsUpper(rune(s[0]))
	}
	switch n := n.(type) {
	case *ast.CompositeLit:
		if name, ok := n.Type.(*ast.Ident); ok && name.Name == "notice" {
			parts = n.Elts
		}
	case *ast.ValueSpec:
		if strings.HasPrefix(n.Names[0].Name, "notice") {
			parts = n.Values
		}
	case *ast.KeyValueExpr:
		if name, ok := n.Key.(*ast.Ident); ok && name.Name == "Description" {
			parts, sentence = []ast.Expr{n.Value}, ended
		}
	case *ast.CallExpr:
		if name, ok := n.Fun.(*ast.Ident); ok && name.Name == "invalidRequest" {
			parts, sentence = n.Args[:1], ended
		}
		if name, ok := n.Fun.(*ast.SelectorExpr); ok && name.Sel.Name == "settle" {
			parts, sentence = n.Args, ended
		}
	case *ast.AssignStmt:
		if name, ok := n.Lhs[0].(*ast.Ident); ok && name.Name == "why" {
			parts, sentence = n.Rhs, ended
		}
	}
	var found []string
	for _, part := range parts {
		if lit, ok := part.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil && s != "" && sentence(s) {
				found = append(found, s)
			}
		}
	}
	return found
}

// TestNothingStaysInEnglish: on every page with every state, each word stands in
// the translated part of a template, or is the sample's, or a name of ours.
func TestNothingStaysInEnglish(t *testing.T) {
	const sample = "⟨1⟩" // no letters
	pages, err := web.RenderIn(lang.Spanish, sample, func(s string) string { return "⟦" + s + "⟧" })
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range pages {
		doc, err := html.Parse(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if got := attr(find(doc, atom.Html), "lang"); got != "es" {
			t.Errorf("%s is in %q", name, got)
		}
		for n := range doc.Descendants() {
			if n.Type == html.TextNode && foreign(n.Data) && !exempt(n) {
				t.Errorf("%s: not from the catalogue: %q in <%s>", name, strings.TrimSpace(n.Data), n.Parent.Data)
			}
			for _, a := range n.Attr {
				switch a.Key {
				case "aria-label", "alt", "title", "placeholder", "data-copied", "data-empty", "data-label", "aria-description", "aria-roledescription":
					if foreign(a.Val) {
						t.Errorf("%s: not from the catalogue: %s=%q of <%s>", name, a.Key, a.Val, n.Data)
					}
				}
			}
		}
	}
}

// foreign reports whether there are words outside the marks.
func foreign(s string) bool {
	depth := 0
	for _, w := range strings.FieldsFunc(strings.NewReplacer("⟦", " ⟦ ", "⟧", " ⟧ ").Replace(s), unicode.IsSpace) {
		switch {
		case w == "⟦":
			depth++
		case w == "⟧":
			depth--
		case depth == 0 && strings.ContainsFunc(w, unicode.IsLetter) && utf8.RuneCountInString(w) > 1 && !strings.Contains(w, "://") && !notTranslated[strings.Trim(w, ".,;:() ")]:
			return true
		}
	}
	return false
}

// notTranslated are words of dates, units, and of the samples: the name of the
// brand, and of a test.
var notTranslated = map[string]bool{
	"de": true, "enero": true, "febrero": true, "marzo": true, "mayo": true, "ene": true, "feb": true, "mar": true,
	"kg": true, "cm": true, "in": true, "kg/m²": true, "furlong": true, "1e308": true, "Name": true, "once": true, "p": true, "m": true,
}

// exempt reports whether a text is said to be in another language, or in none.
func exempt(n *html.Node) bool {
	for p := range n.Ancestors() {
		if attr(p, "translate") == "no" || p.DataAtom != atom.Html && has(p, "lang") {
			return true
		}
	}
	return false
}
