// Package consent decides who may see whose record, and stands in front of the
// FHIR engine: everything that leaves the gateway about a patient goes through
// a [Guard].
//
// The rule, in one paragraph. A caller's scopes must allow the interaction
// (scopes.go). A resource belongs to the patients whose compartment holds it.
// A caller needs a basis on one of them: being the patient, their guardian,
// their PCP, a member of their care team, holding an access that the family
// granted (decide.go), working for one of these providers (sponsored.go), or having
// opened the record in an emergency (breakglass.go). Consents of the patient then
// narrow or deny (provision.go); a deny overrides every basis but the patient's own,
// though in an emergency only one that names the provider does, unless the site says
// otherwise. The result is compiled into a condition on index terms (sight.go), which
// the engine puts into every plan: nothing is filtered after it was found. For a
// provider with very many patients the bases themselves are part of that condition
// (joined.go), and decisions are taken about those alone whose consents must be read.
//
// A site can switch bases off and lower what they open, never raise it (ceiling.go),
// and see beforehand whose access another policy would open or close (policydiff.go).
//
// What is sensitive is labelled by rules when it is written (labelling.go, package
// label), and so is what refers to it (labelflow.go). A consent that cannot be
// evaluated is refused; one that is found fails closed and is reported
// (readable.go).
//
// Around the decision live the life cycles it rests on: access requests
// (request.go), invitations (invite.go, letter.go), care teams (careteam.go), what is undone
// at once (undo.go), accounts (account.go), whom administrators link (linking.go), the proof
// of a provider's address (emailproof.go), providers whom they check
// (unchecked.go), staff whom providers sponsor (sponsorship.go); who of a family answers a question, and what several answers come
// to (jury.go, answers.go, settle.go, and the packages age and quorum); what is
// between a teenager and a provider (confidential.go), custody orders (custody.go)
// and emancipation (emancipation.go); the notices they send (notice.go) to who may
// know of it (recipients.go), now or when a time comes (timer.go); the subscriptions
// of apps (subscribe.go, deliver.go); and the audit log (audit.go, and package audit
// for how it is kept), without whose entry no answer leaves.
//
// What is written takes one path, alone or as an entry of a transaction: checked,
// settled on a snapshot, prepared, and carried out in one store transaction that
// confirms what was settled and judges each write on the state that those before
// it left (task.go, work.go, transaction.go). So a transaction can do what its
// entries could do one after the other, and no more.
//
// The package knows no HTTP, no tokens and no storage engine.
//
// # Differences from the specification
//
// Consent (https://hl7.org/fhir/R4/consent.html). A root provision may have a
// type; without one, or without a provision, it denies when policyRule is OPTOUT, and
// has no opinion of its own otherwise. An actor counts by literal reference; one given by identifier
// or display cannot be told apart, so it counts as named in a deny and as not
// named in a permit. provision.data is read for the meaning "instance" only;
// other meanings fail closed. A permit opens a record only to those it names.
// A deny that names nobody is about providers: it does not shut out the family,
// unless it stands in a provision that names them. A permit that names nobody, inside
// a deny, lifts it and opens nothing.
//
// A request that several people have to answer stays proposed, unchanged, until
// their answers decide it: $approve and $decline, and a PUT that means one of them,
// then give the Consent with the extension answer-state, which is not stored. Each
// answer is a Provenance of the Consent, which the family sees and providers do not.
// What denies a guardian something by name is never deleted, only made inactive.
//
// CareTeam: being a participant of a team opens the record of its subject, never
// of a patient who is a participant.
//
// A consent without a provision whose policyRule is OPTOUT or OPTOUTE denies all
// providers. Consents of other scopes (treatment, research, adr) decide nothing here;
// one whose scope is not said in codes of consentscope denies and permits nothing.
//
// Security labels: those that the rules give stand in meta.security under the
// extension labelled-by. They change without a new version, as R4 allows. Labels
// flow one step along references inside a patient's record, and from a Medication;
// who writes a reference to what is hidden from them gets a resource that is hidden
// too. Text is not read. While rules that have changed are brought to what is
// stored, a version is judged by the labels that it has.
//
// Purposes (v3-ActReason): BTG lies below ETREAT and that below TREAT, so a deny for
// treatment reaches an emergency; a permit does only when it names BTG. An emergency
// access is told of by a Consent of the scope "treatment", which is the gateway's
// own and on which no decision rests. It opens nothing that several patients own,
// one of whom denies.
//
// $access gives the bases twice: each as a Coding, and with the resource that it comes
// from, if the caller may read that. What an administrator asks with as is answered as
// for a session of the portal without an emergency.
//
// PCP by practice: an Organization in generalPractitioner stands for those with an
// active PractitionerRole in that very organisation; partOf is not followed.
//
// Compartments: a Patient is opened by a basis on that very patient, not by one
// on a patient they are linked to (Patient.link). What belongs to several
// patients needs a basis on one of them and no deny from any; a deny of another
// owner counts whatever part of their record, purpose or time it is about.
//
// Conditional interactions and references see what their caller could find by a
// search: what is hidden matches nothing, so a conditional creation may add a
// second resource rather than tell of a hidden one. A conditional update whose
// criteria match nothing, while a resource has the body's id, is a Conflict.
// Two entries of a transaction about one resource are refused. Conditional
// references are settled on what the transaction leaves, and may lead to what it
// creates.
//
// AuditEvent is rendered from the log when it is read, in the shape of IHE's Basic
// Audit Log Patterns (https://profiles.ihe.net/ITI/BALP); it cannot be written, has
// one version, and is searched within one patient's log: it is not among what a
// search or a history of the whole system, $everything or an export gives. Of a search the
// log keeps the names of the parameters and not the values. An event about several
// patients is one, not one for each; it claims no profile of BALP then. A date
// parameter takes no list of values, and no prefix ne or ap.
//
// Subscription (https://hl7.org/fhir/R4/subscription.html): rest-hook only, by apps
// and systems, about one resource at a time: criteria do not join. Only its owner
// sees one. A subscription is active when its endpoint could be connected to. It
// ends with the grant of its app (off), and when the endpoint was away for three
// days (error); while it is away the element error says so. What is delivered is
// the version that met the criteria, if its owner could read it at that moment;
// entries of the last minutes before a subscription was made may be among it.
//
// Bulk export (https://hl7.org/fhir/uv/bulkdata/STU2/export.html): complete when its
// status is first asked for, as files are found while they are read (export.go). A file
// has what is there then: of what changed after the transactionTime the newer form, and
// nothing of what was deleted since, of which there is no list. Of patients and of a
// group, what belongs to the patients is given, and not the directory that it refers to,
// which is in the export of the system. A Group in a Group is not followed.
//
// History (https://hl7.org/fhir/R4/http.html#history) of a type or of the system
// needs the scope for searching, as SMART has it, that of an instance the one for
// reading. A provider finds deleted Consents of their own only by instance.
package consent
