package consent

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"mypatients/consent/subscription"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// What gateway/hooks needs to deliver what subscriptions are for. The guard reads
// the log, keeps what met the criteria, and judges each event when it is about to
// be sent: as a read of that version by the owner of the subscription, as they and
// their grant stand then. Nothing that it gives away would not be given to them on
// asking.

// A Delivery is what is to be sent to the endpoint of a subscription.
type Delivery struct {
	Subscription string // id
	Endpoint     string
	Headers      [][2]string
	Check        bool     // nothing: only whether there is an endpoint
	Resource     fhir.Key // with a payload
	Body         []byte   // the resource; nil: only that something happened

	claim string
	at    string // the position of the event
}

const (
	claimLife  = 2 * time.Minute  // a claim of a gateway that died ends after this
	firstPause = 10 * time.Second // after an attempt that failed; it doubles
	lastPause  = 30 * time.Minute
	tellAfter  = 4                  // attempts that failed in a row, until the subscription says so
	patience   = 3 * 24 * time.Hour // for how long an endpoint may be away
	followPage = 200                // log entries of a round
	skew       = 5 * time.Minute    // of the clocks of several gateways
)

// Follow reads the log on and keeps what the criteria of subscriptions match; more
// is false at its end. The cost of an entry is that of the subscriptions on its
// type, for the patient it belongs to and for everybody.
func (g *Guard) Follow(ctx context.Context) (more bool, err error) {
	var from, to string
	var pushes []push
	whole := false
	err = g.engine.View(ctx, func(tx *engine.Tx) error {
		pushes, to, whole = nil, "", false
		at, begun, err := subscription.Cursor(tx.Reader())
		if err != nil || !begun {
			return err
		}
		entries, err := tx.Reader().Log(store.LogQuery{After: at, Limit: followPage})
		if err != nil || len(entries) == 0 {
			return err
		}
		from, to, whole = at, entries[len(entries)-1].Position, len(entries) == followPage
		m := matcher{g: g, tx: tx, types: map[string]bool{}, parsed: map[string]*criteria{}}
		for _, e := range entries {
			if err := m.entry(e); err != nil {
				return err
			}
		}
		pushes = m.pushes
		return nil
	})
	if err != nil || to == "" {
		return false, err
	}
	if !whole && len(pushes) == 0 { // to read them again costs less than to note that they were read
		return false, nil
	}
	full := map[string]bool{}
	err = g.engine.Update(ctx, func(tx *engine.Tx) error {
		clear(full)
		at, _, err := subscription.Cursor(tx.Reader())
		if err != nil || at != from { // another gateway was here
			return err
		}
		for _, p := range pushes {
			over, err := subscription.Push(tx.Writer(), p.id, p.event)
			if err != nil {
				return err
			}
			if over {
				full[p.id] = true
			}
		}
		return subscription.SetCursor(tx.Writer(), to)
	})
	for id := range full {
		if err == nil {
			err = g.endSubscription(ctx, id, subscription.Failed, "More waits for it than is kept.")
		}
	}
	return err == nil, err
}

type push struct {
	id    string
	event subscription.Event
}

// A matcher finds the subscriptions whose criteria a version meets.
type matcher struct {
	g      *Guard
	tx     *engine.Tx
	types  map[string]bool // whether there is any subscription on a type
	parsed map[string]*criteria
	pushes []push
}

type criteria struct {
	since time.Time
	where store.Expr
}

func (m *matcher) entry(e store.LogEntry) error {
	any, known := m.types[e.Key.Type]
	if !known {
		var err error
		if any, err = subscription.AnyOn(m.tx.Reader(), fhir.Type(e.Key.Type)); err != nil {
			return err
		}
		m.types[e.Key.Type] = any
	}
	if !any || e.Deleted {
		return nil
	}
	v, err := m.tx.Reader().ResourceVersion(e.Key, e.Version)
	if err == store.ErrNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	on := []string{subscription.Anybody}
	for o := range v.Terms.Values(store.Owner) {
		on = append(on, string(o))
	}
	for _, patient := range on {
		ids, err := subscription.On(m.tx.Reader(), fhir.Type(e.Key.Type), patient)
		if err != nil {
			return err
		}
		for _, id := range ids {
			c, err := m.criteria(id)
			if err != nil {
				return err
			}
			if c == nil || e.Time.Before(c.since) {
				continue
			}
			meets, err := store.Eval(m.tx.Reader(), v, c.where)
			if err != nil {
				return err
			}
			if meets {
				m.pushes = append(m.pushes, push{id, subscription.Event{Key: fhir.Key{Type: fhir.Type(e.Key.Type), ID: e.Key.ID}, Version: e.Version, At: e.Position}})
			}
		}
	}
	return nil
}

