package consent

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// A bulk export (https://hl7.org/fhir/uv/bulkdata/STU2/export.html) gives all that a
// caller can find by searches, a file for each type. No file is ever stored, and
// nothing waits to be made: what is kept is who asked for what, and a file is found
// and decided on page by page while it is read. So a revocation holds for the next
// page, and what is hidden is in no file. A file has what is there when it is read: of
// what changed after the transactionTime of the export, the newer form, and what has
// been deleted since is not in it.

// recordExport keeps who asked for what: by a keyed hash of the id and the caller, so
// that to all others there is no such export.
const recordExport = "export"

// exportLife is how long the files of an export can be read.
const exportLife = 6 * time.Hour

// exportOverlap is how much earlier than it is the time is that an export tells: what was
// written before that time has been stored by now. Writes that run at once are stored in
// any order, each with the time at which it began; the next export, which asks since the
// time of this one, must find what came late.
const exportOverlap = time.Minute

// exportsPerHour is how many exports a caller can ask for: each is kept for hours.
const exportsPerHour = 120

// An ExportLevel says whose data an export gives.
type ExportLevel string

// The levels of an export.
const (
	ExportSystem   ExportLevel = "system"   // all, of each type
	ExportPatients ExportLevel = "patients" // what belongs to patients
	ExportGroup    ExportLevel = "group"    // what belongs to patients who are in a Group
)

// An ExportRequest asks for an export.
type ExportRequest struct {
	Level    ExportLevel
	Group    string     // its id
	Values   url.Values // _type, _since, _typeFilter, _elements, _outputFormat
	Patients []string   // "Patient/1": of these alone; nil: of all. Not for ExportSystem
	URL      string     // as it was asked for; the Export tells it
	Lenient  bool       // parameters that are not known are left out, and types that are not open
}

// An Export is one that was asked for.
type Export struct {
	ID      string
	Time    time.Time // all that was written before it is in the files
	Request string    // the URL of the ExportRequest
	Expires time.Time
	Types   []fhir.Type // of which the caller sees something: each has a file
}

// An export is what is kept of one.
type export struct {
	Level    ExportLevel
	Group    string     `json:",omitempty"`
	Patients []string   `json:",omitempty"`
	Values   url.Values // checked
	Request  string
	Lenient  bool `json:",omitempty"`
	Time     time.Time
	Expires  time.Time
}

// exportKey is where an export of a caller is kept. It is bound to them as page links
// are, and not to the scopes of one token: these are asked of the one that reads.
func (g *Guard) exportKey(c Caller, id string) string {
	return base64.RawURLEncoding.EncodeToString(g.hash("export", id+" "+string(appendPurpose(nil, c, "$export", ""))))
}

// BeginExport keeps what is asked for, for some hours, if the caller may ask for it:
// it needs what searches of the types need, and to read the Group.
func (g *Guard) BeginExport(ctx context.Context, c Caller, r ExportRequest) (*Export, error) {
	e := g.entry(c, "begin-export", "")
	e.applied = r.Values
	x := &export{Level: r.Level, Group: r.Group, Patients: r.Patients, Values: r.Values, Request: r.URL, Lenient: r.Lenient}
	if err := g.checkExport(c, x); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	id := rand.Text() + rand.Text() // 256 bits
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		if err := allowAttempt(tx.Writer(), tx.Now(), "export", g.exportKey(c, ""), exportsPerHour); err != nil {
			return err
		}
		if x.Level == ExportGroup {
			if _, err := g.readGroup(tx, c, e, x.Group); err != nil {
				return err
			}
		}
		x.Time, x.Expires = tx.Now().Add(-exportOverlap), tx.Now().Add(exportLife)
		if err := store.PutJSON(tx.Writer(), recordExport, g.exportKey(c, id), x, x.Expires); err != nil {
			return err
		}
		return file(tx, e)
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return x.view(id), nil
}

func (x *export) view(id string) *Export {
	return &Export{ID: id, Time: x.Time, Request: x.Request, Expires: x.Expires}
}

// readExport gives an export of the caller. One that is another's, has ended or never
// was is NotFound.
func (g *Guard) readExport(r store.Reader, c Caller, id string, now time.Time) (*export, error) {
	var x export
	err := store.GetJSON(r, recordExport, g.exportKey(c, id), &x)
	if errors.Is(err, store.ErrNotFound) || err == nil && !now.Before(x.Expires) {
		return nil, fhir.ErrNotFound()
	}
	return &x, err
}

