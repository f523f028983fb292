package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "mypatients"

// table is the import table: a package imports only from lower lines.
var table = map[string]int{
	"config": 1, "consent/age": 1, "consent/label": 1, "consent/quorum": 1, "fhir": 1, "fhir/store": 1, "gateway/growth": 1, "gateway/lang": 1, "smart": 1,
	"fhir/badgerstore": 2, "fhir/pgstore": 2, "fhir/pgstore/pgtest": 2, "fhir/profile": 2, "fhir/sample": 2, "fhir/search": 2, "fhir/storetest": 2, "smart/authserver/keytest": 2, "smart/fetch": 2,
	"fhir/engine": 3, "consent/audit": 3, "consent/emergency": 3, "consent/sponsor": 3, "consent/subscription": 3,
	"consent": 4, "smart/authserver": 4, "smart/idp": 4,
	"gateway/demo": 5, "gateway/hooks": 5, "gateway/notify": 5, "gateway/oauth": 5, "gateway/rest": 5, "gateway/web": 5,
	"gateway": 6,
}

// fences say which packages may import a library (and all below its path).
var fences = map[string][]string{
	"github.com/gin-gonic/gin":       {"gateway", "gateway/*"},
	"github.com/dgraph-io/badger":    {"fhir/badgerstore"},
	"github.com/jackc/pgx":           {"fhir/pgstore", "fhir/pgstore/pgtest"},
	"github.com/coreos/go-oidc":      {"smart/idp"},
	"golang.org/x/oauth2":            {"smart/idp"},
	"github.com/zitadel/oidc":        {"smart/authserver", "gateway/demo"},
	"github.com/google/fhir":         {"fhir"},
	"github.com/goccy/go-yaml":       {"config"},
	"github.com/wneessen/go-mail":    {"gateway/notify"},
	"github.com/alexedwards/scs":     {"gateway", "gateway/web"},
	"github.com/schollz/progressbar": {"gateway"},
	"github.com/prometheus":          {"gateway"},
	"html/template":                  {"gateway/web", "gateway/demo"},
}

// unknowns are imports that would go round something: HTTP code must reach
// resources through the guard, the guard must not know HTTP, and only main
// knows that there is a demo.
var unknowns = map[string][]string{
	"gateway/rest":         {"fhir/engine", "fhir/search", "fhir/store", "fhir/badgerstore", "fhir/pgstore", "smart/authserver"},
	"gateway/web":          {"fhir/engine", "fhir/search", "fhir/store", "fhir/badgerstore", "fhir/pgstore"},
	"gateway/oauth":        {"fhir/engine", "fhir/search", "fhir/store", "fhir/badgerstore", "fhir/pgstore"},
	"gateway/demo":         {"fhir/badgerstore", "fhir/pgstore"},
	"gateway/hooks":        {"fhir/engine", "fhir/search", "fhir/store", "fhir/badgerstore", "fhir/pgstore"},
	"consent":              {"fhir/badgerstore", "fhir/pgstore", "net/http"},
	"consent/audit":        {"fhir/badgerstore", "fhir/pgstore", "fhir/search", "net/http"},
	"consent/subscription": {"fhir/engine", "fhir/badgerstore", "fhir/pgstore", "net/http"},
	"fhir":                 {"net/http"},
	"fhir/engine":          {"fhir/badgerstore", "fhir/pgstore", "net/http"},
	"fhir/store":           {"fhir"},
	"fhir/badgerstore":     {"fhir"},
	"fhir/pgstore":         {"fhir"},
	"smart":                {"net/http", "fhir", "fhir/store"},
	"smart/idp":            {"fhir", "fhir/store"},
	"config":               {"net/http"},
}

// A source is one Go file of the module.
type source struct {
	path string // from the root: "fhir/key.go"
	pkg  string // "fhir"
	test bool
	text string
	file *ast.File
	set  *token.FileSet
}

