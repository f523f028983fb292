package web

import (
	"html/template"
	"net/http"
	"time"

	"mypatients/gateway/lang"
)

// languageLife is for how long a browser keeps the choice.
const languageLife = 365 * 24 * time.Hour

// A translation is how the templates become those of a language.
type translation struct {
	sentence lang.Translator                   // nil: they stay as they are
	shared   string                            // templates that sentences use
	said     func(text string) (string, error) // "" for a text of the program that is not known
}

// allPages parses the templates in every language.
func allPages(version string, w words) (map[lang.Language]pages, error) {
	sets := map[lang.Language]pages{}
	for _, l := range lang.All() {
		catalogue, err := lang.Of(l)
		if err != nil {
			return nil, err
		}
		w.lang = l
		if sets[l], err = parsePages(version, w, translationOf(l, catalogue)); err != nil {
			return nil, err
		}
	}
	return sets, nil
}

func translationOf(l lang.Language, c *lang.Catalogue) translation {
	t := translation{shared: c.Shared(), said: func(s string) (string, error) { return s, nil }}
	if l == lang.English {
		return t
	}
	t.sentence = c.Say
	t.said = func(s string) (string, error) {
		if said, ok := c.Text(s); ok {
			return said, nil
		}
		return "", nil
	}
	return t
}

// parse reads the templates, translated before anything is made of them, so that
// they are escaped like the originals.
func (t translation) parse(root *template.Template) (*template.Template, error) {
	if t.sentence == nil {
		return root.ParseFS(templateFiles, "templates/*.html")
	}
	if _, err := root.New("shared").Parse(t.shared); err != nil {
		return nil, err
	}
	err := lang.TranslateFiles(templateFiles, "templates/*.html", t.sentence, func(name, text string) error {
		_, err := root.New(name).Parse(text)
		return err
	})
	return root, err
}

// A languageView is one language to read a page in.
type languageView struct {
	Tag  lang.Language
	Here bool // the page is in it
}

func (w words) languages() []languageView {
	var list []languageView
	for _, l := range lang.All() {
		list = append(list, languageView{l, l == w.lang})
	}
	return list
}

// language is what a visit's page is written in: what the person has chosen or
// kept, then what was chosen in this browser, then what the browser asks for.
func (v *visit) language() lang.Language {
	if l, ok := lang.Parse(v.session(keyLanguage)); ok {
		return l
	}
	return lang.Asked(v.request)
}

// speak says in the headers which language a page is in, and what that hangs on.
func speak(h http.Header, l lang.Language) {
	h.Set("Content-Language", string(l))
	h.Add("Vary", "Accept-Language, Cookie")
}

// chooseLanguage follows a link at the foot of every page. The choice is kept in
// the browser, and for those who are signed in with their account, so that mails
// are in it too.
func (s *site) chooseLanguage(v *visit) error {
	chosen, ok := lang.Parse(v.query("to"))
	if !ok {
		return errNotHere
	}
	next := local(v.query("next"))
	if next == "" {
		next = "/"
	}
	// A link on another site may not change what a person has kept.
	if site := v.request.Header.Get("Sec-Fetch-Site"); site == "" || site == "same-origin" {
		v.lang = chosen
		v.setSession(keyLanguage, string(chosen))
		v.touch()
		if v.who != nil {
			if err := s.Guard.SetLanguage(v.ctx, v.actor(), string(chosen)); err != nil {
				return err
			}
		}
	}
	if err := v.redirect(next); err != nil {
		return err
	}
	v.reply.cookie = &http.Cookie{Name: lang.Cookie, Value: string(chosen), Path: "/", MaxAge: int(languageLife / time.Second),
		Secure: s.https, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	return nil
}

// keepLanguage settles which language a person who signs in reads: what they chose
// on the way here, else what they have kept, else what the browser asks for, which
// is kept then, for mails.
func (v *visit) keepLanguage() error {
	kept, err := v.site.Guard.Language(v.ctx, v.who.account.ID)
	if err != nil {
		return err
	}
	chosen, ok := lang.Parse(v.session(keyLanguage))
	if before, known := lang.Parse(kept); !ok && known {
		chosen = before
	} else if !ok {
		chosen = v.lang
	}
	v.lang = chosen
	v.setSession(keyLanguage, string(chosen))
	if kept == string(chosen) {
		return nil
	}
	return v.site.Guard.SetLanguage(v.ctx, v.actor(), string(chosen))
}
