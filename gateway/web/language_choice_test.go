package web_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html/atom"

	"mypatients/consent"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/gateway/lang"
	"mypatients/gateway/web"
)

func (w *world) browserFor(acceptLanguage string) *browser {
	b := w.browser()
	b.speaks = acceptLanguage
	return b
}

// in fails the test unless the page is in a language, and says so.
func (p *page) in(l lang.Language) *page {
	p.b.t.Helper()
	if got := attr(find(p.doc, atom.Html), "lang"); got != string(l) {
		p.b.t.Errorf("%s: lang is %q, want %q:\n%s", p.url, got, l, p.text())
	}
	if got := p.header.Get("Content-Language"); got != string(l) {
		p.b.t.Errorf("%s: Content-Language is %q, want %q", p.url, got, l)
	}
	vary := strings.Join(p.header.Values("Vary"), ",")
	if !strings.Contains(vary, "Accept-Language") || !strings.Contains(vary, "Cookie") {
		p.b.t.Errorf("%s: Vary is %q", p.url, vary)
	}
	return p
}

// TestLanguageOfTheBrowser: the first page is in the language that the browser asks
// for; the link at the foot of each page changes it and leads back to the page.
func TestLanguageOfTheBrowser(t *testing.T) {
	w := newWorld(t)
	for header, want := range map[string]lang.Language{
		"": lang.English, "es": lang.Spanish, "es-MX,es;q=0.9,en;q=0.5": lang.Spanish, "es-419": lang.Spanish, "en-US,en;q=0.9,es;q=0.8": lang.English,
		"fr-FR": lang.English, "fr, es;q=0.5": lang.Spanish, "es;q=0": lang.English, "nonsense;;;": lang.English, strings.Repeat("es,", 4000): lang.English,
	} {
		w.browserFor(header).get("/signout").in(want)
	}
	b := w.browserFor("es-US")
	b.get("/nowhere?a=b&c=d").in(lang.Spanish).shows(404, "Página no encontrada", "llame al 911")
	english := b.get("/signout").shows(200, "Iniciar sesión como paciente o tutor").follow("English")
	english.at("/signout").in(lang.English).shows(200, "Sign in as a patient or guardian")
	b.get("/nowhere?a=b&c=d").in(lang.English).follow("Español").in(lang.Spanish).shows(404, "Página no encontrada")
	if got := b.get("/nowhere?a=b&c=d").follow("English").url.RequestURI(); got != "/nowhere?a=b&c=d" {
		t.Errorf("led back to %s", got)
	}
	b.get("/language?to=xx").shows(http.StatusNotFound)
	for _, next := range []string{"https://evil.example/", "//evil.example/", "/\\evil.example", ""} {
		if p := b.get("/language?to=es&next=" + url.QueryEscape(next)); b.away != "" && !strings.HasPrefix(b.away, w.base) || strings.Contains(p.url.Host, "evil") {
			t.Errorf("%q leads to %s %s", next, b.away, p.url)
		}
	}
}

// TestLanguageIsKept: who signs in finds the language that they chose, in any
// browser; a link on another site changes nothing of it.
func TestLanguageIsKept(t *testing.T) {
	w := newWorld(t)
	b := w.browserFor("es")
	b.get("/patient").signIn("grace").at("/patient").in(lang.Spanish).shows(200, "Hola", "Sus hijos", "años")
	other := w.browser()
	home := other.get("/patient").signIn("grace").in(lang.Spanish).shows(200, "Quién puede verlo")
	home.follow("English").at("/patient").in(lang.English)
	w.browserFor("es").get("/patient").signIn("grace").in(lang.English)

	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.base+"/language?to=es&next=/patient", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Accept", "text/html")
	other.do(r).at("/patient").in(lang.English)
	w.browser().get("/patient").signIn("grace").in(lang.English)

	b = w.browser() // chosen before signing in: that counts
	b.get("/signout").in(lang.English)
	b.get("/language?to=es&next=/signout").in(lang.Spanish)
	b.get("/patient").signIn("grace").in(lang.Spanish)
	w.browser().get("/patient").signIn("grace").in(lang.Spanish)
	w.browser().get("/patient").signIn("luis").in(lang.English)
}

