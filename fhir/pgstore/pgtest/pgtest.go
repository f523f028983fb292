// Package pgtest gives tests a PostgreSQL database of their own: [Open] a fresh
// one on a server that all tests of a process share, [At] one that outlives the
// store that opens it, [Start] a whole server that a test may stop and start.
//
// The shared server is the one that POSTGRES_TEST_DSN names, with the rights of a
// superuser, else one that is started from the installed programs on first use.
// Where there is neither, a test is skipped, and fails when CI is set.
//
// A server that was started here listens on a socket in a temporary folder and
// nowhere else. It ends, and the folder goes, with the process that started it,
// even if that is killed: a shell waits beside it for the end of its standard
// input. It does not wait for the disk, so nothing of value belongs in it.
package pgtest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Variable names the environment variable with the DSN of a running server.
const Variable = "POSTGRES_TEST_DSN"

// patience bounds everything that is asked of a server.
const patience = time.Minute

// Open makes an empty database and gives its DSN. It is dropped at the end of
// the test.
func Open(t testing.TB) (dsn string) {
	t.Helper()
	return database(t, "t_"+strings.ToLower(rand.Text()))
}

// At gives the database that is named after a place, which is any string. It is
// made if it is missing and dropped at the end of the test.
func At(t testing.TB, place string) (dsn string) {
	t.Helper()
	sum := sha256.Sum256([]byte(place))
	return database(t, "p_"+hex.EncodeToString(sum[:12]))
}

// database makes a database unless it is there.
func database(t testing.TB, name string) string {
	t.Helper()
	server := shared(t)
	ask := func(sql string) error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn, err := pgx.Connect(ctx, server)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(ctx) }()
		_, err = conn.Exec(ctx, sql)
		return err
	}
	if err := ask("create database " + name); err != nil && !strings.Contains(err.Error(), "42P04") {
		t.Fatalf("making a database: %v", err)
	}
	t.Cleanup(func() {
		if err := ask("drop database if exists " + name + " with (force)"); err != nil {
			t.Errorf("dropping a database: %v", err)
		}
	})
	return inDatabase(server, name)
}

// inDatabase changes the database that a DSN names; the last word counts.
func inDatabase(dsn, name string) string {
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		join := "?"
		if strings.Contains(dsn, "?") {
			join = "&"
		}
		return dsn + join + "dbname=" + name
	}
	return dsn + " dbname=" + name
}

// own is the server that this process started for all its tests.
var own = sync.OnceValues(func() (*Server, error) {
	s, err := start("fsync=off", "full_page_writes=off")
	if err == nil {
		// For processes that a test starts.
		err = os.Setenv(Variable, s.DSN())
	}
	return s, err
})

// shared gives the DSN of the server.
func shared(t testing.TB) string {
	t.Helper()
	if dsn := os.Getenv(Variable); dsn != "" {
		return dsn
	}
	s, err := own()
	if err != nil {
		missing(t, err)
	}
	return s.DSN()
}

// missing ends a test that has no server.
func missing(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("no PostgreSQL: %v", err)
	}
	t.Skipf("no PostgreSQL (set %s or install it): %v", Variable, err)
}
