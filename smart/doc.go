// Package smart is the vocabulary of SMART App Launch 2.2
// (https://hl7.org/fhir/smart-app-launch/STU2.2/) and of the OAuth 2.0 and
// OpenID Connect below it: identities, grants, scopes, clients, launches and
// errors. It holds types and pure rules; smart/authserver is the machinery.
//
// # Differences from the specification
//
//   - Granular scopes take plain search parameters only: modifiers, chains,
//     _filter and _has, all marked experimental there, make a scope malformed.
//   - Ports are free for http redirect URIs on localhost too, not only on the
//     loopback addresses of RFC 8252 section 7.3.
package smart
