package main

import (
	"context"
	"net/http"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/gateway/notify"
	"mypatients/gateway/web"
	"mypatients/smart"
	"mypatients/smart/authserver"
)

// failedNotices is what the admin API does about mails that failed.
type failedNotices interface {
	Failed(ctx context.Context, after string, limit int) ([]notify.Failure, error)
	Retry(ctx context.Context, id string) error
	Dismiss(ctx context.Context, id string) error
}

// auditedNotices records what commands do about them.
type auditedNotices struct {
	*notify.Worker
	guard *consent.Guard
}

func (n *auditedNotices) Retry(ctx context.Context, id string) error {
	if err := n.Worker.Retry(ctx, id); err != nil {
		return err
	}
	return n.guard.Record(ctx, consent.Operator(), consent.Event{Action: "retry-notice", Detail: id})
}

func (n *auditedNotices) Dismiss(ctx context.Context, id string) error {
	if err := n.Worker.Dismiss(ctx, id); err != nil {
		return err
	}
	return n.guard.Record(ctx, consent.Operator(), consent.Event{Action: "dismiss-notice", Detail: id})
}

// noSuchNotice says in the words of the admin API that there is none.
func noSuchNotice(err error) error {
	if err != nil && fhir.KindOf(err) == fhir.NotFound {
		return &smart.Error{Code: "not_found", Description: "No such notice has failed.", Status: http.StatusNotFound}
	}
	return err
}

// pageNotices are the mails that failed, for the pages, which record what they do.
type pageNotices struct{ *notify.Worker }

// Failed implements web.Notices.
func (n *pageNotices) Failed(ctx context.Context, after string, limit int) ([]web.FailedNotice, error) {
	found, err := n.Worker.Failed(ctx, after, limit)
	list := make([]web.FailedNotice, len(found))
	for i, f := range found {
		list[i] = web.FailedNotice{ID: f.Notice, Kind: f.Kind, Recipients: f.Recipients, When: f.When, Why: f.Why}
	}
	return list, err
}

// backendToken records that a backend service is given a token, or was refused one.
func (k *core) backendToken(ctx context.Context, c smart.Client, refused bool) error {
	who := consent.Caller{Address: authserver.AddressOf(ctx), Grant: smart.Grant{ClientID: c.ID, ClientName: c.Name,
		Identity: smart.Identity{Name: c.Name, Role: smart.System}}}
	return k.guard.Record(ctx, who, consent.Event{Action: "grant-token", Detail: c.ID, Refused: refused})
}
