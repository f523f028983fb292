// Package engine carries out the FHIR interactions on the storage port, one
// file for each: https://hl7.org/fhir/R4/http.html. It has no notion of a user:
// what a caller may see comes in as a [Sight], a condition that becomes part of
// every plan, and who may write is settled before it is called.
//
// What is stored is found by the search parameters by which it was indexed. A record
// tells which those are: a stored SearchParameter, a new zone or a new form of the
// index is in force for searches when [Engine.Reindex] has reached everything, and
// refused by name until then; what is written is indexed by it at once. Dates are read
// in the old zone until a re-index begins, and refused while it runs: change the zone
// when the gateway is stopped, since decisions by time are made from the same index.
//
// # Differences from the specification
//
// A version that was deleted keeps the search terms of the one before it, so
// that Gone is only said to those who might have read it. An old version is shown
// only to those who may see it and the newest. In the answer to _at a deletion
// stands only when it was made within that time. A history is in the order of
// commits, from which the times differ by no more than a transaction lasts.
// Security labels that the server gives by rules of its own change without a new
// version, those of old versions too.
// Includes beyond 1000 resources for a page are refused instead of cut.
// Bundle.total is there when it costs nothing or is asked for. _count=0 gives it alone,
// as on a search, of a record and of the history of one resource; the versions of
// many resources are not counted. _elements names what a type has. $everything takes
// what is of no clinical time for all times, and brings what a record refers to
// along with each page that does. Referential integrity, when switched on, looks
// at every reference that is written but those inside a Bundle, which mean its
// entries; a deletion is held up by the references that search parameters index.
package engine
