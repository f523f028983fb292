package demo

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Welcome prints where to click and who to be.
func Welcome(w io.Writer, base string) error {
	base = strings.TrimSuffix(base, "/")
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	line := func(cells ...string) { _, _ = fmt.Fprintln(t, "  "+strings.Join(cells, "\t")) }
	_, _ = fmt.Fprintln(t, "\nWhere to click")
	line("providers", base+"/")
	line("patients and families", base+"/patient")
	line("staff", base+"/staff")
	line("mails", base+MailPath)
	line("a SMART app", base+AppPath)
	line("FHIR", base+"/fhir")
	_, _ = fmt.Fprintf(t, "\nWho to be (the password is %q)\n", Password)
	for _, p := range People() {
		part := p.Part
		if p.NPI != "" {
			part += " (NPI " + p.NPI + ")"
		}
		line(p.Username, p.Name, part)
	}
	_, _ = fmt.Fprintln(t, "\nPatients")
	for _, p := range [][]string{{"1001", "Mateo Rivera", "8"}, {"1002", "Sofia Rivera", "5"}, {"1003", "Ava Thompson", "15"}, {"1004", "Noah Williams", "18"},
		{"1005", "Lily Nguyen", "3, nobody has a portal account"}} {
		line("MRN "+p[0], p[1], p[2])
	}
	_, _ = fmt.Fprintln(t)
	return t.Flush()
}
