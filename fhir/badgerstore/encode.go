package badgerstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"mypatients/fhir/store"
)

var errCorrupt = errors.New("badgerstore: stored data is damaged")

// deletedMark stands in the user byte of a newest version that is a deletion, so
// that counting live resources needs keys only.
const deletedMark = 1

// encodeVersion packs all of a version that is not in its key: a byte for
// deleted, version, time in milliseconds, length of the terms, terms, body.
func encodeVersion(v *store.Version) []byte {
	b := make([]byte, 0, len(v.Terms)+len(v.Body)+24)
	b = append(b, deletedByte(v.Deleted))
	b = binary.AppendUvarint(b, uint64(v.Version))
	b = binary.AppendVarint(b, v.Time.UnixMilli())
	b = binary.AppendUvarint(b, uint64(len(v.Terms)))
	b = append(b, v.Terms...)
	return append(b, v.Body...)
}

// decodeVersion keeps b.
func decodeVersion(key store.Key, b []byte) (*store.Version, error) {
	if len(b) == 0 {
		return nil, errCorrupt
	}
	rest := b[1:]
	version, n := binary.Uvarint(rest)
	if n <= 0 {
		return nil, errCorrupt
	}
	rest = rest[n:]
	millis, n := binary.Varint(rest)
	if n <= 0 {
		return nil, errCorrupt
	}
	rest = rest[n:]
	size, n := binary.Uvarint(rest)
	if n <= 0 || size > uint64(len(rest)-n) {
		return nil, errCorrupt
	}
	rest = rest[n:]
	return &store.Version{
		Key:     key,
		Version: int64(version),
		Time:    time.UnixMilli(millis).UTC(),
		Deleted: b[0] == deletedMark,
		Terms:   store.Terms(rest[:size:size]),
		Body:    rest[size:],
	}, nil
}

func deletedByte(deleted bool) byte {
	if deleted {
		return deletedMark
	}
	return 0
}

// encodeRecord packs the expiry (a byte for whether there is one, milliseconds)
// and the value.
func encodeRecord(r *store.Record) []byte {
	b := make([]byte, 0, len(r.Value)+9)
	if r.Expires.IsZero() {
		b = append(b, 0)
	} else {
		b = append(b, 1)
		b = binary.BigEndian.AppendUint64(b, uint64(r.Expires.UnixMilli()))
	}
	return append(b, r.Value...)
}

// decodeRecord keeps b.
func decodeRecord(kind, key string, b []byte) (*store.Record, error) {
	r := &store.Record{Kind: kind, Key: key}
	switch {
	case len(b) >= 1 && b[0] == 0:
		r.Value = b[1:]
	case len(b) >= 9 && b[0] == 1:
		r.Expires = time.UnixMilli(int64(binary.BigEndian.Uint64(b[1:]))).UTC()
		r.Value = b[9:]
	default:
		return nil, errCorrupt
	}
	return r, nil
}

// encodeLog packs type and id, each ended by NUL, version, time, deleted.
func encodeLog(v *store.Version) []byte {
	b := make([]byte, 0, len(v.Type)+len(v.ID)+16)
	b = append(b, v.Type...)
	b = append(b, 0)
	b = append(b, v.ID...)
	b = append(b, 0, deletedByte(v.Deleted))
	b = binary.AppendUvarint(b, uint64(v.Version))
	return binary.AppendVarint(b, v.Time.UnixMilli())
}

func decodeLog(number uint64, b []byte) (store.LogEntry, error) {
	typ, rest, ok1 := bytes.Cut(b, []byte{0})
	id, rest, ok2 := bytes.Cut(rest, []byte{0})
	if !ok1 || !ok2 || len(rest) == 0 {
		return store.LogEntry{}, errCorrupt
	}
	version, n := binary.Uvarint(rest[1:])
	if n <= 0 {
		return store.LogEntry{}, errCorrupt
	}
	millis, m := binary.Varint(rest[1+n:])
	if m <= 0 {
		return store.LogEntry{}, errCorrupt
	}
	return store.LogEntry{
		Position: logPosition(number),
		Key:      store.Key{Type: string(typ), ID: string(id)},
		Version:  int64(version),
		Time:     time.UnixMilli(millis).UTC(),
		Deleted:  rest[0] == deletedMark,
	}, nil
}
