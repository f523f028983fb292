package consent

import (
	"context"
	"regexp"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

// recordLanguage holds, by account, the language that a person reads, as a BCP 47
// tag. Like their choice of notices it belongs to the login.
const recordLanguage = "language"

// languageTag matches the tags that are kept (RFC 5646, without private use).
var languageTag = regexp.MustCompile(`^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$`)

// Language gives the language that an account reads, as a BCP 47 tag; "" when none
// was kept.
func (g *Guard) Language(ctx context.Context, account string) (tag string, err error) {
	err = g.engine.View(ctx, func(tx *engine.Tx) (err error) {
		tag, err = languageOf(tx.Reader(), account)
		return err
	})
	return tag, err
}

// SetLanguage keeps the language that the caller reads, in the gateway's pages and
// in the mails that follow. What is no tag is Unprocessable.
func (g *Guard) SetLanguage(ctx context.Context, c Caller, tag string) error {
	e := g.entry(c, "set-language", "Communication")
	if c.Identity.Login == "" || c.ClientID != PortalClient {
		return g.refused(ctx, e, fhir.Errorf(fhir.Forbidden, "People choose this for themselves, in the portal."))
	}
	if !languageTag.MatchString(tag) {
		return g.refused(ctx, e, refuse("language", "This is not the tag of a language."))
	}
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		if err := tx.Writer().PutRecord(&store.Record{Kind: recordLanguage, Key: c.Identity.Login, Value: []byte(tag)}); err != nil {
			return err
		}
		return file(tx, e)
	})
	if err != nil {
		return g.refused(ctx, e, err)
	}
	return nil
}

func languageOf(r store.Reader, account string) (string, error) {
	rec, err := r.Record(recordLanguage, account)
	if err == store.ErrNotFound {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return string(rec.Value), nil
}

// reads gives the language of a person: that of the first of their logins for which
// one was kept; "" when there is none.
func (g *Guard) reads(r store.Reader, person string) (string, error) {
	logins, err := r.Records(recordAccountOf, person+" ", "", maxLogins)
	if err != nil {
		return "", err
	}
	for _, rec := range logins {
		tag, err := languageOf(r, rec.Key[len(person)+1:])
		if err != nil || tag != "" {
			return tag, err
		}
	}
	return "", nil
}

// in gives a notice as somebody reads it who reads a language, and whether it is in
// that language.
func (n notice) in(tag string, say func(tag, english string) (string, bool)) (notice, bool) {
	if tag == "" || say == nil {
		return n, false
	}
	subject, ok := say(tag, n.subject)
	text, also := say(tag, n.text)
	if !ok || !also {
		return n, false
	}
	n.subject, n.text = subject, text
	return n, true
}
