// Package fhir is the FHIR R4 (4.0.1) vocabulary of the gateway: resource
// types, keys, references, JSON in and out, issues and errors. It knows nothing of HTTP, of people or of storage.
//
// A resource travels as the JSON that its author wrote: [Parse] checks it once,
// on the way in (a strict scan of our own, then google/fhir's validator), and
// the same bytes, with id and meta brought up to date, are stored and served.
// So a number keeps its digits, and a read costs no decoding.
//
// # Differences from the specification
//
// Stricter: codes of required bindings must be written exactly; a reference must
// be of a form and a type that R4 allows, absolute ones and those to entries of a
// Bundle too, and of the type that it names; "#id" must lead to a
// contained resource; a narrative that could run anything is refused, whatever
// its status; names may not be written with escapes; a number has 64 characters
// at most and an exponent of 3 digits; nothing is nested deeper than 50 levels.
//
// Looser: invariants, and bindings of CodeableConcept and Coding, are checked by
// package profile, which [Parse] is handed on every write. Profiles are checked
// by $validate only; dangling references to other resources by the engine, as a
// setting.
package fhir
