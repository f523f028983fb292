package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"mypatients/config"
	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/store"
)

// statusDiffers is the exit status of a comparison by which somebody would see more
// or less than they do.
const statusDiffers = 2

// policyCommand shows the policy of a configuration, or compares it with another's.
func policyCommand(ctx context.Context, env environment, args []string) error {
	if len(args) == 0 || args[0] != "show" && args[0] != "diff" {
		return failf("gateway policy show -config FILE, or gateway policy diff -config FILE -to NEW-FILE", "policy needs show or diff")
	}
	var to string
	limit := 1000
	c, set, err := configured(env, "policy "+args[0], args[1:], func(set *flag.FlagSet) {
		if args[0] == "diff" {
			set.StringVar(&to, "to", "", "")
			set.IntVar(&limit, "limit", limit, "")
		}
	})
	if err == nil {
		err = noMore(set)
	}
	switch {
	case err != nil:
		return err
	case args[0] == "show":
		return writePolicy(env.stdout, &c.Policy)
	case to == "":
		return failf("gateway policy diff -config FILE -to NEW-FILE", "policy diff needs -to FILE")
	case limit < 0:
		return failf("-limit 0 prints none of them, and counts all", "-limit %d: not a number of changes", limit)
	}
	next, err := readConfig(env, to)
	if err != nil {
		return err
	}
	return diffPolicies(ctx, env, c, next, limit)
}

// A policyComparer compares the policy of data that this process opened, or that of a
// running gateway, with another. It gives the first changes up to a limit, and counts
// all.
type policyComparer interface {
	ComparePolicy(ctx context.Context, to *config.Policy, limit int, each func(consent.AccessChange) error) (comparedPolicies, error)
}

// comparedPolicies is what came of a comparison.
type comparedPolicies struct {
	consent.PolicyReport
	Keys []config.PolicyChange `json:"keys"` // in which the policies differ
}

// A guardedPolicy is the policy of data that is open here.
type guardedPolicy struct {
	guard *consent.Guard
	from  *config.Policy
}

func (p *guardedPolicy) ComparePolicy(ctx context.Context, to *config.Policy, limit int, each func(consent.AccessChange) error) (comparedPolicies, error) {
	keys := p.from.Changes(to)
	var names []string
	for _, k := range keys {
		names = append(names, k.Key)
	}
	given := 0
	report, err := p.guard.ComparePolicy(ctx, policy(*to), strings.Join(names, " "), func(change consent.AccessChange) error {
		if given++; given > limit {
			return nil
		}
		return each(change)
	})
	return comparedPolicies{report, keys}, err
}

// withPolicies is withCore for what a running gateway can do too.
func withPolicies(ctx context.Context, env environment, c *config.Config, use func(policyComparer) error) error {
	err := withCore(ctx, env, c, func(k *core) error { return use(&guardedPolicy{k.guard, &c.Policy}) })
	if errors.Is(err, store.ErrInUse) && c.Admin.Listen != "" {
		return use(&remote{"http://" + c.Admin.Listen, c.Admin.Token.Reveal()})
	}
	return err
}

func diffPolicies(ctx context.Context, env environment, c, next *config.Config, limit int) error {
	for _, other := range []struct {
		key     string
		differs bool
	}{
		{"time_zone", c.TimeZone != next.TimeZone}, {"mrn_system", c.MRNSystem != next.MRNSystem}, {"policy.labels", c.Policy.Labels != next.Policy.Labels},
	} {
		if other.differs {
			fmt.Fprintf(env.stderr, "%s differs too: what that changes is not among what follows\n", other.key)
		}
	}
	return withPolicies(ctx, env, c, func(p policyComparer) error {
		report, err := p.ComparePolicy(ctx, &next.Policy, limit, func(change consent.AccessChange) error {
			return writeChange(env.stdout, &change)
		})
		if errors.Is(err, context.Canceled) {
			return failf("nothing was changed", "the comparison was interrupted; it is not whole")
		}
		if err != nil {
			return err
		}
		return writeComparison(env.stdout, &report, limit)
	})
}

// writeChange writes a change as a line: what it is, for whom, about whom, and why.
func writeChange(to io.Writer, c *consent.AccessChange) error {
	who, whose := c.Person, c.Patient
	if who == "" {
		who = "everybody"
	}
	if whose == "" {
		whose = "all patients"
	}
	if c.NoLogin {
		who += " (without a login)"
	}
	line := fmt.Sprintf("%-8s  %s %s  %s", c.Kind, c.Role, who, whose)
	for _, part := range []struct {
		name string
		list []string
	}{
		{"before", c.Before}, {"after", c.After}, {"opens", counted(c.Opens)}, {"closes", counted(c.Closes)},
	} {
		if len(part.list) > 0 {
			line += fmt.Sprintf("  %s: %s", part.name, strings.Join(part.list, ", "))
		}
	}
	_, err := fmt.Fprintln(to, line)
	return err
}

func counted(types map[fhir.Type]int) (list []string) {
	for _, t := range slices.Sorted(maps.Keys(types)) {
		list = append(list, fmt.Sprintf("%d %s", types[t], t))
	}
	return list
}

func writeComparison(to io.Writer, r *comparedPolicies, limit int) error {
	total := 0
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(r.Changes)) {
		total += r.Changes[kind]
		kinds = append(kinds, fmt.Sprintf("%d %s", r.Changes[kind], kind))
	}
	if total > limit {
		fmt.Fprintf(to, "and %d more\n", total-limit)
	}
	for _, k := range r.Keys {
		fmt.Fprintf(to, "key %s: %s, would be %s\n", k.Key, k.From, k.To)
	}
	if total == 0 {
		kinds = []string{"none"}
	}
	fmt.Fprintf(to, "compared %d patients, %d pairs of a person and a patient; changes: %s; about %d patients\n", r.Patients, r.Pairs, strings.Join(kinds, ", "), r.Affected)
	if r.Differs() {
		return &failure{text: "somebody would see more or less than they do", status: statusDiffers}
	}
	return nil
}
