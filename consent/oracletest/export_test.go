package oracletest_test

import (
	"net/url"
	"slices"

	"mypatients/consent"
	"mypatients/fhir"
)

// export gives the pages of the file of a type.
func (g *gate) export(c consent.Caller, r consent.ExportRequest, t fhir.Type) (pages []*fhir.Page, err error) {
	g.t.Helper()
	r.Values = url.Values{"_type": {string(t)}}
	x, err := g.guard.BeginExport(g.t.Context(), c, r)
	if err != nil {
		return nil, err
	}
	err = g.guard.ExportFile(g.t.Context(), c, x.ID, t, func(page *fhir.Page) error {
		pages = append(pages, page)
		return nil
	})
	return pages, err
}

// exports compares files of exports with what a search sees, of all and of what belongs
// to one patient.
func (d *difference) exports(who consent.Caller, finds map[string]bool) {
	kind := kinds[d.m.IntN(len(kinds))]
	pages, err := d.g.export(who, consent.ExportRequest{Level: consent.ExportSystem}, fhir.Type(kind))
	d.newest("export of "+kind, pages, err, finds, func(r *resource) bool { return r.kind == kind })
	p := d.w.patients[d.m.IntN(len(d.w.patients))]
	if kind = kinds[d.m.IntN(len(kinds))]; slices.Contains(directory, kind) {
		return
	}
	pages, err = d.g.export(who, consent.ExportRequest{Level: consent.ExportPatients, Patients: []string{"Patient/" + p.id}}, fhir.Type(kind))
	d.newest("export of "+kind+" of "+p.id, pages, err, finds, func(r *resource) bool { return r.kind == kind && slices.Contains(d.w.owners(r), p) })
}
