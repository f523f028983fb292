package authserver

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"mypatients/fhir/store"
	"mypatients/smart"
)

// A pendingRecord is a checked authorization request.
type pendingRecord struct {
	ClientID    string        `json:"client"`
	RedirectURI string        `json:"redirect"`
	State       string        `json:"state,omitempty"`
	Challenge   string        `json:"challenge"`
	Nonce       string        `json:"nonce,omitempty"`
	Scopes      string        `json:"scopes"`
	Launch      *launchRecord `json:"launch,omitempty"`
	LaunchKey   string        `json:"launchKey,omitempty"` // of the handle's record
	Prompt      []string      `json:"prompt,omitempty"`
	MaxAge      *int          `json:"maxAge,omitempty"`
	LoginHint   string        `json:"hint,omitempty"`
	ACRValues   []string      `json:"acr,omitempty"`
	Created     time.Time     `json:"created"`
}

// A codeRecord is what a code stands for. Used codes stay for a while, so that a
// replay is known as one.
type codeRecord struct {
	Grant       grantRecord `json:"grant"` // as it will be; no id before the exchange
	RedirectURI string      `json:"redirect"`
	Challenge   string      `json:"challenge"`
	Used        bool        `json:"used,omitempty"`
	GrantID     string      `json:"issued,omitempty"` // what came of it
}

// A Pending is an authorization request that waits for a person.
type Pending struct {
	ID          string
	Client      smart.Client
	Scopes      smart.Scopes // asked for, less what the registration and the launch's Cap refuse
	Launch      *smart.Launch
	Prompt      []string // none: show no page, Deny with login_required, consent_required or interaction_required instead
	MaxAge      *int     // seconds since the person last signed in; 0: they must do so now
	LoginHint   string
	ACRValues   []string // how strong the sign-in should be, best first; what it was is in the grant
	RedirectURI string   // of this request: where the answer goes; one of the client's
	NeedPatient bool     // a patient must be chosen: launch/patient or patient/ scopes, and none from the launch
	// NeedEncounter asks for a visit of that patient: launch/encounter, and none
	// from the launch. Without one the scope is not granted.
	NeedEncounter bool
	Nonce         string
	Created       time.Time // a sign-in before it does not satisfy MaxAge 0
}

// An Approval is a person's answer to a Pending.
type Approval struct {
	Identity  smart.Identity
	Scopes    smart.Scopes    // of those asked for, or narrower
	Patient   string          // logical id, if one was chosen; the launch's patient stands before it
	Encounter string          // logical id
	Related   []smart.Related // fhirContext beyond the launch's, as the scopes asked
	AuthTime  time.Time       // when the person signed in
	ACR       string          // and how strongly, in their issuer's words
	SessionID string          // grants with online_access end with it
}

// park stores a request under a new id, with what its launch handle stands for.
// The handle stays good until an approval takes it.
func (s *Server) park(ctx context.Context, p *pendingRecord, client smart.Client, handle string) (id string, err error) {
	id = newSecret()
	now := s.config.Now()
	asked := smart.KnownScopes(p.Scopes)
	err = s.config.Store.Update(ctx, func(w store.Writer) error {
		parked, scopes := *p, asked
		if handle != "" {
			key := s.secrets.key(kindLaunch, handle)
			launch, err := s.findLaunch(w, key, client.ID)
			if err != nil {
				return err
			}
			parked.Launch, parked.LaunchKey = launch, key
			if launch.Cap != nil {
				scopes = scopes.Cut(smart.KnownScopes(*launch.Cap))
			}
		} else {
			scopes = scopes.Filter(func(sc smart.Scope) bool { return sc.Text != "launch" })
		}
		if len(scopes) == 0 {
			return oauthError("invalid_scope", "none of the scopes can be granted in this launch")
		}
		parked.Scopes = scopes.String()
		return store.PutJSON(w, kindPending, s.secrets.key(kindPending, id), &parked, now.Add(pendingLife))
	})
	return id, err
}

// errNoPending tells a person that there is nothing (left) to answer.
func errNoPending() *smart.Error {
	return invalidRequest("This request to connect an app has expired or was answered already. Start again from the app.")
}

// pending gives a waiting request and its client. A registration that changed
// meanwhile counts as it is now: a redirect URI that is gone leaves nothing to
// answer, scopes that are gone are not asked for any more.
func (s *Server) pending(r store.Reader, id string) (*pendingRecord, *clientRecord, error) {
	var p pendingRecord
	err := get(r, s.config.Now(), kindPending, s.secrets.key(kindPending, id), &p)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, errNoPending()
	}
	if err != nil {
		return nil, nil, err
	}
	client, err := s.clientRecord(r, p.ClientID)
	if errors.Is(err, store.ErrNotFound) || err == nil && !client.MatchRedirect(p.RedirectURI) {
		return nil, nil, errNoPending()
	}
	if err != nil {
		return nil, nil, err
	}
	p.Scopes = smart.KnownScopes(p.Scopes).Narrow(smart.KnownScopes(client.Scope)).String()
	return &p, client, nil
}

