package rest

import (
	"net/http"

	"mypatients/consent"
)

// breakGlass: a provider opens a record in an emergency, for the authorization that
// asks. 201, or 200 with the access that runs already.
func (q *request) breakGlass() error {
	a, err := q.arguments()
	if err != nil {
		return err
	}
	ask := consent.Emergency{Patient: a.subject("patient"), Purpose: a.text("purpose"), Reason: a.text("reason")}
	a.required("patient", ask.Patient != "")
	a.required("purpose", ask.Purpose != "")
	a.required("reason", ask.Reason != "")
	if err := a.finish(); err != nil {
		return err
	}
	open, begun, err := q.h.Guard.BreakGlass(q.Request.Context(), q.caller, ask)
	if err != nil {
		return err
	}
	return q.parameters(createdOr200(begun), []result{
		row("patient", "valueReference", reference(open.Patient.Patient)),
		row("until", "valueDateTime", instant(open.Ends)),
	})
}

// endBreakGlass ends it before its time.
func (q *request) endBreakGlass() error {
	a, err := q.arguments()
	if err != nil {
		return err
	}
	if err := a.finish(); err != nil {
		return err
	}
	if err := q.h.Guard.EndBreakGlass(q.Request.Context(), q.caller, q.id); err != nil {
		return err
	}
	q.Status(http.StatusNoContent)
	return nil
}