// Export gives an export of the caller, and of which types they see something.
func (g *Guard) Export(ctx context.Context, c Caller, id string) (*Export, error) {
	e := g.entry(c, "list-export", "")
	var found *Export
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		x, err := g.readExport(tx.Reader(), c, id, tx.Now())
		if err != nil {
			return err
		}
		found = x.view(id)
		plan, err := g.exportPlan(c, x)
		if err == nil {
			err = plan.open(tx, e)
		}
		if err == nil {
			found.Types, err = plan.seen(tx, e)
		}
		return err
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return found, g.auditor.write(ctx, e)
}

// EndExport forgets an export of the caller: its files end with the page that is read.
func (g *Guard) EndExport(ctx context.Context, c Caller, id string) error {
	e := g.entry(c, "end-export", "")
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		if _, err := g.readExport(tx.Reader(), c, id, tx.Now()); err != nil {
			return err
		}
		if err := tx.Writer().DeleteRecord(recordExport, g.exportKey(c, id)); err != nil {
			return err
		}
		return file(tx, e)
	})
	if err != nil {
		return g.refused(ctx, e, err)
	}
	return nil
}

// Resources of a page of a file. Those of Binaries are few, since they may be large.
const (
	exportPage = 500
	binaryPage = 20
)

// ExportFile gives the file of one type, page by page: what the caller can find of it
// when the page is read. Each page is in the log before it is given. each is called at
// least once, if only with nothing; nil asks whether there is such a file.
//
// An error after the first page means that the file is not whole.
func (g *Guard) ExportFile(ctx context.Context, c Caller, id string, t fhir.Type, each func(*fhir.Page) error) error {
	f := &exportFile{g: g, c: c, id: id, t: t, begun: g.now()}
	for f.plan == nil || !f.walk.done {
		e := g.entry(c, "export", t)
		var page *fhir.Page
		err := f.stand(ctx)
		if err == nil {
			err = g.engine.View(ctx, func(tx *engine.Tx) (err error) {
				page, err = f.next(tx, e)
				return err
			})
		}
		if err != nil {
			return g.refused(ctx, e, err)
		}
		if err := g.auditor.write(ctx, e); err != nil || each == nil {
			return err
		}
		if err := each(page); err != nil {
			return err
		}
	}
	return nil
}

// An exportFile is a file that is being read.
type exportFile struct {
	g     *Guard
	c     Caller
	id    string
	t     fhir.Type
	begun time.Time
	plan  *exportPlan // from the first page on
	walk  *exportWalk
}

// stand looks, before each page but the first, what is left of the caller's grant. A file
// can take hours to read: nobody reads on in the name of a grant that was revoked, of an
// app that was removed, or as somebody for whom they do not stand any more.
func (f *exportFile) stand(ctx context.Context) error {
	if f.plan == nil || f.g.standing == nil {
		return nil
	}
	left, ok, err := f.g.standing(ctx, f.c.Grant)
	if err != nil {
		return err
	}
	if !ok {
		return fhir.ErrNotFound()
	}
	f.c.Identity, f.c.Scopes = left.Identity, left.Scopes.Narrow(f.c.Scopes)
	f.plan.c = f.c
	return f.g.requireScope(f.c, f.t, smart.MaySearch)
}

// next gives the next page and notes in the entry what it shows.
func (f *exportFile) next(tx *engine.Tx, e *auditEntry) (*fhir.Page, error) {
	x, err := f.g.readExport(tx.Reader(), f.c, f.id, f.begun) // which may have been ended meanwhile
	if err != nil {
		return nil, err
	}
	plan := f.plan
	if plan == nil {
		if plan, err = f.g.exportPlan(f.c, x); err != nil {
			return nil, err
		}
		if !slices.Contains(plan.types, f.t) {
			return nil, fhir.ErrNotFound()
		}
		if err := plan.open(tx, e); err != nil {
			return nil, err
		}
	}
	s, err := plan.look(tx, f.t)
	if err != nil {
		return nil, err
	}
	count := exportPage
	if f.t == "Binary" {
		count = binaryPage
	}
	if f.plan == nil {
		f.walk = plan.walk(s, f.t)
	}
	page, err := plan.page(tx, s, f.t, f.walk, count)
	if err != nil {
		return nil, err
	}
	plan.asked(e, s, f.plan == nil)
	f.plan = plan
	return page, e.shows(tx, s, page)
}
