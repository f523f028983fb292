package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"mypatients/config"
	"mypatients/consent"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/gateway/demo"
	"mypatients/smart/idp"
)

func demoCommand(ctx context.Context, env environment, args []string) error {
	c, err := config.Parse("config/demo.yaml", config.DemoYAML(), env.lookup)
	if err != nil {
		return badConfig(err)
	}
	set := flags("demo")
	set.StringVar(&c.Listen, "addr", c.Listen, "")
	set.StringVar(&c.Storage.Path, "data", "", "")
	fresh := set.Bool("fresh", false, "")
	mailServer := set.String("smtp", "", "")
	if err := parseFlags(set, args); err != nil {
		return err
	}
	if err := noMore(set); err != nil {
		return err
	}
	if *mailServer != "" {
		host, port, err := net.SplitHostPort(*mailServer)
		if err != nil {
			return failf("a mail server is HOST:PORT, like 127.0.0.1:1025", "-smtp %s is no address", *mailServer)
		}
		c.SMTP.Host = host
		c.SMTP.Port, _ = strconv.Atoi(port) // Validate complains about 0
	}
	if err := c.Validate(); err != nil {
		return badConfig(err)
	}
	if c.Storage.Path == "" {
		c.Storage.Path = demoFolder(c.Listen)
	}
	if *fresh {
		if err := startOver(ctx, c.Storage.Path, env.now); err != nil {
			return err
		}
	}
	fmt.Fprintln(env.stdout, "data in", c.Storage.Path)
	p, err := startDemoOn(ctx, c, env.now, newLog(env.stderr, c.Log))
	if err != nil {
		return err
	}
	_ = demo.Welcome(env.stdout, p.URL) // a closed terminal does not matter
	fmt.Fprintln(env.stdout, "ready", p.URL)
	return p.finish(ctx)
}

// finish runs the program to its end.
func (p *Program) finish(ctx context.Context) error {
	return errors.Join(p.Run(ctx), p.Close())
}

// demoFolder gives the folder where the demo on an address keeps its data: in
// the user's cache, one for each port, as the data belongs to its base URL.
func demoFolder(address string) string {
	_, port, _ := net.SplitHostPort(address) // checked already
	cache, err := os.UserCacheDir()
	if err != nil {
		return filepath.Join(".data", "demo-"+port)
	}
	return filepath.Join(cache, "mypatients", "demo-"+port)
}

// The demo's data folder holds its key and its store.
const (
	keyFile     = "key"
	storeFolder = "store"
)

// startOver empties a data folder of the demo, and no other. A gateway that runs
// on it keeps it.
func startOver(ctx context.Context, folder string, now func() time.Time) error {
	if _, err := os.Stat(folder); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return failf("", "cannot read the data folder: %v", err)
	}
	for _, e := range entries {
		if e.Name() != keyFile && e.Name() != storeFolder {
			return failf("choose another folder with -data", "%s holds other things than the demo's data; it is left alone", folder)
		}
	}
	s, err := openStore(ctx, config.Storage{Path: filepath.Join(folder, storeFolder)}, now, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return errors.Join(s.Close(), os.RemoveAll(filepath.Join(folder, storeFolder)), os.RemoveAll(filepath.Join(folder, keyFile)))
}

// startDemoOn starts a demo whose storage path is the demo's data folder.
func startDemoOn(ctx context.Context, c *config.Config, now func() time.Time, log *slog.Logger) (*Program, error) {
	if err := os.MkdirAll(c.Storage.Path, 0o700); err != nil {
		return nil, failf("choose another folder with -data", "cannot make the data folder: %v", err)
	}
	key, err := demoKey(filepath.Join(c.Storage.Path, keyFile))
	if err != nil {
		return nil, err
	}
	c.Key = config.Secret(key)
	c.Storage.Path = filepath.Join(c.Storage.Path, storeFolder)
	return start(ctx, c, now, log)
}

