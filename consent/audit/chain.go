package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"mypatients/fhir/store"
)

// A segment is the part of the chain that one process writes.
type segment struct {
	id    string // when it began, and a random part
	begun bool   // it is on disk
	n     uint64 // its newest link, as far as is known to be on disk; 0: none
	mac   []byte // of that link

	first, head store.Record // what begins it

	kept     int64             // when its head was written last, in nanoseconds
	referred map[string]uint64 // the links of others that it has referred to
	crossed  int64             // when it looked at them
	tried    *try              // a link that may be on disk
	lost     *head             // of the segment before, when that was damaged
}

// tag names the segment in the keys of records.
func (s *segment) tag() string { return s.id[timeLen:] }

// Why a segment ended.
const (
	endClosed = "closed" // its process ended
	endLeft   = "left"   // its process was gone, another named what it left
)

// A link names records of the chain. All times are in nanoseconds.
type link struct {
	N      uint64   `json:"n"`           // from 1 on
	Before []byte   `json:"b,omitempty"` // the MAC of the link before
	At     int64    `json:"t"`
	Low    int64    `json:"l"`           // whatever the segment wrote before is named here or earlier
	Keys   []string `json:"k,omitempty"` // the records
	Sum    []byte   `json:"s,omitempty"` // over their MACs
	Heads  []head   `json:"h,omitempty"` // of other segments
	Unsure []string `json:"u,omitempty"` // records that may be there: the answer to their commit was lost
	End    string   `json:"e,omitempty"` // it is the last: see above
}

// A head says which link of a segment is the newest.
type head struct {
	Segment string `json:"g"`
	N       uint64 `json:"n"`
	MAC     []byte `json:"m"`
	Seen    int64  `json:"t,omitempty"` // when its process lived
	End     string `json:"e,omitempty"`
}

// String is the form in which heads are kept elsewhere.
func (h head) String() string { return fmt.Sprintf("%s.%d.%x", h.Segment, h.N, h.MAC) }

func linkKey(segment string, n uint64) string { return fmt.Sprintf("%s/%016x", segment, n) }

// linkName is the same for people.
func linkName(segment string, n uint64) string { return fmt.Sprintf("%s.%d", segment, n) }

// encode makes a record of a link or a head, and gives its MAC.
func (l *Log) encode(kind, key string, v any) (store.Record, []byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return store.Record{}, nil, err
	}
	value, mac := l.sealed(kind, key, body)
	return store.Record{Kind: kind, Key: key, Value: value}, mac, nil
}

// decode reads a link or a head, and gives its MAC.
func (l *Log) decode(r *store.Record, v any) (mac []byte, err error) {
	body, mac, err := l.unsealed(r)
	if err != nil {
		return nil, err
	}
	return mac, json.Unmarshal(body, v)
}

// readHead reads a head from its place.
func (l *Log) readHead(r *store.Record) (h head, err error) {
	if _, err = l.decode(r, &h); err == nil && h.Segment != r.Key {
		err = errMAC
	}
	return h, err
}

func (l *Log) readLink(r store.Reader, segment string, n uint64) (k link, mac []byte, err error) {
	rec, err := r.Record(kindLink, linkKey(segment, n))
	if err != nil {
		return link{}, nil, err
	}
	mac, err = l.decode(rec, &k)
	return k, mac, err
}

// newSegment makes a segment, which begins with what is first written to it: a
// link that names nothing, and its head.
func (l *Log) newSegment() *segment {
	t := l.tick()
	s := &segment{id: fmt.Sprintf("%016x%s", t, randomHex(tagLen/2)), n: 1, kept: t, referred: map[string]uint64{}}
	var err, headErr error
	s.first, s.mac, err = l.encode(kindLink, linkKey(s.id, 1), link{N: 1, At: t, Low: t})
	s.head, _, headErr = l.encode(kindHead, s.id, head{Segment: s.id, N: 1, MAC: s.mac, Seen: t})
	if err != nil || headErr != nil {
		panic("audit: a link cannot be written as JSON") // its types can
	}
	return s
}

// begin writes what begins a segment, unless another transaction has.
func (s *segment) begin(w store.Writer) error {
	if _, err := w.Record(kindHead, s.id); !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err := w.PutRecord(&s.first); err != nil {
		return err
	}
	if err := w.PutRecord(&store.Record{Kind: kindLinked, Key: linkedKey(timeOf(s.id), s.id, 1)}); err != nil {
		return err
	}
	return w.PutRecord(&s.head)
}

// linkedKey sorts links newest first.
func linkedKey(at int64, segment string, n uint64) string {
	return backwards(fmt.Sprintf("%016x", at)) + " " + linkKey(segment, n)
}

// whoKey is where the rows of a link are found from a name.
func whoKey(name string, at int64, segment string, n uint64) string {
	return name + "/" + linkedKey(at, segment, n)
}

// addWho adds the rows of a record to those of a link.
func addWho(all, more map[string]rows) {
	for name, rows := range more {
		all[name] = all[name].join(rows)
	}
}

// sumOf sums up the MACs of the records of a link.
func sumOf(macs [][]byte) []byte {
	h := sha256.New()
	for _, m := range macs {
		h.Write(m)
	}
	return h.Sum(nil)
}

// putLink writes a link with what leads to it, and the new head of its segment.
func (l *Log) putLink(w store.Writer, segment string, k link, list []written) (mac []byte, err error) {
	k.Keys, k.Sum = nil, nil
	who := map[string]rows{}
	var macs [][]byte
	for _, r := range list {
		k.Keys = append(k.Keys, r.key)
		macs = append(macs, r.mac)
		addWho(who, r.who)
	}
	if len(macs) > 0 {
		k.Sum = sumOf(macs)
	}
	rec, mac, err := l.encode(kindLink, linkKey(segment, k.N), k)
	if err != nil {
		return nil, err
	}
	if err := w.PutRecord(&rec); err != nil {
		return nil, err
	}
	if err := w.PutRecord(&store.Record{Kind: kindLinked, Key: linkedKey(k.At, segment, k.N)}); err != nil {
		return nil, err
	}
	for name, rows := range who {
		if err := w.PutRecord(&store.Record{Kind: kindWho, Key: whoKey(name, k.At, segment, k.N), Value: rows}); err != nil {
			return nil, err
		}
	}
	return mac, l.putHead(w, head{Segment: segment, N: k.N, MAC: mac, Seen: k.At, End: k.End})
}

func (l *Log) putHead(w store.Writer, h head) error {
	rec, _, err := l.encode(kindHead, h.Segment, h)
	if err != nil {
		return err
	}
	return w.PutRecord(&rec)
}

// heads lists the heads there are.
func (l *Log) heads(r store.Reader) (list []head, bad []string, err error) {
	for after := ""; ; {
		page, err := r.Records(kindHead, "", after, 100)
		if err != nil {
			return nil, nil, err
		}
		for _, rec := range page {
			after = rec.Key
			h, err := l.readHead(rec)
			if err != nil {
				bad = append(bad, rec.Key)
				continue
			}
			list = append(list, h)
		}
		if len(page) < 100 {
			return list, bad, nil
		}
	}
}

func equalHeads(a, b head) bool {
	return a.Segment == b.Segment && a.N == b.N && hmac.Equal(a.MAC, b.MAC) && a.End == b.End
}
