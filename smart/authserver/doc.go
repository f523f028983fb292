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
// A grant says who the person was when they gave it. At each refresh, and whenever
// somebody asks about a token, Config.Current tells who they are today; whoever
// serves resources asks the same at each request. A person who may no longer act
// in the role ends the grant.
//
// # Security BCP (RFC 9700), point by point
//
// Each point names the tests that hold it; those of package gateway go through
// the whole program.
//
//   - 2.1 exact redirect URIs: compared to the character on the raw value, ports
//     of loopback addresses free. TestMatchRedirect, FuzzMatchRedirect,
//     TestAuthorizeErrorsStayHere, TestAttacks/redirect_tampering.
//   - 2.1 no open redirector: a mismatch never redirects, and pages lead to local
//     addresses only. FuzzAuthorize, TestAttacksOnPages/open_redirect.
//   - 2.1, 4.7 CSRF on the redirect: PKCE is required and state given back; our
//     own sign-in binds state to the browser. TestAttacksOnPages/login_fixation,
//     TestAttacksOnPages/CSRF_on_every_form.
//   - 2.1, 4.4 mix-up: iss in every authorization response (RFC 9207), also with
//     errors. TestAttacks/mix-up.
//   - 2.1.1, 4.8 PKCE with S256 for every client; a downgrade is refused at
//     authorize and at token, as a code always has a challenge.
//     TestAttacks/PKCE_downgrade.
//   - 2.1.1, 4.5 code injection: a code is bound to client, redirect URI and
//     verifier. TestAttacks/code_injection_into_another_session.
//   - 2.1.2, 2.4 no implicit and no password grant. TestAuthorizeErrorsRedirect,
//     TestTokenEndpointGuard.
//   - 2.2.1 access tokens are not bound to a sender (RFC 8705, RFC 9449): SMART
//     has no such capability and its apps do not know how. They are opaque, live
//     an hour at most unless an administrator says so, and end at once.
//     TestLivesAreBounded, TestGrants.
//   - 2.2.2, 4.14 refresh tokens: bound to the client, rotated; reuse ends the
//     family. TestRefreshReuse, TestAttacks/stolen_refresh_token.
//   - 2.3 privileges: one audience, only what was granted, never more by a
//     refresh; narrowed by the person.
//     TestAttacks/scope_upgrade_on_refresh, TestScopesThatCannotBeKept.
//   - 2.5 client authentication by private_key_jwt; jti once on all nodes; secrets
//     are stored hashed. TestClientAssertion, FuzzAssertion,
//     TestAttacks/jti_replay_in_parallel,
//     TestAttacks/alg_none,_and_HS256_with_the_public_key.
//   - 2.6 metadata is published (RFC 8414), all addresses on our own base URL.
//     TestDiscovery.
//   - 2.6 end-to-end TLS ends at the proxy in front; base URLs, JWKS URLs and
//     redirect URIs are https off loopback. TestClientKeysChecked.
//   - 4.1 redirect URI validation is not by pattern. TestMatchRedirect.
//   - 4.2 leaks by Referer: no-referrer on redirects, same-origin on pages, which
//     load nothing from elsewhere. TestHeadersOnEveryAnswer.
//   - 4.3 browser history: no tokens in addresses; codes there are used up.
//     TestTokenEndpointGuard.
//   - 4.5 replay: a code works once, sixty seconds; a second use ends what came of
//     the first. TestCodeExchange,
//     TestAttacks/code_injection_and_replay_from_two_clients_at_once.
//   - 4.6 access token injection: tokens come from the token endpoint only, and the
//     ID token binds them by at_hash and nonce. TestIDToken.
//   - 4.9 resource servers that leak tokens: a token is good for one resource
//     server, which takes it from the header only. TestAuthorizeErrorsRedirect,
//     TestDemoServes.
//   - 4.10 misuse of stolen tokens: they end with the grant, the session where it
//     should, the client, the person's role. TestPersonIsReadAgain,
//     TestAdministratorEndsGrants, TestEndLoginEndsCodes,
//     TestAttacks/session_after_role_change.
//   - RFC 9470 step-up: a grant knows when and how strongly the person signed in;
//     acr_values and max_age ask for more, and letting somebody into a record may
//     need it; what is not to be had is unmet_authentication_requirements.
//     TestStepUpIsKnown, TestStepUpOfAnApp, TestStepUpCannotBeSkipped; of the guard
//     TestStepUp, TestStepUpChallenge.
//   - 4.11 open redirection by the authorization server: errors redirect only to
//     URIs that are registered at that moment, by an administrator or by whom one
//     let register. FuzzAuthorize, TestChangedClient.
//   - 4.12 every redirect is 303. TestAuthorize.
//   - 4.13 TLS-terminating proxies: addresses in headers are believed of the
//     configured ones only, and count for limits. TestLimits.
//   - 4.15 clients posing as people: backends have no person, their sub is their
//     client_id and their level of scopes is system/. TestBackendServices.
//   - 4.16 clickjacking: no page can be framed.
//     TestAttacksOnPages/clickjacking_headers.
//   - 4.17 browser-based flows (postMessage) do not exist here.
//   - SSRF by JWKS URLs (RFC 7591 section 5): public addresses only, looked at
//     after the name was resolved; no redirects. TestJWKSURLStaysOutside,
//     TestAttacksOnKeys/JWKS_URL_to_an_internal_address,
//     TestAttacksOnKeys/by_a_redirect.
//   - Registrations that clients change by themselves (RFC 7592) gain nothing by it:
//     no scope, no origin and no state of another app.
//     TestRegistrationGainsNothing, TestSoftwareStatements.
//   - Strangers are counted, and leave little behind. TestLimits,
//     TestStrangersTakeNoMemory, TestFailedFetchIsNotRepeated, TestErrorsRepeatNothing.
//   - Launch handles (SMART): once, five minutes, of one person and app; nobody
//     else spoils one. TestLaunchIsNotSpoiled, TestLaunchGivesOneGrant,
//     TestAttacks/launch_handle_of_another_session.
//
// # Differences from the specifications
//
//   - SMART 2.2 asks for state; a request without one is accepted, since PKCE
//     protects it and common OpenID clients send none.
//   - launch/encounter is granted when the approval names an encounter; a person
//     may say that none is meant.
//   - A launch handle that names no client is the first approval's, whichever app
//     brought it.
//   - A bearer token may be used to introspect the tokens of other clients with
//     the scope introspect, which only backend services get.
//   - A software statement (RFC 7591 section 2.3) of a configured issuer is enough to
//     register; without an initial access token nothing but its claims counts then,
//     also when the registration is replaced (TestSoftwareStatements).
//   - ID tokens are signed with RS256 only; there is no EC key beside it, as none
//     would be used.
//   - Introspection answers for access tokens only; a refresh token is
//     {"active":false}.
//   - A client assertion may name the issuer instead of the token URL as aud
//     (draft-ietf-oauth-rfc7523bis), and nothing else beside them.
package authserver
