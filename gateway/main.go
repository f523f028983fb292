// Command gateway opens patients' records to those who care for them, over FHIR
// and SMART, with the family's consent. Without an argument it runs a
// demonstration; see "gateway help" for the other commands.
//
// This package is the commands and the wiring (serve.go); all that does work
// lies in the packages.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	limitMemory(os.LookupEnv)
	slog.SetLogLoggerLevel(slog.LevelWarn) // of libraries that log where nobody asked them to
	os.Exit(run(ctx, environment{
		stdout: os.Stdout, stderr: os.Stderr, lookup: os.LookupEnv, now: time.Now,
		terminal: term.IsTerminal(int(os.Stderr.Fd())),
	}, os.Args[1:]))
}

// An environment is what a command sees of the world.
type environment struct {
	stdout, stderr io.Writer // answers go to the first, progress and errors to the second
	lookup         func(string) (string, bool)
	now            func() time.Time
	terminal       bool // stderr is a terminal
}

// A command is a row of the table of commands.
type command struct {
	name  string
	usage string // its arguments
	text  string
	run   func(ctx context.Context, env environment, args []string) error
}

func commands() []command {
	return []command{
		{"demo", "[-addr HOST:PORT] [-data DIR] [-fresh] [-smtp HOST:PORT]", "run the demonstration; also without any argument", demoCommand},
		{"serve", "-config FILE", "run in production", serveCommand},
		{"load", "-config FILE PATH…", "import NDJSON, also .gz, and Bundles from files and folders", loadCommand},
		{"reindex", "-config FILE", "index and label all records by the search parameters and rules as they are now", reindexCommand},
		{"audit", "verify|export -config FILE [-since TIME] [-until TIME] [-head HEAD]", "verify the audit log, or write it as NDJSON", auditCommand},
		{"policy", "show|diff -config FILE [-to NEW-FILE] [-limit N]", "say what the policy is, or whose access another would open or close", policyCommand},
		{"check", "-config FILE", "report all problems of a configuration", checkCommand},
		{"client", "add|list|remove -config FILE [JSON-FILE|ID]", "register apps and systems", clientCommand},
		{"keys", "rotate -config FILE", "sign ID tokens with a new key", keysCommand},
		{"version", "", "print the version", versionCommand},
	}
}

// run carries out a command line and gives the exit status.
func run(ctx context.Context, env environment, args []string) int {
	name := "demo"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	if name == "help" || slices.ContainsFunc(args, func(a string) bool { return a == "-h" || a == "-help" || a == "--help" }) {
		printUsage(env.stdout)
		return 0
	}
	for _, c := range commands() {
		if c.name == name {
			return report(env.stderr, c.run(ctx, env, args))
		}
	}
	return report(env.stderr, failf("see: gateway help", "there is no command %q", name))
}

func printUsage(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range commands() {
		fmt.Fprintf(t, "gateway %s %s\t%s\n", c.name, c.usage, c.text)
	}
	_ = t.Flush()
}

// A failure is an error with a line of advice.
type failure struct {
	text, hint string
	cause      error
	status     int // of the program's exit; 0: 1
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.cause }

func failf(hint, format string, args ...any) *failure {
	return &failure{text: fmt.Sprintf(format, args...), hint: hint}
}

// report prints an error as one line and, where there is one, a line of advice.
func report(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(w, "gateway:", err)
	var f *failure
	if !errors.As(err, &f) {
		return 1
	}
	if f.hint != "" {
		fmt.Fprintln(w, "hint:", f.hint)
	}
	return cmp.Or(f.status, 1)
}