// demoKey reads the key of a data folder, or makes one.
func demoKey(path string) (string, error) {
	key, err := os.ReadFile(path)
	if err == nil {
		return string(bytes.TrimSpace(key)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", failf("", "cannot read the demo's key: %v", err)
	}
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	made := hex.EncodeToString(random[:])
	if err := os.WriteFile(path, []byte(made+"\n"), 0o600); err != nil {
		return "", failf("choose another folder with -data", "cannot write to the data folder: %v", err)
	}
	return made, nil
}

// demoProvider is the id of the demo's issuer among the providers.
const demoProvider = "demo"

// addDemo adds what only the demo has: records, people and their issuer,
// clients, and a mailbox. It gives the provider at which the people sign in.
func (p *Program) addDemo(ctx context.Context, r gin.IRouter, c *config.Config, now func() time.Time) (*idp.Provider, error) {
	callback := c.BaseURL + callbackPath(demoProvider)
	issuer, err := demo.NewIssuer(demo.IssuerConfig{
		Base: c.BaseURL, RedirectURLs: []string{callback}, SignedOut: []string{c.BaseURL + "/"}, People: demo.People(), Now: now,
	})
	if err != nil {
		return nil, err
	}
	r.Any(demo.IssuerPath+"/*path", gin.WrapH(issuer))
	if c.SMTP.Host == "" {
		if p.mailbox, err = demo.NewMailbox(p.log); err != nil {
			return nil, err
		}
		host, port, err := net.SplitHostPort(p.mailbox.Addr())
		if err != nil {
			return nil, err
		}
		c.SMTP.Host, c.SMTP.TLS = host, "none"
		if c.SMTP.Port, err = strconv.Atoi(port); err != nil {
			return nil, err
		}
		r.GET(demo.MailPath, gin.WrapH(p.mailbox.Handler()))
		r.GET(demo.MailPath+"/:number", gin.WrapH(p.mailbox.Handler()))
	}
	app := gin.WrapH(demo.App(c.BaseURL, http.DefaultClient))
	r.GET(demo.AppPath, app)
	r.GET(demo.AppPath+"/:kind/:step", app)
	if err := p.core.loadDemo(ctx, c, issuer.URL(), now); err != nil {
		return nil, err
	}
	id, secret := issuer.Party()
	return idp.New(idp.Config{
		ID: demoProvider, Name: "Demo sign-in", Issuer: issuer.URL(), ClientID: id, ClientSecret: secret,
		RedirectURL: callback, HTTPClient: &http.Client{Transport: demo.Transport(issuer)}, Now: now,
	})
}

// loadDemo fills an empty data folder, as the load command would. A run that was
// broken off is made good by the next. People and apps belong to an address: on
// another port they are introduced anew.
func (k *core) loadDemo(ctx context.Context, c *config.Config, issuer string, now func() time.Time) error {
	pending, _, err := k.engine.Refresh(ctx)
	if err == nil && len(pending.Parameters) > 0 { // an older version's data: there is little of it
		_, err = k.engine.Reindex(ctx, nil)
	}
	if err != nil {
		return err
	}
	for _, step := range []struct {
		mark string
		do   func() error
	}{
		{"demo", func() error { return k.loadDemoRecords(ctx, c, now) }},
		{"demo " + c.BaseURL, func() error { return k.introduceDemo(ctx, c, issuer) }},
	} {
		if err := k.once(ctx, step.mark, step.do); err != nil {
			return err
		}
	}
	return nil
}

// once does something that the data does not bear the mark of yet.
func (k *core) once(ctx context.Context, mark string, do func() error) error {
	const kind = "site"
	err := k.store.View(ctx, func(r store.Reader) error {
		_, err := r.Record(kind, mark)
		return err
	})
	if err == nil || !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return k.store.Update(ctx, func(w store.Writer) error { return w.PutRecord(&store.Record{Kind: kind, Key: mark}) })
}

func (k *core) loadDemoRecords(ctx context.Context, c *config.Config, now func() time.Time) error {
	resources, err := demo.Resources(now(), c.Zone())
	if err != nil {
		return err
	}
	var lines bytes.Buffer
	for _, r := range resources {
		lines.Write(r.JSON)
		lines.WriteByte('\n')
	}
	var refused []error
	loader := k.engine.NewLoader(engine.LoadOptions{Refused: func(r engine.Refusal) { refused = append(refused, r.Err) }})
	if err := loader.LoadNDJSON(ctx, "demo", &lines); err != nil || len(refused) > 0 {
		return fmt.Errorf("loading the demo's records: %w", errors.Join(append(refused, err)...))
	}
	debug.FreeOSMemory() // loading takes more than running
	return nil
}

// introduceDemo links the demo's logins and registers its apps.
func (k *core) introduceDemo(ctx context.Context, c *config.Config, issuer string) error {
	for _, person := range demo.People() {
		var links []consent.Link
		for _, l := range person.Links {
			links = append(links, consent.Link{Role: l.Role, Person: l.Person})
		}
		if len(links) == 0 {
			continue
		}
		if _, err := k.guard.LinkAccount(ctx, issuer, person.Username, person.Name, person.Email, links...); err != nil {
			return err
		}
	}
	clients, err := demo.Clients(c.BaseURL)
	if err != nil {
		return err
	}
	for _, client := range clients {
		if err := k.server.PutClient(ctx, client); err != nil {
			return err
		}
	}
	return nil
}
