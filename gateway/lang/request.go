package lang

import "net/http"

// Cookie holds which language was chosen in a browser. It says nothing of who is
// there.
const Cookie = "language"

// Asked is the language for whoever sends a request: what was chosen in this
// browser, else what the browser asks for ([Match]).
func Asked(r *http.Request) Language {
	if cookie, err := r.Cookie(Cookie); err == nil {
		if l, ok := Parse(cookie.Value); ok {
			return l
		}
	}
	return Match(r.Header.Get("Accept-Language"))
}
