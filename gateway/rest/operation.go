package rest

import (
	"context"
	"net/http"

	"mypatients/consent"
	"mypatients/fhir"
)

// The operations of this gateway. Each has an OperationDefinition, which the
// guard publishes.

func (a *arguments) narrowing(q *request) consent.Narrowing {
	var n consent.Narrowing
	n.From, n.Until = a.period("period", q.h.Zone)
	n.Classes = a.types("class")
	n.Label = a.text("label")
	return n
}

// requestAccess: a provider asks for a patient's record. 201, or 200 with the
// request that is open already.
func (q *request) requestAccess() error {
	a, err := q.arguments()
	if err != nil {
		return err
	}
	ask := consent.AccessRequest{Patient: a.subject("patient"), Narrowing: a.narrowing(q), Reason: a.text("reason"), Confidential: a.truth("confidential")}
	a.required("patient", ask.Patient != "")
	if err := a.finish(); err != nil {
		return err
	}
	r, created, err := q.h.Guard.RequestAccess(q.Request.Context(), q.caller, ask)
	if err != nil {
		return err
	}
	q.written(createdOr200(created), r)
	return nil
}

// approve: patient or guardian let the provider in, perhaps less far than asked.
// Where others have to agree the Consent is still proposed, and its extension
// answer-state says so.
func (q *request) approve() error {
	match, err := ifMatch(q.Request.Header.Values("If-Match"))
	if err != nil {
		return err
	}
	a, err := q.arguments()
	if err != nil {
		return err
	}
	narrowing := a.narrowing(q)
	if err := a.finish(); err != nil {
		return err
	}
	r, err := q.h.Guard.Approve(q.Request.Context(), q.caller, q.id, narrowing, match)
	if err != nil {
		return err
	}
	q.written(http.StatusOK, r)
	return nil
}

func (q *request) decline() error  { return q.end(q.h.Guard.Decline) }
func (q *request) revoke() error   { return q.end(q.h.Guard.Revoke) }
func (q *request) withdraw() error { return q.end(q.h.Guard.Withdraw) }

// end is what ends a request or a grant, for a reason or for none.
func (q *request) end(step func(ctx context.Context, c consent.Caller, id, reason string, ifMatch *int64) (*fhir.Resource, error)) error {
	match, err := ifMatch(q.Request.Header.Values("If-Match"))
	if err != nil {
		return err
	}
	a, err := q.arguments()
	if err != nil {
		return err
	}
	reason := a.text("reason")
	if err := a.finish(); err != nil {
		return err
	}
	r, err := step(q.Request.Context(), q.caller, q.id, reason, match)
	if err != nil {
		return err
	}
	q.written(http.StatusOK, r)
	return nil
}

// invite: the answer holds the token, for this once.
func (q *request) invite() error {
	a, err := q.arguments()
	if err != nil {
		return err
	}
	invitation := consent.Invitation{Email: a.text("email"), NPI: a.text("npi"), Narrowing: a.narrowing(q), Confidential: a.truth("confidential"),
		Word: &consent.CallersWord{Caller: a.text("caller"), Check: a.text("check"), Asked: a.text("asked")}}
	if err := a.finish(); err != nil {
		return err
	}
	made, err := q.h.Guard.Invite(q.Request.Context(), q.caller, q.id, invitation)
	if err != nil {
		return err
	}
	return q.parameters(http.StatusOK, []result{
		row("token", "valueString", made.Token),
		row("mrn", "valueString", made.MRN),
		row("expires", "valueDateTime", instant(made.Expires)),
		row("consent", "valueReference", reference(made.Consent.Key)),
	})
}

// redeem: a provider who was given a token and the MRN.
func (q *request) redeem() error {
	a, err := q.arguments()
	if err != nil {
		return err
	}
	token, mrn, client := a.text("token"), a.text("mrn"), a.text("client_id")
	a.required("token", token != "")
	a.required("mrn", mrn != "")
	if err := a.finish(); err != nil {
		return err
	}
	done, err := q.h.Guard.Redeem(q.Request.Context(), q.caller, token, mrn, client)
	if err != nil {
		return err
	}
	rows := []result{
		row("consent", "valueReference", reference(done.Consent.Key)),
		row("patient", "valueReference", reference(done.Patient)),
	}
	if done.Launch != "" {
		rows = append(rows, row("launch", "valueString", done.Launch))
	}
	return q.parameters(http.StatusOK, rows)
}

func reference(key fhir.Key) map[string]string { return map[string]string{"reference": key.String()} }

// coding is a code of one of the gateway's code systems.
func (q *request) coding(system, code string) map[string]string {
	return map[string]string{"system": q.h.Base + "/CodeSystem/" + system, "code": code}
}
