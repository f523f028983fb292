package fhir

import "time"

// A Resource is one version of a resource, as stored and as served.
// JSON is shared: whoever receives it must not change it.
type Resource struct {
	Key
	Version int64     // 1 for the first version; meta.versionId in decimal
	Updated time.Time // meta.lastUpdated, UTC, milliseconds
	Deleted bool      // the version is a deletion; JSON is nil
	JSON    []byte    // compact JSON, id and meta.versionId and meta.lastUpdated set
	Terms   []byte    // the packed index terms of the version, as the store keeps them
}

// An Entry is one row of a [Page].
type Entry struct {
	Resource *Resource // nil for an outcome
	Outcome  []byte    // JSON of an OperationOutcome when Mode is "outcome"
	Mode     string    // "match", "include" or "outcome"; empty in a history
	Created  bool      // in a history: the version is the first or follows a deletion
}

// A Page is what a search or a history answers: the body of a Bundle without
// its addresses, which only the HTTP side knows.
type Page struct {
	Entries []Entry
	Total   *int   // nil when not asked for and not known
	Applied string // the query string of what was really applied, for the self link
	Next    string // the query string of the next page; empty on the last
	Subset  Subset // how much of each resource is asked for; the entries hold all of it
}
