package consent

import (
	"context"

	"mypatients/consent/subscription"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// StillFor judges a delivery once more, when its endpoint is there to take it: whoever
// lets themself be connected to slowly is told nothing that they have lost meanwhile.
// One that is not theirs any more is put back, for NextDelivery to pass over.
func (g *Guard) StillFor(ctx context.Context, d *Delivery) (still bool, err error) {
	if d.Check { // nothing is told
		return true, nil
	}
	var held *subscription.Held
	err = g.engine.View(ctx, func(tx *engine.Tx) (err error) {
		held, err = subscription.Get(tx.Reader(), d.Subscription)
		return err
	})
	if err != nil || held == nil {
		return false, err
	}
	owner, ok, err := g.ownerOf(ctx, d.Subscription, held)
	if err == nil && ok {
		err = g.engine.View(ctx, func(tx *engine.Tx) (err error) {
			still, err = g.isFor(tx, owner, d)
			return err
		})
	}
	if err != nil || still {
		return still, err
	}
	return false, g.engine.Update(ctx, func(tx *engine.Tx) error {
		state, err := subscription.Mine(tx.Reader(), d.Subscription, d.claim)
		if err != nil || state == nil {
			return err
		}
		state.Claim, state.Next = "", tx.Now()
		return subscription.SetDue(tx.Writer(), d.Subscription, *state)
	})
}

// isFor tells whether a delivery is what its subscription's owner is to get now.
func (g *Guard) isFor(tx *engine.Tx, owner Caller, d *Delivery) (bool, error) {
	if state, err := subscription.Mine(tx.Reader(), d.Subscription, d.claim); err != nil || state == nil {
		return false, err
	}
	s, criteria, end, err := g.servable(tx, d.Subscription, owner)
	if err != nil || s == nil || end != "" || s.Endpoint != d.Endpoint {
		return false, err
	}
	event, err := subscription.First(tx.Reader(), d.Subscription)
	if err != nil || event == nil || event.At != d.at {
		return false, err
	}
	r, _, err := g.mayKnowEvent(tx, owner, s, criteria, event)
	return r != nil, err
}

// ownerOf gives the owner of a subscription as they and their grant stand now; ok is
// false when it has ended.
func (g *Guard) ownerOf(ctx context.Context, id string, held *subscription.Held) (owner Caller, ok bool, err error) {
	grant, ok, err := g.standing(ctx, held.Grant)
	grant.Scopes = grant.Scopes.Narrow(held.Grant.Scopes) // a token may have held less than its grant
	return Caller{Grant: grant, RequestID: "subscription " + id}, ok, err
}

// servable reads a subscription, nil when it is gone, and its criteria. end says why it
// is at its end.
func (g *Guard) servable(tx *engine.Tx, id string, owner Caller) (s *subscription.Subscription, criteria store.Expr, end string, err error) {
	_, tree, err := live(tx, "Subscription/"+id)
	if err != nil || tree == nil {
		return nil, nil, "", err
	}
	if s, err = subscription.Parse(tree); err != nil {
		return nil, nil, "It cannot be served.", nil
	}
	q, err := g.subscribed(s)
	switch {
	case err != nil:
		return nil, nil, "The criteria mean nothing any more.", nil
	case !s.End.IsZero() && !tx.Now().Before(s.End):
		return nil, nil, "Its time is over.", nil
	case g.requireScope(owner, "Subscription", smart.MayRead) != nil || g.requireScope(owner, s.Type, wanted(s)) != nil:
		return nil, nil, "The scopes of the app do not reach this any more.", nil
	}
	return s, q.Plan(engine.Everything).Where, "", nil
}
