package main

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestNamedTestsExist holds the security documentation of the authorization
// server to the tests that it names.
func TestNamedTestsExist(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "smart", "authserver", "doc.go"))
	if err != nil {
		t.Fatal(err)
	}
	tests, parts := map[string]string{}, map[string]bool{}
	for _, s := range sources(t) {
		if !s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				tests[n.Name.Name] = s.path
			case *ast.BasicLit:
				if word, err := strconv.Unquote(n.Value); err == nil {
					parts[s.path+" "+strings.ReplaceAll(word, " ", "_")] = true
				}
			}
			return true
		})
	}
	named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+(?:/[\w,-]+\w)?`).FindAllString(string(text), -1)
	if len(named) < 40 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, name := range named {
		test, part, _ := strings.Cut(name, "/")
		switch path := tests[test]; {
		case path == "":
			t.Errorf("there is no %s", test)
		case part != "" && !parts[path+" "+part]:
			t.Errorf("%s has no part %s", test, part)
		}
	}
}
