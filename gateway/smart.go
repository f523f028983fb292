package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"mypatients/config"
	"mypatients/gateway/oauth"
	"mypatients/gateway/rest"
	"mypatients/smart"
)

// appStatePath is where apps keep their own state: an endpoint of its own, which
// takes the tokens of the FHIR base.
const appStatePath = "/appstate"

// mountSMART adds what apps find beside FHIR: the authorization server, their own
// state, the site's brand and its look.
func (k *core) mountSMART(ctx context.Context, r gin.IRouter, c *config.Config, now func() time.Time) error {
	err := oauth.Mount(r, oauth.Config{Server: k.server, Now: now, Identity: k.guard.IdentityOf})
	if err != nil {
		return err
	}
	err = rest.MountAppState(r, rest.Config{Guard: k.guard, Authenticate: k.authenticate, OriginAllowed: k.server.OriginAllowed, Base: c.BaseURL + appStatePath})
	if err != nil {
		return err
	}
	if err := mountStyle(r, c.Brand); err != nil {
		return err
	}
	return k.mountBrands(ctx, r, c, now())
}

// extraDiscovery is what the SMART configuration says of things beside the
// authorization server.
func extraDiscovery(c *config.Config) map[string]any {
	extra := map[string]any{
		"associated_endpoints": []any{map[string]any{"url": c.BaseURL + appStatePath, "capabilities": []string{"smart-app-state"}}},
	}
	if id := brandIdentifier(c.Brand); id != nil {
		extra["user_access_brand_bundle"] = c.BaseURL + brandsPath
		extra["user_access_brand_identifier"] = id
	}
	return extra
}

// appCode gives an app the state codes whose system is an origin where it runs,
// and those that an administrator named in the scopes it was registered for.
func (k *core) appCode(ctx context.Context, clientID, code string) (bool, error) {
	client, err := k.server.Client(ctx, clientID)
	if err != nil {
		return false, err
	}
	return k.hasCode(client, code), nil
}

// hasCode tells whether a code is an app's. A loopback address is everybody's own
// device, where any app can say that it runs, so nobody has codes by it but in a
// demo, which is of one device itself.
func (k *core) hasCode(client smart.Client, code string) bool {
	system, _, _ := strings.Cut(code, "|")
	origin, ok := smart.CanonicalOrigin(system)
	if ok && slices.Contains(client.Origins(), origin) && (k.demo || !strings.HasPrefix(origin, "http:")) {
		return true
	}
	return slices.Contains(namedCodes(client), code)
}

// namedCodes are the state codes that a client's scopes name.
func namedCodes(client smart.Client) []string {
	var codes []string
	for _, s := range smart.KnownScopes(client.Scope) {
		if s.Type == "Basic" {
			codes = append(codes, s.Params["code"]...)
		}
	}
	return codes
}

// forgetApp removes the state of an app that was removed, unless another app has
// the same codes, as those have that run in one place.
func (k *core) forgetApp(ctx context.Context, gone smart.Client) error {
	left, err := k.server.Clients(ctx)
	if err != nil {
		return err
	}
	systems := gone.Origins()
	for _, code := range namedCodes(gone) {
		system, _, _ := strings.Cut(code, "|")
		systems = append(systems, system)
	}
	return k.guard.ForgetStates(ctx, systems, func(code string) bool {
		return !k.hasCode(gone, code) || slices.ContainsFunc(left, func(c smart.Client) bool { return k.hasCode(c, code) })
	})
}
