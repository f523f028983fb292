package authserver

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"mypatients/smart"
)

// How often something may happen: so many at once, then one in each pause. Parked
// requests live in the store for half an hour, so these also bound how many
// there are: some 2,000 for one app and address, 20,000 for one address, 100,000 for
// one node, of maxRequest bytes each at most. Browsers could not keep them in our
// place: an app's state alone may be longer than a cookie.
const (
	parkBurst    = 200 // authorization requests of one app from one address
	parkPause    = time.Second
	parkOneBurst = 1000 // authorization requests of all apps from one address
	parkOnePause = 100 * time.Millisecond
	parkAllBurst = 5000 // authorization requests of everybody
	parkAllPause = 20 * time.Millisecond
	failBurst    = 50 // failed authentications as one client from one address
	failPause    = 10 * time.Second
	vouchBurst   = 20 // registrations by one software statement, which everybody with a copy can use
	vouchPause   = time.Minute
	retryAfter   = "10" // seconds

	maxBuckets = 50_000 // callers that are remembered
)

// limits are counted by each node for itself.
type limits struct {
	parked, parkedOne, parkedAll, failures, vouched buckets
}

func (l *limits) init(now func() time.Time) {
	l.parked = buckets{now: now, burst: parkBurst, pause: parkPause}
	l.parkedOne = buckets{now: now, burst: parkOneBurst, pause: parkOnePause}
	l.parkedAll = buckets{now: now, burst: parkAllBurst, pause: parkAllPause}
	l.failures = buckets{now: now, burst: failBurst, pause: failPause}
	l.vouched = buckets{now: now, burst: vouchBurst, pause: vouchPause}
}

// mayPark counts an authorization request. What one address may do leaves most of
// what all may do to the others, whatever apps it names.
func (l *limits) mayPark(address, client string) bool {
	from := network(address)
	return l.parked.take(from+" "+client) && l.parkedOne.take(from) && l.parkedAll.take("")
}

// network gives what callers are counted by: their address, or of IPv6 the network
// that a customer has to themself (RFC 6177).
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Unmap().Is4() {
		return address
	}
	within, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return within.String()
}

// buckets count what callers do.
type buckets struct {
	now   func() time.Time
	burst float64
	pause time.Duration

	mu   sync.Mutex
	used map[string]bucket
}

// A bucket holds how much of the burst was used at a time.
type bucket struct {
	used float64
	at   time.Time
}

// take counts one, and reports whether it was still allowed.
func (b *buckets) take(who string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	used := b.level(who, now)
	if used+1 > b.burst {
		return false
	}
	if b.used == nil {
		b.used = map[string]bucket{}
	}
	if len(b.used) >= maxBuckets {
		b.forget(now)
	}
	b.used[who] = bucket{used + 1, now}
	return true
}

// spent reports whether nothing is left.
func (b *buckets) spent(who string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.level(who, b.now())+1 > b.burst
}

// level is how much is used now.
func (b *buckets) level(who string, now time.Time) float64 {
	was := b.used[who]
	return max(0, was.used-float64(now.Sub(was.at))/float64(b.pause))
}

// forget makes room: those who have nothing counted any more go, and if that is
// nobody, half of all.
func (b *buckets) forget(now time.Time) {
	for who := range b.used {
		if b.level(who, now) == 0 {
			delete(b.used, who)
		}
	}
	for who := range b.used {
		if len(b.used) < maxBuckets/2 {
			return
		}
		delete(b.used, who)
	}
}

func tooMany(text string) *smart.Error {
	return &smart.Error{Code: "slow_down", Description: text, Status: http.StatusTooManyRequests}
}

type addressKey struct{}

// WithAddress says from which address a request comes, for counting. Whoever
// serves the [Server.Handler] knows which proxies to believe.
func WithAddress(ctx context.Context, address string) context.Context {
	return context.WithValue(ctx, addressKey{}, address)
}

// AddressOf gives the address that [WithAddress] noted, or "".
func AddressOf(ctx context.Context) string {
	address, _ := ctx.Value(addressKey{}).(string)
	return address
}
