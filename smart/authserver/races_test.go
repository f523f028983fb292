package authserver_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"mypatients/smart"
	"mypatients/smart/authserver"
)

// atOnce runs something sixteen times in parallel and counts how often it worked.
func atOnce(do func() bool) int {
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if do() {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	return int(won.Load())
}

func TestOnceOnly(t *testing.T) {
	w := newWorld(t, nil)
	ctx := t.Context()
	t.Run("a request is answered once", func(t *testing.T) {
		u, _ := url.Parse(w.get("/oauth/authorize?" + w.request("public", standalone).Encode()).header.Get("Location"))
		id := u.Query().Get("request")
		p, err := w.server.Pending(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := w.answer(p)
		if n := atOnce(func() bool { _, err := w.server.Approve(ctx, id, a); return err == nil }); n != 1 {
			t.Errorf("%d approvals", n)
		}
	})
	t.Run("a launch handle is taken once", func(t *testing.T) {
		h, _, err := w.server.Launch(ctx, smart.Launch{Identity: adams})
		if err != nil {
			t.Fatal(err)
		}
		w.person(adams, "")
		defer w.person(grace, "p1")
		form := w.request("public", "launch openid", "launch", h).Encode()
		if n := atOnce(func() bool {
			to := w.get("/oauth/authorize?" + form).header.Get("Location")
			if strings.HasPrefix(to, w.base) { // not refused already
				to = w.get(to).header.Get("Location")
			}
			return strings.Contains(to, "code=")
		}); n != 1 {
			t.Errorf("%d launches", n)
		}
	})
	t.Run("revocation against refresh", func(t *testing.T) {
		first := w.login(standalone)
		grants, err := w.server.Grants(ctx, grace.Login)
		if err != nil || len(grants) == 0 {
			t.Fatal(err)
		}
		var mu sync.Mutex
		tokens := []string{first.str("access_token")}
		atOnce(func() bool {
			a := w.refresh(first.str("refresh_token"))
			mu.Lock()
			defer mu.Unlock()
			if len(tokens) == 5 {
				if err := w.server.RevokeGrant(ctx, grace.Login, grants[0].ID); err != nil {
					t.Error(err)
				}
			}
			tokens = append(tokens, a.str("access_token"))
			return true
		})
		if slices.ContainsFunc(tokens, func(s string) bool { return s != "" && w.works(s) }) {
			t.Error("a token outlived the revocation")
		}
	})
}

func TestClients(t *testing.T) {
	w := newWorld(t, nil)
	clients, err := w.server.Clients(t.Context())
	if err != nil || len(clients) != 2 || clients[0].ID != "confidential" || clients[1].ID != "public" {
		t.Errorf("got %v, %v", clients, err)
	}
	if c, err := w.server.Client(t.Context(), "public"); err != nil || c.Name != "App" {
		t.Errorf("got %v, %v", c, err)
	}
}

func TestErrorPage(t *testing.T) {
	w := newWorld(t, func(c *authserver.Config) {
		c.ErrorPage = func(rw http.ResponseWriter, _ *http.Request, status int, description string) {
			rw.WriteHeader(status)
			rw.Write([]byte("page: " + description))
		}
	})
	if a := w.get("/oauth/authorize?client_id=nobody&redirect_uri=https://x.example"); a.status != 400 || string(a.body) != "page: This app is not registered here." {
		t.Errorf("got %d %s", a.status, a.body)
	}
}
