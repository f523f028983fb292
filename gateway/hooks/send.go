package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

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
	req, err := request(ctx, d)
	if err != nil {
		return "The endpoint is not a URL that can be called.", true
	}
	res, err := w.cfg.Client.Do(req)
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
