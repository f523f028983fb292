// Package idp signs a person in at an OpenID Connect provider: the
// authorization code flow of https://openid.net/specs/openid-connect-core-1_0.html
// with PKCE (RFC 7636, S256), nonce, state and the issuer check of RFC 9207.
//
// [Provider.Begin] gives the address to send the browser to and a [Ticket] that
// the caller binds to that browser; [Provider.Finish] takes the ticket and the
// parameters that the browser brought back, and answers who signed in. The
// provider is discovered on first use and again until it succeeds, so a
// provider that is down does not keep the gateway from starting.
//
// [Provider.Logout] takes a provider's word that somebody signed out there
// (https://openid.net/specs/openid-connect-backchannel-1_0.html); which sessions
// that ends, and that the word is taken once, is the caller's.
//
// The package knows nothing of our own clients, scopes and sessions, and keeps
// nothing: a ticket that was used must be thrown away by the caller. What a
// provider says, ID tokens above all, never appears in an error.
package idp
