package web

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"mypatients/consent"
	"mypatients/consent/emergency"
	"mypatients/fhir"
	"mypatients/gateway/growth"
	"mypatients/gateway/lang"
	"mypatients/smart"
	"mypatients/smart/authserver"
)

// RenderSamples renders every page, once in every role with all there is to show,
// every text of which is the given one, and once with less, down to nothing. It fails for a page without
// a sample.
func RenderSamples(text string) (map[string]string, error) {
	return renderAll(text, lang.English, nil)
}

// RenderIn is RenderSamples in a language. The words of the templates pass through
// wrap, if there is one, after they have been translated.
func RenderIn(l lang.Language, text string, wrap func(string) string) (map[string]string, error) {
	return renderAll(text, l, wrap)
}

func renderAll(text string, l lang.Language, wrap func(string) string) (map[string]string, error) {
	now := time.Date(2026, 3, 10, 15, 0, 0, 0, time.UTC)
	w := words{now: func() time.Time { return now }, zone: time.UTC, lang: l}
	files, err := newStatic(Brand{})
	if err != nil {
		return nil, err
	}
	catalogue, err := lang.Of(l)
	if err != nil {
		return nil, err
	}
	t := translationOf(l, catalogue)
	if wrap != nil {
		if t, err = marked(t, wrap); err != nil {
			return nil, err
		}
	}
	set, err := parsePages(files.version, w, t)
	if err != nil {
		return nil, err
	}
	samples := samplesOf(text, now, w)
	out := map[string]string{}
	for _, name := range set.names() {
		views, ok := samples[name]
		if !ok {
			return nil, fmt.Errorf("no sample of page %s", name)
		}
		for i, view := range views {
			roles := []smart.Role{smart.Proxy}
			if i == 0 {
				roles = append(roles, "", smart.Provider, smart.Staff)
			}
			for _, role := range roles {
				f := frame{Brand: Brand{Name: "Name", Phone: "555-555-0100"}, Page: name, Path: "/", Request: "r", Here: "/", CSRF: "token", Role: role, View: view}
				if i == 0 {
					f.Account, f.Person, f.Roles, f.Request = text, text, true, text
					f.Flash = &flash{Code: "approved", Name: text, Until: now, Undo: "c1", At: f.Path}
					f.Problems = everyProblem()
				}
				html, err := set.render(name, f)
				if err != nil {
					return nil, fmt.Errorf("%s %d: %w", name, i, err)
				}
				out[fmt.Sprintf("%s %d %s", name, i, role)] = string(html)
			}
		}
	}
	return out, nil
}

func everyProblem() problems {
	all := problems{}
	for _, field := range []string{"mrn", "send", "family", "given", "birthdate", "patient", "scope", "date", "part", "reason", "token", "npi", "email", "provider", "caller", "check", "asked", "role", "name", "kind", "redirects", "launch", "jwks", "sure", "q", "link", "comment", "code", "who", "from", "to", "text", "again", "specialty", "organization"} {
		all[field] = "missing"
	}
	return all
}

