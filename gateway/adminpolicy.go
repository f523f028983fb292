package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"mypatients/config"
	"mypatients/consent"
)

// The policy over the admin API. The answer is lines of JSON that are sent as they
// are made; one that breaks off ends without a proper end of the body.
//
//	POST /admin/policy/diff?limit=…  a policy → {"change": …} for each, then {"report": …}

// A policyLine is a line of the answer to comparing policies.
type policyLine struct {
	Change *consent.AccessChange `json:"change,omitempty"`
	Report *comparedPolicies     `json:"report,omitempty"`
}

func adminPolicy(mux *http.ServeMux, p policyComparer, log *slog.Logger) {
	mux.HandleFunc("POST /admin/policy/diff", func(w http.ResponseWriter, req *http.Request) {
		bad := func(text string) {
			answerJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_request", "error_description": text})
		}
		limit, err := strconv.Atoi(req.URL.Query().Get("limit"))
		if err != nil || limit < 0 {
			bad("limit must be a number of changes.")
			return
		}
		to := new(config.Policy)
		decoder := json.NewDecoder(http.MaxBytesReader(w, req.Body, maxAdminBody))
		decoder.DisallowUnknownFields()
		if decoder.Decode(to) != nil {
			bad("The body is not a policy of this version of the program.")
			return
		}
		if err := to.Validate(); err != nil {
			bad(err.Error())
			return
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // there can be many patients
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.Header().Set("Cache-Control", "no-store")
		out := json.NewEncoder(w)
		report, err := p.ComparePolicy(req.Context(), to, limit, func(c consent.AccessChange) error { return out.Encode(policyLine{Change: &c}) })
		if err == nil {
			err = out.Encode(policyLine{Report: &report})
		}
		if err != nil {
			log.Error("admin call failed", "error", err)
			panic(http.ErrAbortHandler)
		}
	})
}

// ComparePolicy implements policyComparer: the policy compared with is that of the
// running gateway.
func (r *remote) ComparePolicy(ctx context.Context, to *config.Policy, limit int, each func(consent.AccessChange) error) (comparedPolicies, error) {
	body, err := json.Marshal(to)
	if err != nil {
		return comparedPolicies{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.base+"/admin/policy/diff?limit="+strconv.Itoa(limit), bytes.NewReader(body))
	if err != nil {
		return comparedPolicies{}, err
	}
	res, err := r.send(req, 0)
	if err != nil {
		return comparedPolicies{}, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return comparedPolicies{}, refusalOf(res)
	}
	lines := json.NewDecoder(bufio.NewReader(res.Body))
	for {
		var line policyLine
		if lines.Decode(&line) != nil {
			return comparedPolicies{}, errBrokenOff()
		}
		if line.Report != nil {
			return *line.Report, nil
		}
		if line.Change != nil {
			if err := each(*line.Change); err != nil {
				return comparedPolicies{}, err
			}
		}
	}
}
