// Package pgtest gives tests a PostgreSQL database of their own: [Open] an empty
// one for each test, [At] one that other processes of a test find too, [Start] a
// whole server that a test may stop and start.
//
// The shared server is the one that POSTGRES_TEST_DSN names, with the rights of a
// superuser, else one that is started from the installed programs on first use.
// Where there is neither, a test is skipped, and fails when CI is set.
//
// What Open gives is a schema in a database of this process: making a database
// takes as long as many a test. The database itself goes when the next process
// that runs tests finds nobody connected to it.
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
	shared(t)
	h, err := home()
	if err != nil {
		t.Fatalf("making a database: %v", err)
	}
	name := strings.ToLower(rand.Text())
	if err := h.do("create schema s_" + name); err != nil {
		t.Fatalf("making a schema: %v", err)
	}
	t.Cleanup(func() {
		if err := h.do("drop schema s_" + name + " cascade"); err != nil {
			t.Errorf("dropping a schema: %v", err)
		}
	})
	return with(h.dsn, "search_path", "s_"+name)
}

// At gives the database that is named after a place, which is any string. It is
// made if it is missing and dropped at the end of the test.
func At(t testing.TB, place string) (dsn string) {
	t.Helper()
	sum := sha256.Sum256([]byte(place))
	name, server := "p_"+hex.EncodeToString(sum[:12]), shared(t)
	if err := ask(server, "create database "+name); err != nil && !strings.Contains(err.Error(), "42P04") {
		t.Fatalf("making a database: %v", err)
	}
	t.Cleanup(func() {
		if err := ask(server, "drop database if exists "+name+" with (force)"); err != nil {
			t.Errorf("dropping a database: %v", err)
		}
	})
	return with(server, "dbname", name)
}

// ask does something on a connection of its own.
func ask(dsn, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql)
	return err
}

// with adds a word to a DSN; the last one counts.
func with(dsn, name, value string) string {
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		join := "?"
		if strings.Contains(dsn, "?") {
			join = "&"
		}
		return dsn + join + name + "=" + value
	}
	return dsn + " " + name + "=" + value
}

// A house is the database of this process. The connection to it says that it is
// in use.
type house struct {
	dsn  string
	mu   sync.Mutex
	conn *pgx.Conn
}

func (h *house) do(sql string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := h.conn.Exec(ctx, sql)
	return err
}

// home makes the database of this process and drops those of others that have
// ended. A lock keeps it from one that nobody is connected to yet.
var home = sync.OnceValues(func() (*house, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	server := os.Getenv(Variable)
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, "select pg_advisory_lock(5432001)"); err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, `select datname from pg_database where datname like 't\_%'`)
	if err != nil {
		return nil, err
	}
	old, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	for _, name := range old {
		_, _ = conn.Exec(ctx, "drop database "+pgx.Identifier{name}.Sanitize()) // refused while it is in use
	}
	name := "t_" + strings.ToLower(rand.Text())
	if _, err := conn.Exec(ctx, "create database "+name); err != nil {
		return nil, err
	}
	h := &house{dsn: with(server, "dbname", name)}
	h.conn, err = pgx.Connect(ctx, h.dsn)
	return h, err
})

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
