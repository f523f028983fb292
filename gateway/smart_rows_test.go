package main

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestRowsAreCovered holds the list of rows to the suite: each has a subtest with
// its number, or a reason why it has none; and no subtest has a number that is
// not in the list.
func TestRowsAreCovered(t *testing.T) {
	listed, err := os.Open("testdata/smart-rows.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listed.Close() }()
	tested := testedRows(t)
	rows := map[string]bool{}
	for lines := bufio.NewScanner(listed); lines.Scan(); {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		row, reason, _ := strings.Cut(line, "\t")
		if rows[row] {
			t.Errorf("row %s is listed twice", row)
		}
		rows[row] = true
		switch {
		case reason == "" && !tested[row]:
			t.Errorf("row %s has neither a subtest nor a reason", row)
		case reason != "" && tested[row]:
			t.Errorf("row %s has a subtest, and a reason why not: %s", row, reason)
		}
	}
	if len(rows) < 150 {
		t.Errorf("the list has %d rows", len(rows))
	}
	for row := range tested {
		if !rows[row] {
			t.Errorf("a subtest is about row %s, which is not listed", row)
		}
	}
}

// rowNumber is a number as subtests carry it: T-5, SC-11, A.2.3, A.6.
var rowNumber = regexp.MustCompile(`^([A-Z]{1,2}-[0-9]+|A\.[1-9](\.[0-9]+)?)$`)

// testedRows collects the numbers in the names of the suite's subtests.
func testedRows(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("smart_*_test.go")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	found := map[string]bool{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 2 {
				return true
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); !ok || f.Sel.Name != "Run" {
				return true
			}
			if text, ok := call.Args[0].(*ast.BasicLit); ok {
				words, _ := strconv.Unquote(text.Value)
				for _, word := range strings.Fields(words) {
					if word = strings.TrimSuffix(word, ":"); rowNumber.MatchString(word) {
						found[word] = true
					}
				}
			}
			return true
		})
	}
	return found
}
