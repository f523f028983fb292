// Package authserver is the authorization server of SMART App Launch 2.2:
// authorize, token, refresh, introspect, revoke, userinfo, registration,
// discovery and signing keys. It knows nothing of pages, consent and upstream
// sign-in: authorize checks a request, parks it as a [Pending] and sends the
// browser to a page, which signs the person in, lets them choose, and calls
// [Server.Approve] or [Server.Deny].
//
// The protocol front for token, introspect, revoke, userinfo, jwks and OpenID
// discovery is zitadel/oidc's op.Server, kept in front.go and behind the guard
// of guard.go; nothing else here knows that library. Authorize and registration
// are our own, because that library compares redirect URIs unescaped and
// answers some authorize errors with JSON.
//
// All state is records of the storage port. A record's key is a keyed hash of
// the secret that leads to it, so that a copy of the database opens nothing;
// whoever takes a record (a code, a launch handle, a refresh generation, a jti)
// does so in a transaction, so that exactly one of many wins, on any number of
// nodes. Expiry is judged by Config.Now.
//
// # A grant and its tokens
//
// A grant is one answer of a person to one app (or one backend token). Its
// record lists the access tokens that live from it; ending the grant deletes
// them in the same transaction, so the next request with one of them fails and
// [Server.Authenticate] needs a single look-up. A refresh token carries a
// random family secret, a generation and a MAC over both. The grant is found by
// the family's hash; a generation older than the grant's is a copy in other
// hands and ends the grant, except for the one before it, for thirty seconds:
// an app whose answer got lost asks again and is given the same successor.
//
// # Security BCP (RFC 9700), point by point
//
//   - 2.1 redirect URIs: compared to the character on the raw value, loopback
//     ports free; no open redirector; mismatches never redirect.
//   - 2.1.1 PKCE S256 for every client; downgrade refused at authorize and at
//     token (a code always has a challenge).
//   - 2.1.1, 4.4 mix-up: iss in every authorization response (RFC 9207).
//   - 2.2, 4.14 refresh tokens: bound to the client, rotated, reuse ends the
//     family.
//   - 2.3 access tokens: opaque, one audience, an hour (five minutes for
//     backend services), only with the scopes granted.
//   - 2.4 the password grant does not exist. 2.1.2 nor does the implicit grant.
//   - 2.5 client authentication by private_key_jwt, jti remembered; secrets are
//     stored hashed.
//   - 4.2, 4.3 no credentials in queries; Referrer-Policy on redirects.
//   - 4.5 codes: once, sixty seconds, bound to client, redirect URI and
//     verifier; a replay ends what came of them.
//   - 4.12 303 for every redirect.
//
// # Differences from the specifications
//
//   - SMART 2.2 asks for state; a request without one is accepted, since PKCE
//     protects it and common OpenID clients send none.
//   - launch/encounter is granted when the approval names an encounter; there is
//     no capability context-standalone-encounter.
//   - Introspection answers for access tokens only; a refresh token is
//     {"active":false}.
//   - A client assertion may name the issuer instead of the token URL as aud
//     (draft-ietf-oauth-rfc7523bis), and nothing else beside them.
package authserver
