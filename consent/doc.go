// Package consent decides who may see whose record, and stands in front of the
// FHIR engine: everything that leaves the gateway about a patient goes through
// a [Guard].
//
// The rule, in one paragraph. A caller's scopes must allow the interaction
// (scopes.go). A resource belongs to the patients whose compartment holds it.
// A caller needs a basis on one of them: being the patient, their guardian,
// their PCP, a member of their care team, or holding an access that the family
// granted (decide.go). Consents of the patient then narrow or deny
// (provision.go); a deny overrides every basis but the patient's own. The
// result is compiled into a condition on index terms (sight.go), which the
// engine puts into every plan: nothing is filtered after it was found.
//
// Around the decision live the life cycles it rests on: access requests
// (request.go), invitations (invite.go), care teams (careteam.go), accounts
// (account.go); the notices they send (notice.go); and the audit log
// (audit.go), without whose entry no answer leaves.
//
// The package knows no HTTP, no tokens and no storage engine.
package consent
