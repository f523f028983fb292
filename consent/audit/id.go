package audit

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"mypatients/fhir/store"
)

// The key of a record says how many rounds there were before it, and so how much
// goes on in records that somebody may not see. The id of a row is its place,
// encrypted: the same each time, 64 characters that a FHIR id may have.

var idEncoding = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.").WithPadding(base64.NoPadding)

const (
	placeLen = recordLen/2 + 2 // bytes of a place: the key of a record, and the row
	nonceLen = 12
)

// ids encrypts places of rows.
type ids struct {
	aead   cipher.AEAD
	nonces []byte // the key that nonces are made with: one place, one nonce
}

func newIDs(key []byte) (ids, error) {
	derived := func(use string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte("audit ids " + use))
		return h.Sum(nil)
	}
	block, err := aes.NewCipher(derived("key"))
	if err != nil {
		return ids{}, err
	}
	aead, err := cipher.NewGCM(block)
	return ids{aead, derived("nonce")}, err
}

// of gives the id of a row of a record.
func (x ids) of(record string, row int) (string, error) {
	place, err := hex.DecodeString(record)
	if err != nil || len(record) != recordLen {
		return "", fmt.Errorf("audit: %q is no key of a record", record)
	}
	place = binary.BigEndian.AppendUint16(place, uint16(row))
	h := hmac.New(sha256.New, x.nonces)
	h.Write(place)
	nonce := h.Sum(nil)[:nonceLen]
	return idEncoding.EncodeToString(x.aead.Seal(nonce, nonce, place, nil)), nil
}

// place reads an id.
func (x ids) place(id string) (record string, row int, ok bool) {
	sealed, err := idEncoding.DecodeString(id)
	if err != nil || len(sealed) < nonceLen {
		return "", 0, false
	}
	place, err := x.aead.Open(nil, sealed[:nonceLen], sealed[nonceLen:], nil)
	if err != nil || len(place) != placeLen {
		return "", 0, false
	}
	last := len(place) - 2
	return hex.EncodeToString(place[:last]), int(binary.BigEndian.Uint16(place[last:])), true
}

// RowOf gives the row of an id, or store.ErrNotFound.
func (l *Log) RowOf(r store.Reader, id string) (Row, error) {
	record, row, ok := l.ids.place(id)
	if !ok {
		return Row{}, store.ErrNotFound
	}
	entries, err := readRecord(r, record)
	if err != nil {
		return Row{}, err
	}
	if row >= len(entries) {
		return Row{}, store.ErrNotFound
	}
	return Row{id, entries[row]}, nil
}

// row gives an entry of a record with its id.
func (l *Log) row(record string, row int, e *Entry) (Row, error) {
	id, err := l.ids.of(record, row)
	return Row{id, e}, err
}
