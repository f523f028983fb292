package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"mypatients/fhir/store"
)

// A Damage is a place where the log is not what was written.
type Damage struct {
	When time.Time // of the place
	ID   string    // of a record, or of a link: segment, dot, number
	Text string
}

// A Report sums up what was verified.
type Report struct {
	Entries, Records int
	Segments, Links  int
	Waiting          int      // records that no link names yet
	Left             int      // segments of processes that were gone, closed by others
	Damages          int      //
	Heads            []string // the newest links, to be kept elsewhere
}

// A Check says how far the log is to be verified.
type Check struct {
	Since time.Time // only what was written since; zero: all
	Heads []string  // that were kept elsewhere: they must still be there
}

// grace is for how long a record may be without a link though its segment is
// closed: its process was taken for dead and names it in a new one.
const grace = 10 * time.Minute

// Verify goes through the log, which may be written meanwhile, and gives each place
// that is not as it was written. It holds little in memory, however long the log.
func (l *Log) Verify(ctx context.Context, c Check, found func(Damage)) (Report, error) {
	v := &verifier{log: l, found: found, want: map[string]place{}, loose: map[string]bool{}, stamps: map[string]uint64{}, lows: map[string]int64{},
		ahead: map[string]uint64{}, unsure: map[string]bool{}, started: l.now().UnixNano()}
	if !c.Since.IsZero() {
		v.since = max(0, c.Since.UnixNano())
	}
	if h, ok := l.newest(); ok {
		c.Heads = append(c.Heads[:len(c.Heads):len(c.Heads)], h.String())
	}
	err := l.store.View(ctx, func(r store.Reader) error {
		if err := v.takeStock(r); err != nil {
			return err
		}
		for _, kept := range c.Heads {
			if err := v.kept(r, kept); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return v.report, err
	}
	from := ""
	if v.since > 0 {
		from = fmt.Sprintf("%016x", v.since)
	}
	err = l.scan(ctx, from, "", func(r store.Reader, page []*store.Record) error {
		if err := v.readTo(ctx, r, page[len(page)-1].Key); err != nil {
			return err
		}
		if err := v.page(r, page); err != nil {
			return err
		}
		return v.passed(r, page[len(page)-1].Key)
	})
	if err == nil {
		err = l.store.View(ctx, func(r store.Reader) error {
			if err := v.readTo(ctx, r, "~"); err != nil { // behind all
				return err
			}
			return v.passed(r, "~")
		})
	}
	if err == nil {
		err = l.store.View(ctx, v.finish)
	}
	return v.report, err
}

// A verifier walks records and links side by side.
type verifier struct {
	log     *Log
	found   func(Damage)
	report  Report
	since   int64
	started int64

	chains []*chain          // of the segments, by when they began
	stamps map[string]uint64 // by tag of a segment: its newest link
	lows   map[string]int64  // by tag: what its newest link names up to; -1: it is closed
	want   map[string]place  // records that links name and that are to come
	loose  map[string]bool   // records that no link has named yet
	unsure map[string]bool   // records that links say may be there
	ahead  map[string]uint64 // records that follow on newer links than were there when verifying began
	open   []*named          // links of which not all records were met
	fresh  map[string]uint64 // stamps as they are at the end; nil: not asked for
}

// A chain is the walk through the links of one segment.
type chain struct {
	id     string
	head   *head // nil: it is closed, and another refers to it
	n      uint64
	mac    []byte
	next   *link // read and not taken up yet
	over   bool
	closed bool
	met    bool // another refers to its end
}

// A named is a link whose records are being met.
type named struct {
	segment string
	link
	macs    [][]byte
	who     []map[string]rows
	missing int
	partly  bool // some of its records are older than what is verified
	newest  string
}

type place struct {
	in *named
	i  int
}

func (v *verifier) damage(at int64, id, text string, args ...any) {
	v.report.Damages++
	when := time.Time{}
	if at > 0 {
		when = time.Unix(0, at).UTC()
	}
	v.found(Damage{when, id, fmt.Sprintf(text, args...)})
}

// takeStock lists the segments and their heads on one snapshot.
func (v *verifier) takeStock(r store.Reader) error {
	heads, bad, err := v.log.heads(r)
	if err != nil {
		return err
	}
	byID := map[string]*head{}
	for _, h := range heads {
		byID[h.Segment] = &h
		v.report.Heads = append(v.report.Heads, h.String())
	}
	for _, id := range bad {
		v.damage(timeOf(id), id, "the head of this part of the log was changed")
		byID[id] = &head{Segment: id} // its links are followed as far as they go
	}
	for after := ""; ; {
		page, err := r.Records(kindLink, "", after, 1)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		id, _, _ := strings.Cut(page[0].Key, "/")
		after = id + "0" // behind all of its links
		c := &chain{id: id, head: byID[id]}
		delete(byID, id)
		if err := v.enter(r, c); err != nil {
			return err
		}
	}
	for id, h := range byID {
		v.damage(timeOf(id), id, "all %d links of this part of the log are missing", h.N)
	}
	return nil
}

// enter looks at the ends of a segment, and finds where verifying begins.
func (v *verifier) enter(r store.Reader, c *chain) error {
	last, err := v.lastOf(r, c)
	if err != nil {
		return err
	}
	tag := c.id[min(timeLen, len(c.id)):]
	v.stamps[tag] = last.N
	v.lows[tag] = last.Low
	if c.closed = last.End != ""; c.closed {
		v.lows[tag] = -1
	}
	if c.closed && last.At < v.since {
		return nil
	}
	v.report.Segments++
	if last.End == endLeft {
		v.report.Left++
	}
	v.chains = append(v.chains, c)
	if v.since == 0 {
		return nil
	}
	return v.gallop(r, c, last.N)
}

// lastOf gives the newest link of a segment and compares it with the head.
func (v *verifier) lastOf(r store.Reader, c *chain) (link, error) {
	at := timeOf(c.id)
	if c.head == nil || c.head.MAC == nil {
		n, err := v.newestOf(r, c.id)
		if err != nil {
			return link{}, err
		}
		k, _, err := v.log.readLink(r, c.id, n)
		if errors.Is(err, errMAC) {
			return link{N: n, End: endClosed}, nil // told when it is met
		}
		if err == nil && k.End == "" && c.head == nil {
			v.damage(k.At, linkName(c.id, n), "the head of this part of the log, or its end, is missing")
		}
		k.N = n
		return k, err
	}
	k, mac, err := v.log.readLink(r, c.id, c.head.N)
	switch {
	case errors.Is(err, store.ErrNotFound):
		v.damage(at, linkName(c.id, c.head.N), "the newest link of this part of the log is missing")
		return link{N: c.head.N, Low: v.started}, nil
	case errors.Is(err, errMAC):
		return link{N: c.head.N, Low: v.started}, nil // told when it is met
	case err != nil:
		return link{}, err
	case !same(mac, c.head.MAC):
		v.damage(k.At, linkName(c.id, c.head.N), "this link is not the one that the head names")
	}
	_, err = r.Record(kindLink, linkKey(c.id, c.head.N+1))
	if err == nil {
		v.damage(k.At, linkName(c.id, c.head.N), "the head names this link as the newest, and there are newer ones: it is an old copy")
		c.head = &head{Segment: c.id}
		return v.lastOf(r, c)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return link{}, err
	}
	return k, nil
}

// newestOf finds the newest link of a segment by its number.
func (v *verifier) newestOf(r store.Reader, segment string) (uint64, error) {
	n := uint64(0)
	for after := ""; ; {
		page, err := r.Records(kindLink, segment+"/", after, 500)
		if err != nil {
			return 0, err
		}
		for _, rec := range page {
			after = rec.Key
		}
		if len(page) < 500 {
			if _, err := fmt.Sscanf(strings.TrimPrefix(after, segment+"/"), "%x", &n); err != nil {
				return 0, nil
			}
			return n, nil
		}
	}
}

// gallop moves a chain to the last link made before verifying begins.
func (v *verifier) gallop(r store.Reader, c *chain, last uint64) error {
	low, high := uint64(0), last // low is older, or nothing
	for low+1 < high {
		mid := (low + high) / 2
		k, mac, err := v.log.readLink(r, c.id, mid)
		if err != nil || k.At >= v.since {
			high = mid // what cannot be read is met on the way, if it is new
			if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, errMAC) {
				return err
			}
			continue
		}
		low, c.n, c.mac = mid, mid, mac
	}
	return nil
}

// ValidHead tells whether a text has the form of a head of a [Report].
func ValidHead(text string) bool {
	_, _, _, ok := parseHead(text)
	return ok
}

func parseHead(text string) (segment string, n uint64, mac string, ok bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 || len(parts[0]) != timeLen+tagLen || len(parts[2]) != 2*macSize {
		return "", 0, "", false
	}
	n, err := strconv.ParseUint(parts[1], 10, 64)
	return parts[0], n, parts[2], err == nil
}

// kept looks for a link whose head was kept elsewhere.
func (v *verifier) kept(r store.Reader, text string) error {
	segment, n, want, ok := parseHead(text)
	if !ok {
		return fmt.Errorf("audit: %q is not a head", text)
	}
	_, mac, err := v.log.readLink(r, segment, n)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, errMAC) {
		return err
	}
	if err != nil || fmt.Sprintf("%x", mac) != want {
		v.damage(timeOf(segment), linkName(segment, n), "the link whose head was kept is missing, or another")
	}
	return nil
}

