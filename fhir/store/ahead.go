package store

import (
	"iter"
	"slices"
)

// An Ahead is a Reader that reads several things in one go for less than one
// after the other, as a database behind a network does. What was read ahead is
// then given by Resource and Record as before.
type Ahead interface {
	ReadAhead(resources []Key, kind string, records []string) error
}

// ReadResources says that these will be asked for next.
func ReadResources(r Reader, keys iter.Seq[Key]) error {
	if a, ok := r.(Ahead); ok {
		return a.ReadAhead(slices.Collect(keys), "", nil)
	}
	return nil
}

// ReadRecords says that these will be asked for next.
func ReadRecords(r Reader, kind string, keys iter.Seq[string]) error {
	if a, ok := r.(Ahead); ok {
		return a.ReadAhead(nil, kind, slices.Collect(keys))
	}
	return nil
}
