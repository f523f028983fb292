package authserver_test

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"mypatients/smart"
	"mypatients/smart/authserver"
)

// A names answers every question for an address with the next of its list, and
// with the last from then on.
type names struct {
	list  []string
	asked atomic.Int32
}

// resolver asks no other server than this one.
func (n *names) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	at, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = at.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for {
			size, from, err := at.ReadFrom(buffer)
			if err != nil {
				return
			}
			if answer, err := n.answer(buffer[:size]); err == nil {
				_, _ = at.WriteTo(answer, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", at.LocalAddr().String())
	}}
}

func (n *names) answer(question []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil || len(m.Questions) != 1 {
		return nil, err
	}
	q := m.Questions[0]
	m.Response, m.Additionals = true, nil
	ip := netip.MustParseAddr(n.list[min(int(n.asked.Load()), len(n.list)-1)])
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 0}
	switch {
	case q.Type == dnsmessage.TypeA && ip.Is4():
		n.asked.Add(1)
		m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: ip.As4()}}}
	case q.Type == dnsmessage.TypeAAAA && ip.Is6():
		n.asked.Add(1)
		m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AAAAResource{AAAA: ip.As16()}}}
	}
	return m.Pack()
}

// A name may lead anywhere by the time it is asked for: what counts is the address
// that is about to be connected to.
func TestJWKSNameThatLeadsInside(t *testing.T) {
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inside.Close() })
	var calls atomic.Int32
	go func() {
		for {
			c, err := inside.Accept()
			if err != nil {
				return
			}
			calls.Add(1)
			_ = c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(inside.Addr().String())
	try := func(loopback bool, list ...string) (asked, connected int) {
		t.Helper()
		n := &names{list: list}
		w := newWorld(t, func(c *authserver.Config) { c.AllowLoopbackJWKS, c.Resolver = loopback, n.resolver(t) })
		w.put(smart.Client{ID: "named", AuthMethod: smart.AuthPrivateKeyJWT, GrantTypes: []string{"client_credentials"}, Scope: "system/*.rs", JWKSURI: "https://keys.app.example:" + port + "/jwks"})
		before := calls.Load()
		for range 2 {
			want(t, w.backendToken(w.assertion("named"), "system/*.rs"), 401, "invalid_client")
		}
		return int(n.asked.Load()), int(calls.Load() - before)
	}
	// Here the name does lead to the listener, so that the rest means something.
	if asked, connected := try(true, "127.0.0.1"); asked == 0 || connected == 0 {
		t.Fatalf("the name was asked for %d times, and led here %d times", asked, connected)
	}
	for _, address := range []string{"127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1", "fd00::1", "fe80::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1",
		"0.0.0.1", "198.18.0.1", "255.255.255.255", "224.0.0.1", "::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::", "fec0::1"} {
		if asked, connected := try(false, address); asked == 0 || connected != 0 {
			t.Errorf("%s: asked %d times, connected %d times", address, asked, connected)
		}
	}
}
