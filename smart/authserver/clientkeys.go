package authserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"mypatients/smart"
	"mypatients/smart/fetch"
)

// Limits on fetching the keys of clients.
const (
	maxJWKS       = 256 << 10
	jwksTimeout   = 5 * time.Second
	jwksLife      = 5 * time.Minute // when the client says nothing
	maxJWKSLife   = time.Hour
	refetchBurst  = 5 // fetches for an unknown kid, then one in each refetchPause
	refetchPause  = 10 * time.Second
	failedPause   = 5 * time.Second // after a fetch that failed; who waited for it does not try again
	maxJWKSCached = 1000
)

// clientKeys holds the keys of clients that publish them at a URL.
type clientKeys struct {
	now      func() time.Time
	fits     func(key any) []string // the algorithms that a key is for
	http     *http.Client
	loopback bool

	mu    sync.Mutex
	cache map[string]*jwksEntry
}

// A jwksEntry is what is known of one URL. Its lock is held during a fetch, so
// that many requests cause one.
type jwksEntry struct {
	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fresh   time.Time // until when
	failed  time.Time // when the last fetch did
	budget  float64   // fetches for unknown kids that are left
	counted time.Time // when budget was right
}

func (c *clientKeys) init(config Config, fits func(key any) []string) {
	c.fits = fits
	c.now, c.http, c.loopback = config.Now, config.HTTPClient, config.AllowLoopbackJWKS
	c.cache = map[string]*jwksEntry{}
	if c.http != nil {
		return
	}
	c.http = fetch.New(fetch.Config{Timeout: jwksTimeout, Resolver: config.Resolver, Loopback: c.loopback})
}

// mayFetch reports whether a JWKS URL is one that we would fetch.
func (c *clientKeys) mayFetch(uri string) bool { return fetch.MayCall(uri, c.loopback) }

// key finds the key a client signed with, inline or at its URL.
func (c *clientKeys) key(ctx context.Context, client smart.Client, kid, alg string) (any, error) {
	if client.JWKSURI == "" {
		keys, err := parseKeys(client.JWKS, c.fits)
		if err != nil {
			return nil, err
		}
		return pick(keys, kid, alg, c.fits)
	}
	e := c.entry(client.JWKSURI)
	e.mu.Lock()
	defer e.mu.Unlock()
	now := c.now()
	if now.Before(e.fresh) {
		if key, err := pick(e.keys, kid, alg, c.fits); err == nil || !e.mayRefetch(now) {
			return key, err
		}
	}
	noKeys := errors.New("the client's keys cannot be fetched")
	if now.Before(e.failed.Add(failedPause)) {
		return nil, noKeys
	}
	keys, life, err := c.fetch(ctx, client.JWKSURI)
	if err != nil {
		if ctx.Err() == nil { // else it is the caller who did not wait
			e.failed = c.now()
		}
		return nil, noKeys
	}
	e.keys, e.fresh = keys, now.Add(life)
	return pick(keys, kid, alg, c.fits)
}

func (c *clientKeys) entry(uri string) *jwksEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.cache[uri]
	if e == nil {
		if len(c.cache) >= maxJWKSCached {
			clear(c.cache)
		}
		e = &jwksEntry{budget: refetchBurst, counted: c.now()}
		c.cache[uri] = e
	}
	return e
}

// mayRefetch counts a fetch that an unknown kid causes.
func (e *jwksEntry) mayRefetch(now time.Time) bool {
	e.budget = min(refetchBurst, e.budget+now.Sub(e.counted).Seconds()/refetchPause.Seconds())
	e.counted = now
	if e.budget < 1 {
		return false
	}
	e.budget--
	return true
}

// fetch gets a JWK set and how long it may be kept: never longer than the
// client's Cache-Control says.
func (c *clientKeys) fetch(ctx context.Context, uri string) ([]jose.JSONWebKey, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, jwksTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Accept", "application/json")
	direct := *c.http
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := direct.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxJWKS+1))
	if err != nil || len(body) > maxJWKS {
		return nil, 0, errors.New("unreadable or too long")
	}
	keys, err := parseKeys(body, c.fits)
	return keys, cacheLife(res.Header), err
}

// cacheLife reads Cache-Control (RFC 9111 section 5.2.2).
func cacheLife(h http.Header) time.Duration {
	life := jwksLife
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			n, err := strconv.Atoi(strings.Trim(value, `"`))
			if err != nil || n < 0 {
				return 0
			}
			life = min(time.Duration(min(n, 1<<20))*time.Second, maxJWKSLife)
		}
	}
	if age, err := strconv.Atoi(h.Get("Age")); err == nil && age > 0 {
		life = max(0, life-time.Duration(min(age, 1<<20))*time.Second)
	}
	return life
}

// isForm reports whether a request carries a form.
func isForm(r *http.Request) bool {
	typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && typ == "application/x-www-form-urlencoded"
}
