package consent

import "mypatients/smart"

// A Caller is who asks, and from where.
type Caller struct {
	smart.Grant
	Address   string // network address, for the audit log and for limits on attempts
	RequestID string
}

// PortalClient is the client id of the gateway's own pages.
const PortalClient = "portal"

// Portal gives the grant with which a signed-in person acts in our pages: the
// same kind that an app gets, with all that their role may ask for.
func Portal(id smart.Identity, sessionID string) smart.Grant {
	scopes, _ := smart.ParseScopes("openid fhirUser user/*.cruds")
	return smart.Grant{ID: sessionID, ClientID: PortalClient, ClientName: "Portal", Identity: id, Scopes: scopes}
}
