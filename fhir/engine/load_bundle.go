package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"mypatients/fhir"
)

// An entry is what loading needs of Bundle.entry.
type entry struct {
	FullURL  string          `json:"fullUrl"`
	Resource json.RawMessage `json:"resource"`
	Request  *struct {
		Method      string `json:"method"`
		URL         string `json:"url"`
		IfNoneExist string `json:"ifNoneExist"`
	} `json:"request"`

	key  fhir.Key
	skip bool // ifNoneExist found it
	err  error
}

// unpacked are the types of Bundle whose entries are what is meant; a document
// or a message is one thing and is stored as a Bundle.
var unpacked = []string{"transaction", "batch", "collection", "searchset"}

// bundle imports a source that is one JSON value: a Bundle to be taken apart, or
// a resource.
func (l *Loader) bundle(ctx context.Context, f file, r io.Reader) error {
	body, err := io.ReadAll(io.LimitReader(r, maxBundle+1))
	if err != nil {
		return &sourceError{err}
	}
	if len(body) > maxBundle {
		return &sourceError{fhir.Errorf(fhir.TooBig, "The file is larger than %d MB.", maxBundle>>20)}
	}
	compact, err := fhir.Compact(body)
	if err != nil {
		_, err = fhir.Parse(body) // says where
		return &sourceError{err}
	}
	var head struct {
		ResourceType string  `json:"resourceType"`
		Type         string  `json:"type"`
		Entry        []entry `json:"entry"`
	}
	if err := json.Unmarshal(compact, &head); err != nil {
		return &sourceError{fhir.Errorf(fhir.Invalid, "The file holds no resource.")}
	}
	if head.ResourceType == "" && f.found {
		l.report.Skipped = append(l.report.Skipped, f.path)
		return nil
	}
	if head.ResourceType != "Bundle" || !slices.Contains(unpacked, head.Type) {
		return l.entries(ctx, f.path, []line{{number: 1, raw: compact}})
	}
	rows, err := l.resolve(ctx, head.Entry)
	if err != nil {
		return err
	}
	return l.entries(ctx, f.path, rows)
}

// entries feeds lines that are in memory already.
func (l *Loader) entries(ctx context.Context, source string, rows []line) error {
	return l.feed(ctx, func(_ context.Context, send func(*batch) error) error {
		for rows := range slices.Chunk(rows, batchLines) {
			b := &batch{source: source, lines: rows, offset: l.read.Load()}
			for i := range rows {
				b.bytes += len(rows[i].raw)
			}
			if err := send(b); err != nil {
				return err
			}
		}
		return nil
	})
}

// resolve gives every entry its id and its references the keys they mean: those
// of other entries by fullUrl, conditional ones by a search of the store.
func (l *Loader) resolve(ctx context.Context, list []entry) ([]line, error) {
	var here *Tx
	refs := NewReferences(func(ref fhir.Reference) (fhir.Key, error) { return l.find(here, ref.Key.Type, ref.Query) })
	err := l.engine.View(ctx, func(tx *Tx) error {
		for i := range list {
			e := &list[i]
			if err := l.identify(tx, e); err != nil {
				return err
			}
			if !e.key.IsZero() {
				refs.Add(e.FullURL, e.key, 0)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var rows []line
	err = l.engine.View(ctx, func(tx *Tx) error {
		here = tx
		for i, e := range list {
			if e.skip {
				l.report.Unchanged++
				continue
			}
			one := line{number: i + 1, err: e.err}
			if e.err == nil {
				one.raw = fhir.WithID(e.Resource, e.key.ID)
				one.raw, one.err = refs.Rewrite(e.FullURL, one.raw)
				if storeFault(one.err) {
					return one.err
				}
			}
			rows = append(rows, one)
		}
		return nil
	})
	return rows, err
}

// identify settles the id of an entry, so that loading it again gives the same:
// that of a PUT's address, the uuid of the fullUrl, the resource's own, or one
// made from its content.
func (l *Loader) identify(tx *Tx, e *entry) error {
	own := fhir.Header(e.Resource)
	if !own.Type.Valid() {
		e.err = fhir.Errorf(fhir.Invalid, "The entry holds no resource.")
		return nil
	}
	e.key.Type = own.Type
	method, address := "", ""
	if e.Request != nil {
		method, address = e.Request.Method, e.Request.URL
	}
	uuid, _ := strings.CutPrefix(e.FullURL, "urn:uuid:")
	ref := fhir.ParseReference(e.FullURL)
	put := fhir.ParseReference(address)
	switch {
	case method != "" && method != "POST" && method != "PUT":
		e.err = fhir.Errorf(fhir.Unsupported, "Only POST and PUT can be imported.")
	case method == "PUT" && put.Form == fhir.Relative:
		e.key.ID = put.Key.ID
	case method == "PUT":
		e.err = fhir.Errorf(fhir.Unsupported, "A PUT can be imported only with an address of the form Type/id.")
	case uuid != e.FullURL && fhir.ValidID(uuid):
		e.key.ID = uuid
	case own.ID != "":
		e.key.ID = own.ID
	case ref.Form == fhir.Literal && ref.Key.Type == own.Type:
		e.key.ID = ref.Key.ID
	default:
		sum := sha256.Sum256(e.Resource)
		e.key.ID = hex.EncodeToString(sum[:16])
	}
	if e.err == nil && !fhir.ValidID(e.key.ID) {
		e.err = errBadID(own.Type)
	}
	if e.err != nil || e.Request == nil || e.Request.IfNoneExist == "" {
		return nil
	}
	found, err := l.find(tx, own.Type, e.Request.IfNoneExist)
	switch {
	case storeFault(err):
		return err
	case err == nil:
		e.skip = e.key != found
		e.key = found
	case fhir.KindOf(err) != fhir.NotFound:
		e.err = err
	}
	return nil
}

// find gives the one resource that a conditional reference or creation means.
func (l *Loader) find(tx *Tx, t fhir.Type, query string) (fhir.Key, error) {
	name := string(t) + "?" + query
	if key, found := l.conditional[name]; found {
		return key, nil
	}
	criteria, err := l.engine.ParseCriteria(t, query)
	if err != nil {
		return fhir.Key{}, err
	}
	found, err := tx.Match(criteria, Everything)
	switch {
	case err != nil:
		return fhir.Key{}, err
	case found == nil:
		return fhir.Key{}, fhir.Errorf(fhir.NotFound, "Nothing matches a conditional reference to %s.", t)
	}
	if len(l.conditional) < 100_000 {
		l.conditional[name] = found.Key
	}
	return found.Key, nil
}

// storeFault tells a failure of the store from a fault of what is loaded.
func storeFault(err error) bool {
	var known *fhir.Error
	return err != nil && !errors.As(err, &known)
}