// page compares records with what links say of them.
func (v *verifier) page(r store.Reader, page []*store.Record) error {
	all := make([][]*Entry, len(page))
	pointers := map[string]bool{}
	for i, rec := range page {
		v.report.Records++
		body, mac, err := v.log.unsealed(rec)
		var stamp uint64
		if err == nil {
			stamp, all[i], err = unpack(body)
		}
		if err != nil {
			v.damage(timeOf(rec.Key), rec.Key, "this record was changed, or copied from elsewhere")
			v.meet(rec.Key, nil, nil)
			continue
		}
		v.report.Entries += len(all[i])
		if stamp > v.stamps[tagOf(rec.Key)] {
			v.ahead[rec.Key] = stamp
		}
		v.meet(rec.Key, mac, all[i])
		for _, e := range all[i] {
			for _, p := range e.Patients {
				pointers[pointerKey(p, rec.Key[:roundLen])] = true
			}
		}
	}
	return v.pointers(r, page, all, pointers)
}

// meet takes note of a record.
func (v *verifier) meet(key string, mac []byte, entries []*Entry) {
	p, ok := v.want[key]
	if !ok {
		v.loose[key] = true
		return
	}
	delete(v.want, key)
	p.in.macs[p.i] = bytes.Clone(mac)
	p.in.missing--
	if mac == nil {
		p.in.partly = true // told already
		return
	}
	p.in.who[p.i] = whoIn(key, entries)
}