// samplesOf gives the views of each page: the fullest first, an empty one last.
func samplesOf(text string, now time.Time, w words) map[string][]any {
	key := fhir.Key{Type: "Practitioner", ID: "p1"}
	card := consent.Card{Patient: fhir.Key{Type: "Patient", ID: "1"}, Name: text, MRN: text, BirthDate: "2018-02-03", Gender: text,
		Bases: []consent.Basis{{Code: consent.BasisPCP}, {Code: consent.BasisCode(text)}}, Until: now}
	provider := consent.ProviderView{Key: key, Name: text, Specialty: text, Organization: text, NPI: text}
	claimed := provider
	claimed.SelfClaimed = true
	request := consent.RequestView{ID: "c1", Version: 1, State: consent.StateWaiting, Asked: now, Until: now, AnswerBy: now, Reason: text, Provider: claimed, Patient: card, May: true}
	answered := request
	leftOver, differing := request, request
	leftOver.State, leftOver.LeftOver = consent.StateApproved, true
	differing.Conflict, differing.Mine = true, "approve"
	differing.Answers = []consent.AnswerView{{Name: text, Self: true, Answer: "approve"}, {Answer: "decline"}, {Name: text, Patient: true}}
	answered.State, answered.Classes = consent.StateApproved, []fhir.Type{"Condition", "Basic"}
	restrictedRequest, lessPrivate := request, request
	restrictedRequest.Label, lessPrivate.Label, lessPrivate.Provider = restricted, "L", provider
	restrictedAnswered := answered
	restrictedAnswered.Label = restricted
	spans := []spanView{{"3", now}, {"date", time.Time{}}}
	who := about{Patient: card}
	entry := consent.AccessEntry{Group: consent.BasisConsent, Provider: provider, Until: now, ConsentID: "c1", Version: 1}
	onTeam := consent.AccessEntry{Group: consent.BasisCareTeam, Provider: provider, Member: key}
	scopes := []scopeView{{Text: text, Kind: "resource", Type: text, Read: true, Write: true, Only: text}, {Text: text, Kind: "other"}, {Kind: "offline"}, {Kind: "openid"}}
	login := consent.AccountView{Account: consent.Account{ID: text, Issuer: text, Subject: text, Name: text, Email: text},
		People: []consent.LinkView{{Link: consent.Link{Role: smart.Admin, Person: text}, Name: text, Of: text}, {Link: consent.Link{Role: smart.Proxy, Person: "RelatedPerson/1"}}}}
	glass := consent.EmergencyView{ID: "e1", Patient: card, Provider: provider, Client: text, Reason: text, Began: now, Ends: now}
	var sponsorships []consent.SponsorView
	for _, state := range []string{consent.SponsorOffered, consent.SponsorLapsed, consent.SponsorAwake, consent.SponsorAsleep, consent.SponsorEnded} {
		sponsorships = append(sponsorships, consent.SponsorView{ID: state, State: state, Name: text, Email: text, Until: now})
	}
	ticked := boxes(nil, func(string) bool { return true })
	found := typed{MRN: text, Family: text, Given: text, BirthDate: "2018-02-03"}
	record := sampleRecord(text, w)
	printed := *record
	printed.Print = true
	bare := &recordView{Report: &consent.AccessReport{}, Tab: "summary", Tabs: w.tabs("summary", "")}
	hidden := *bare
	hidden.Hidden = true

	records := []any{record}
	for _, tab := range []string{"results", "growth", "medications", "immunizations", "visits", "notes", "care-team"} {
		full, empty := *record, *bare
		full.Tab, empty.Tab = tab, tab
		records = append(records, &full, &empty)
	}
	for _, tab := range []string{"results", "medications", "immunizations", "visits", "notes"} {
		narrowed := *bare
		narrowed.Tab, narrowed.Filter = tab, &filterView{Kinds: []string{"laboratory", "vital-signs", "current", "past", "AMB", "EMER", "IMP", "HH", "VR"}, Reasons: true, People: true, Text: text, Reason: text, Who: text, From: text, To: text, Kind: "past"}
		records = append(records, &narrowed)
	}
	samples := map[string][]any{
		"signin":  {signInView{Providers: []signInChoice{{text, text}, {"b", "B"}}, Next: text, Expired: true}, signInView{}},
		"signout": {nil},
		"components": {componentsView{Groups: []tokenGroup{{"Colours", []token{{"accent", text}}}, {"Space", []token{{"s1", text}}}, {"Type", []token{{"small", text}}}, {"Shape", []token{{"radius", text}}}},
			Themes: []string{"light", "dark"}, Day: now, Who: provider}},
		"signedout": {signedOutView{Upstream: "https://idp.example/out"}, signedOutView{}},
		"role":      {roleView{Roles: []smart.Role{smart.Provider, smart.Patient, smart.Proxy, smart.Staff, smart.Admin}, Next: text}},
		"stranger":  {strangerView{Next: text}, strangerView{}},
		"prove":     {proveView{Next: text}, proveView{}},
		"authorize": {
			authorizeView{App: text, Site: text, Request: text, Scopes: scopes, Offline: true, Choose: true, Patients: []consent.Card{card}, Patient: "1", Search: &Selection{MRN: text}},
			authorizeView{App: "A", Fixed: &card, Local: true}, authorizeView{App: "A", Site: "127.0.0.1:9", Local: true}, authorizeView{App: "A", Choose: true, Nobody: true, Search: &Selection{MRN: "1"}}},
		"patients": {
			patientsView{ByName: true, Typed: found, Recent: []consent.Card{card}, Mine: byBasis([]consent.Card{card}), Waiting: 2, Result: &selectionView{Matches: []consent.Card{card},
				Outcomes: []consent.SelectionOutcome{{Code: consent.NotAuthorized, Handle: text}, {Code: consent.NotAuthorized, Handle: text, Emergency: text, From: now}, {Code: consent.RequestPending}, {Code: consent.NoPortalAccount}}}},
			patientsView{Typed: found, Result: &selectionView{}}, patientsView{}},
		"ask":        {askView{Patient: text, Typed: found, Provider: claimed, Span: "date", Date: text, Parts: ticked, Reason: text, Private: true, Spans: spans}, askView{Whole: true, Parts: ticked, Span: "3", Spans: spans}},
		"requests":   {requestsView{Waiting: []consent.RequestView{request, restrictedRequest}, Answered: []consent.RequestView{answered, {State: text}}}, requestsView{}},
		"invitation": {invitationView{Token: text, MRN: text}, invitationView{}},
		"register": {registerView{Registration: consent.Registration{Given: text, Family: text, NPI: text, Email: text, Specialty: text, Organization: text}, Next: text},
			registerView{Verified: text}, registerView{}},
		"codeproof": {codeProofView{Email: text, Next: text, Ends: now}, codeProofView{Email: text}},
		"record":    append(records, &hidden),
		"print":     {&printed, &recordView{Report: &consent.AccessReport{}}},
		"open":      {openView{Patient: record.Patient, Apps: []smart.Client{{ID: text, Name: text}, {ID: "x"}}}, openView{}},
		"family":    {familyView{Requests: []consent.RequestView{restrictedRequest, differing, answered}, Patients: []consent.Card{card}}, familyView{Self: true, Patients: []consent.Card{{}}}, familyView{}},
		"decision":  {decisionView{Request: restrictedRequest, Boxes: ticked, Span: "date", Date: text, Less: true, Private: true}, decisionView{Request: request}, decisionView{Request: differing}, decisionView{Request: leftOver}, decisionView{Request: consent.RequestView{State: consent.StateWaiting}, WhyNot: "own"}, decisionView{Request: lessPrivate}, decisionView{Request: restrictedAnswered}, decisionView{Request: answered, Parts: []string{"problems", "other"}, Self: true}},
		"access":    {accessView{about: who, Groups: grouped([]consent.AccessEntry{entry, onTeam})}, accessView{}},
		"stop":      {stopView{about: who, Entry: entry}, stopView{}},
		"careteam":  {careTeamView{about: who, Team: []consent.AccessEntry{onTeam}, Query: text, Found: []consent.ProviderView{claimed, provider}}, careTeamView{Query: text}, careTeamView{}},
		"member":    {memberView{about: who, Entry: onTeam}, memberView{}},
		"invite": {inviteView{about: who, List: []consent.InvitationView{{ID: "i", State: "open", Issued: now, Expires: now, For: text, UsedBy: claimed}, {State: text}}, Email: text, Parts: ticked, Span: "date", Date: text},
			inviteView{Parts: ticked}},
		"invited": {invitedView{about: who, Invited: consent.Invited{Token: text, MRN: text, Expires: now}, Link: "http://127.0.0.1/invitation", Back: "/back", Email: text}, invitedView{Link: "/", Back: "/back", Email: text, Sent: true}, invitedView{Link: "/", Back: "/back", Staff: true}},
		"private": {privateView{about: who, AgeRules: consent.AgeRules{From: 13, Until: 18, Between: true}, Kinds: hiddenKinds([]string{"ADOL", "SEX", "STD", "SUD", "PSY", "HIV", "SDV", "X"}), Decide: "either"},
			privateView{about: about{Patient: card, Self: true}, AgeRules: consent.AgeRules{From: 13, Until: 18, Between: true}, Kinds: hiddenKinds([]string{"ADOL"}), Decide: "either"},
			privateView{about: about{Patient: card, Self: true}, Decide: "both"}, privateView{about: who, Decide: "both"}, privateView{about: about{Self: true}, Decide: "guardian"}, privateView{}},
		"activity": {activityView{about: who, People: []string{text}, Who: text, More: true, Days: w.lookDays([]consent.Look{
			{When: now, Person: text, Organization: text, What: text, Action: text, Why: []consent.BasisCode{consent.BasisCode(text)}, Client: text}, {When: now.AddDate(0, 0, -1), Outcome: "not-found"}})},
			activityView{}},
		"apps": {appsView{Apps: []appView{{GrantView: authserver.GrantView{ID: text, Created: now, LastUsed: now}, Name: text, Scopes: scopes, Patient: &card}, {}}}, appsView{}},
		"notices": {noticesView{[]consent.NoticePreference{{Kind: consent.NoticeRequest, Mail: true}, {Kind: consent.NoticeBreakGlass, Mail: true, Fixed: true}, {Kind: consent.NoticeKind(text)}}},
			noticesView{}},
		"staffpatient": {staffPatientView{Patient: card, Team: []member{{Key: key, Name: text, Role: text}, {}}, Query: text, Found: []consent.ProviderView{provider}, Word: consent.CallersWord{Caller: text, Check: text, Asked: text}}, staffPatientView{}},
		"staffinvite":  {staffInviteView{Patient: card, Word: consent.CallersWord{Caller: text, Check: text, Asked: text}, Email: text, Span: "date", Date: text}, staffInviteView{Span: "6"}},
		"emergency":    {emergencyView{Patient: text, Typed: found, Reason: text, Open: []consent.EmergencyView{glass}}, emergencyView{Patient: "h.x"}, emergencyView{}},
		"emergencies": {emergenciesView{List: []consent.EmergencyView{glass, {ID: "e2", Over: true}, {ID: "e3", Over: true, Review: &emergency.Review{Comment: text, Name: text, When: now}}}, At: "e1", Next: "e3", All: true},
			emergenciesView{}},
		"familyemergencies": {familyEmergenciesView{about: who, List: []consent.EmergencyView{glass, {}}}, familyEmergenciesView{}},
		"sponsored":         {sponsoredView{List: sponsorships, Name: text, Email: text, Link: "/", Offer: &consent.Offered{ID: "s", Code: text, Expires: now}}, sponsoredView{}},
		"code":              {codeView{Code: text}, codeView{}},
		"working":           {workingView{Patients: []consent.Card{card}, Sponsors: sponsorships}, workingView{}},
		"accounts":          {accountsView{Query: text, Searched: true, Found: []consent.AccountView{login}}, accountsView{Query: text, Searched: true}, accountsView{}},
		"account": {accountView{AccountView: login, Provider: text, Apps: []appView{{GrantView: authserver.GrantView{ID: text, Created: now, LastUsed: now}, Name: text, Scopes: scopes}}, Own: true, Chosen: "admin " + text},
			accountView{AccountView: login, Apps: []appView{{}}}, accountView{}},
		"clients":   {clientsView{Clients: []clientRow{{smart.Client{ID: text, Name: text}, kindKey}, {smart.Client{ID: "x"}, kindBackend}}}, clientsView{}},
		"newclient": {clientForm{Name: text, Kind: kindBackend, Redirects: text, Launch: text, Scope: text, JWKS: text, JWKSURI: text, MayLaunch: true}, clientForm{Kind: kindPublic}},
		"client": {clientView{clientRow{smart.Client{ID: text, Name: text, RedirectURIs: []string{text}, LaunchURI: text, JWKSURI: text, MayLaunch: true}, kindSecret}, []string{text}, maxShownGrants, text},
			clientView{clientRow: clientRow{smart.Client{JWKS: []byte("{}")}, kindBackend}, Grants: 1}, clientView{clientRow: clientRow{Kind: kindPublic}}},
		"error": {errorView{Code: "connect", Text: text}, errorView{Code: "app", Text: text, Home: "/"}, errorView{}},
	}
	maps.Copy(samples, worklistSamples(text, now, card, provider, login))
	return samples
}

