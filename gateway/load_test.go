package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mypatients/fhir/sample"
)

// TestLoadTheWholeSet imports all 112 patients of testdata/synthea, forward
// references and all, and once more. It takes most of a minute, several times
// that under the race detector, so it runs when LONG is set.
func TestLoadTheWholeSet(t *testing.T) {
	if os.Getenv("LONG") == "" {
		t.Skip("takes long; set LONG=1")
	}
	config := production(t)
	for _, want := range []string{
		"created 89522, updated 0, unchanged 0, refused 0",
		"created 0, updated 0, unchanged 89522, refused 0",
	} {
		start := time.Now()
		status, out, errs := runCommand(t, secrets, "load", "-config", config, "testdata/synthea")
		if status != 0 || !strings.Contains(out, want) {
			t.Fatalf("got status %d, %q, %q; want %q", status, out, errs, want)
		}
		t.Logf("%s in %v", want, time.Since(start).Round(100*time.Millisecond))
	}
}

// argumentsVariable makes this program a gateway, with these arguments.
const argumentsVariable = "GATEWAY_TEST_ARGUMENTS"

// TestMainInChild is no test: it is what child processes run, as main does.
func TestMainInChild(t *testing.T) {
	arguments := os.Getenv(argumentsVariable)
	if arguments == "" {
		t.Skip("for child processes")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	limitMemory(os.LookupEnv)
	os.Exit(run(ctx, environment{stdout: os.Stdout, stderr: os.Stderr, lookup: os.LookupEnv, now: time.Now}, strings.Split(arguments, "\n")))
}

// child prepares a gateway of its own process.
func child(t *testing.T, arguments ...string) (command *exec.Cmd, out *bytes.Buffer) {
	command = exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMainInChild$")
	command.Env = append(os.Environ(), argumentsVariable+"="+strings.Join(arguments, "\n"))
	for name, value := range secrets {
		command.Env = append(command.Env, name+"="+value)
	}
	out = new(bytes.Buffer)
	command.Stdout, command.Stderr = out, out
	return command, out
}

// sampleFile writes a file of about so many bytes of sample records; gives their number too.
func sampleFile(t *testing.T, size int64) (path string, lines int) {
	sources, err := filepath.Glob("testdata/synthea/*.ndjson.gz")
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "sample.ndjson")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if lines, err = sample.Copies(file, size, sources...); err != nil || file.Close() != nil {
		t.Fatal(err)
	}
	return path, lines
}

// What bounds the memory of an import of any size: its own, which the collector is told
// and some buffers around it, and that with the pages of the files that are being merged,
// which the system may take back.
const (
	maxLoadPrivateMB = loadMemory>>20 + 256
	maxLoadMB        = maxLoadPrivateMB + 1280
)

// TestLoadStaysSmall imports a gigabyte of NDJSON and watches the memory of the
// process. It takes minutes, so it runs when LONG is set; then it logs how much
// memory there was at each tenth of the file.
func TestLoadStaysSmall(t *testing.T) {
	if os.Getenv("LONG") == "" {
		t.Skip("takes long; set LONG=1")
	}
	path, lines := sampleFile(t, 1<<30)
	command, out := child(t, "load", "-config", production(t), path)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	began, peak := time.Now(), 0
	var private []int // MB, by second
	var curve []string
	for tick := time.Tick(time.Second); ; {
		select {
		case err := <-ended:
			t.Logf("%d resources in %v, peak %d MB, resident of which private: %s", lines, time.Since(began).Round(time.Second), peak, strings.Join(curve, " "))
			if want := fmt.Sprintf("created %d, updated 0, unchanged 0, refused 0", lines); err != nil || !strings.Contains(out.String(), want) {
				t.Fatalf("got %v, %q, want %q", err, out, want)
			}
			if peak == 0 || peak > maxLoadMB {
				t.Errorf("the import took %d MB, at most %d are right", peak, maxLoadMB)
			}
			early, late := private[:len(private)/3], private[len(private)*2/3:]
			if len(early) == 0 || slices.Max(late) > min(slices.Max(early)*3/2, maxLoadPrivateMB) {
				t.Errorf("private memory grew from %d to %d MB, at most %d are right", slices.Max(early), slices.Max(late), maxLoadPrivateMB)
			}
			return
		case <-tick:
			resident, own, high := memoryOf(command.Process.Pid)
			peak, private = max(peak, high), append(private, own)
			if passed := int(time.Since(began) / time.Second); passed%20 == 0 {
				curve = append(curve, fmt.Sprintf("%ds:%d/%d", passed, resident, own))
			}
		}
	}
}

// memoryOf gives the megabytes that a process has in memory, those of them that are
// not pages of files, and the most it had; zero when it has ended.
func memoryOf(pid int) (resident, private, peak int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // no file, no figures
	field := func(name string) int {
		_, rest, _ := strings.Cut(string(status), name)
		words := strings.Fields(rest)
		if len(words) == 0 {
			return 0
		}
		kb, _ := strconv.Atoi(words[0])
		return kb >> 10
	}
	return field("VmRSS:"), field("RssAnon:"), field("VmHWM:")
}

// An import that is interrupted says how to go on, and what it counted is there.
func TestLoadIsInterrupted(t *testing.T) {
	path, lines := sampleFile(t, 1<<20)
	config := production(t)
	ctx, interrupt := context.WithCancel(t.Context())
	var out bytes.Buffer
	errs := onWrite{do: interrupt}
	var clock atomic.Int64
	status := run(ctx, environment{
		stdout: &out, stderr: &errs,
		now:    func() time.Time { return time.Unix(1_700_000_000+clock.Add(int64(progressEvery/time.Second)), 0) },
		lookup: func(name string) (string, bool) { v, ok := secrets[name]; return v, ok },
	}, []string{"load", "-config", config, path})
	var created int
	if _, err := fmt.Sscanf(out.String(), "created %d, updated 0, unchanged 0, refused 0\n", &created); err != nil || created == 0 || created >= lines {
		t.Fatalf("got %q, %v, want part of %d created", out.String(), err, lines)
	}
	if said := errs.String(); status != 1 || !strings.Contains(said, "the import was interrupted\nhint: run the same command again to go on") {
		t.Errorf("got %d, %q", status, said)
	}
	want := fmt.Sprintf("created %d, updated 0, unchanged %d, refused 0\n", lines-created, created)
	if status, again, said := runCommand(t, secrets, "load", "-config", config, path); status != 0 || again != want {
		t.Errorf("got %d, %q, %q, want %q", status, again, said, want)
	}
}

// onWrite does something when it is written to.
type onWrite struct {
	bytes.Buffer
	do func()
}

func (w *onWrite) Write(b []byte) (int, error) {
	w.do()
	return w.Buffer.Write(b)
}
