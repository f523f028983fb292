package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"mypatients/config"
)

// everyones is the demo that sharedDemo gives, while the tests run.
var everyones struct {
	start sync.Once
	err   error
	*gateway
	stop func() error
}

// sharedDemo gives a demo that runs until the last test is over, for tests that
// change nothing which another of them could notice: most of what starting one takes
// is loading its records. Its log is that of all of these tests.
func sharedDemo(t testing.TB) *gateway {
	t.Helper()
	everyones.start.Do(func() { everyones.err = startShared() })
	if everyones.err != nil {
		t.Fatal(everyones.err)
	}
	shared := *everyones.gateway
	shared.t = t
	return &shared
}

func startShared() error {
	c, err := config.Parse("demo.yaml", config.DemoYAML(), os.LookupEnv)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "demo")
	if err != nil {
		return err
	}
	c.Listen, c.Storage.Path = "127.0.0.1:0", folder
	g := &gateway{folder: folder, log: new(lines)}
	ctx, cancel := context.WithCancel(context.Background())
	if g.Program, err = startDemoOn(ctx, c, time.Now, slog.New(slog.NewTextHandler(g.log, nil))); err != nil {
		cancel()
		return errors.Join(err, os.RemoveAll(folder))
	}
	ended := make(chan error, 1)
	go func() { ended <- g.finish(ctx) }()
	everyones.gateway = g
	everyones.stop = func() error {
		cancel()
		return errors.Join(<-ended, os.RemoveAll(folder))
	}
	return nil
}

// loaded is the data folder that loadedFolder copies.
var loaded struct {
	make   sync.Once
	folder string
}

// loadedFolder gives a data folder as the demo of a stage leaves it that began at the
// curtain, and goes with the test; a stage on it has no records to load.
func loadedFolder(t testing.TB) string {
	t.Helper()
	loaded.make.Do(func() {
		folder, err := os.MkdirTemp("", "stage")
		if err != nil {
			t.Fatal(err)
		}
		newStage(t, folder).close()
		loaded.folder = folder
	})
	if loaded.folder == "" {
		t.Fatal("there is no loaded folder; another test says why")
	}
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(loaded.folder)); err != nil {
		t.Fatal(err)
	}
	return folder
}

// endShared ends and removes what the tests had in common.
func endShared() error {
	var errs []error
	if everyones.stop != nil {
		errs = append(errs, everyones.stop())
	}
	if loaded.folder != "" {
		errs = append(errs, os.RemoveAll(loaded.folder))
	}
	return errors.Join(errs...)
}