// sampleRecord is a record with something in every chapter.
func sampleRecord(text string, w words) *recordView {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	said := codeable{Text: text}
	var list []observation
	for day := 4; day > 0; day-- {
		var o observation
		body := fmt.Sprintf(`{"status":"final","code":{"text":%s},"effectiveDateTime":"2026-01-0%d","valueQuantity":{"value":%d,"unit":%s},"referenceRange":[{"low":{"value":2},"high":{"value":3}}],"note":[{"text":%s}]}`,
			quoted, day, day, quoted, quoted)
		if err := json.Unmarshal([]byte(body), &o); err != nil {
			panic(err)
		}
		list = append(list, o)
	}
	one := list[0]
	one.Code.Text = "once " + text
	results := w.seriesOf(append(list, one))
	r := &recordView{
		Patient: patientView{ID: "1", Name: text, BirthDate: "2018-02-03", Gender: text, MRN: text}, Tab: "summary", Tabs: w.tabs("summary", "2018-02-03"), Launches: true,
		Report: &consent.AccessReport{Permitted: true, Bases: []consent.Basis{{Code: consent.BasisConsent, Until: w.now()}}, Limits: []string{"x"}},
		Older:  "of=x", Results: results, Signs: results, Vitals: results, OlderSigns: "of=x",
		Alerts:     []alert{{Status: "active", Code: said}},
		Conditions: []condition{{Code: said, Onset: text}}, Past: []condition{{Code: said, Onset: "2020"}},
		Medicines: []medicine{{Name: said, Authored: text}}, Stopped: []medicine{{Reference: reference{Display: text}}},
		Shots:  []shot{{Vaccine: said, When: text, Lot: text}, {Vaccine: said, Text: text, Status: "not-done"}},
		Visits: []encounter{{Type: []codeable{said}, Reason: []codeable{said}, Provider: reference{Display: text}}},
		Notes:  []note{{Title: text, Date: text, Author: text, Text: text}, {}}, Team: []member{{Name: text, Role: text}, {}},
	}
	r.Growth = sampleGrowth(text, w)
	r.Allergies = []allergy{{Code: said, Criticality: "high"}}
	return r
}

