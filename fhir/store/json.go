package store

import (
	"encoding/json"
	"fmt"
	"time"
)

// PutJSON creates or replaces a record whose value is JSON. A zero time keeps it
// for ever.
func PutJSON(w Writer, kind, key string, value any, expires time.Time) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return w.PutRecord(&Record{Kind: kind, Key: key, Value: b, Expires: expires})
}

// GetJSON reads what PutJSON wrote. It fails with ErrNotFound when there is none;
// like [Reader.Record] it gives an expired one too.
func GetJSON(r Reader, kind, key string, into any) error {
	rec, err := r.Record(kind, key)
	if err != nil {
		return err
	}
	return rec.DecodeJSON(into)
}

// DecodeJSON reads the value of a record that PutJSON wrote.
func (r *Record) DecodeJSON(into any) error {
	if err := json.Unmarshal(r.Value, into); err != nil {
		return fmt.Errorf("store: a record of kind %s does not decode: %w", r.Kind, err)
	}
	return nil
}
