package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"mypatients/config"
	"mypatients/consent"
	"mypatients/consent/audit"
	"mypatients/fhir"
	"mypatients/fhir/store"
)

// auditCommand verifies or exports the audit log, of data that nobody has open, of a
// database that gateways run on, or of a gateway that has its data to itself.
func auditCommand(ctx context.Context, env environment, args []string) error {
	if len(args) == 0 || args[0] != "verify" && args[0] != "export" {
		return failf("gateway audit verify|export -config FILE …", "audit needs verify or export")
	}
	var since, until string
	var heads []string
	c, set, err := configured(env, "audit "+args[0], args[1:], func(set *flag.FlagSet) {
		set.StringVar(&since, "since", "", "")
		if args[0] == "export" {
			set.StringVar(&until, "until", "", "")
			return
		}
		set.Func("head", "", func(h string) error {
			if !audit.ValidHead(h) {
				return errors.New("not what an earlier verification printed behind the word head")
			}
			heads = append(heads, h)
			return nil
		})
	})
	if err == nil {
		err = noMore(set)
	}
	if err != nil {
		return err
	}
	from, err := readTime("since", since, c.Zone())
	if err != nil {
		return err
	}
	to, err := readTime("until", until, c.Zone())
	if err != nil {
		return err
	}
	return withAudit(ctx, env, c, func(log auditLog) error {
		if args[0] == "export" {
			return exportAudit(ctx, env, log, from, to)
		}
		return verifyAudit(ctx, env, log, audit.Check{Since: from, Heads: heads})
	})
}

// readTime reads a date, which begins at midnight of the site, or an instant. Empty
// is zero.
func readTime(name, text string, zone *time.Location) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, text, zone); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, failf("2031-08-31 or 2031-08-31T14:30:00Z", "-%s %s: not a date or an instant", name, text)
	}
	return t, nil
}

// An auditLog is the audit log of data that this process opened, or that of a
// running gateway.
type auditLog interface {
	Verify(ctx context.Context, c audit.Check, found func(audit.Damage)) (audit.Report, error)
	Export(ctx context.Context, since, until time.Time, to io.Writer) error
}

// withAudit is withCore for what a running gateway can do too.
func withAudit(ctx context.Context, env environment, c *config.Config, use func(auditLog) error) error {
	err := withCore(ctx, env, c, func(k *core) error { return use(&guardedLog{k.guard}) })
	if errors.Is(err, store.ErrInUse) && c.Admin.Listen != "" {
		return use(&remote{"http://" + c.Admin.Listen, c.Admin.Token.Reveal()})
	}
	return err
}

// A guardedLog is the log of data that is open here.
type guardedLog struct{ guard *consent.Guard }

func (l *guardedLog) Verify(ctx context.Context, c audit.Check, found func(audit.Damage)) (audit.Report, error) {
	return l.guard.VerifyAudit(ctx, c, found)
}

// Export writes AuditEvents as lines of JSON.
func (l *guardedLog) Export(ctx context.Context, since, until time.Time, to io.Writer) error {
	out := bufio.NewWriterSize(to, 64<<10)
	err := l.guard.ExportAudit(ctx, since, until, func(r *fhir.Resource) error {
		_, err := out.Write(r.JSON)
		return errors.Join(err, out.WriteByte('\n'))
	})
	return errors.Join(err, out.Flush())
}

func exportAudit(ctx context.Context, env environment, log auditLog, since, until time.Time) error {
	err := log.Export(ctx, since, until, env.stdout)
	if errors.Is(err, context.Canceled) {
		return failf("", "the export was interrupted; it is not whole")
	}
	return err
}

// maxDamages is how many damages are printed one by one.
const maxDamages = 100

func verifyAudit(ctx context.Context, env environment, log auditLog, c audit.Check) error {
	printed := 0
	report, err := log.Verify(ctx, c, func(d audit.Damage) {
		if printed++; printed <= maxDamages {
			fmt.Fprintf(env.stdout, "%s  %s: %s\n", d.When.UTC().Format("2006-01-02T15:04:05.000Z"), d.ID, d.Text)
		}
	})
	if err != nil {
		return err
	}
	if printed > maxDamages {
		fmt.Fprintf(env.stdout, "and %d more places\n", printed-maxDamages)
	}
	fmt.Fprintf(env.stdout, "verified %d entries in %d records, %d links of %d segments\n", report.Entries, report.Records, report.Links, report.Segments)
	if report.Left > 0 {
		fmt.Fprintf(env.stdout, "%d segments were left by a process that did not end as it should, and closed by another\n", report.Left)
	}
	if report.Waiting > 0 {
		fmt.Fprintf(env.stdout, "%d records were written lately and wait for their link\n", report.Waiting)
	}
	for _, h := range report.Heads {
		fmt.Fprintln(env.stdout, "head", h)
	}
	if report.Damages > 0 {
		return failf("compare with a backup, and with what was exported", "the audit log is damaged in %d places", report.Damages)
	}
	return nil
}
