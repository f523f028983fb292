package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"mypatients/config"
	"mypatients/gateway/notify"
	"mypatients/smart"
)

// A registrar is what the commands about clients and keys work on: the
// authorization server itself on data that this process opened, or the one of a
// gateway that runs on it.
type registrar interface {
	AddClient(ctx context.Context, c smart.Client, secret string) (id, made string, err error)
	Clients(ctx context.Context) ([]smart.Client, error)
	RemoveClient(ctx context.Context, id string) error
	RotateKeys(ctx context.Context) error
}

// A newClient is RFC 7591 metadata, with a secret that was chosen elsewhere or
// that was made.
type newClient struct {
	smart.Client
	Secret string `json:"client_secret,omitempty"`
}

func readNewClient(r io.Reader) (c newClient, err error) {
	decoder := json.NewDecoder(r)
	decoder.DisallowUnknownFields()
	return c, decoder.Decode(&c)
}

// maxFailures is how many failed notices are listed at a time.
const maxFailures = 100

// maxAdminBody is the size in bytes of the largest body that the admin API reads.
const maxAdminBody = 1 << 20

// adminAPI lets the commands of this program work on data that a running gateway
// has to itself. It has a listener of its own on a loopback address, which no
// proxy leads to, and takes the token of the configuration as bearer token.
//
//	GET    /admin/clients       the clients, without secrets
//	POST   /admin/clients       RFC 7591 metadata → 201 client_id, client_secret
//	DELETE /admin/clients/{id}  204, and all its grants end
//	POST   /admin/keys/rotate   204
//	GET    /admin/notices       the notices that did not reach everybody; ?after=ID goes on
//	POST   /admin/notices/{id}/retry   204, and it is mailed again
//	POST   /admin/notices/{id}/dismiss 204, and it is listed no more
//	GET    /admin/audit/…       see adminAudit
//	POST   /admin/policy/diff   see adminPolicy
//
// What is wrong is {"error", "error_description"}, as OAuth says it.
func adminAPI(r registrar, notices failedNotices, l auditLog, p policyComparer, token string, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, act func(r *http.Request) (status int, answer any, err error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, req *http.Request) {
			req.Body = http.MaxBytesReader(w, req.Body, maxAdminBody)
			status, answer, err := act(req)
			if err != nil {
				status, answer = adminError(log, err)
			} else if req.Method != http.MethodGet {
				log.Info("changed by a command", "call", pattern, "client", req.PathValue("id"))
			}
			answerJSON(w, status, answer)
		})
	}
	handle("GET /admin/clients", func(req *http.Request) (int, any, error) {
		list, err := r.Clients(req.Context())
		for i := range list {
			list[i].SecretHash = nil
		}
		return http.StatusOK, list, err
	})
	handle("POST /admin/clients", func(req *http.Request) (int, any, error) {
		in, err := readNewClient(req.Body)
		if err != nil {
			return 0, nil, &smart.Error{Code: "invalid_client_metadata", Description: "The body is not a client registration in JSON."}
		}
		id, secret, err := r.AddClient(req.Context(), in.Client, in.Secret)
		return http.StatusCreated, map[string]string{"client_id": id, "client_secret": secret}, err
	})
	handle("DELETE /admin/clients/{id}", func(req *http.Request) (int, any, error) {
		return http.StatusNoContent, nil, r.RemoveClient(req.Context(), req.PathValue("id"))
	})
	handle("POST /admin/keys/rotate", func(req *http.Request) (int, any, error) {
		return http.StatusNoContent, nil, r.RotateKeys(req.Context())
	})
	handle("GET /admin/notices", func(req *http.Request) (int, any, error) {
		list, err := notices.Failed(req.Context(), req.URL.Query().Get("after"), maxFailures)
		if list == nil {
			list = []notify.Failure{}
		}
		return http.StatusOK, list, err
	})
	handle("POST /admin/notices/{id}/retry", func(req *http.Request) (int, any, error) {
		return http.StatusNoContent, nil, noSuchNotice(notices.Retry(req.Context(), req.PathValue("id")))
	})
	handle("POST /admin/notices/{id}/dismiss", func(req *http.Request) (int, any, error) {
		return http.StatusNoContent, nil, noSuchNotice(notices.Dismiss(req.Context(), req.PathValue("id")))
	})
	adminAudit(mux, l, log)
	adminPolicy(mux, p, log)
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		given, bearer := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
		got := sha256.Sum256([]byte(given))
		switch {
		case !config.Loopback(req.Host): // a name of the wide web that was made to point here
			answerJSON(w, http.StatusMisdirectedRequest, map[string]string{"error": "invalid_request"})
		case !bearer || subtle.ConstantTimeCompare(got[:], want[:]) != 1:
			w.Header().Set("WWW-Authenticate", "Bearer")
			answerJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_token"})
		default:
			mux.ServeHTTP(w, req)
		}
	})
}

