package web_test

import (
	"go/ast"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"mypatients/gateway/web"
)

// Every action that the guard writes into the log has words in it.
func TestEveryActionHasWords(t *testing.T) {
	sources, err := web.TemplateSources()
	if err != nil {
		t.Fatal(err)
	}
	words := ""
	for _, source := range sources {
		if _, from, ok := strings.Cut(source, `{{define "logaction"}}`); ok {
			words, _, _ = strings.Cut(from, "{{define")
		}
	}
	found := 0
	eachNode(t, "../../consent/*.go", func(file string, n ast.Node) {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) < 2 {
			return
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		lit, isText := call.Args[1].(*ast.BasicLit)
		if !ok || !isText || method.Sel.Name != "entry" || lit.Kind != token.STRING {
			return
		}
		found++
		if action, err := strconv.Unquote(lit.Value); err != nil || !strings.Contains(words, strconv.Quote(action)) {
			t.Errorf("%s: the log has no words for %s", file, lit.Value)
		}
	})
	if found < 30 {
		t.Errorf("only %d actions were found", found)
	}
}
