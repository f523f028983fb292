package main

import (
	"context"
	"log/slog"
	"time"

	"mypatients/config"
	"mypatients/gateway/hooks"
	"mypatients/gateway/notify"
	"mypatients/smart/fetch"
)

// hookTime is how long an app's endpoint may take to answer.
const hookTime = 10 * time.Second

// addWorkers adds what works beside the requests: mails, subscriptions, chores. The
// mailer comes back for those who look after it.
func (p *Program) addWorkers(c *config.Config, now func() time.Time, log *slog.Logger) (*notify.Worker, error) {
	mails, err := notify.New(notify.Config{
		Engine: p.core.engine, Store: p.core.store, Now: now, Logger: log, Category: p.core.rules.NoticeCategory(), Complete: p.core.guard.CompleteNotice,
		SMTP: notify.SMTP{Host: c.SMTP.Host, Port: c.SMTP.Port, TLS: c.SMTP.TLS,
			Username: c.SMTP.Username, Password: c.SMTP.Password.Reveal(), From: c.SMTP.From},
	})
	if err != nil {
		return nil, err
	}
	calls, err := hooks.New(hooks.Config{Guard: p.core.guard, Changed: p.core.store.Changed, Logger: log,
		Client: fetch.New(fetch.Config{Timeout: hookTime, Loopback: c.Demo, Idle: 100})})
	if err != nil {
		return nil, err
	}
	chores := notify.Sweeper{Every: time.Minute, Now: now, Logger: log, Chores: p.core.chores()}
	p.tasks = append(p.tasks, task{"notices", mails.Run}, task{"subscriptions", calls.Run}, task{"chores", chores.Run}, task{"labels", p.core.keepLabelled})
	return mails, nil
}

// directMail sends a mail at once; nil where there is no mail server.
func directMail(c *config.Config, mails *notify.Worker) func(ctx context.Context, to, subject, text string) error {
	if c.SMTP.Host == "" {
		return nil
	}
	return mails.Deliver
}
