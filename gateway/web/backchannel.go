package web

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"mypatients/consent"
	"mypatients/smart"
	"mypatients/smart/idp"
)

// SignOuts remembers which sessions a provider can end, for all processes that
// share it. A session goes by the name that it has towards the guard and the
// authorization server; what providers know it by are its aliases.
type SignOuts interface {
	// Begin gives a session more aliases, until a time after which it is over.
	Begin(ctx context.Context, session string, aliases []string, until time.Time) error
	// End ends all sessions that have one of these aliases and gives their names.
	End(ctx context.Context, aliases []string, until time.Time) (sessions []string, err error)
	// Ended reports whether a session was ended.
	Ended(ctx context.Context, session string) (bool, error)
	// Once reports whether a message comes for the first time.
	Once(ctx context.Context, message string, until time.Time) (bool, error)
}

// aliases of a session: the person's; and the provider's own name for it, or, when
// the provider gave none, that there is none.
func aliases(who *idp.Identity) []string {
	person, session := aliasOfPerson(who.Issuer, who.Subject), aliasOfSession(who.Issuer, who.SessionID)
	if who.SessionID == "" {
		session = aliasUnnamed(who.Issuer, who.Subject)
	}
	return []string{person, session}
}

func aliasOfPerson(issuer, subject string) string { return "person\x00" + issuer + "\x00" + subject }
func aliasOfSession(issuer, id string) string     { return "session\x00" + issuer + "\x00" + id }
func aliasOfGrant(grant string) string            { return "grant\x00" + grant } // by which the person ends it
func aliasUnnamed(issuer, subject string) string  { return "unnamed\x00" + issuer + "\x00" + subject }

// backChannel takes a provider's word that somebody has signed out there
// (https://openid.net/specs/openid-connect-backchannel-1_0.html#BCRequest). It is
// not for browsers: no session, no page.
func (s *site) backChannel(c *gin.Context) {
	c.Header("Cache-Control", "no-store")
	err := s.endAtProvider(c)
	if err == nil {
		c.Status(http.StatusOK)
		return
	}
	var oauth *smart.Error
	status, code := http.StatusInternalServerError, "server_error"
	if errors.As(err, &oauth) {
		if status, code = oauth.Status, oauth.Code; status == 0 {
			status = http.StatusBadRequest
		}
	}
	s.Log.Warn("a provider's sign-out was refused", "provider", c.Param("provider"), "status", status, "cause", cause(err))
	c.JSON(status, gin.H{"error": code})
}

func (s *site) endAtProvider(c *gin.Context) error {
	ctx := c.Request.Context()
	refuse := func(why string) error { return &smart.Error{Code: "invalid_request", Cause: errors.New(why)} }
	provider := s.provider(c.Param("provider"))
	if provider == nil {
		return refuse("there is no such provider")
	}
	if typ, _, err := mime.ParseMediaType(c.GetHeader("Content-Type")); err != nil || typ != "application/x-www-form-urlencoded" {
		return refuse("it is no form")
	}
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxForm)
	if err := c.Request.ParseForm(); err != nil || len(c.Request.PostForm["logout_token"]) != 1 {
		return refuse("it has not one logout token")
	}
	out, err := provider.Logout(ctx, c.Request.PostForm.Get("logout_token"))
	if err != nil {
		return err
	}
	first, err := s.SignOuts.Once(ctx, provider.Issuer()+"\x00"+out.ID, out.Expires)
	if err != nil {
		return err
	}
	if !first {
		return refuse("the logout token was used before")
	}
	ended := []string{aliasOfPerson(provider.Issuer(), out.Subject)}
	if out.SessionID != "" {
		ended = []string{aliasOfSession(provider.Issuer(), out.SessionID)}
		if out.Subject != "" {
			ended = append(ended, aliasUnnamed(provider.Issuer(), out.Subject))
		}
	}
	sessions, err := s.SignOuts.End(ctx, ended, s.Now().Add(maxTime))
	if err != nil {
		return err
	}
	by := consent.Caller{Grant: consent.Portal(smart.Identity{}, ""), Address: c.ClientIP(), RequestID: c.Writer.Header().Get("X-Request-Id")}
	if err := s.Guard.Record(ctx, by, consent.Event{Action: "sign-out", Detail: provider.ID()}); err != nil {
		return err
	}
	for _, session := range sessions { // the apps that live by it
		if err := s.endGrant(ctx, session); err != nil {
			return err
		}
	}
	return nil
}
