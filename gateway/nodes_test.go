package main

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"mypatients/config"
	"mypatients/fhir/pgstore/pgtest"
)

// enterOn starts one more gateway of a stage, on a database.
func (s *stage) enterOn(dsn string) {
	s.t.Helper()
	s.enter(func(c *config.Config, log *slog.Logger) (*Program, error) {
		c.Key = config.Secret(secrets["GATEWAY_KEY"])
		c.Storage = config.Storage{Engine: "postgres", DSN: config.Secret(dsn), PoolSize: 8}
		return start(s.t.Context(), c, s.clock.Now, log)
	})
}

// TestNodes plays scripts on two gateways, each with its own listener, pool and
// caches, on one PostgreSQL database: they behave as one.
//
//	node 1|2    requests go to this one from now on
func TestNodes(t *testing.T) {
	cmds := deeds()
	cmds["node"] = func(ts *testscript.TestScript, _ bool, args []string) {
		var n int
		if _, err := fmt.Sscan(args[0], &n); err != nil {
			ts.Fatalf("node 1 or 2")
		}
		ts.Value(stageKey{}).(*stage).reach(n - 1)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/nodes", RequireUniqueNames: true, Cmds: cmds,
		Setup: func(e *testscript.Env) error {
			s := emptyStage(e.T().(testing.TB))
			dsn := pgtest.Open(s.t)
			s.enterOn(dsn)
			s.enterOn(dsn)
			s.reach(0)
			e.Values[stageKey{}] = s
			e.Setenv("BASE", scriptBase)
			return nil
		},
	})
}
