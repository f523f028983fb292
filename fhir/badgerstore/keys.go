package badgerstore

import (
	"bytes"
	"encoding/binary"

	"mypatients/fhir/store"
)

// The first byte of a key says what it holds. Strings inside a key are ended by
// a NUL byte, which none of them may hold, so that keys sort as their parts do.
const (
	tagResource = 'r' // r type 0 id: newest version, whole
	tagHistory  = 'h' // h type 0 id 0 ^version: older version, whole
	tagOwner    = 'o' // o owner 0 type 0 id: terms of the newest version, if live
	tagIndex    = 'i' // i type 0 name 0 value 0 id: nothing; only live resources
	tagLog      = 'l' // l number: log entry
	tagTypeLog  = 't' // t type 0 number: the same entry again
	tagOwnerLog = 'w' // w owner 0 number: the same entry again
	tagRecord   = 'k' // k kind 0 key: record
	tagExpiry   = 'x' // x time kind 0 key: nothing
	tagCommit   = 'c' // c: what was the last commit when a large one began
)

const (
	maxKey         = 65000     // what Badger takes
	maxTransaction = 512 << 20 // memory of one transaction
)

func resourceKey(b []byte, k store.Key) []byte {
	b = append(b, tagResource)
	b = append(b, k.Type...)
	b = append(b, 0)
	return append(b, k.ID...)
}

// historyPrefix leads to the older versions of a resource, newest first.
func historyPrefix(b []byte, k store.Key) []byte {
	b = append(b, tagHistory)
	b = append(b, k.Type...)
	b = append(b, 0)
	b = append(b, k.ID...)
	return append(b, 0)
}

func historyKey(b []byte, k store.Key, version int64) []byte {
	return binary.BigEndian.AppendUint64(historyPrefix(b, k), ^uint64(version))
}

// ownerPrefix leads to the rows of a type that belong to an owner, by id.
func ownerPrefix[S string | []byte](b []byte, owner S, typ string) []byte {
	b = append(b, tagOwner)
	b = append(b, owner...)
	b = append(b, 0)
	b = append(b, typ...)
	return append(b, 0)
}

// namePrefix leads to the index entries of a name, by value and id.
func namePrefix(b []byte, typ, name string) []byte {
	b = append(b, tagIndex)
	b = append(b, typ...)
	b = append(b, 0)
	b = append(b, name...)
	return append(b, 0)
}

func indexKey[S string | []byte](b []byte, typ string, name, value S, id string) []byte {
	b = append(b, tagIndex)
	b = append(b, typ...)
	b = append(b, 0)
	b = append(b, name...)
	b = append(b, 0)
	b = append(b, value...)
	b = append(b, 0)
	return append(b, id...)
}

func logPrefix(b []byte, typ string) []byte {
	if typ == "" {
		return append(b, tagLog)
	}
	b = append(b, tagTypeLog)
	b = append(b, typ...)
	return append(b, 0)
}

func logKey(b []byte, typ string, number uint64) []byte {
	return binary.BigEndian.AppendUint64(logPrefix(b, typ), number)
}

func ownerLogPrefix(owner []byte) []byte {
	b := append([]byte{tagOwnerLog}, owner...)
	return append(b, 0)
}

func kindPrefix(b []byte, kind string) []byte {
	b = append(b, tagRecord)
	b = append(b, kind...)
	return append(b, 0)
}

func recordKey(b []byte, kind, key string) []byte {
	return append(kindPrefix(b, kind), key...)
}

func expiryKey(b []byte, millis int64, kind, key string) []byte {
	b = append(b, tagExpiry)
	b = binary.BigEndian.AppendUint64(b, uint64(millis)^1<<63)
	b = append(b, kind...)
	b = append(b, 0)
	return append(b, key...)
}

// splitExpiry takes the kind and the key of a record out of an expiry key.
func splitExpiry(k []byte) (kind, key string) {
	head, tail, _ := bytes.Cut(k[9:], []byte{0})
	return string(head), string(tail)
}

// lastID gives the id at the end of a key.
func lastID(k []byte) []byte { return k[bytes.LastIndexByte(k, 0)+1:] }

// A span is a stretch of keys, from <= key < to.
type span struct{ from, to []byte }

// under is the span of all keys that begin with prefix.
func under(prefix []byte) span { return span{prefix, store.Beyond(prefix)} }

// common gives the prefix that all keys of the span share.
func (s span) common() []byte {
	n := 0
	for n < len(s.from) && n < len(s.to) && s.from[n] == s.to[n] {
		n++
	}
	return s.from[:n]
}