// pointers looks for what leads from patients to the entries of a page.
func (v *verifier) pointers(r store.Reader, page []*store.Record, all [][]*Entry, keys map[string]bool) error {
	if err := store.ReadRecords(r, kindPatient, func(yield func(string) bool) {
		for k := range keys {
			if !yield(k) {
				return
			}
		}
	}); err != nil {
		return err
	}
	for i, rec := range page {
		for row, e := range all[i] {
			for _, p := range e.Patients {
				pointer, err := r.Record(kindPatient, pointerKey(p, rec.Key[:roundLen]))
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					return err
				}
				if err != nil || !rows(pointer.Value).holds(rec.Key[roundLen:], row) && !rows(pointer.Value).holds(rec.Key, row) {
					v.damage(timeOf(rec.Key), rec.Key+" row "+strconv.Itoa(row), "this entry is not found from the record of the patient concerned")
				}
			}
		}
	}
	return nil
}

// finish judges what is left when all was gone through, by how the segments stand
// by now.
func (v *verifier) finish(r store.Reader) error {
	for key, stamp := range v.ahead {
		newest, err := v.newestNow(r, tagOf(key))
		if err != nil {
			return err
		}
		switch {
		case newest == 0:
			v.damage(timeOf(key), key, "the part of the log that this record belongs to is missing")
			delete(v.loose, key)
		case stamp > newest:
			v.damage(timeOf(key), key, "this record follows on link %d, and there are only %d: links are missing", stamp, newest)
			delete(v.loose, key)
		}
	}
	for key := range v.loose {
		if v.unsure[key] {
			continue
		}
		at := timeOf(key)
		low, known := v.lows[tagOf(key)]
		if !known || low >= 0 && at >= low || at > v.started-int64(grace) {
			v.report.Waiting++
			continue
		}
		v.damage(at, key, "no link names this record: it was added, or links are missing")
	}
	for _, c := range v.chains {
		if c.head == nil && !c.met && v.since == 0 {
			v.damage(timeOf(c.id), linkName(c.id, c.n), "no other part of the log refers to the end of this one: one that did is missing")
		}
	}
	return nil
}

// newestNow gives the number of the newest link of the segment of a tag, 0 if there
// is no such segment.
func (v *verifier) newestNow(r store.Reader, tag string) (uint64, error) {
	if v.fresh == nil {
		heads, _, err := v.log.heads(r)
		if err != nil {
			return 0, err
		}
		v.fresh = map[string]uint64{}
		for _, h := range heads {
			v.fresh[h.Segment[min(timeLen, len(h.Segment)):]] = h.N
		}
		for _, c := range v.chains {
			if _, known := v.fresh[c.id[min(timeLen, len(c.id)):]]; known {
				continue
			}
			n, err := v.newestOf(r, c.id)
			if err != nil {
				return 0, err
			}
			v.fresh[c.id[min(timeLen, len(c.id)):]] = n
		}
	}
	return max(v.fresh[tag], v.stamps[tag]), nil
}
