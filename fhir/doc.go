// Package fhir is the FHIR R4 (4.0.1) vocabulary of the gateway: resource
// types, keys, references, JSON in and out, issues and errors, compartments
// and security labels. It knows nothing of HTTP, of people or of storage.
//
// A resource travels as the JSON that its author wrote: [Parse] checks it once,
// on the way in (a strict scan of our own, then google/fhir's validator), and
// the same bytes, with id and meta brought up to date, are stored and served.
// So a number keeps its digits, and a read costs no decoding.
package fhir
