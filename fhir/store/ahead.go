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

// ReadsAhead tells whether a Reader is an [Ahead].
func ReadsAhead(r Reader) bool { _, ok := r.(Ahead); return ok }

// A Dated is a Reader that knows when records of a kind last changed, as that of an
// engine can through which alone they are written.
type Dated interface {
	// StateOf gives a number for all records of a kind: to Readers of one Store to whom
	// it is the same, all of them are. 0: this Reader cannot tell.
	StateOf(kind string) uint64
}

// StateOf asks a Reader that is a [Dated]; of others it gives 0.
func StateOf(r Reader, kind string) uint64 {
	if d, ok := r.(Dated); ok {
		return d.StateOf(kind)
	}
	return 0
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
