package oauth

import (
	"encoding/json"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"mypatients/smart"
)

// A launchRequest asks that an app be opened for a person in a context.
type launchRequest struct {
	ClientID          string          `json:"client_id"`           // the app
	User              string          `json:"user"`                // "Practitioner/1"
	Patient           string          `json:"patient"`             // logical id, or "Patient/1"
	Encounter         string          `json:"encounter"`           // logical id, or "Encounter/1"
	Intent            string          `json:"intent"`              //
	NeedPatientBanner *bool           `json:"need_patient_banner"` // default: true
	FHIRContext       []smart.Related `json:"fhirContext"`         // beyond Patient and Encounter
}

// A launchResponse gives the handle, and the URL to open in the browser when the
// app registered one.
type launchResponse struct {
	Launch    string `json:"launch"`
	LaunchURL string `json:"launch_url,omitempty"`
	ExpiresIn int    `json:"expires_in"`
}

// launch is the launch API: POST /oauth/launch with the access token of a backend
// client whose registration has may_launch.
func launch(c Config) gin.HandlerFunc {
	return func(g *gin.Context) {
		g.Header("Cache-Control", "no-store")
		g.Header("Pragma", "no-cache")
		ctx := g.Request.Context()
		scheme, token, _ := strings.Cut(g.GetHeader("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			token = ""
		}
		grant, err := c.Server.Authenticate(ctx, strings.TrimSpace(token))
		if err != nil {
			fail(g, err)
			return
		}
		caller, err := c.Server.Client(ctx, grant.ClientID)
		if err != nil {
			fail(g, err)
			return
		}
		if grant.Identity.Role != smart.System || !caller.MayLaunch {
			writeError(g, http.StatusForbidden, "unauthorized_client", "This client may not launch apps.")
			return
		}
		in, ok := readLaunch(g)
		if !ok {
			return
		}
		who, err := c.Identity(ctx, in.User)
		if err != nil || who.FHIRUser == "" {
			writeError(g, http.StatusBadRequest, "invalid_request", "user is not a person who can sign in here.")
			return
		}
		app, err := c.Server.Client(ctx, in.ClientID)
		if err != nil {
			writeError(g, http.StatusBadRequest, "invalid_request", "client_id is not registered.")
			return
		}
		handle, expires, err := c.Server.Launch(ctx, smart.Launch{ClientID: in.ClientID, Identity: who, Context: smart.Context{
			Patient: in.Patient, Encounter: in.Encounter, Intent: in.Intent, NeedPatientBanner: in.NeedPatientBanner, FHIRContext: in.FHIRContext}})
		if err != nil {
			fail(g, err)
			return
		}
		g.PureJSON(http.StatusOK, launchResponse{Launch: handle, LaunchURL: c.Server.LaunchURL(app, handle), ExpiresIn: int(expires.Sub(c.Now()) / time.Second)})
	}
}

// readLaunch reads and checks the body; it has answered when ok is false.
func readLaunch(g *gin.Context) (in launchRequest, ok bool) {
	if typ, _, err := mime.ParseMediaType(g.GetHeader("Content-Type")); err != nil || typ != "application/json" {
		writeError(g, http.StatusUnsupportedMediaType, "invalid_request", "JSON is expected.")
		return in, false
	}
	decoder := json.NewDecoder(http.MaxBytesReader(g.Writer, g.Request.Body, 64<<10))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		writeError(g, http.StatusBadRequest, "invalid_request", "The body is not a launch request in JSON.")
		return in, false
	}
	in.Patient = strings.TrimPrefix(in.Patient, "Patient/")
	in.Encounter = strings.TrimPrefix(in.Encounter, "Encounter/")
	bad := ""
	switch {
	case in.ClientID == "" || in.User == "":
		bad = "client_id and user are needed."
	case in.Patient != "" && !isID(in.Patient):
		bad = "patient is not an id."
	case in.Encounter != "" && !isID(in.Encounter):
		bad = "encounter is not an id."
	}
	for _, r := range in.FHIRContext {
		if bad == "" {
			bad = checkRelated(r)
		}
	}
	if bad != "" {
		writeError(g, http.StatusBadRequest, "invalid_request", bad)
		return in, false
	}
	return in, true
}

// checkRelated holds
// https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#fhircontext
func checkRelated(r smart.Related) string {
	typ, id, ok := strings.Cut(r.Reference, "/")
	launchRole := r.Role == "" || r.Role == "launch"
	switch {
	case r.Reference == "" && r.Canonical == "":
		return "fhirContext needs a reference or a canonical."
	case r.Reference != "" && (!ok || typ == "" || !isID(id)):
		return "fhirContext: reference must be relative."
	case launchRole && (typ == "Patient" || typ == "Encounter"):
		return "fhirContext: the launch's Patient and Encounter have members of their own."
	case !launchRole && !strings.Contains(r.Role, ":"):
		return "fhirContext: role must be launch or an absolute URI."
	}
	return ""
}

// isID holds the form of FHIR ids.
func isID(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}
