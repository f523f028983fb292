package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"

	"mypatients/config"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// clientCommand works on the data of a gateway. One that has the data to itself is
// asked to do it, if it runs; see adminAPI.
func clientCommand(ctx context.Context, env environment, args []string) error {
	verbs := map[string]func(context.Context, environment, registrar, []string) error{
		"add": addClient, "list": listClients, "remove": removeClient,
	}
	if len(args) == 0 || verbs[args[0]] == nil {
		return failf("gateway client add|list|remove -config FILE …", "client needs add, list or remove")
	}
	c, set, err := configured(env, "client "+args[0], args[1:])
	if err != nil {
		return err
	}
	return withRegistrar(ctx, env, c, func(r registrar) error { return verbs[args[0]](ctx, env, r, set.Args()) })
}

// withCore opens the data for one command.
func withCore(ctx context.Context, env environment, c *config.Config, use func(*core) error) error {
	k, err := openCore(ctx, c, env.now, newLog(env.stderr, c.Log))
	if err != nil {
		return err
	}
	return errors.Join(use(k), k.Close())
}

// withRegistrar is withCore for what a running gateway can do too.
func withRegistrar(ctx context.Context, env environment, c *config.Config, use func(registrar) error) error {
	err := withCore(ctx, env, c, func(k *core) error { return use(&auditedRegistrar{k.server, k.guard}) })
	if errors.Is(err, store.ErrInUse) && c.Admin.Listen != "" {
		return use(&remote{"http://" + c.Admin.Listen, c.Admin.Token.Reveal()})
	}
	return err
}

// addClient registers a client from a file with RFC 7591 metadata. A secret that
// is needed and not given is made, and shown this once.
func addClient(ctx context.Context, env environment, r registrar, args []string) error {
	if len(args) != 1 {
		return failf("the file holds RFC 7591 client metadata", "client add needs one JSON file")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return failf("", "cannot read the client: %v", err)
	}
	in, err := readNewClient(bytes.NewReader(text))
	if err != nil {
		return failf("the file holds RFC 7591 client metadata", "%s: %v", args[0], err)
	}
	id, secret, err := r.AddClient(ctx, in.Client, in.Secret)
	if err != nil {
		return clientError(err)
	}
	fmt.Fprintln(env.stdout, "client_id", id)
	if secret != "" {
		fmt.Fprintln(env.stdout, "client_secret", secret)
	}
	return nil
}

func listClients(ctx context.Context, env environment, r registrar, args []string) error {
	if len(args) > 0 {
		return failf("", "client list: %q was not expected", args[0])
	}
	clients, err := r.Clients(ctx)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	for _, c := range clients {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", c.ID, c.AuthMethod, c.Name, c.Scope)
	}
	return t.Flush()
}

func removeClient(ctx context.Context, env environment, r registrar, args []string) error {
	if len(args) != 1 {
		return failf("gateway client list -config FILE shows them", "client remove needs one client_id")
	}
	if err := r.RemoveClient(ctx, args[0]); err != nil {
		return clientError(err)
	}
	fmt.Fprintln(env.stdout, "removed, and all its grants with it")
	return nil
}

// clientError says what is wrong with a client without its OAuth code.
func clientError(err error) error {
	var known *smart.Error
	if errors.As(err, &known) {
		return &failure{text: known.Description, cause: err}
	}
	return err
}

func keysCommand(ctx context.Context, env environment, args []string) error {
	if len(args) == 0 || args[0] != "rotate" {
		return failf("gateway keys rotate -config FILE", "keys needs rotate")
	}
	c, set, err := configured(env, "keys rotate", args[1:])
	if err != nil {
		return err
	}
	if err := noMore(set); err != nil {
		return err
	}
	return withRegistrar(ctx, env, c, func(r registrar) error {
		if err := r.RotateKeys(ctx); err != nil {
			return err
		}
		fmt.Fprintln(env.stdout, "ID tokens are signed with a new key; the old one stays published for a day")
		return nil
	})
}
