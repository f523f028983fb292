package quorum_test

import (
	"slices"
	"testing"

	"mypatients/consent/quorum"
)

const (
	s = quorum.Silent
	a = quorum.Approve
	d = quorum.Decline
)

func TestResult(t *testing.T) {
	type answers []quorum.Answer
	for _, tt := range []struct {
		name      string
		mode      quorum.Mode
		all       bool
		guardians answers
		patient   answers // none: they cannot answer
		want      quorum.Result
	}{
		{"one guardian approves", quorum.Guardian, false, answers{a}, nil, quorum.Approved},
		{"one guardian declines", quorum.Guardian, false, answers{d}, nil, quorum.Declined},
		{"nobody has answered", quorum.Guardian, false, answers{s, s}, nil, quorum.Waiting},
		{"one of two approves", quorum.Guardian, false, answers{a, s}, nil, quorum.Approved},
		{"one of two declines", quorum.Guardian, false, answers{d, s}, nil, quorum.Waiting},
		{"both decline", quorum.Guardian, false, answers{d, d}, nil, quorum.Declined},
		{"they differ", quorum.Guardian, false, answers{a, d}, nil, quorum.Conflict},
		{"all must approve, one has", quorum.Guardian, true, answers{a, s}, nil, quorum.Waiting},
		{"all must approve, and do", quorum.Guardian, true, answers{a, a}, nil, quorum.Approved},
		{"all must approve, one of three declines", quorum.Guardian, true, answers{a, s, d}, nil, quorum.Conflict},
		{"all must approve, one alone", quorum.Guardian, true, answers{a}, nil, quorum.Approved},
		{"no guardian", quorum.Guardian, false, nil, answers{a}, quorum.Waiting},
		{"the patient is not asked", quorum.Guardian, false, answers{s}, answers{a}, quorum.Waiting},
		{"an adult approves", quorum.Patient, true, nil, answers{a}, quorum.Approved},
		{"an adult without a login", quorum.Patient, false, answers{a}, nil, quorum.Waiting},
		{"either: the patient approves", quorum.Either, true, answers{s, s}, answers{a}, quorum.Approved},
		{"either: the patient approves what a guardian declined", quorum.Either, false, answers{d}, answers{a}, quorum.Approved},
		{"either: the patient declines", quorum.Either, false, answers{s}, answers{d}, quorum.Declined},
		{"either: the patient declines what a guardian approved", quorum.Either, true, answers{a, s}, answers{d}, quorum.Declined},
		{"either: a guardian approves", quorum.Either, false, answers{a, s}, answers{s}, quorum.Approved},
		{"either: all guardians decline", quorum.Either, false, answers{d, d}, answers{s}, quorum.Waiting},
		{"either: guardians differ", quorum.Either, false, answers{a, d}, answers{s}, quorum.Conflict},
		{"either: guardians differ, the patient approves", quorum.Either, false, answers{a, d}, answers{a}, quorum.Approved},
		{"either: no guardian", quorum.Either, false, nil, answers{a}, quorum.Approved},
		{"either: no login of the patient", quorum.Either, false, answers{d}, nil, quorum.Declined},
		{"both approve", quorum.Both, false, answers{a}, answers{a}, quorum.Approved},
		{"both: the guardian has", quorum.Both, false, answers{a}, answers{s}, quorum.Waiting},
		{"both: the patient has", quorum.Both, false, answers{s}, answers{a}, quorum.Waiting},
		{"both: the guardian declines", quorum.Both, false, answers{d}, answers{a}, quorum.Declined},
		{"both: the patient declines", quorum.Both, false, answers{a}, answers{d}, quorum.Declined},
		{"both: guardians differ", quorum.Both, false, answers{a, d}, answers{a}, quorum.Conflict},
		{"both: one of two guardians, all must", quorum.Both, true, answers{a, s}, answers{a}, quorum.Waiting},
		{"both: no guardian", quorum.Both, false, nil, answers{a}, quorum.Waiting},
		{"both: no login of the patient", quorum.Both, false, answers{a}, nil, quorum.Waiting},
	} {
		q := quorum.Question{Mode: tt.mode, All: tt.all, Guardians: tt.guardians, HasPatient: tt.patient != nil}
		if tt.patient != nil {
			q.Patient = tt.patient[0]
		}
		if got := q.Result(); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Whatever the rule: turning one answer into a decline approves nothing, and
// whoever approves takes no approval away.
func TestDecliningNeverApproves(t *testing.T) {
	every := []quorum.Answer{s, a, d}
	for _, mode := range []quorum.Mode{quorum.Guardian, quorum.Patient, quorum.Either, quorum.Both} {
		for code := range 2 * 2 * 27 {
			q := quorum.Question{Mode: mode, All: code%2 == 1, HasPatient: code/2%2 == 1}
			rest := code / 4
			q.Patient = every[rest%3]
			q.Guardians = []quorum.Answer{every[rest/3%3], every[rest/9%3]}
			before := q.Result()
			for i := range 3 {
				for _, say := range []quorum.Answer{d, a} {
					other := q
					other.Guardians = slices.Clone(q.Guardians)
					if i == 2 {
						other.Patient = say
					} else {
						other.Guardians[i] = say
					}
					after := other.Result()
					if say == d && after == quorum.Approved && before != quorum.Approved {
						t.Errorf("%+v: a decline of %d approves", q, i)
					}
					if say == a && before == quorum.Approved && after != quorum.Approved {
						t.Errorf("%+v: an approval of %d takes it back", q, i)
					}
				}
			}
		}
	}
}
