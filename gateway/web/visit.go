package web

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/gateway/lang"
)

// A visit is one request of a browser, with the session behind it and the
// answer that grows.
type visit struct {
	site    *site
	ctx     context.Context // carries the session
	request *http.Request
	params  gin.Params
	id      string        // request id
	address string        // of the caller
	lost    bool          // the session could not be read
	expired bool          // the browser came with a session that is over
	lang    lang.Language // that the page is written in
	who     *person
	reply   reply
}

// A reply is an answer that has not been written yet, because the session is
// stored before.
type reply struct {
	status    int
	location  string
	body      []byte
	file      *file  // what the browser keeps, in place of a page
	refresh   string // where the browser goes on from the page by itself
	cookie    *http.Cookie
	leadsAway bool // the page's form may lead to another site by redirects
}

// A handler answers a visit by show or redirect, or with an error.
type handler func(v *visit) error

// maxForm is the size in bytes of the largest form.
const maxForm = 64 << 10

// serve is the pipeline around every handler: headers, session, cross-site
// protection, who it is, the handler, errors, storing the session, writing.
func (s *site) serve(n need, h handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		v := &visit{site: s, ctx: c.Request.Context(), request: c.Request, params: c.Params, address: c.ClientIP()}
		v.id = c.Writer.Header().Get("X-Request-Id")
		if v.id == "" {
			v.id = rand.Text()
			c.Header("X-Request-Id", v.id)
		}
		err := v.loadSession()
		v.lang = v.language()
		if err == nil {
			err = v.admit(n)
		}
		if err == nil && v.reply.status == 0 {
			err = h(v)
		}
		if unproven(err) {
			err = v.askForProof()
		}
		if err == nil {
			err = v.storeSession(c.Writer)
		}
		if err != nil {
			v.fail(err)
			if v.ctx.Err() == nil && !v.lost {
				_ = v.storeSession(c.Writer) // the error page stands on its own
			}
		}
		v.write(c)
	}
}

// write sends the reply.
func (v *visit) write(c *gin.Context) {
	secure(c.Writer.Header(), v.reply.leadsAway)
	speak(c.Writer.Header(), v.lang)
	if v.reply.cookie != nil {
		http.SetCookie(c.Writer, v.reply.cookie)
	}
	if v.reply.location != "" {
		c.Header("Location", v.reply.location)
		c.Status(v.reply.status)
		c.Writer.WriteHeaderNow()
		return
	}
	if f := v.reply.file; f != nil {
		c.Header("Content-Disposition", `attachment; filename="`+f.name+`"`)
		c.Data(v.reply.status, f.mediaType, f.body)
		return
	}
	if v.reply.refresh != "" {
		c.Header("Refresh", "0; url="+v.reply.refresh)
	}
	c.Data(v.reply.status, "text/html; charset=utf-8", v.reply.body)
}

// secure sets the headers of every page. Nothing runs or loads but what we
// serve; nobody may frame us, guess types, keep pages, or learn where a link
// was followed from.
func secure(h http.Header, leadsAway bool) {
	policy := "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
	if !leadsAway {
		// Browsers hold a form to form-action through every redirect that
		// follows it, so pages whose form ends at an app cannot have it.
		policy += "; form-action 'self'"
	}
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-store")
}

// admit checks where a form comes from, finds out who is there and whether the
// page is for them; if not it answers the visit.
func (v *visit) admit(n need) error {
	if v.request.Method == http.MethodPost {
		if err := v.site.origin.Check(v.request); err != nil {
			return errForged
		}
		v.request.Body = http.MaxBytesReader(nil, v.request.Body, maxForm)
		if err := v.request.ParseForm(); err != nil {
			return fhir.Errorf(fhir.Invalid, "The form could not be read.")
		}
	}
	if err := v.identify(); err != nil {
		return err
	}
	if v.request.Method == http.MethodPost && !v.expired {
		want, got := v.session(keyCSRF), v.request.PostForm.Get("csrf")
		if want == "" || subtle.ConstantTimeCompare([]byte(want), []byte(got)) != 1 {
			return errForged
		}
	}
	return v.meet(n)
}

// show answers with a page; problems are those of a form, by field.
func (v *visit) show(status int, page string, view any, problems problems) error {
	f := frame{Brand: v.site.Brand, Page: page, Path: v.request.URL.Path, CSRF: v.csrf(), Problems: problems, View: view, Request: v.id, Here: v.here()}
	if v.who != nil {
		f.Account = v.who.account.Name
		f.Person = v.who.identity.Name
		f.Role = v.who.role
		f.Roles = len(v.who.account.Links) > 1 && len(roles(v.who.account)) > 1
	}
	f.Flash = v.popFlash()
	if len(problems) > 0 && status == http.StatusOK {
		status = http.StatusUnprocessableEntity
	}
	body, err := v.site.pages[v.lang].render(page, f)
	if err != nil {
		return err
	}
	v.reply.status, v.reply.body, v.reply.location = status, body, ""
	return nil
}

// redirect answers with another address, to be fetched with GET.
func (v *visit) redirect(location string) error {
	v.reply = reply{status: http.StatusSeeOther, location: location}
	return nil
}

// form gives a field of the posted form, without white space around it.
func (v *visit) form(name string) string { return strings.TrimSpace(v.request.PostForm.Get(name)) }

// query gives a parameter of the address.
func (v *visit) query(name string) string {
	return strings.TrimSpace(v.request.URL.Query().Get(name))
}

// param gives a part of the path.
func (v *visit) param(name string) string { return v.params.ByName(name) }

// caller is the person as the guard knows them.
func (v *visit) caller() consent.Caller {
	grant := consent.Portal(v.who.identity, v.session(keyGrant))
	grant.AuthTime, grant.ACR = v.time(keySignedIn), v.session(keyACR)
	return consent.Caller{Grant: grant, Address: v.address, RequestID: v.id}
}

// here is the address of this page, for coming back to it.
func (v *visit) here() string { return here(v.request) }

func here(r *http.Request) string {
	u := url.URL{Path: r.URL.Path, RawQuery: r.URL.RawQuery}
	return u.String()
}

// maxNext is the length of an address to come back to: browsers keep it, in a cookie.
const maxNext = 1500

// local reduces an address to one of ours; anything else becomes "".
func local(next string) string {
	if len(next) > maxNext || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return ""
	}
	u, err := url.Parse(next)
	if err != nil || u.Host != "" || u.Scheme != "" {
		return ""
	}
	return u.String()
}

// problems are what is wrong with a form: field → code; templates have the words.
type problems map[string]string
