// Package quorum counts the answers that the people who decide about a record have
// given to one question, and says what they come to. It knows nobody and keeps
// nothing.
package quorum

// An Answer is what somebody has said so far.
type Answer int

// The answers.
const (
	Silent Answer = iota
	Approve
	Decline
)

// A Mode says whose answers count.
type Mode int

// The modes.
const (
	Guardian Mode = iota // the guardians alone
	Patient              // the patient alone
	Either               // the guardians or the patient: what the patient says stands
	Both                 // the guardians and the patient: either says no for both
)

// A Result is what answers come to.
type Result int

// The results. What waits and what is in conflict stays undecided, and opens
// nothing: an answer that is missing, or a changed one, moves it on.
const (
	Waiting  Result = iota // somebody has yet to answer
	Conflict               // guardians have answered differently
	Approved
	Declined
)

// A Question is asked of some guardians, and perhaps of the patient.
type Question struct {
	Mode       Mode
	All        bool // of the guardians all must approve; else one, if none declines
	Guardians  []Answer
	Patient    Answer
	HasPatient bool // the patient is among those who can answer
}

// Answerable reports whether those who can answer are enough to approve.
func (q Question) Answerable() bool {
	switch q.Mode {
	case Guardian:
		return len(q.Guardians) > 0
	case Patient:
		return q.HasPatient
	case Either:
		return len(q.Guardians) > 0 || q.HasPatient
	}
	return len(q.Guardians) > 0 && q.HasPatient
}

// Result gives what the answers come to.
func (q Question) Result() Result {
	if !q.Answerable() {
		return Waiting
	}
	patient := one(q.Patient)
	switch {
	case q.Mode == Guardian || !q.HasPatient:
		return q.guardians()
	case q.Mode == Patient || len(q.Guardians) == 0:
		return patient
	case patient == Declined, q.Mode == Either && patient == Approved:
		return patient
	}
	guardians := q.guardians()
	switch {
	case q.Mode == Either && guardians == Declined, q.Mode == Both && guardians == Approved && patient != Approved:
		return Waiting // for the patient
	}
	return guardians
}

func one(a Answer) Result {
	switch a {
	case Approve:
		return Approved
	case Decline:
		return Declined
	}
	return Waiting
}

// guardians gives what the guardians' answers come to. A decline blocks: only when
// all have declined is it the last word.
func (q Question) guardians() Result {
	count := map[Answer]int{}
	for _, a := range q.Guardians {
		count[a]++
	}
	switch {
	case count[Approve] > 0 && count[Decline] > 0:
		return Conflict
	case count[Decline] == len(q.Guardians):
		return Declined
	case count[Decline] > 0, count[Approve] == 0:
		return Waiting
	case q.All && count[Silent] > 0:
		return Waiting
	}
	return Approved
}