// sampleGrowth is a growth tab with measurements of every kind.
func sampleGrowth(text string, w words) *growthView {
	reference, err := growth.Load()
	if err != nil {
		panic(err)
	}
	var list []observation
	for _, when := range []string{"2025-03-01", "2018-05-03", text} {
		for code, q := range map[string]string{"29463-7": `{"value":25,"code":"kg"}`, "8302-2": `{"value":50,"code":"[in_i]"}`, "9843-4": `{"value":40,"code":"cm"}`, "39156-5": `{"value":1e308,"code":"kg/m2"}`, "8306-3": `{"value":4,"code":"furlong"}`} {
			o := observation{Effective: when}
			body := fmt.Sprintf(`{"code":{"coding":[{"code":%q}]},"valueQuantity":%s}`, code, q)
			if err := json.Unmarshal([]byte(body), &o); err != nil {
				panic(err)
			}
			list = append(list, o)
		}
	}
	return child{words: w, growth: reference, birth: "2018-02-03", sex: growth.Male, weeks: 30}.view(list, "child", false)
}

// The parts of the package that tables test.

func Age(now time.Time, birth string) string {
	s := words{now: func() time.Time { return now }, zone: now.Location()}.age(birth)
	return fmt.Sprintf("%d %s", s.N, s.Unit)
}

