package web

import (
	"time"

	"mypatients/consent"
	"mypatients/consent/audit"
	"mypatients/fhir"
	"mypatients/smart"
)

// worklistSamples gives the views of the pages of staff and administrators.
func worklistSamples(text string, now time.Time, card consent.Card, provider consent.ProviderView, login consent.AccountView) map[string][]any {
	login.Checks = []consent.Check{{Action: "link", Person: text, How: text, By: text, When: now}, {Action: "check-provider"}, {}}
	word := consent.CallersWord{Caller: text, Check: text, Asked: text}
	teen := consent.LinkChoice{Link: consent.Link{Role: smart.Patient, Person: "Patient/1"}, Name: text, BirthDate: "2010-02-03", Accounts: 1}
	choices := []consent.LinkChoice{teen, {Link: consent.Link{Role: smart.Proxy, Person: text}, Name: text, Of: text, Relation: text, Accounts: 7}, {Link: consent.Link{Role: smart.Provider, Person: "Practitioner/1"}}}
	chosen := linkView{Account: login, Provider: text, Query: text, Searched: true, Found: choices, Chosen: "proxy " + text, Check: text}
	sure := chosen
	sure.Sure = &choices[1]
	work := workView{Worklists: consent.Worklists{Providers: 1, Accounts: consent.MaxWaiting, Relabelling: true}, Notices: 3}
	row := consent.AuditRow{ID: "r", Of: []consent.Card{card, card}, Entry: audit.Entry{When: now, Name: text, Role: smart.Admin, Client: text, Address: text, Action: text, Type: fhir.Type(text),
		Patients: []string{"Patient/1", "Patient/2", "Patient/3"}, Detail: text, Outcome: "not-found"}}
	rows := []consent.AuditRow{row, {Entry: audit.Entry{Client: text, Patients: []string{"Patient/1"}}}, {}}
	for _, k := range logKinds {
		for _, action := range k.actions {
			rows = append(rows, consent.AuditRow{Entry: audit.Entry{Action: action}})
		}
	}
	full := newLogView()
	full.Typed = logTyped{MRN: text, Who: text, From: text, To: text, Kind: "looked", Outcome: "refused", Login: text}
	full.People, full.Rows, full.Searched, full.Next, full.Later = []consent.AccountView{{Account: consent.Account{ID: text, Name: text, Email: text}, People: login.People}}, rows, true, text, true
	more := newLogView()
	more.Searched, more.Next = true, text
	nothing := newLogView()
	nothing.Searched = true
	unchecked := consent.UncheckedProvider{ID: "u1", Provider: provider, Email: text, Account: login.Account, When: now, Waits: true}
	return map[string][]any{
		"desk":          {deskView{Typed: typed{MRN: text}, Work: &work}, deskView{ByName: true, Typed: typed{Family: text, Given: text, BirthDate: text}, Matches: []patientView{{Name: text, MRN: text, BirthDate: text}}}, deskView{Work: &workView{}}, deskView{}},
		"unclear":       {unclearView{[]consent.FaultyConsent{{UnreadableConsent: consent.UnreadableConsent{Consent: fhir.Key{Type: "Consent", ID: "c1"}, Element: text}, Patient: card, Since: "2026-01-02"}, {}}}, unclearView{}},
		"registrations": {registrationsView{List: []consent.UncheckedProvider{unchecked, {ID: "u2"}}, At: "u1", Check: text, Next: text}, registrationsView{}},
		"waiting":       {waitingView{}},
		"failed": {failedView{List: []failedRow{{FailedNotice{ID: "n1", Kind: "request", When: now, Why: text}, []consent.LinkView{{Name: text, Of: text}, {}}}, {FailedNotice: FailedNotice{ID: "n2", Kind: text}}}, Next: text},
			failedView{}},
		"unlinked": {unlinkedView{List: []consent.LooseAccount{{Account: login.Account}, {Account: consent.Account{Subject: text}}}, Next: text}, unlinkedView{}},
		"link":     {chosen, linkView{Query: text, Searched: true}, linkView{}},
		"linksure": {sure, linkView{}},
		"teamsure": {teamSureView{Patient: card, Word: word, Provider: text, Chosen: text, Query: text}, teamSureView{Patient: card, Remove: true}},
		"log":      {full, more, nothing, newLogView()},
	}
}
