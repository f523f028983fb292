package hooks

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"

	"mypatients/consent"
	"mypatients/consent/subscription"
	"mypatients/smart/fetch"
)

// maxAnswer is how much of an answer is read, in bytes: nobody looks at it, but a
// connection can be used again.
const maxAnswer = 16 << 10

// send makes one delivery. It tells why it failed, in words for the owner of the
// subscription that say nothing of our network, and whether it always will.
func (w *Worker) send(ctx context.Context, d *consent.Delivery) (why string, final bool) {
	if d.Check {
		if err := fetch.Reach(ctx, w.cfg.Client, d.Endpoint); err != nil {
			return failure(err)
		}
		return "", false
	}
	judged := &judging{worker: w, delivery: d}
	ctx, judged.stop = context.WithCancel(ctx)
	defer judged.stop()
	req, err := request(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(on httptrace.GotConnInfo) { judged.connected(ctx, on) }}), d)
	if err != nil {
		return "The endpoint is not a URL that can be called.", true
	}
	res, err := w.cfg.Client.Do(req)
	if judged.over.Load() {
		if err == nil {
			_ = res.Body.Close()
		}
		return withdrawn, false
	}
	if err != nil {
		return failure(err)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.CopyN(io.Discard, res.Body, maxAnswer)
	if res.StatusCode/100 == 2 {
		return "", false
	}
	return fmt.Sprintf("The endpoint answers with status %d.", res.StatusCode), res.StatusCode == http.StatusGone
}

// withdrawn says that a delivery was not made, since it is not the subscriber's any
// more.
const withdrawn = "withdrawn"

// A judging has a delivery judged when there is a connection for it, before anything
// is sent on it.
type judging struct {
	worker   *Worker
	delivery *consent.Delivery
	stop     context.CancelFunc
	over     atomic.Bool
}

// connected keeps the call from going on when the delivery is not to be made. The
// client looks at its context no more before it writes a request of HTTP/1, so the
// connection is closed.
func (j *judging) connected(ctx context.Context, on httptrace.GotConnInfo) {
	still, err := j.worker.cfg.Guard.StillFor(ctx, j.delivery)
	if err == nil && still {
		return
	}
	if err != nil && ctx.Err() == nil {
		j.worker.cfg.Logger.Error("subscription", "subscription", j.delivery.Subscription, "error", err)
	}
	j.over.Store(true)
	j.stop()
	if secure, ok := on.Conn.(*tls.Conn); !ok || secure.ConnectionState().NegotiatedProtocol != "h2" {
		_ = on.Conn.Close()
	}
}

func request(ctx context.Context, d *consent.Delivery) (*http.Request, error) {
	u, err := url.Parse(d.Endpoint)
	if err != nil {
		return nil, err
	}
	method, body := http.MethodPost, io.Reader(http.NoBody)
	if d.Body != nil {
		method, body = http.MethodPut, bytes.NewReader(d.Body)
		u = u.JoinPath(string(d.Resource.Type), d.Resource.ID)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "MyPatients")
	for _, h := range d.Headers {
		req.Header.Set(h[0], h[1])
	}
	if d.Body != nil {
		req.Header.Set("Content-Type", subscription.JSON)
	}
	return req, nil
}

func failure(err error) (why string, final bool) {
	var slow net.Error
	switch {
	case errors.Is(err, fetch.ErrInside):
		return "The endpoint's address is not a public one.", true
	case errors.As(err, &slow) && slow.Timeout():
		return "The endpoint does not answer in time.", false
	}
	return "The endpoint cannot be reached.", false
}
