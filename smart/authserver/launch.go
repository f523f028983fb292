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
	Until    time.Time      `json:"until"` // when apps can no longer bring the handle
}

func (l *launchRecord) launch() *smart.Launch {
	launch := &smart.Launch{ClientID: l.ClientID, Identity: l.Identity, Context: l.Context}
	if l.Cap != nil {
		launch.Cap = append(smart.Scopes{}, smart.KnownScopes(*l.Cap)...)
	}
	return launch
}

// Launch makes a launch handle: opaque, to be brought within five minutes by the
// client named (or any, if none is), good for one approval, by the person named,
// in the context given.
func (s *Server) Launch(ctx context.Context, l smart.Launch) (handle string, expires time.Time, err error) {
	expires = s.config.Now().Add(launchLife)
	rec := &launchRecord{ClientID: l.ClientID, Identity: l.Identity, Context: l.Context, Until: expires}
	if l.Cap != nil {
		limit := l.Cap.String()
		rec.Cap = &limit
	}
	handle = newSecret()
	err = s.config.Store.Update(ctx, func(w store.Writer) error {
		if l.ClientID != "" {
			if _, err := s.clientRecord(w, l.ClientID); errors.Is(err, store.ErrNotFound) {
				return invalidRequest("The client to launch is not registered.")
			} else if err != nil {
				return err
			}
		}
		return store.PutJSON(w, kindLaunch, s.secrets.key(kindLaunch, handle), rec, expires.Add(pendingLife))
	})
	if err != nil {
		return "", time.Time{}, asError(err)
	}
	return handle, expires, nil
}

// findLaunch looks a handle up for a client and leaves it as it is: only an
// approval uses it up, so that neither another app nor another person can spoil
// it. Unknown, used, expired and foreign handles get one answer.
func (s *Server) findLaunch(r store.Reader, key, clientID string) (*launchRecord, error) {
	var l launchRecord
	now := s.config.Now()
	err := get(r, now, kindLaunch, key, &l)
	if errors.Is(err, store.ErrNotFound) || err == nil && (!now.Before(l.Until) || l.ClientID != "" && l.ClientID != clientID) {
		return nil, errNoLaunch()
	}
	if err != nil {
		return nil, err
	}
	return &l, nil
}

// takeLaunch uses a handle up; of many approvals one does so.
func (s *Server) takeLaunch(w store.Writer, key string) error {
	if _, err := w.Record(kindLaunch, key); errors.Is(err, store.ErrNotFound) {
		return errNoLaunch()
	} else if err != nil {
		return err
	}
	return w.DeleteRecord(kindLaunch, key)
}

func errNoLaunch() *smart.Error { return invalidRequest("launch is unknown, used or expired") }

// LaunchURL adds iss and launch to the launch URL of an app; empty when the app
// registered none.
func (s *Server) LaunchURL(c smart.Client, handle string) string {
	if c.LaunchURI == "" {
		return ""
	}
	return withQuery(c.LaunchURI, url.Values{"iss": {s.config.FHIRBase}, "launch": {handle}})
}
