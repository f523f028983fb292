package idp

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// client copies a client and limits what it takes from a provider.
func client(base *http.Client, calm *calm) *http.Client {
	var c http.Client
	if base != nil {
		c = *base
	}
	if c.Timeout == 0 {
		c.Timeout = httpWait
	}
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	c.Transport = limited{c.Transport, calm}
	return &c
}

// limited cuts answers off at maxAnswer bytes; the JSON in them then does not
// parse.
type limited struct {
	next http.RoundTripper
	calm *calm
}

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	if !l.calm.mayFetch(r.URL.String()) {
		return nil, errors.New("idp: the provider's keys were fetched too often")
	}
	resp, err := l.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	return resp, nil
}

// Anybody can send tokens that name a key we do not know, which makes the library
// look for it at the provider: so many times at once, then once in each pause.
const (
	keysBurst = 10
	keysPause = 5 * time.Second
)

// A calm counts how often the keys of a provider were fetched.
type calm struct {
	now func() time.Time

	mu      sync.Mutex
	keys    string // their address; empty until it is known
	used    float64
	counted time.Time
}

func (c *calm) of(keys string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys = keys
}

// mayFetch counts a request if it is for the keys.
func (c *calm) mayFetch(address string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == "" || address != c.keys {
		return true
	}
	now := c.now()
	c.used = max(0, c.used-float64(now.Sub(c.counted))/float64(keysPause))
	c.counted = now
	if c.used+1 > keysBurst {
		return false
	}
	c.used++
	return true
}
