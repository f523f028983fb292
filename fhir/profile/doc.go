// Package profile checks resources against the rules that HL7 publishes as data:
// what R4 asks of every resource beyond its structure ([Check], on every write),
// and what the profiles of US Core ask of those who claim them ([Profile.Check],
// by $validate only). It holds the definitions, cut down to what is checked, with
// their value sets, which searches may use too ([ValueSet]), and
// owns the small part of FHIRPath that their invariants are written in. It knows
// nothing of storage or of people, and looks at one resource at a time.
//
// # On every write
//
// [fhir.Parse] has checked JSON, structure, cardinality, types, formats, codes of
// elements of type code, references and narrative. [Check] adds, in contained
// resources and entries too:
//
//   - required bindings of Coding, CodeableConcept and Quantity where HL7's core
//     package holds all codes of the value set; of what it does not hold, media
//     types and currencies are looked at for their form;
//   - the invariants of severity error. Of R4's 205, 199 are evaluated as they are
//     written (testdata/invariants.golden lists them), ele-1 and dom-3 are in Go
//     here, and dom-2, ref-1, txt-1 and txt-2 are part of fhir.Parse;
//   - what SimpleQuantity and MoneyQuantity leave out, no white space in a URI, no
//     year 0, no two contained resources of one id.
//
// # By $validate only
//
// The invariants of severity warning but dom-6 (there should be a narrative), and
// profiles: cardinality, slices (by value, pattern, type, existence or profile),
// fixed values, patterns, allowed types, the types that references may lead to,
// required and extensible bindings (an extensible one gives a warning), and
// invariants. meta.profile is a claim that is not looked at: name the profile.
//
// # Not checked
//
//   - value sets that draw on SNOMED CT, LOINC, UCUM, MIME types, languages or
//     other terminologies that are not packaged, and those of US Core 6.1.0 and
//     7.0.0 that live in VSAC: there is no terminology service to ask;
//   - displays of codes, and versions of code systems;
//   - whether what a reference leads to conforms to a profile: it may change;
//   - the contents of extensions that no profile names, and where they may stand;
//   - mustSupport, which is about systems and not about resources;
//   - the order of slices;
//   - an invariant that gives neither true nor false, because what it asks for is
//     not there.
//
// # Why FHIRPath of our own
//
// The libraries there are for Go read JSON again or want protos of their own, and
// none is widely kept; the invariants use a part of the language that is a few
// hundred lines over the tree that is there anyway, at 5 µs for a usual resource.
// What an expression may look at is limited, in proportion to the body.
package profile
