package rest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"mypatients/consent"
	"mypatients/fhir"
)

// Bulk exports: https://hl7.org/fhir/uv/bulkdata/STU2/export.html. They answer later,
// as the specification has it, but nothing is made meanwhile: the status is complete
// when it is first asked for, and files are found while they are read.
//
//	kick-off  202 · 400 parameters, Prefer · 401 · 403 scope · 404 Group absent or hidden
//	status    200 · 401 · 404 unknown, ended, or another's; by DELETE 202
//	file      200 · 401 · 403 scope · 404 likewise
//
// An answer that breaks off is cut off.

const ndjson = "application/fhir+ndjson"

// kickOff are the routes of a place where an export can be asked for.
func kickOff(run func(*request) error) routes {
	return routes{"GET": {name: "$export", run: run}, "POST": {name: "$export", run: run}}
}

// exportPlace finds the routes below $export: $export/[id], and $export/[id]/[type].
func (q *request) exportPlace(nothing error) (routes, error) {
	s := q.segments
	q.id = s[1]
	if len(s) == 2 {
		return atExportStatus, nil
	}
	if q.typ = fhir.Type(s[2]); len(s) == 3 && q.typ.Valid() {
		return atExportFile, nil
	}
	return nil, nothing
}

func (q *request) exportSystem() error   { return q.export(consent.ExportSystem) }
func (q *request) exportPatients() error { return q.export(consent.ExportPatients) }
func (q *request) exportGroup() error    { return q.export(consent.ExportGroup) }

// export is the kick-off.
func (q *request) export(level consent.ExportLevel) error {
	if !q.async {
		return fhir.ElementErrorf(fhir.Invalid, "http.Prefer", "An export is answered later: send the header Prefer: respond-async.")
	}
	r := consent.ExportRequest{Level: level, Group: q.id, Values: q.query, Lenient: q.lenient, URL: q.h.Base + "/" + strings.Join(q.segments, "/")}
	if raw := q.Request.URL.RawQuery; raw != "" {
		r.URL += "?" + raw
	}
	if q.Request.Method == http.MethodPost {
		if err := q.exportBody(&r); err != nil {
			return err
		}
	}
	begun, err := q.h.Guard.BeginExport(q.Request.Context(), q.caller, r)
	if err != nil {
		return err
	}
	q.Header("Cache-Control", "no-store")
	q.Header("Content-Location", q.h.Base+"/$export/"+begun.ID)
	q.Status(http.StatusAccepted)
	q.Writer.WriteHeaderNow()
	return nil
}

// exportBody reads the Parameters of a kick-off.
func (q *request) exportBody(r *consent.ExportRequest) error {
	a, err := q.queryArguments()
	if err != nil {
		return err
	}
	a.into(r.Values, "_since", "_type", "_outputFormat", "_elements")
	for _, filter := range a.many("_typeFilter") {
		r.Values.Add("_typeFilter", a.word(filter))
	}
	if r.Level != consent.ExportSystem {
		for _, arg := range a.many("patient") {
			reference, _ := arg.value.(map[string]any)
			s, ok := reference["reference"].(string)
			if !ok || arg.kind != "valueReference" {
				a.wrong(arg, "This must hold a reference.")
			}
			r.Patients = append(r.Patients, strings.TrimPrefix(s, q.h.Base+"/"))
		}
	}
	if q.lenient {
		for _, arg := range a.list {
			a.asked[arg.name] = true
		}
	}
	return a.finish()
}

// exportStatus tells that the export is complete, and where its files are.
func (q *request) exportStatus() error {
	if err := q.noQuery(); err != nil {
		return err
	}
	x, err := q.h.Guard.Export(q.Request.Context(), q.caller, q.id)
	if err != nil {
		return err
	}
	type file struct {
		Type fhir.Type `json:"type"`
		URL  string    `json:"url"`
	}
	files := []file{}
	for _, t := range x.Types {
		files = append(files, file{t, q.h.Base + "/$export/" + x.ID + "/" + string(t)})
	}
	body, err := json.Marshal(map[string]any{
		"transactionTime": instant(x.Time), "request": x.Request, "requiresAccessToken": true, "output": files, "error": []file{},
	})
	if err != nil {
		return err
	}
	q.media = plainJSON
	q.Header("Cache-Control", "no-store")
	q.Header("Expires", x.Expires.UTC().Format(http.TimeFormat))
	q.write(http.StatusOK, body)
	return nil
}

func (q *request) endExport() error {
	if err := q.noQuery(); err != nil {
		return err
	}
	if err := q.h.Guard.EndExport(q.Request.Context(), q.caller, q.id); err != nil {
		return err
	}
	q.Header("Cache-Control", "no-store")
	q.Status(http.StatusAccepted)
	q.Writer.WriteHeaderNow()
	return nil
}

// errReaderGone is that of a caller who reads no further.
var errReaderGone = errors.New("rest: the caller has gone")

// exportFile sends a file page by page.
func (q *request) exportFile() error {
	if err := q.noQuery(); err != nil {
		return err
	}
	begun := false
	begin := func() {
		begun = true
		q.Header("Cache-Control", "no-store")
		q.Header("Content-Type", ndjson)
		q.Status(http.StatusOK)
		q.Writer.WriteHeaderNow()
	}
	var each func(*fhir.Page) error
	if q.Request.Method != http.MethodHead {
		lines := bufio.NewWriterSize(q.Writer, 64<<10)
		each = func(page *fhir.Page) error {
			if q.h.Prolong != nil {
				q.h.Prolong(q.Writer)
			}
			if !begun {
				begin()
			}
			for _, e := range page.Entries {
				_, _ = lines.Write(page.Subset.Of(e.Resource.Type, e.Resource.JSON))
				_ = lines.WriteByte('\n')
			}
			if lines.Flush() != nil { // it keeps the first error
				return errReaderGone
			}
			q.Writer.Flush()
			return nil
		}
	}
	err := q.h.Guard.ExportFile(q.Request.Context(), q.caller, q.id, q.typ, each)
	switch {
	case err == nil && each == nil:
		begin()
	case err == nil:
	case !begun:
		return err
	case errors.Is(err, errReaderGone), q.Request.Context().Err() != nil, fhir.KindOf(err) != fhir.Internal:
		panic(http.ErrAbortHandler)
	default:
		panic(fmt.Errorf("rest: an export broke off: %w", err)) // for the log; whoever recovers cuts the answer off
	}
	return nil
}