// TestWorkInSpanish goes through a request in Spanish: forms, errors beside fields,
// what is said afterwards.
func TestWorkInSpanish(t *testing.T) {
	w := newWorld(t, spanishMails)
	w.browserFor("es").get("/patient").signIn("grace").in(lang.Spanish)
	_, home := w.as("okafor", "/")
	home.submit("Find patient", "mrn", "1002").follow("Request non-PCP access").submit("Request access", "span", "3").shows(200, "Your request was sent")

	b := w.browserFor("es")
	request := b.get("/patient").signIn("grace").shows(200, "Una solicitud espera su respuesta", "Pedido justo ahora").follow("Leer y responder")
	request.in(lang.Spanish).shows(200, "Lo que vería", "El expediente completo")
	until := lang.Spanish.Day(w.clock.Now())
	if year := until[len(until)-4:]; !strings.Contains(request.text(), " de "+year) && !strings.Contains(request.text(), " de 20") {
		t.Errorf("no date in Spanish:\n%s", request.text())
	}
	request.submit("Aprobar solo esto", "part", "").shows(422, "Marque al menos una parte, o rechace.").in(lang.Spanish)
	if title := request.submit("Aprobar solo esto", "part", "").title(); !strings.HasPrefix(title, "Por favor, revise: ") {
		t.Errorf("the title of the page with a mistake is %q", title)
	}
	request.submit("Aprobar").shows(200, "Dr. Samir Okafor ya puede ver el expediente, hasta el ")

	asked, language := w.notice("RelatedPerson/grace-sofia", "request")
	if language != "es" || !strings.Contains(asked, "Alguien pide ver un expediente sobre el que usted decide.") || !strings.Contains(asked, "inicie sesión: "+w.base+"/patient") || strings.Contains(asked, "Sign in") {
		t.Errorf("grace gets, in %q:\n%s", language, asked)
	}
	approved, language := w.notice("Practitioner/okafor", "approved")
	if language != "" || !strings.Contains(approved, "A request for access that you made was approved.") || !strings.Contains(approved, "Sign in to go on: "+w.base) {
		t.Errorf("okafor gets, in %q:\n%s", language, approved)
	}
}

func spanishMails(c *consent.Config) {
	catalogue, err := lang.Of(lang.Spanish)
	if err != nil {
		panic(err)
	}
	c.Translate = func(tag, english string) (string, bool) {
		if tag != string(lang.Spanish) {
			return english, false
		}
		return catalogue.Text(english)
	}
}

// notice gives the text of the one mail of a kind to somebody, and its language.
func (w *world) notice(recipient, kind string) (text, language string) {
	w.t.Helper()
	q, err := w.eng.Registry().Parse("Communication", url.Values{"recipient": {recipient}}, search.Options{Base: w.base})
	if err != nil {
		w.t.Fatal(err)
	}
	found := 0
	err = w.eng.View(w.t.Context(), func(tx *engine.Tx) error {
		page, err := tx.Search(q, engine.Everything)
		if err != nil {
			return err
		}
		for _, m := range page.Entries {
			if !strings.Contains(string(m.Resource.JSON), `"`+kind+`"`) {
				continue
			}
			var c struct {
				Language string
				Topic    struct{ Text string }
				Payload  []struct{ ContentString string }
			}
			if err := json.Unmarshal(m.Resource.JSON, &c); err != nil {
				return err
			}
			found++
			text, language = c.Topic.Text+"\n"+c.Payload[0].ContentString, c.Language
		}
		return nil
	})
	if err != nil || found != 1 {
		w.t.Fatalf("%d notices %s to %s, %v", found, kind, recipient, err)
	}
	return text, language
}

// TestErrorPageSpeaks: the page for a browser whose app asked for something that
// cannot be is in its language, and says which text is not.
func TestErrorPageSpeaks(t *testing.T) {
	show, err := web.ErrorPage(web.Brand{})
	if err != nil {
		t.Fatal(err)
	}
	page := func(text string, cookie string) string {
		r := httptest.NewRequest(http.MethodGet, "/oauth/authorize?client_id=x", nil)
		r.Header.Set("Accept-Language", "es")
		if cookie != "" {
			r.AddCookie(&http.Cookie{Name: "language", Value: cookie})
		}
		rec := httptest.NewRecorder()
		show(rec, r, http.StatusBadRequest, text)
		checkHTML(t, text, rec.Body.String())
		if !strings.Contains(rec.Body.String(), "/language?to=") || !strings.Contains(rec.Body.String(), "next=%2foauth%2fauthorize%3fclient_id%3dx") {
			t.Errorf("no link to the other language:\n%s", rec.Body)
		}
		return rec.Body.String()
	}
	if got := page("This app is not registered here.", ""); !strings.Contains(got, "Esta aplicación no está registrada aquí.") || !strings.Contains(got, `<html lang="es">`) {
		t.Errorf("got %s", got)
	}
	if got := page("This app is not registered here.", "en"); !strings.Contains(got, "This app is not registered here.") || !strings.Contains(got, `<html lang="en">`) {
		t.Errorf("got %s", got)
	}
	if got := page("A <b>new</b> sentence.", ""); !strings.Contains(got, `<span lang="en">A &lt;b&gt;new&lt;/b&gt; sentence.</span>`) {
		t.Errorf("got %s", got)
	}
}

func TestBirthDatesAreTypedInBothLanguages(t *testing.T) {
	w := newWorld(t)
	_, home := w.as("adams", "/?by=name")
	for _, date := range []string{"2 February 2018", "2 de febrero de 2018", "2 de Febrero de 2018"} {
		if got, err := lang.Spanish.ParseDay(date, time.UTC); err != nil || got.Format(time.DateOnly) != "2018-02-02" {
			t.Errorf("%s is read as %v, %v", date, got, err)
		}
	}
	home.submit("Find patient", "family", "Nobody", "given", "Known", "birthdate", "3 de marzo de 2015").shows(200, "No patient found", "born 3 March 2015")
}