func answerJSON(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Cache-Control", "no-store")
	if answer == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // an error means that the caller has gone
}

func adminError(log *slog.Logger, err error) (int, any) {
	var known *smart.Error
	if !errors.As(err, &known) || known.Code == "server_error" {
		log.Error("admin call failed", "error", err)
		return http.StatusInternalServerError, map[string]string{"error": "server_error"}
	}
	status := cmp.Or(known.Status, http.StatusBadRequest)
	if known.Code == "invalid_client" {
		status = http.StatusNotFound
	}
	return status, map[string]string{"error": known.Code, "error_description": known.Description}
}

// A remote is the registrar of a running gateway.
type remote struct {
	base  string
	token string
}

// call sends a request; a nil answer is not read.
func (r *remote) call(ctx context.Context, method, path string, body, answer any) error {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, sent)
	if err != nil {
		return err
	}
	res, err := r.send(req, time.Minute)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode/100 == 2 {
		if answer == nil {
			return nil
		}
		return json.NewDecoder(res.Body).Decode(answer)
	}
	return refusalOf(res)
}

// send sends a request, to be answered in whole within a time; 0: whenever.
func (r *remote) send(req *http.Request, within time.Duration) (*http.Response, error) {
	req.Header.Set("Authorization", "Bearer "+r.token)
	client := &http.Client{
		Timeout:       within,
		Transport:     &http.Transport{Proxy: nil, DisableKeepAlives: true}, // straight there, with the token
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, failf("see admin.listen in the configuration, and whether the gateway runs with it", "the running gateway does not answer at %s", r.base)
	}
	return res, nil
}

// refusalOf says what an answer other than success means.
func refusalOf(res *http.Response) error {
	var said struct {
		Code string `json:"error"`
		Text string `json:"error_description"`
	}
	if res.StatusCode == http.StatusUnauthorized {
		return failf("it runs with another admin.token", "the running gateway does not take the token")
	}
	if json.NewDecoder(io.LimitReader(res.Body, maxAdminBody)).Decode(&said) != nil || said.Text == "" {
		return failf("its log says more", "the running gateway answers with status %d", res.StatusCode)
	}
	return &smart.Error{Code: said.Code, Description: said.Text}
}

func (r *remote) AddClient(ctx context.Context, c smart.Client, secret string) (id, made string, err error) {
	var answer struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	err = r.call(ctx, http.MethodPost, "/admin/clients", newClient{c, secret}, &answer)
	return answer.ID, answer.Secret, err
}

func (r *remote) Clients(ctx context.Context) (list []smart.Client, err error) {
	return list, r.call(ctx, http.MethodGet, "/admin/clients", nil, &list)
}

func (r *remote) RemoveClient(ctx context.Context, id string) error {
	return r.call(ctx, http.MethodDelete, "/admin/clients/"+url.PathEscape(id), nil, nil)
}

func (r *remote) RotateKeys(ctx context.Context) error {
	return r.call(ctx, http.MethodPost, "/admin/keys/rotate", nil, nil)
}