func MonthsOn(now time.Time, months int) string {
	w := words{now: func() time.Time { return now }, zone: now.Location()}
	return w.lastDay(w.monthsOn(months))
}

func Ago(now, t time.Time) string {
	s := words{now: func() time.Time { return now }, zone: now.Location()}.ago(t)
	return fmt.Sprintf("%d %s %t", s.N, s.Unit, s.Past)
}

func Date(s string) string { return words{now: time.Now, zone: time.UTC}.date(s) }

func TypesOf(codes ...string) []fhir.Type { return typesOf(codes) }

func PartsOf(types ...fhir.Type) []string { return partsOf(types) }

func NiceStep(f float64) float64 { return niceStep(f) }

func Value(body string) (value, flag, reference string, err error) {
	var o observation
	err = json.Unmarshal([]byte(body), &o)
	return o.Value(), o.Flag(), o.Reference(), err
}

// Vitals gives the names of the tests that the summary shows, in its order.
func Vitals(now time.Time, bodies ...string) ([]string, error) {
	w := words{now: func() time.Time { return now }, zone: now.Location()}
	var list []observation
	for _, body := range bodies {
		var o observation
		if err := json.Unmarshal([]byte(body), &o); err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	var names []string
	for _, s := range w.vitalsOf(w.seriesOf(list)) {
		names = append(names, s.Name)
	}
	return names, nil
}

// Looks gives the lines of the log of one day: who and why.
func Looks(looks []consent.Look) []string {
	var lines []string
	for _, d := range (words{now: time.Now, zone: time.UTC}).lookDays(looks) {
		for _, l := range d.Looks {
			lines = append(lines, fmt.Sprint(l.Person, l.Kinds, l.Why))
		}
	}
	return lines
}

// marked has every translated sentence wrapped.
func marked(t translation, wrap func(string) string) (translation, error) {
	say := t.sentence
	if say == nil {
		say = func(s lang.Source) string { return s.Text }
	}
	var failed error
	mark := func(source string) string {
		out, err := lang.Mark(source, wrap)
		if err != nil {
			failed = err
		}
		return out
	}
	t.sentence = func(s lang.Source) string { return mark(say(s)) }
	t.shared = mark(t.shared)
	return t, failed
}

// TemplateSources are the templates by file.
func TemplateSources() (map[string]string, error) {
	files, err := templateFiles.ReadDir("templates")
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, f := range files {
		b, err := templateFiles.ReadFile("templates/" + f.Name())
		if err != nil {
			return nil, err
		}
		all[f.Name()] = string(b)
	}
	return all, nil
}
