package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"mypatients/config"
	"mypatients/fhir/store"
)

// The User-access Brands (https://hl7.org/fhir/smart-app-launch/STU2.2/brands.html)
// tell apps which organisation this is, so that people find it by name and logo.

// brandsPath is where the Bundle is, and brandID the id of its one Organization.
const (
	brandsPath = "/brands.json"
	brandID    = "brand"
	endpointID = "fhir-r4"
)

// identifierSystem marks identifiers that are URIs.
const identifierSystem = "urn:ietf:rfc:3986"

// brandIdentifier is what the guide recommends: the organisation's web site,
// without "www." and path.
func brandIdentifier(b config.Brand) map[string]string {
	u, err := url.Parse(b.Website)
	if err != nil || b.Website == "" {
		return nil
	}
	return map[string]string{"system": identifierSystem, "value": u.Scheme + "://" + strings.TrimPrefix(u.Host, "www.")}
}

// brandBundle is the Bundle of the one brand that there is.
func brandBundle(c *config.Config, at time.Time) map[string]any {
	b := c.Brand
	stamp := at.UTC().Format(time.RFC3339)
	extension := func(name, kind string, value any) map[string]any { return map[string]any{"url": name, kind: value} }
	portal := []any{
		extension("portalName", "valueString", orElse(b.Portal, b.Name)),
		extension("portalUrl", "valueUrl", c.BaseURL+"/patient"),
		extension("portalEndpoint", "valueReference", map[string]string{"reference": "Endpoint/" + endpointID}),
	}
	var extensions []any
	if b.Logo != "" {
		extensions = append(extensions, map[string]any{"url": "http://hl7.org/fhir/StructureDefinition/organization-brand",
			"extension": []any{extension("brandLogo", "valueUrl", b.Logo)}})
	}
	extensions = append(extensions, map[string]any{"url": "http://hl7.org/fhir/StructureDefinition/organization-portal", "extension": portal})
	organization := map[string]any{
		"resourceType": "Organization", "id": brandID, "active": true, "name": b.Name,
		"meta": map[string]any{"lastUpdated": stamp, "profile": []string{"http://hl7.org/fhir/smart-app-launch/StructureDefinition/user-access-brand"}},
		"type": []any{map[string]any{"coding": []any{map[string]string{
			"system": "http://hl7.org/fhir/smart-app-launch/CodeSystem/user-access-category", "code": "clinical", "display": "Clinical"}}}},
		"identifier": []any{brandIdentifier(b)}, "telecom": []any{map[string]string{"system": "url", "value": b.Website}},
		"extension": extensions, "endpoint": []any{map[string]string{"reference": "Endpoint/" + endpointID}},
	}
	if len(b.Aliases) > 0 {
		organization["alias"] = b.Aliases
	}
	if address := addressOf(b); len(address) > 0 {
		organization["address"] = []any{address}
	}
	endpoint := map[string]any{
		"resourceType": "Endpoint", "id": endpointID, "status": "active", "name": b.Name + " FHIR R4", "address": c.BaseURL + "/fhir",
		"meta":           map[string]any{"lastUpdated": stamp, "profile": []string{"http://hl7.org/fhir/smart-app-launch/StructureDefinition/user-access-endpoint"}},
		"connectionType": map[string]string{"system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type", "code": "hl7-fhir-rest"},
		"payloadType": []any{map[string]any{"coding": []any{map[string]string{
			"system": "http://terminology.hl7.org/CodeSystem/endpoint-payload-type", "code": "none"}}}},
		"contact":   []any{map[string]string{"system": "url", "value": b.Website}},
		"extension": []any{map[string]any{"url": "http://hl7.org/fhir/StructureDefinition/endpoint-fhir-version", "valueCode": "4.0.1"}},
	}
	entry := func(kind, id string, r any) map[string]any {
		return map[string]any{"fullUrl": c.BaseURL + "/fhir/" + kind + "/" + id, "resource": r}
	}
	return map[string]any{"resourceType": "Bundle", "id": "brands", "type": "collection", "timestamp": stamp,
		"meta":  map[string]any{"profile": []string{"http://hl7.org/fhir/smart-app-launch/StructureDefinition/user-access-brands-bundle"}},
		"entry": []any{entry("Organization", brandID, organization), entry("Endpoint", endpointID, endpoint)}}
}

func addressOf(b config.Brand) map[string]any {
	address := map[string]any{}
	if b.Street != "" {
		address["line"] = []string{b.Street}
	}
	for name, value := range map[string]string{"city": b.City, "state": b.State, "postalCode": b.PostalCode} {
		if value != "" {
			address[name] = value
		}
	}
	return address
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// brandsChanged tells since when the brands are what they are: the time that
// stands in the Bundle is that of its last change, whatever restarts there were.
func (k *core) brandsChanged(ctx context.Context, c *config.Config, now time.Time) (at time.Time, err error) {
	const kind, key = "site", "brands"
	content, err := json.Marshal(brandBundle(c, time.Time{}))
	if err != nil {
		return at, err
	}
	sum := sha256.Sum256(content)
	hash := base64.RawURLEncoding.EncodeToString(sum[:])
	err = k.store.Update(ctx, func(w store.Writer) error {
		at = now
		record, err := w.Record(kind, key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err == nil {
			known, since, _ := strings.Cut(string(record.Value), " ")
			if stamp, err := time.Parse(time.RFC3339, since); err == nil && known == hash {
				at = stamp
				return nil
			}
		}
		return w.PutRecord(&store.Record{Kind: kind, Key: key, Value: []byte(hash + " " + now.UTC().Format(time.RFC3339))})
	})
	return at, err
}

// mountBrands serves the Bundle, which any origin may read, with a weak ETag.
func (k *core) mountBrands(ctx context.Context, r gin.IRouter, c *config.Config, now time.Time) error {
	if c.Brand.Website == "" {
		return nil
	}
	changed, err := k.brandsChanged(ctx, c, now)
	if err != nil {
		return err
	}
	body, err := json.Marshal(brandBundle(c, changed))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	etag := `W/"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	r.GET(brandsPath, func(g *gin.Context) {
		g.Header("Access-Control-Allow-Origin", "*")
		g.Header("Access-Control-Expose-Headers", "ETag")
		g.Header("Cache-Control", "public, max-age=3600")
		g.Header("ETag", etag)
		if strings.Contains(g.GetHeader("If-None-Match"), etag) {
			g.Status(http.StatusNotModified)
			return
		}
		g.Data(http.StatusOK, "application/fhir+json; charset=utf-8", body)
	})
	r.OPTIONS(brandsPath, func(g *gin.Context) {
		g.Header("Access-Control-Allow-Origin", "*")
		g.Header("Access-Control-Allow-Methods", "GET")
		g.Header("Access-Control-Allow-Headers", "Accept, If-None-Match")
		g.Status(http.StatusNoContent)
	})
	return nil
}
