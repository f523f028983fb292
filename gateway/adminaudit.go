package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"mypatients/consent"
	"mypatients/consent/audit"
	"mypatients/smart"
)

// The audit log over the admin API. Both answers are lines of JSON that are sent as
// they are made; one that breaks off ends without a proper end of the body.
//
//	GET /admin/audit/verify?since=…&head=…   {"damage": …} for each, then {"report": …}
//	GET /admin/audit/export?since=…&until=…  AuditEvents

// A verifyLine is a line of the answer to verifying.
type verifyLine struct {
	Damage *audit.Damage `json:"damage,omitempty"`
	Report *audit.Report `json:"report,omitempty"`
}

func adminAudit(mux *http.ServeMux, l auditLog, log *slog.Logger) {
	stream := func(pattern string, act func(q url.Values, since time.Time, w http.ResponseWriter, req *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, req *http.Request) {
			since, err := readTime("since", req.URL.Query().Get("since"), time.UTC)
			if err != nil {
				answerJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_request", "error_description": err.Error()})
				return
			}
			_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // a log can be long
			w.Header().Set("Content-Type", "application/x-ndjson")
			w.Header().Set("Cache-Control", "no-store")
			if err := act(req.URL.Query(), since, w, req); err != nil {
				log.Error("admin call failed", "error", err)
				panic(http.ErrAbortHandler)
			}
		})
	}
	stream("GET /admin/audit/verify", func(q url.Values, since time.Time, w http.ResponseWriter, req *http.Request) error {
		out := json.NewEncoder(w)
		report, err := l.Verify(req.Context(), audit.Check{Since: since, Heads: q["head"]}, func(d audit.Damage) { _ = out.Encode(verifyLine{Damage: &d}) })
		if err != nil {
			return err
		}
		return out.Encode(verifyLine{Report: &report})
	})
	stream("GET /admin/audit/export", func(q url.Values, since time.Time, w http.ResponseWriter, req *http.Request) error {
		until, err := readTime("until", q.Get("until"), time.UTC)
		if err != nil {
			return err
		}
		return l.Export(req.Context(), since, until, w)
	})
}

// get opens a stream of a running gateway.
func (r *remote) get(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	res, err := r.send(req, 0)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		defer func() { _ = res.Body.Close() }()
		return nil, refusalOf(res)
	}
	return res.Body, nil
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339Nano)
}

// errBrokenOff says that an answer is not whole.
func errBrokenOff() error {
	return failf("its log says more", "the running gateway broke off its answer")
}

// Verify implements auditLog, as does Export.
func (r *remote) Verify(ctx context.Context, c audit.Check, found func(audit.Damage)) (audit.Report, error) {
	body, err := r.get(ctx, "/admin/audit/verify", url.Values{"since": {timeText(c.Since)}, "head": c.Heads})
	if err != nil {
		return audit.Report{}, err
	}
	defer func() { _ = body.Close() }()
	lines := json.NewDecoder(bufio.NewReader(body))
	for {
		var line verifyLine
		if err := lines.Decode(&line); err != nil {
			return audit.Report{}, errBrokenOff()
		}
		if line.Damage != nil {
			found(*line.Damage)
		}
		if line.Report != nil {
			return *line.Report, nil
		}
	}
}

// Export copies lines.
func (r *remote) Export(ctx context.Context, since, until time.Time, to io.Writer) error {
	body, err := r.get(ctx, "/admin/audit/export", url.Values{"since": {timeText(since)}, "until": {timeText(until)}})
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if _, err := io.Copy(to, body); err != nil {
		return errBrokenOff()
	}
	return nil
}

// An auditedRegistrar records what commands do to clients and keys.
type auditedRegistrar struct {
	registrar
	guard *consent.Guard
}

func (r *auditedRegistrar) record(ctx context.Context, err error, action, detail string) error {
	if err != nil {
		return err
	}
	return r.guard.Record(ctx, consent.Operator(), consent.Event{Action: action, Detail: detail})
}

func (r *auditedRegistrar) AddClient(ctx context.Context, c smart.Client, secret string) (id, made string, err error) {
	id, made, err = r.registrar.AddClient(ctx, c, secret)
	return id, made, r.record(ctx, err, "add-client", id)
}

func (r *auditedRegistrar) RemoveClient(ctx context.Context, id string) error {
	return r.record(ctx, r.registrar.RemoveClient(ctx, id), "remove-client", id)
}

func (r *auditedRegistrar) RotateKeys(ctx context.Context) error {
	return r.record(ctx, r.registrar.RotateKeys(ctx), "rotate-keys", "")
}