func sources(t *testing.T) []source {
	t.Helper()
	root := os.DirFS("..")
	var list []source
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != "." && (strings.HasPrefix(name, ".") || name == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		if strings.HasPrefix(string(text), "//go:build ignore\n") {
			return nil // a program of its own that is run by hand
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, text, parser.ParseComments)
		if err != nil {
			return err
		}
		pkg, _, _ := strings.Cut(filepath.ToSlash(filepath.Dir(path)), "/internal/") // counts as what it is internal to
		list = append(list, source{path, pkg, strings.HasSuffix(name, "_test.go"), string(text), file, set})
		return nil
	})
	if err != nil || len(list) < 20 {
		t.Fatalf("found %d files: %v", len(list), err)
	}
	return list
}

func TestImports(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		line, ok := table[s.pkg]
		if !ok {
			t.Errorf("%s: package %s is not in the import table", s.path, s.pkg)
		}
		for _, spec := range s.file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			inner, ours := strings.CutPrefix(path, module+"/")
			if ours && table[inner] >= line {
				t.Errorf("%s imports %s, which is not on a lower line", s.path, path)
			}
			if slices.ContainsFunc(unknowns[s.pkg], func(u string) bool { return u == inner }) {
				t.Errorf("%s imports %s, which it must not know", s.path, path)
			}
			for library, allowed := range fences {
				if path != library && !strings.HasPrefix(path, library+"/") {
					continue
				}
				if !slices.ContainsFunc(allowed, func(pattern string) bool {
					ok, _ := filepath.Match(pattern, s.pkg)
					return ok
				}) {
					t.Errorf("%s imports %s, which is for %v only", s.path, path, allowed)
				}
			}
		}
	}
}

func TestPackagesAreDocumented(t *testing.T) {
	documented := map[string]int{}
	for _, s := range sources(t) {
		if s.test || strings.Contains(s.path, "/internal/") {
			continue
		}
		if s.file.Doc != nil && len(s.file.Doc.Text()) > 60 {
			documented[s.pkg]++
		} else {
			documented[s.pkg] += 0
		}
	}
	for pkg, n := range documented {
		if n != 1 {
			t.Errorf("package %s has %d package comments, want 1", pkg, n)
		}
	}
}

func TestFilesAndFunctionsAreShort(t *testing.T) {
	for _, s := range sources(t) {
		if n := strings.Count(s.text, "\n"); n > 600 && !ast.IsGenerated(s.file) {
			t.Errorf("%s has %d lines, more than 600", s.path, n)
		}
		for _, decl := range s.file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Body == nil || s.test { // a test may hold a long table
				continue
			}
			first, last := s.set.Position(f.Pos()).Line, s.set.Position(f.End()).Line
			if n := last - first + 1; n > 80 {
				t.Errorf("%s:%d: %s has %d lines, more than 80", s.path, first, f.Name.Name, n)
			}
		}
	}
}

func TestTimeComesFromOutside(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || s.pkg == "gateway" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := sel.X.(*ast.Ident)
			if ok && pkg.Name == "time" && (sel.Sel.Name == "Now" || sel.Sel.Name == "Since" || sel.Sel.Name == "Until") {
				t.Errorf("%s: time.%s outside main and tests", s.set.Position(sel.Pos()), sel.Sel.Name)
			}
			return true
		})
	}
}

func TestNothingHappensAtImport(t *testing.T) {
	for _, s := range sources(t) {
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Name.Name == "init" && f.Recv == nil {
				t.Errorf("%s has an init function", s.path)
			}
		}
	}
}

func TestFileNamesSayWhat(t *testing.T) {
	vague := []string{"util.go", "utils.go", "helpers.go", "helper.go", "common.go", "misc.go"}
	for _, s := range sources(t) {
		if slices.Contains(vague, filepath.Base(s.path)) {
			t.Errorf("%s: a file is named after what is in it", s.path)
		}
	}
}

// TestStandsAlone: the project depends on nothing beside it.
func TestStandsAlone(t *testing.T) {
	beside := []string{".." + "/shared", "/work" + "/", "/tmp" + "/"}
	for _, s := range sources(t) {
		for _, word := range beside {
			if strings.Contains(s.text, word) {
				t.Errorf("%s mentions %s", s.path, word)
			}
		}
	}
}