// criteria gives those of a subscription; nil when they mean nothing any more,
// which its next delivery will find out.
func (m *matcher) criteria(id string) (*criteria, error) {
	if c, ok := m.parsed[id]; ok {
		return c, nil
	}
	m.parsed[id] = nil
	h, err := subscription.Get(m.tx.Reader(), id)
	if err != nil || h == nil {
		return nil, err
	}
	_, tree, err := live(m.tx, "Subscription/"+id)
	if err != nil || tree == nil {
		return nil, err
	}
	s, err := subscription.Parse(tree)
	if err != nil {
		return nil, nil
	}
	q, err := m.g.subscribed(s)
	if err != nil {
		return nil, nil
	}
	m.parsed[id] = &criteria{h.Created.Add(-skew), q.Plan(engine.Everything).Where}
	return m.parsed[id], nil
}

// DueSubscriptions lists the subscriptions that have something to do now, and the
// time until more will have; zero: none is known.
func (g *Guard) DueSubscriptions(ctx context.Context) (due []subscription.Waiting, wait time.Duration, err error) {
	err = g.engine.View(ctx, func(tx *engine.Tx) error {
		var next time.Time
		due, next, err = subscription.Ready(tx.Reader(), tx.Now())
		if wait = 0; !next.IsZero() {
			wait = max(next.Sub(tx.Now()), time.Millisecond)
		}
		return err
	})
	return due, wait, err
}

// NextDelivery claims a subscription and gives what is to be sent next; nil when
// there is nothing, or another gateway has it. It must be answered by Delivered or
// Undelivered.
func (g *Guard) NextDelivery(ctx context.Context, id string) (*Delivery, error) {
	claim := rand.Text()
	var held *subscription.Held
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		held = nil
		d, err := subscription.Claim(tx.Writer(), id, claim, tx.Now(), tx.Now().Add(claimLife))
		if err != nil || d == nil {
			return err
		}
		if held, err = subscription.Get(tx.Reader(), id); err == nil && held == nil {
			err = subscription.Drop(tx.Writer(), id)
		}
		return err
	})
	if err != nil || held == nil {
		return nil, err
	}
	owner, ok, err := g.ownerOf(ctx, id, held)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, g.endSubscription(ctx, id, subscription.Off, "The access of the app has ended.")
	}
	out, end, err := g.judgeNext(ctx, id, claim, owner)
	if end != "" {
		return nil, g.endSubscription(ctx, id, subscription.Off, end)
	}
	return out, err
}

// judgeNext finds the first event that is for the owner, and passes over others; of
// many it leaves some for the next time.
func (g *Guard) judgeNext(ctx context.Context, id, claim string, c Caller) (out *Delivery, end string, err error) {
	for range followPage {
		passed := false
		err := g.engine.Update(ctx, func(tx *engine.Tx) error {
			out, end, passed = nil, "", false
			d, err := subscription.Mine(tx.Reader(), id, claim)
			if err != nil || d == nil {
				return err
			}
			out, end, passed, err = g.judge(tx, id, c)
			return err
		})
		if err != nil {
			return nil, "", err
		}
		if out != nil {
			out.claim = claim
		}
		if !passed {
			return out, end, nil
		}
	}
	return nil, "", g.engine.Update(ctx, func(tx *engine.Tx) error {
		d, err := subscription.Mine(tx.Reader(), id, claim)
		if err != nil || d == nil {
			return err
		}
		d.Claim, d.Next = "", tx.Now()
		return subscription.SetDue(tx.Writer(), id, *d)
	})
}

// judge decides on the oldest event of a subscription. passed says that it is not
// for the owner, and gone; end, why the subscription is at its end.
func (g *Guard) judge(tx *engine.Tx, id string, c Caller) (out *Delivery, end string, passed bool, err error) {
	s, criteria, end, err := g.servable(tx, id, c)
	if err != nil || end != "" {
		return nil, end, false, err
	}
	if s == nil {
		return nil, "", false, subscription.Drop(tx.Writer(), id)
	}
	out = &Delivery{Subscription: id, Endpoint: s.Endpoint, Headers: s.Headers}
	if s.Status == subscription.Requested {
		out.Check = true
		return out, "", false, nil
	}
	event, err := subscription.First(tx.Reader(), id)
	if err != nil || event == nil {
		if err == nil {
			err = subscription.Idle(tx.Writer(), id)
		}
		return nil, "", false, err
	}
	r, sight, err := g.mayKnowEvent(tx, c, s, criteria, event)
	if err != nil {
		return nil, "", false, err
	}
	if r == nil {
		return nil, "", true, subscription.Pop(tx.Writer(), id, event.At)
	}
	if !event.Logged {
		e := g.entry(c, "notify", s.Type)
		e.When = tx.Now()
		e.seenBy(sight)
		e.returned(r)
		if err := file(tx, e); err != nil {
			return nil, "", false, err
		}
		event.Logged = true
		if err := subscription.Keep(tx.Writer(), id, *event); err != nil {
			return nil, "", false, err
		}
	}
	out.at = event.At
	if s.Payload {
		out.Resource, out.Body = r.Key, r.JSON
	}
	return out, "", false, nil
}

