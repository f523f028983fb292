package consent

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/smart"
)

// defaultPage is how many entries a page has when the client does not say.
const defaultPage = 50

// Search finds resources of a type. A provider's exact search for a patient they
// may not see is answered with an outcome entry (Patient Selection).
func (g *Guard) Search(ctx context.Context, c Caller, t fhir.Type, values url.Values, lenient bool) (*fhir.Page, error) {
	e := g.entry(c, "search", t)
	if err := g.requireScope(c, t, smart.MaySearch); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	if t == "AuditEvent" {
		return g.searchAuditEvents(ctx, c, values)
	}
	q, values, err := g.parseSearch(c, t, values, lenient, 0)
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	outcomes, err := g.selection(ctx, c, t, values)
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	var page *fhir.Page
	err = g.engine.View(ctx, func(tx *engine.Tx) (err error) {
		page, err = g.searchIn(tx, &c, e, t, q)
		return err
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	if err := g.auditor.write(ctx, e); err != nil {
		return nil, err
	}
	g.finishPage(c, t, page, outcomes)
	return page, nil
}

// parseSearch reads a query; in the values it gives the page link is opened.
func (g *Guard) parseSearch(c Caller, t fhir.Type, values url.Values, lenient bool, joins int) (*search.Query, url.Values, error) {
	values, err := g.openLink(c, string(t), values)
	if err != nil {
		return nil, nil, err
	}
	o := g.searchOptions(lenient)
	o.MaxJoins = joins
	q, err := g.engine.Registry().Parse(t, values, o)
	return q, values, err
}

// searchOptions are those of a search that a client asks for.
func (g *Guard) searchOptions(lenient bool) search.Options {
	return search.Options{Lenient: lenient, Base: g.base + "/fhir", Now: g.now(), DefaultCount: defaultPage, MaxCount: maxPage}
}

// selection gives the outcome entries of a search that is a Patient Selection.
func (g *Guard) selection(ctx context.Context, c Caller, t fhir.Type, values url.Values) ([]SelectionOutcome, error) {
	sel, ok := g.selectionOf(t, values)
	if !ok || c.Identity.Role != smart.Provider || values.Get("_cursor") != "" || g.requireUserScope(c, t, smart.MaySearch) != nil {
		return nil, nil
	}
	return g.selectOutcomes(ctx, c, sel)
}

// searchIn searches inside a transaction and notes in the entry what was found.
func (g *Guard) searchIn(tx *engine.Tx, c *Caller, e *auditEntry, t fhir.Type, q *search.Query) (*fhir.Page, error) {
	if err := g.recall(tx, *c, t, q); err != nil {
		return nil, err
	}
	s, err := g.lookAs(tx, c, t, smart.MaySearch, g.searchPatients(*c, t, q))
	if err != nil {
		return nil, err
	}
	page, err := tx.Search(q, s.sight)
	if err != nil {
		return nil, err
	}
	e.asked(s, q.Applied, q.Cursor == "")
	if err := e.shows(tx, s, page); err != nil {
		return nil, err
	}
	if s.joined != nil {
		g.remember(tx, *c, t, q, e.Patients)
	}
	return page, nil
}

// finishPage adds what only the guard knows to a page.
func (g *Guard) finishPage(c Caller, t fhir.Type, page *fhir.Page, outcomes []SelectionOutcome) {
	for _, o := range outcomes {
		page.Entries = append(page.Entries, fhir.Entry{Mode: "outcome", Outcome: g.outcomeJSON(o)})
	}
	page.Next = g.sealLink(c, string(t), page.Next)
}

// searchPatients limits the decisions that a search needs: to the launch patient
// and to the patients that the query names. nil stands for all on whom the
// caller may have a basis.
func (g *Guard) searchPatients(c Caller, t fhir.Type, q *search.Query) []string {
	if isDirectory(t) && q.Joins() {
		return limitsTo(c, "Patient", smart.MaySearch)
	}
	return narrowest(limitsTo(c, t, smart.MaySearch), q.Owners())
}

// sealLink binds a next link to the caller: the position is sealed together with
// who asked for what, so that a link that leaks opens nothing for anybody else.
// what names the interaction. The decision is taken anew on every page.
func (g *Guard) sealLink(c Caller, what, next string) string {
	// A link is an encoded query: what is between & and = is nothing else.
	head, rest, found := strings.Cut(next, "&_cursor=")
	if !found {
		if rest, found = strings.CutPrefix(next, "_cursor="); !found {
			return ""
		}
		head = ""
	}
	position, tail, _ := strings.Cut(rest, "&")
	position, err := url.QueryUnescape(position)
	if err != nil {
		return ""
	}
	query := head
	if tail != "" {
		query = strings.TrimPrefix(head+"&"+tail, "&")
		tail = "&" + tail
	}
	if head != "" {
		head += "&"
	}
	b := g.scratch()
	defer g.scratches.Put(b)
	purpose := appendPurpose((*b)[:0], c, what, query)
	*b = append(append(purpose, head...), "_cursor="...)
	*b = append(g.appendSealed(*b, purpose, position), tail...)
	return string((*b)[len(purpose):])
}

// openLink gives the parameters of a page with its position in the clear.
func (g *Guard) openLink(c Caller, what string, values url.Values) (url.Values, error) {
	if !values.Has("_cursor") {
		return values, nil
	}
	position, ok := g.openText(string(appendPurpose(nil, c, what, withoutCursor(values))), values.Get("_cursor"))
	if !ok {
		return nil, fhir.ElementErrorf(fhir.Invalid, "http._cursor", "This page link is not valid for this caller and query.")
	}
	values = cloneValues(values)
	values.Set("_cursor", position)
	return values, nil
}

// appendPurpose says who a link is for, and for what; query is without _cursor.
func appendPurpose(b []byte, c Caller, what, query string) []byte {
	w := whoIs(c)
	b = append(b, "cursor"...)
	for _, part := range [...]string{string(w.role), w.user, w.persons, c.ClientID, c.Launch.Patient, what} {
		b = append(append(b, ' '), part...)
	}
	return append(append(b, '?'), query...)
}

func withoutCursor(values url.Values) string {
	v := cloneValues(values)
	v.Del("_cursor")
	return v.Encode()
}

func cloneValues(values url.Values) url.Values {
	out := make(url.Values, len(values))
	for k, v := range values {
		out[k] = slices.Clone(v)
	}
	return out
}

// sealText encrypts a text so that only openText with the same purpose reads it.
func (g *Guard) sealText(purpose, text string) string {
	return string(g.appendSealed(nil, []byte(purpose), text))
}

// appendSealed appends what sealText gives.
func (g *Guard) appendSealed(to, purpose []byte, text string) []byte {
	n := g.seal.NonceSize()
	b := g.scratch()
	defer g.scratches.Put(b)
	*b = append(slices.Grow((*b)[:0], n+len(text)+g.seal.Overhead())[:n], text...)
	rand.Read((*b)[:n]) // never fails
	*b = g.seal.Seal((*b)[:n], (*b)[:n], (*b)[n:], purpose)
	return base64.RawURLEncoding.AppendEncode(to, *b)
}

// scratch gives a place for bytes that are soon done with, to be put back then.
func (g *Guard) scratch() *[]byte {
	if b, ok := g.scratches.Get().(*[]byte); ok {
		return b
	}
	return new([]byte)
}

func (g *Guard) openText(purpose, sealed string) (string, bool) {
	b, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || len(b) < g.seal.NonceSize() {
		return "", false
	}
	n := g.seal.NonceSize()
	text, err := g.seal.Open(nil, b[:n], b[n:], []byte(purpose))
	return string(text), err == nil
}

// A handle stands for a patient that a provider searched for and may not see. It
// works for that provider, for an hour.
type handle struct {
	Patient string    `json:"p"`
	Typed   Selection `json:"t"`
	Expires time.Time `json:"e"`
}

func (g *Guard) sealHandle(c Caller, h handle) string {
	b, err := json.Marshal(h)
	if err != nil {
		return ""
	}
	return "h." + g.sealText("handle "+callerKey(c), string(b))
}

func (g *Guard) openHandle(c Caller, s string) (handle, bool) {
	var h handle
	text, ok := g.openText("handle "+callerKey(c), s[len("h."):])
	if !ok || json.Unmarshal([]byte(text), &h) != nil || !g.now().Before(h.Expires) {
		return handle{}, false
	}
	return h, true
}
