// Package oauth puts the authorization server on the web: its endpoints and its
// two discovery documents, the launch API for an EHR, and the CORS rules of SMART
// App Launch 2.2. Errors become OAuth JSON; the redirects of authorize are the
// authorization server's. It knows nothing of FHIR content and of pages.
package oauth
