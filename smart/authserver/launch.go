package authserver

import (
	"context"
	"errors"
	"net/url"
	"time"

	"mypatients/fhir/store"
	"mypatients/smart"
)

// A launchRecord is what a launch handle stands for.
type launchRecord struct {
	ClientID string         `json:"client,omitempty"`
	Identity smart.Identity `json:"identity"`
	Context  smart.Context  `json:"context"`
	Cap      *string        `json:"cap,omitempty"`
}

func (l *launchRecord) launch() *smart.Launch {
	launch := &smart.Launch{ClientID: l.ClientID, Identity: l.Identity, Context: l.Context}
	if l.Cap != nil {
		launch.Cap = append(smart.Scopes{}, smart.KnownScopes(*l.Cap)...)
	}
	return launch
}

// Launch makes a launch handle: opaque, for one authorization request within
// five minutes, of the client named (or of the first that brings it), answered
// by the person named, in the context given.
func (s *Server) Launch(ctx context.Context, l smart.Launch) (handle string, expires time.Time, err error) {
	rec := &launchRecord{ClientID: l.ClientID, Identity: l.Identity, Context: l.Context}
	if l.Cap != nil {
		limit := l.Cap.String()
		rec.Cap = &limit
	}
	handle, expires = newSecret(), s.config.Now().Add(launchLife)
	err = s.config.Store.Update(ctx, func(w store.Writer) error {
		if l.ClientID != "" {
			if _, err := s.clientRecord(w, l.ClientID); errors.Is(err, store.ErrNotFound) {
				return invalidRequest("The client to launch is not registered.")
			} else if err != nil {
				return err
			}
		}
		return put(w, kindLaunch, s.secrets.key(kindLaunch, handle), rec, expires)
	})
	if err != nil {
		return "", time.Time{}, asError(err)
	}
	return handle, expires, nil
}

// takeLaunch uses a handle up. Unknown, used, expired and foreign handles get one
// answer; a foreign client does not use it up.
func (s *Server) takeLaunch(w store.Writer, handle, clientID string) (*launchRecord, error) {
	key := s.secrets.key(kindLaunch, handle)
	var l launchRecord
	err := get(w, s.config.Now(), kindLaunch, key, &l)
	if errors.Is(err, store.ErrNotFound) || err == nil && l.ClientID != "" && l.ClientID != clientID {
		return nil, invalidRequest("launch is unknown, used or expired")
	}
	if err != nil {
		return nil, err
	}
	return &l, w.DeleteRecord(kindLaunch, key)
}

// LaunchURL adds iss and launch to the launch URL of an app; empty when the app
// registered none.
func (s *Server) LaunchURL(c smart.Client, handle string) string {
	if c.LaunchURI == "" {
		return ""
	}
	return withQuery(c.LaunchURI, url.Values{"iss": {s.config.FHIRBase}, "launch": {handle}})
}
