package audit

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// An Entry says who did what on whose record, why they could, and what came of
// it. It holds ids and codes, no clinical content.
type Entry struct {
	When     time.Time  `json:"t"`
	Login    string     `json:"l,omitempty"` // id of the account
	Name     string     `json:"n,omitempty"`
	Person   string     `json:"p,omitempty"` // fhirUser
	Role     smart.Role `json:"r,omitempty"`
	Client   string     `json:"c,omitempty"` // its name
	ClientID string     `json:"ci,omitempty"`
	Org      string     `json:"o,omitempty"` // key of an organisation where the person practises
	Address  string     `json:"a,omitempty"`
	Request  string     `json:"q,omitempty"` // id of the request
	Action   string     `json:"x"`
	Type     fhir.Type  `json:"y,omitempty"`
	Query    string     `json:"f,omitempty"` // the names of the parameters of a search, joined by "&"
	Returned []string   `json:"i,omitempty"` // keys of what was returned or written; for how they are stored see appendKeys
	Page     Keys       `json:"-"`           // what was returned beside Returned; of an entry that was read, that has it all
	About    []string   `json:"k,omitempty"` // keys of what was asked for in vain
	Asked    []string   `json:"s,omitempty"` // those of Patients whom the question itself concerns, whatever was found
	Patients []string   `json:"w,omitempty"` // whose record
	// Bases are by patient: a code, or a code, a space and the key of the resource
	// that it rests on.
	Bases   map[string][]string `json:"b,omitempty"`
	Detail  string              `json:"d,omitempty"` // what an administrator did it to: an account, a client
	Purpose string              `json:"u,omitempty"`
	Outcome string              `json:"e,omitempty"` // empty: it was done; else the kind of refusal
}

// A Row is an entry with the id that it has in the log.
type Row struct {
	ID string
	*Entry
}

// Keys of rounds and records. A round is the entries of one transaction, at most
// roundSize of them: when it was written, by which segment, the how manieth. A record
// of it adds its number.
const (
	timeLen   = 16
	tagLen    = 10
	roundLen  = timeLen + tagLen + 8
	recordLen = roundLen + 2
)

func roundKey(t int64, tag string, seq uint32) string { return fmt.Sprintf("%016x%s%08x", t, tag, seq) }

// timeOf is the time in a key that begins with one.
func timeOf(key string) int64 {
	if len(key) < timeLen {
		return 0
	}
	t, err := strconv.ParseInt(key[:timeLen], 16, 64)
	if err != nil {
		return 0
	}
	return t
}

func tagOf(record string) string {
	if len(record) != recordLen {
		return ""
	}
	return record[timeLen : timeLen+tagLen]
}

// backwards makes a text that begins with a time sort newest first.
func backwards(key string) string {
	return fmt.Sprintf("%016x", uint64(math.MaxInt64-timeOf(key))) + key[timeLen:]
}

// recordSize is about how large a record is, in bytes: small enough that the
// embedded engine keeps it beside its key, so that a round costs one flush to disk
// and not two.
const recordSize = 900 - macSize

// pack writes entries from first on as one body, and gives the first that did not
// fit. The body begins with the number of the newest link at the time.
func pack(entries []*Entry, first int, link uint64) (body []byte, next int, err error) {
	body = append(binary.AppendUvarint(make([]byte, 0, recordSize+recordSize/2), link), '[')
	for next = first; next < len(entries); next++ {
		before := len(body)
		if next > first {
			body = append(body, ',')
		}
		if body, err = appendEntry(body, entries[next]); err != nil {
			return nil, 0, err
		}
		if next > first && len(body) > recordSize {
			body = body[:before]
			break
		}
	}
	return append(body, ']'), next, nil
}

func unpack(body []byte) (link uint64, entries []*Entry, err error) {
	link, n := binary.Uvarint(body)
	if n <= 0 {
		return 0, nil, errors.New("audit: damaged record")
	}
	if err := json.Unmarshal(body[n:], &entries); err != nil {
		return 0, nil, fmt.Errorf("audit: damaged record: %w", err)
	}
	for _, e := range entries {
		if e == nil || !expand(e.Returned) {
			return 0, nil, errors.New("audit: damaged record")
		}
	}
	return link, entries, nil
}

// who are the names under which somebody's doings are found: the person that they
// acted as, and their login.
func (e *Entry) who() []string {
	var names []string
	if e.Person != "" {
		names = append(names, e.Person)
	}
	if e.Login != "" {
		names = append(names, loginName(e.Login))
	}
	return names
}

func loginName(login string) string { return "login:" + login }

// A rows is what a pointer holds: records, and which of their entries, "key
// 0,1;key 2", oldest first. All keys are of one length.
type rows []byte

// add adds a row behind the others; record is that of the last one that was added,
// or follows it.
func (p rows) add(record string, row int) rows {
	last := p[bytes.LastIndexByte(p, ';')+1:]
	switch {
	case len(p) == 0:
		p = append(p, record...)
	case len(last) > len(record) && string(last[:len(record)]) == record:
		return strconv.AppendInt(append(p, ','), int64(row), 10)
	default:
		p = append(append(p, ';'), record...)
	}
	return strconv.AppendInt(append(p, ' '), int64(row), 10)
}

// join adds the rows of other records.
func (p rows) join(more rows) rows {
	if len(p) > 0 {
		p = append(p, ';')
	}
	return append(p, more...)
}

func (p rows) holds(record string, row int) bool {
	for part := range strings.SplitSeq(string(p), ";") {
		if key, list, ok := strings.Cut(part, " "); ok && key == record {
			return slices.Contains(strings.Split(list, ","), strconv.Itoa(row))
		}
	}
	return false
}

// each goes through the rows, the newest first, until do wants no more.
func (p rows) each(do func(record string, row int) (more bool, err error)) error {
	for _, part := range slices.Backward(strings.Split(string(p), ";")) {
		key, list, _ := strings.Cut(part, " ")
		for _, text := range slices.Backward(strings.Split(list, ",")) {
			row, err := strconv.Atoi(text)
			if err != nil {
				return errors.New("audit: damaged pointer")
			}
			if more, err := do(key, row); err != nil || !more {
				return err
			}
		}
	}
	return nil
}

// readRecord gives the entries of a record.
func readRecord(r store.Reader, key string) ([]*Entry, error) {
	rec, err := r.Record(kindRecord, key)
	if err != nil {
		return nil, err
	}
	if len(rec.Value) < 1+macSize {
		return nil, errors.New("audit: damaged record")
	}
	_, entries, err := unpack(rec.Value[1+macSize:])
	return entries, err
}
