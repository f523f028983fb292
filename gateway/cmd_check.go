package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"mypatients/config"
)

// flags makes a flag set that reports its errors like all others.
func flags(name string) *flag.FlagSet {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	return set
}

func parseFlags(set *flag.FlagSet, args []string) error {
	if err := set.Parse(args); err != nil {
		return failf("see: gateway help", "%v", err)
	}
	return nil
}

// configured parses the flags of a command that takes -config, and others that are
// added, and reads the configuration. What follows the flags is left in the set.
func configured(env environment, name string, args []string, more ...func(*flag.FlagSet)) (*config.Config, *flag.FlagSet, error) {
	set := flags(name)
	for _, add := range more {
		add(set)
	}
	path := set.String("config", "", "")
	if err := parseFlags(set, args); err != nil {
		return nil, nil, err
	}
	if *path == "" {
		return nil, nil, failf("config/production.yaml is a sample to start from", "%s needs -config FILE", name)
	}
	c, err := readConfig(env, *path)
	return c, set, err
}

// readConfig reads the configuration of a production gateway.
func readConfig(env environment, path string) (*config.Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, failf("", "cannot read the configuration: %v", err)
	}
	c, err := config.Parse(path, text, env.lookup, badCodes)
	if err != nil {
		return nil, badConfig(err)
	}
	if c.Demo {
		return nil, failf("the demonstration needs no configuration: run the gateway without arguments", "%s: demo is not for this command", path)
	}
	return c, nil
}

func badConfig(err error) error {
	var problems *config.Problems
	if !errors.As(err, &problems) {
		return err
	}
	n := fmt.Sprintf("%d problems", len(problems.List))
	if len(problems.List) == 1 {
		n = "a problem"
	}
	return &failure{text: "the configuration has " + n + "\n" + err.Error(), hint: "config/production.yaml explains every key", cause: err}
}

func checkCommand(_ context.Context, env environment, args []string) error {
	c, set, err := configured(env, "check", args)
	if err != nil {
		return err
	}
	if err := noMore(set); err != nil {
		return err
	}
	if _, err := labelRules(c.Policy.Labels); err != nil {
		return err
	}
	fmt.Fprintln(env.stdout, "the configuration is good")
	return nil
}

func noMore(set *flag.FlagSet) error {
	if set.NArg() > 0 {
		return failf("see: gateway help", "%s: %q was not expected", set.Name(), set.Arg(0))
	}
	return nil
}

func versionCommand(_ context.Context, env environment, _ []string) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return failf("", "the program does not know its version")
	}
	version := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			version += " " + s.Value
		}
	}
	fmt.Fprintln(env.stdout, "gateway", version, info.GoVersion)
	return nil
}

// newLog makes the log that a configuration asks for.
func newLog(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // checked already
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}
