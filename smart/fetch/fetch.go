// Package fetch calls addresses that clients name: where they publish their keys,
// where they want to be notified. None of them leads into our own network, whatever
// a name resolves to, and none sends us elsewhere.
//
// What is fetched, and what it is worth, is for the callers to know.
package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ErrInside says that an address is not a public one.
var ErrInside = errors.New("fetch: the address is not public")

// A Config says how to call. The zero value but for Timeout is fit for production.
type Config struct {
	Timeout  time.Duration // of a whole call, and of its steps; required
	Resolver *net.Resolver // nil: the system's
	Loopback bool          // this machine may be called, also by plain http: for demonstration and tests
	Idle     int           // connections kept at most; 0: 10
}

// New makes a client that follows no redirect, knows no proxy, and connects to
// public addresses alone: what a name resolves to is judged when it is dialled, so
// a name that changes its mind leads nowhere either (SSRF).
func New(c Config) *http.Client {
	if c.Idle == 0 {
		c.Idle = 10
	}
	dialer := &net.Dialer{Timeout: c.Timeout, Resolver: c.Resolver, Control: c.publicOnly}
	return &http.Client{
		Timeout:       c.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: c.Timeout, ResponseHeaderTimeout: c.Timeout,
			MaxIdleConns: c.Idle, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true},
	}
}

func (c *Config) publicOnly(network, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := at.Addr().Unmap()
	if c.Loopback && ip.IsLoopback() {
		return nil
	}
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return ErrInside
	}
	if slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return ErrInside
	}
	return nil
}

// notPublic are further networks that are not of the wide web (the special-purpose
// registries of RFC 6890), and those whose addresses have an IPv4 address in them,
// which could be an inner one.
var notPublic = prefixes("0.0.0.0/8 100.64.0.0/10 192.0.0.0/24 198.18.0.0/15 240.0.0.0/4 ::/96 64:ff9b::/96 64:ff9b:1::/48 2001::/23 2002::/16 fec0::/10")

func prefixes(list string) []netip.Prefix {
	var all []netip.Prefix
	for text := range strings.FieldsSeq(list) {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// MayCall reports whether a URL has a form that is called: https, or, where
// loopback is let in, http to it; no user, no fragment.
func MayCall(uri string, loopback bool) bool {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if u.Scheme == "https" {
		return true
	}
	return loopback && u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && ip.IsLoopback())
}

// Reach connects to where a URL leads, by TLS for https, and sends nothing: it
// tells whether there is somebody who could be called by a client of [New].
func Reach(ctx context.Context, client *http.Client, uri string) error {
	u, err := url.Parse(uri)
	if err != nil {
		return err
	}
	transport, ok := client.Transport.(*http.Transport)
	if !ok {
		return errors.New("fetch: this client was made elsewhere")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	ctx, cancel := context.WithTimeout(ctx, client.Timeout)
	defer cancel()
	conn, err := transport.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if u.Scheme != "https" {
		return nil
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if transport.TLSClientConfig != nil {
		trust = transport.TLSClientConfig.Clone()
	}
	trust.ServerName = u.Hostname()
	return tls.Client(conn, trust).HandshakeContext(ctx)
}
