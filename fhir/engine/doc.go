// Package engine carries out the FHIR interactions on the storage port, one
// file for each: https://hl7.org/fhir/R4/http.html. It has no notion of a user:
// what a caller may see comes in as a [Sight], a condition that becomes part of
// every plan, and who may write is settled before it is called.
package engine
