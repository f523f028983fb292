// Package demo holds everything that exists only for demonstration: people and
// an OpenID Connect issuer where they sign in, patients with records, apps and
// their keys, a small SMART app, and a mailbox in place of a mail server.
//
// Nothing else knows that it is a demonstration. The issuer is reached like any
// other, the records are stored through the engine, the apps are registered
// clients. Only main imports this package; without it a production build
// remains. It must be served on loopback only: every password is "demo", and the
// private keys of its clients are published with the source.
//
// The histories are synthetic; data/README.md says where they come from.
package demo
