package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A Server is a PostgreSQL of its own.
type Server struct {
	bin      string // folder of its programs
	dir      string // data, socket and log
	settings []string
	user     *syscall.Credential // who it runs as, if not who runs this
	process  *exec.Cmd           // the shell beside it
	input    io.WriteCloser      // it ends when this is closed
}

// Start starts a server with settings ("fsync=off") that a test may stop and
// start again. It ends with the test.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := start(settings...)
	if err != nil {
		missing(t, err)
	}
	t.Cleanup(func() {
		s.end()
		_ = os.RemoveAll(s.dir)
	})
	return s
}

// DSN names the server and the database postgres, with all rights.
func (s *Server) DSN() string {
	return "host=" + s.dir + " port=5432 user=postgres dbname=postgres sslmode=disable"
}

// Stop stops the server and cuts its connections off. The data stays.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.end()
}

// Restart starts a server that was stopped.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
}

func start(settings ...string) (_ *Server, err error) {
	s := &Server{settings: settings}
	if s.bin, err = programs(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "pgtest"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(s.dir)
		}
	}()
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		if err := s.becomePostgres(); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	initdb := exec.CommandContext(ctx, filepath.Join(s.bin, "initdb"), "--pgdata="+s.data(), "--username=postgres",
		"--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	initdb.Dir, initdb.SysProcAttr = s.dir, &syscall.SysProcAttr{Credential: s.user}
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	return s, s.run()
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// becomePostgres gives the folder to the user postgres.
func (s *Server) becomePostgres() error {
	account, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, err1 := strconv.ParseUint(account.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(account.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	s.user = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(s.dir, int(uid), int(gid))
}

// beside runs the server until standard input ends, then ends it. When nothing
// was said on it, the test process died, and the folder goes too.
const beside = `dir=$1; shift
"$@" >>"$dir/log" 2>&1 &
server=$!
cat >"$dir/stop"
kill -INT "$server" 2>/dev/null
wait "$server"
[ -s "$dir/stop" ] || rm -rf "$dir"`

// run starts the server and waits until it answers.
func (s *Server) run() error {
	args := []string{
		filepath.Join(s.bin, "postgres"), "-D", s.data(), "-k", s.dir,
		"-c", "listen_addresses=", "-c", "max_connections=400", "-c", "max_pred_locks_per_transaction=512",
	}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	s.process = exec.Command("sh", append([]string{"-c", beside, "sh", s.dir}, args...)...)
	s.process.Dir = s.dir
	s.process.SysProcAttr = &syscall.SysProcAttr{Credential: s.user, Setpgid: true}
	var err error
	if s.input, err = s.process.StdinPipe(); err != nil {
		return err
	}
	if err := s.process.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.DSN())
		if err == nil {
			return conn.Close(ctx)
		}
		if ctx.Err() != nil {
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			s.end()
			return fmt.Errorf("the server does not answer: %w\n%s", err, log)
		}
		wait, stop := context.WithTimeout(ctx, 20*time.Millisecond)
		<-wait.Done()
		stop()
	}
}

// end stops the server and waits for its end. The word on its input says that
// this process is alive and cleans up itself.
func (s *Server) end() {
	if s.process == nil {
		return
	}
	_, _ = io.WriteString(s.input, "stop\n")
	_ = s.input.Close()
	_ = s.process.Wait()
	s.process = nil
}

// programs finds the folder with initdb and postgres, of the newest version.
func programs() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	slices.SortFunc(found, func(a, b string) int { return major(b) - major(a) })
	if len(found) > 0 {
		return filepath.Dir(found[0]), nil
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		return "", errors.New("its programs are not installed")
	}
	return filepath.Dir(path), nil
}

// major takes the version out of /usr/lib/postgresql/15/bin/postgres.
func major(path string) int {
	parts := strings.Split(path, "/")
	n, _ := strconv.Atoi(parts[len(parts)-3])
	return n
}

// Log gives what the server has logged.
func (s *Server) Log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
