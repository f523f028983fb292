// Package smart is the vocabulary of SMART App Launch 2.2
// (https://hl7.org/fhir/smart-app-launch/STU2.2/) and of the OAuth 2.0 and
// OpenID Connect below it: identities, grants, scopes, clients, launches and
// errors. It holds types and pure rules; smart/authserver is the machinery.
package smart
