package pgstore_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"mypatients/fhir/pgstore/pgtest"
	"mypatients/fhir/store"
	"mypatients/fhir/storetest"
)

// TestPlans lets the server explain what it did for each search on 200 patients
// with 20 observations each, once without statistics and once with those of empty
// tables, and counts the rows that were touched: they must be few, whatever the
// store holds.
func TestPlans(t *testing.T) {
	server := pgtest.Start(t, "fsync=off", "autovacuum=off")
	s := openAt(t, server.DSN())
	sql(t, server.DSN(), `ANALYZE`) // of nothing: the planner thinks that all is small
	storetest.Fill(t, s, 200)
	explained := openAt(t, server.DSN()+` options='-c session_preload_libraries=auto_explain -c auto_explain.log_min_duration=0 -c auto_explain.log_analyze=on -c auto_explain.log_timing=off'`)
	who := func(n uint32) string { return fmt.Sprintf("Patient/%08x", n*2654435761) }
	eq := func(name, value string) store.Expr { return store.Equal{Name: name, Value: value} }
	own := eq(store.Owner, who(5))
	newest := []store.Sort{{Name: "date", Descending: true}}
	period := store.Span{Name: "date", Split: 24, HeadTo: "2015", TailFrom: "2010"}
	seen := store.And{eq("status", "final"), store.Not{Expr: eq("_security", "R")}}
	for name, c := range map[string]struct {
		typ   string
		where store.Expr
		sort  []store.Sort
		rows  int // at most
	}{
		"an owner":                      {"Observation", own, nil, 40},
		"an owner, judged and sorted":   {"Observation", store.And{own, seen}, newest, 100},
		"an owner, a period":            {"Observation", store.And{own, period}, newest, 120},
		"an owner, by reference":        {"Observation", store.And{own, store.Ref{Name: "subject", Type: "Patient", Where: eq("identifier", "5")}}, nil, 120},
		"three owners, sorted":          {"Observation", store.And{store.In{Name: store.Owner, Values: []string{who(5), who(6), who(7)}}, seen}, newest, 300},
		"a page of all":                 {"Observation", nil, nil, 40},
		"a page of a common code":       {"Observation", eq("code", "c3"), nil, 60},
		"an identifier":                 {"Observation", eq("identifier", "00000003-03"), nil, 10},
		"one of two identifiers":        {"Observation", store.Or{eq("identifier", "00000003-03"), eq("identifier", "00000004-04")}, nil, 30},
		"a name, by reference":          {"Observation", store.Ref{Name: "subject", Type: "Patient", Where: eq("identifier", "7")}, nil, 250},
		"who is named by an identifier": {"Patient", store.Back{Type: "Observation", Name: "subject", Where: eq("identifier", "00000003-03")}, nil, 250},
	} {
		t.Run(name, func(t *testing.T) {
			from := len(server.Log(t))
			err := explained.View(t.Context(), func(r store.Reader) error {
				hits, err := r.Search(store.Query{Type: c.typ, Where: c.where, Sort: c.sort, Limit: 11})
				if len(hits) == 0 {
					t.Error("nothing found")
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			plan := plans(t, server, from)
			if strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "Hash Join") || strings.Contains(plan, "Merge Join") || strings.Contains(plan, "Bitmap") {
				t.Errorf("not by index alone:\n%s", plan)
			}
			if n := touched(plan); n > c.rows || n == 0 {
				t.Errorf("%d rows are touched, want at most %d:\n%s", n, c.rows, plan)
			}
		})
	}
}

// plans gives what the server has logged since, when all of it is there.
func plans(t *testing.T, server *pgtest.Server, from int) string {
	t.Helper()
	for {
		if text := server.Log(t)[from:]; strings.Contains(text, "on resource r") && strings.HasSuffix(text, "\n") {
			return text
		}
		if t.Context().Err() != nil {
			t.Fatal("no plan was logged")
		}
	}
}

var (
	scanned = regexp.MustCompile(`Scan.*\(actual rows=(\d+) loops=(\d+)\)`)
	removed = regexp.MustCompile(`Rows Removed by Filter: (\d+)`)
)

// touched sums the rows that all scans of plans gave or passed over.
func touched(plan string) (n int) {
	for _, match := range scanned.FindAllStringSubmatch(plan, -1) {
		rows, _ := strconv.Atoi(match[1])
		loops, _ := strconv.Atoi(match[2])
		n += max(rows, 1) * loops
	}
	for _, match := range removed.FindAllStringSubmatch(plan, -1) {
		rows, _ := strconv.Atoi(match[1])
		n += rows
	}
	return n
}