// Pending gives a waiting authorization request. None, an expired and an
// answered one are the same [*smart.Error] invalid_request.
func (s *Server) Pending(ctx context.Context, id string) (*Pending, error) {
	var p *pendingRecord
	var client *clientRecord
	err := s.config.Store.View(ctx, func(r store.Reader) error {
		var err error
		p, client, err = s.pending(r, id)
		return err
	})
	if err != nil {
		return nil, asError(err)
	}
	view := &Pending{ID: id, Client: client.Client, Scopes: smart.KnownScopes(p.Scopes), Prompt: p.Prompt, MaxAge: p.MaxAge,
		LoginHint: p.LoginHint, ACRValues: p.ACRValues, RedirectURI: p.RedirectURI, Nonce: p.Nonce, Created: p.Created}
	if p.Launch != nil {
		view.Launch = p.Launch.launch()
	}
	if view.Launch == nil || view.Launch.Context.Patient == "" {
		view.NeedPatient = view.Scopes.Has("launch/patient") || view.Scopes.HasLevel("patient")
	}
	if view.Launch == nil || view.Launch.Context.Encounter == "" {
		view.NeedEncounter = view.Scopes.Has("launch/encounter")
		view.NeedPatient = view.NeedPatient || view.NeedEncounter && (view.Launch == nil || view.Launch.Context.Patient == "")
	}
	return view, nil
}

// Approve answers a Pending with a code and gives the URL to send the browser
// to. It works once, and uses the launch handle up. The URL carries an error
// instead of a code when the launch is another person's (access_denied), nothing
// is left to grant (access_denied), or the handle was used meanwhile
// (invalid_request). Scopes that were not asked for are cut away; patient/ scopes
// are not granted without a patient.
func (s *Server) Approve(ctx context.Context, pendingID string, a Approval) (redirectURL string, err error) {
	err = s.config.Store.Update(ctx, func(w store.Writer) error {
		p, client, err := s.pending(w, pendingID)
		if err != nil {
			return err
		}
		if err := w.DeleteRecord(kindPending, s.secrets.key(kindPending, pendingID)); err != nil {
			return err
		}
		g, refusal := s.approved(p, client.Client, a)
		if refusal == nil && p.LaunchKey != "" {
			if err := s.takeLaunch(w, p.LaunchKey); err != nil && !errors.As(err, &refusal) {
				return err
			}
		}
		if refusal != nil {
			redirectURL = s.errorRedirect(p.RedirectURI, p.State, refusal.Code, refusal.Description)
			return nil
		}
		code := newSecret()
		values := url.Values{"code": {code}, "iss": {s.config.Issuer}}
		if p.State != "" {
			values.Set("state", p.State)
		}
		redirectURL = withQuery(p.RedirectURI, values)
		rec := &codeRecord{Grant: *g, RedirectURI: p.RedirectURI, Challenge: p.Challenge}
		return store.PutJSON(w, kindCode, s.secrets.key(kindCode, code), rec, s.config.Now().Add(codeLife))
	})
	if err != nil {
		return "", asError(err)
	}
	return redirectURL, nil
}

// approved makes the grant that an approval stands for, or says why there is none.
func (s *Server) approved(p *pendingRecord, client smart.Client, a Approval) (*grantRecord, *smart.Error) {
	g := &grantRecord{ClientID: client.ID, ClientName: client.Name, Identity: a.Identity, SessionID: a.SessionID,
		AuthTime: a.AuthTime, ACR: a.ACR, Nonce: p.Nonce, Created: s.config.Now()}
	g.Context = smart.Context{Patient: a.Patient, Encounter: a.Encounter, FHIRContext: a.Related}
	if l := p.Launch; l != nil {
		if l.Identity.FHIRUser != "" && l.Identity.FHIRUser != a.Identity.FHIRUser {
			return nil, oauthError("access_denied", "the launch was made for another person")
		}
		g.EHR, g.Context = true, l.Context
		g.Context.FHIRContext = append(slices.Clone(l.Context.FHIRContext), a.Related...)
		if g.Context.Patient == "" {
			g.Context.Patient = a.Patient
		}
		if g.Context.Encounter == "" {
			g.Context.Encounter = a.Encounter
		}
		if g.Context.NeedPatientBanner == nil {
			yes := true
			g.Context.NeedPatientBanner = &yes
		}
	}
	scopes := a.Scopes.Narrow(smart.KnownScopes(p.Scopes)).Filter(func(sc smart.Scope) bool { return sayable(sc, g.Context) })
	useful := scopes.Filter(func(sc smart.Scope) bool { return sc.Text != "offline_access" && sc.Text != "online_access" })
	if len(useful) == 0 {
		return nil, oauthError("access_denied", "nothing was granted")
	}
	g.Scopes = scopes.String()
	return g, nil
}

// sayable reports whether a scope can be granted with this context: no patient/
// scope without a patient, no launch/x without an x.
func sayable(sc smart.Scope, c smart.Context) bool {
	if sc.Level != "" {
		return sc.Level != "patient" || c.Patient != ""
	}
	typ, ok := strings.CutPrefix(sc.Text, "launch/")
	if !ok {
		return true
	}
	typ, _, _ = strings.Cut(typ, "?")
	switch typ {
	case "patient":
		return c.Patient != ""
	case "encounter":
		return c.Encounter != ""
	}
	for _, r := range c.FHIRContext {
		of, _, _ := strings.Cut(r.Reference, "/")
		if strings.EqualFold(of, typ) || strings.EqualFold(r.Type, typ) {
			return true
		}
	}
	return false
}

// Deny answers a Pending with an error (access_denied, login_required,
// consent_required, interaction_required …) and gives the URL to send the
// browser to.
func (s *Server) Deny(ctx context.Context, pendingID, code, description string) (redirectURL string, err error) {
	err = s.config.Store.Update(ctx, func(w store.Writer) error {
		p, _, err := s.pending(w, pendingID)
		if err != nil {
			return err
		}
		redirectURL = s.errorRedirect(p.RedirectURI, p.State, code, description)
		return w.DeleteRecord(kindPending, s.secrets.key(kindPending, pendingID))
	})
	if err != nil {
		return "", asError(err)
	}
	return redirectURL, nil
}