// mayKnowEvent reads the version of an event as the owner of a subscription; nil:
// it is not for them, or meets the criteria no more.
func (g *Guard) mayKnowEvent(tx *engine.Tx, c Caller, s *subscription.Subscription, criteria store.Expr, event *subscription.Event) (*fhir.Resource, *sighting, error) {
	v, err := tx.Reader().ResourceVersion(store.Key{Type: string(event.Key.Type), ID: event.Key.ID}, event.Version)
	if err == store.ErrNotFound || err == nil && event.Key.Type != s.Type {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if meets, err := store.Eval(tx.Reader(), v, criteria); err != nil || !meets {
		return nil, nil, err
	}
	sight, err := g.lookAt(tx, c, event.Key, wanted(s))
	if err != nil {
		return nil, nil, err
	}
	r, err := tx.VRead(event.Key, event.Version, sight.sight)
	switch fhir.KindOf(err) {
	case fhir.NotFound, fhir.Gone:
		return nil, nil, nil
	}
	return r, sight, err
}

// Delivered notes that the endpoint took a delivery: the next is due at once.
func (g *Guard) Delivered(ctx context.Context, d *Delivery) error {
	told := false
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		told = false
		state, err := subscription.Mine(tx.Reader(), d.Subscription, d.claim)
		if err != nil || state == nil {
			return err
		}
		if !d.Check {
			if err := subscription.Pop(tx.Writer(), d.Subscription, d.at); err != nil {
				return err
			}
		}
		told = d.Check || state.Attempts >= tellAfter
		state.Claim, state.Next, state.Attempts, state.Since = "", tx.Now(), 0, time.Time{}
		return subscription.SetDue(tx.Writer(), d.Subscription, *state)
	})
	if err != nil || !told {
		return err
	}
	return g.setStatus(ctx, d.Subscription, subscription.Active, "")
}

// Undelivered notes that an endpoint did not take a delivery, and why, in words
// that its owner reads: it is tried again after a while, which grows. With final,
// or when it has been so for days, the subscription ends in error.
func (g *Guard) Undelivered(ctx context.Context, d *Delivery, why string, final bool) error {
	mine, tell, over := false, false, false
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		mine, tell, over = false, false, false
		state, err := subscription.Mine(tx.Reader(), d.Subscription, d.claim)
		if err != nil || state == nil {
			return err
		}
		if state.Since.IsZero() {
			state.Since = tx.Now()
		}
		state.Attempts++
		full, err := subscription.Overflows(tx.Reader(), d.Subscription)
		if err != nil {
			return err
		}
		mine, tell = true, state.Attempts == tellAfter
		over = final || full || tx.Now().Sub(state.Since) >= patience
		state.Claim, state.Next = "", tx.Now().Add(min(firstPause<<min(state.Attempts-1, 10), lastPause))
		return subscription.SetDue(tx.Writer(), d.Subscription, *state)
	})
	switch {
	case err != nil || !mine:
		return err
	case over:
		return g.endSubscription(ctx, d.Subscription, subscription.Failed, why)
	case tell && !d.Check:
		return g.setStatus(ctx, d.Subscription, subscription.Active, why+" It is tried again.")
	case tell:
		return g.setStatus(ctx, d.Subscription, subscription.Requested, why+" It is tried again.")
	}
	return nil
}

// endSubscription says in the resource that and why a subscription is served no
// more, and forgets what waited for it.
func (g *Guard) endSubscription(ctx context.Context, id, status, why string) error {
	if err := g.setStatus(ctx, id, status, why); err != nil {
		return err
	}
	return g.engine.Update(ctx, func(tx *engine.Tx) error {
		_, tree, err := live(tx, "Subscription/"+id)
		if err != nil || tree != nil && tree.str("status") != status { // written anew meanwhile
			return err
		}
		return subscription.Drop(tx.Writer(), id)
	})
}

// errAnew says that a resource changed between reading and writing it.
var errAnew = errors.New("consent: changed meanwhile")

// setStatus writes the server's part of a Subscription: its status, and what is
// wrong. What its owner has turned off meanwhile stays off.
func (g *Guard) setStatus(ctx context.Context, id, status, why string) error {
	gateway := Caller{Grant: smart.Grant{ClientID: "gateway", ClientName: "Gateway", Identity: smart.Identity{Role: smart.System}}}
	for range maxAttempts {
		var seen int64
		var n node
		err := g.engine.View(ctx, func(tx *engine.Tx) error {
			v, tree, err := live(tx, "Subscription/"+id)
			if v == nil || err != nil {
				n = nil
				return err
			}
			seen, n = v.Version, without(tree, "error")
			return nil
		})
		if err != nil || n == nil || n.str("status") == subscription.Off {
			return err
		}
		n["status"] = status
		if why != "" {
			n["error"] = why
		}
		p, err := g.engine.Prepare(encode(n))
		if err != nil {
			return err
		}
		err = g.engine.Update(ctx, func(tx *engine.Tx) error {
			if v, _, err := live(tx, "Subscription/"+id); err != nil || v == nil || v.Version != seen {
				return orElse(err, errAnew)
			}
			r, _, err := tx.Update(p, nil)
			if err != nil {
				return err
			}
			return g.auditWrite(tx, gateway, "update", r, nil)
		})
		if !errors.Is(err, errAnew) {
			return err
		}
	}
	return nil
}
