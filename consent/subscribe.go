package consent

import (
	"encoding/base64"
	"slices"

	"mypatients/consent/subscription"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// A Subscription belongs to the app and the login that wrote it, and nobody else
// ever sees it: its headers may hold secrets. It serves them with what they could
// find by a search at the time of each delivery (deliver.go), as long as the grant
// stands with which they wrote it last.

// maxSubscriptions is how many subscriptions an app may have for one person, or a
// system for itself, that are not off or in error.
const maxSubscriptions = 20

// maxSubscription is the length in bytes of a Subscription: each delivery reads it.
const maxSubscription = 64 << 10

// Types that are not subscribed to: the log is rendered when it is read, and a
// subscription to subscriptions would feed itself.
var notSubscribed = []fhir.Type{"AuditEvent", "Subscription"}

// subscriber is the owner of the subscriptions of a caller, as a keyed hash that
// tells nothing about them.
func (g *Guard) subscriber(c Caller) string {
	who := c.Identity.Login
	if c.Identity.Role == smart.System {
		who = ""
	}
	return base64.RawURLEncoding.EncodeToString(g.hash("subscriber", c.ClientID+"\x00"+string(c.Identity.Role)+"\x00"+who)[:18])
}

// ownSubscriptions holds for the caller's subscriptions.
func (s *sighting) ownSubscriptions() store.Expr {
	return store.Equal{Name: termSubscriber, Value: s.g.subscriber(*s.caller)}
}

// asSubscription checks a Subscription that a client writes, and gives the body as
// it is kept: with its owner, and in the status that the server gives it.
func (g *Guard) asSubscription(c Caller, p *engine.Prepared) (*engine.Prepared, error) {
	if g.standing == nil || g.endpoint == nil {
		return nil, fhir.Errorf(fhir.Unsupported, "Subscriptions are not served here.")
	}
	if c.ClientID == PortalClient || c.Identity.Role != smart.System && c.Identity.Login == "" {
		return nil, fhir.Errorf(fhir.Forbidden, "Subscriptions are for apps.")
	}
	if len(p.JSON) > maxSubscription {
		return nil, &fhir.Error{Kind: fhir.TooBig, Issues: []fhir.Issue{{Code: "too-long", Text: "This Subscription is too long."}}}
	}
	s, err := subscription.Parse(p.Tree)
	if err != nil {
		return nil, err
	}
	switch {
	case s.Status == subscription.Failed:
		return nil, refuse("Subscription.status", "Only the server says that there is an error; a subscription is requested anew, or off.")
	case !g.endpoint(s.Endpoint):
		return nil, refuse("Subscription.channel.endpoint", "The endpoint must be an https URL, without a user or a fragment.")
	case !s.End.IsZero() && !s.End.After(g.now()) && s.Status != subscription.Off:
		return nil, refuse("Subscription.end", "The end is in the past.")
	}
	if _, err := g.subscribed(s); err != nil {
		return nil, err
	}
	if err := g.requireScope(c, s.Type, wanted(s)); err != nil {
		return nil, err
	}
	n := without(p.Tree, "error")
	if s.Status != subscription.Off {
		n["status"] = subscription.Requested
	}
	var kept []any
	ext, _ := n["extension"].([]any)
	for _, e := range ext {
		if m, ok := e.(map[string]any); !ok || node(m).str("url") != g.rules.extension("subscriber") {
			kept = append(kept, e)
		}
	}
	n["extension"] = append(kept, map[string]any{"url": g.rules.extension("subscriber"), "valueString": g.subscriber(c)})
	return g.engine.Prepare(encode(n))
}

// wanted is the permission that a subscription rests on: to learn that something
// matches is to search, to get it is to read as well.
func wanted(s *subscription.Subscription) smart.Permission {
	if s.Payload {
		return smart.MaySearch | smart.MayRead
	}
	return smart.MaySearch
}

// subscribed reads the criteria of a subscription. They are judged on one resource
// at a time, so they look at nothing else.
func (g *Guard) subscribed(s *subscription.Subscription) (*search.Query, error) {
	if slices.Contains(notSubscribed, s.Type) {
		return nil, refuse("Subscription.criteria", "%s is not subscribed to.", s.Type)
	}
	values, err := fhir.ParseQuery(s.Query)
	if err != nil {
		return nil, refuse("Subscription.criteria", "The criteria are not a well-formed query string.")
	}
	var q *search.Query
	if len(values) == 0 {
		q, err = g.engine.Registry().Parse(s.Type, values, search.Options{Base: g.base + "/fhir", Now: g.now()})
	} else {
		q, err = g.engine.ParseCriteria(s.Type, s.Query)
	}
	if known, ok := err.(*fhir.Error); ok {
		out := &fhir.Error{Kind: fhir.Unprocessable}
		for _, issue := range known.Issues {
			issue.Expression = "Subscription.criteria"
			out.Issues = append(out.Issues, issue)
		}
		return nil, out
	}
	if err != nil {
		return nil, err
	}
	if q.Joins() {
		return nil, refuse("Subscription.criteria", "Criteria look at the resource alone: no chains, _has, lists, value sets or hierarchies.")
	}
	return q, nil
}

// enlist follows a Subscription that was written, in the transaction that wrote
// it: it is served from now on, or no more.
func (g *Guard) enlist(tx *engine.Tx, c Caller, r *fhir.Resource) error {
	if r.Deleted {
		return subscription.Drop(tx.Writer(), r.ID)
	}
	tree, err := decode(r)
	if err != nil {
		return err
	}
	s, err := subscription.Parse(tree)
	if err != nil {
		return err
	}
	if s.Status == subscription.Off {
		return subscription.Drop(tx.Writer(), r.ID)
	}
	owner := g.subscriber(c)
	n, err := subscription.Count(tx.Reader(), owner, r.ID, maxSubscriptions)
	if err != nil {
		return err
	}
	if n >= maxSubscriptions {
		return refuse("Subscription", "There may be %d subscriptions at a time; end another first.", maxSubscriptions)
	}
	on := subscription.Anybody
	if limits := limitsTo(c, s.Type, wanted(s)); len(limits) == 1 {
		on = limits[0]
	}
	return subscription.Hold(tx.Writer(), r.ID, subscription.Held{Owner: owner, Grant: c.Grant, Type: s.Type, On: on,
		Host: subscription.HostOf(s.Endpoint), Created: tx.Now()})
}
