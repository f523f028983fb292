// Package label holds what is known of security labels: the order of
// confidentiality, what sensitivities comprise, and the rules by which a resource
// that says something sensitive is labelled though nobody has labelled it
// (https://hl7.org/fhir/R4/security-labels.html). All of it is data, in the files
// of data/, with their sources and reasons.
//
// A rule says that a code has a label. It holds wherever the code stands in a
// resource: in a Condition, in the reason of a visit or a prescription, in a claim.
// A code that is negated, refuted or of a test that found nothing counts as well:
// that somebody asked says enough. What is only text is not read.
//
// The rules see a resource alone. What it takes from others it refers to (the
// medication of a prescription, the visit of a note) is package consent's matter,
// and so is where labels are written and who may see what.
//
// A site adds rules of its own or takes some away, in a file of the same form, see
// [Rules.With]. The order and what sensitivities comprise are not a site's to
// change: decisions and consents mean the same everywhere.
//
// The package is pure: it reads nothing but what is built in.
package label
