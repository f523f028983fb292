package main

import (
	"strings"

	"github.com/chromedp/chromedp"
)

// A pageState is a page as somebody meets it. What holds on all pages is tested
// on every one of them, so each page is here, in every state that looks different.
type pageState struct {
	name  string // of the test and of the pictures
	route string // the router's pattern that answers with it
	reach steps
}

// Steps lead a visitor to a page. In addresses {x} stands for what the scene made
// under the name x.
type steps []func(v *visitor)

func does(list ...func(v *visitor)) steps { return list }

func open(path string) func(*visitor) {
	return func(v *visitor) {
		at := path
		for name, value := range v.made {
			at = strings.ReplaceAll(at, "{"+name+"}", value)
		}
		v.open(at)
	}
}
func fill(label, text string) func(*visitor) { return func(v *visitor) { v.fill(label, text) } }
func press(words string) func(*visitor)      { return func(v *visitor) { v.press(words) } }
func follow(words string) func(*visitor)     { return func(v *visitor) { v.follow(words) } }
func tick(words string) func(*visitor)       { return func(v *visitor) { v.tick(words) } }
func unfold(words string) func(*visitor)     { return func(v *visitor) { v.unfold(words) } }

// forge spoils the token of every form, as a page of yesterday has it.
func forge(v *visitor) {
	v.do("spoil the form", chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("[name=csrf]").forEach(i => i.value = "x")`))
}

// belate has the page undo something that nobody did, as one of yesterday would.
func belate(v *visitor) {
	v.do("spoil what is undone", chromedp.Evaluate[chromedp.Void](`document.querySelector("[name=undo]").value = "x"`))
}

// menu opens the menu under the person's name.
func menu(v *visitor) {
	v.do("open the menu", chromedp.Click(`//details[contains(@class, "menu")]/summary`, chromedp.NodeVisible))
}

// A tour is what one person meets, one after the other; "" has not signed in.
type tour struct {
	who    string
	states []pageState
}

const find = "Find patient"

// tours is the table of all pages.
var tours = []tour{
	{"", []pageState{
		{"demo-sign-in", "/demo-idp/*path", does(open("/"))},
		{"demo-sign-in-problem", "/demo-idp/*path", does(open("/"), fill("Username", "grace"), fill("Password", "x"), press("Sign in"))},
		{"signed-out", "/signout", does(open("/signout"))},
		{"not-found", "", does(open("/nothing"))},
		{"app-cannot-connect", "/oauth/authorize", does(open("/oauth/authorize"))},
		{"app-unknown-request", "/authorize", does(open("/authorize?request=x"))},
		{"sign-in-failed", "/signin/callback/:provider", does(open("/signin/callback/demo?state=x&code=y"))},
		{"demo-mail", "/demo/mail", does(open("/demo/mail"))},
		{"demo-mail-one", "/demo/mail/:number", does(open("/demo/mail/1"))},
		{"demo-mail-none", "/demo/mail/:number", does(open("/demo/mail/9999"))},
		{"demo-app-start", "/demo/app", does(open("/demo/app"))},
		{"components", "/demo/components", does(open("/demo/components"))},
	}},
	{"dr.okafor", []pageState{
		{"patient-selection", "/", does(open("/"))},
		{"patient-selection-problem", "/", does(open("/"), press(find))},
		{"patient-selection-by-name", "/", does(open("/?by=name"))},
		{"patient-selection-by-name-problem", "/", does(open("/?by=name"), press(find))},
		{"not-authorized", "/", does(open("/"), fill("Medical record number", "1003"), press(find))},
		{"request-pending", "/", does(open("/"), fill("Medical record number", "1001"), press(find))},
		{"no-account", "/", does(open("/"), fill("Medical record number", "1005"), press(find))},
		{"no-patient", "/", does(open("/?by=name"), fill("Last name", "Nobody"), fill("First name", "Nora"), fill("Date of birth", "01022020"), press(find))},
		{"request-form", "/requests/new", does(open("/requests/new?patient={ava}"))},
		{"request-form-problem", "/requests/new", does(open("/requests/new?patient={ava}"), tick("Until a date"), tick("Only some parts"), press("Request access"))},
		{"request-form-stale", "/requests/new", does(open("/requests/new?patient=x"), press("Request access"))},
		{"my-requests", "/requests", does(open("/requests"))},
		{"validate-token", "/invitation", does(open("/invitation"))},
		{"validate-token-empty", "/invitation", does(open("/invitation"), press("Submit"))},
		{"validate-token-problem", "/invitation", does(open("/invitation"), fill("Token", "AAAAA-BBBBB-CCCCC-DDDDD"), fill("MRN", "1001"), press("Submit"))},
		{"emergency", "/emergency", does(open("/emergency?patient={ava}"))},
		{"emergency-problem", "/emergency", does(open("/emergency?patient={ava}"), press("Open the record"))},
		{"record-in-part", "/patients/:id/:tab", does(open("/patients/pt-2/medications"))},
		{"not-for-you", "/patients/:id", does(open("/patients/pt-3"))},
		{"provider-apps-none", "/provider/apps", does(open("/provider/apps"))},
		{"notices-provider", "/notices", does(open("/notices"))},
		{"sponsored-none", "/sponsored", does(open("/sponsored"))},
	}},
	{"dr.adams", []pageState{
		{"patients-of-mine", "/", does(open("/"))},
		{"account-menu", "/", does(open("/"), menu)},
		{"record-summary", "/patients/:id", does(open("/patients/pt-1"))},
		{"record-results", "/patients/:id/:tab", does(open("/patients/pt-1/results"))},
		{"record-growth", "/patients/:id/:tab", does(open("/patients/pt-1/growth"))},
		{"record-medications", "/patients/:id/:tab", does(open("/patients/pt-1/medications"))},
		{"record-immunizations", "/patients/:id/:tab", does(open("/patients/pt-1/immunizations"))},
		{"record-visits", "/patients/:id/:tab", does(open("/patients/pt-1/visits"))},
		{"record-notes", "/patients/:id/:tab", does(open("/patients/pt-1/notes"))},
		{"record-care-team", "/patients/:id/:tab", does(open("/patients/pt-1/care-team"))},
		{"record-print", "/patients/:id/:tab", does(open("/patients/pt-1/print"))},
		{"open-app", "/patients/:id/open", does(open("/patients/pt-1/open"))},
		{"authorize-ehr", "/authorize", does(open("/patients/pt-1/open"), press("Open"))},
		{"demo-app", "/demo/app/:kind/:step", does(open("/patients/pt-1/open"), press("Open"), press("Approve"))},
		{"authorize-provider", "/authorize", does(open("{authorize}"))},
		{"provider-apps", "/provider/apps", does(open("/provider/apps"))},
		{"sponsored", "/sponsored", does(open("/sponsored"))},
		{"sponsored-problem", "/sponsored", does(open("/sponsored"), press("Make a code"))},
		{"sponsored-code-shown", "/sponsored", does(open("/sponsored"), fill("Name", "Nell Nurse"), fill("E-mail address", "nell@example.org"), press("Make a code"))},
	}},
	{"dr.baker", []pageState{
		{"emergency-record", "/patients/:id", does(open("/"), fill("Medical record number", "1001"), press(find), follow("Emergency access"),
			fill("Why this record", "He cannot speak."), tick("This is an emergency"), press("Open the record"))},
		{"emergency-open", "/emergency", does(open("/emergency"))},
		{"record-empty-chapter", "/patients/:id/:tab", does(open("/patients/pt-5/medications"))},
		{"record-narrowed", "/patients/:id/:tab", does(open("/patients/pt-5/visits?reason=fever&who=baker"))},
	}},
	{"dr.new", []pageState{
		{"not-registered", "/", does(open("/"))},
		{"register", "/register", does(open("/register"))},
		{"register-problem", "/register", does(open("/register"), fill("First name", ""), fill("NPI", "1234567890"), press("Register"))},
		{"sponsored-code", "/sponsored/code", does(open("/sponsored/code"))},
		{"sponsored-code-problem", "/sponsored/code", does(open("/sponsored/code"), fill("Code", "x"), press("Go on"))},
	}},
	{"mark", []pageState{
		{"role", "/role", does(open("/role"))},
		{"working", "/working", does(open("/role"), press("As staff of a provider"), open("/working"))},
		{"family-nobody", "/patient", does(open("/role"), press("As a parent or guardian"), open("/patient"))},
		{"sign-out", "/signout", does(open("/signout"))},
	}},
	{"grace", []pageState{
		{"family-home", "/patient", does(open("/patient"))},
		{"request", "/patient/requests/:consent", does(open("/patient/requests/{waiting}"))},
		{"request-less", "/patient/requests/:consent", does(open("/patient/requests/{waiting}"), unfold("Approve less"), unfold("What happens when I approve?"))},
		{"request-less-problem", "/patient/requests/:consent", does(open("/patient/requests/{waiting}"), unfold("Approve less"), tick("Until a date"), press("Approve this much"))},
		{"who-can-see", "/patient/:id/access", does(open("/patient/pt-2/access"))},
		{"request-differs", "/patient/requests/:consent", does(open("/patient/requests/{differs}"))},
		{"request-approved", "/patient/requests/:consent", does(open("/patient/requests/{approved}"))},
		{"stop-access", "/patient/:id/access/:consent", does(open("/patient/pt-2/access/{approved}"))},
		{"access-undone", "/patient/:id/access", does(open("/patient/pt-2/access"), follow("of Dr. James"), press("Stop access"), press("Undo"))},
		{"access-stopped", "/patient/:id/access", does(open("/patient/pt-2/access"), follow("of Dr. James"), press("Stop access"))},
		{"care-team", "/patient/:id/care-team", does(open("/patient/pt-1/care-team"))},
		{"care-team-search", "/patient/:id/care-team", does(open("/patient/pt-1/care-team?q=okafor"))},
		{"care-team-search-nobody", "/patient/:id/care-team", does(open("/patient/pt-2/care-team?q=nobodyhere"))},
		{"care-team-remove", "/patient/:id/care-team/:member", does(open("/patient/pt-1/care-team/pr-chen"))},
		{"care-team-undone", "/patient/:id/care-team", does(open("/patient/pt-1/care-team"), follow("Remove"), press("Remove"), press("Undo"))},
		{"undo-too-late", "/patient/:id/care-team", does(open("/patient/pt-1/care-team"), follow("Remove"), press("Remove"), belate, press("Undo"))},
		{"invite", "/patient/:id/invitations", does(open("/patient/pt-2/invitations"))},
		{"invite-problem", "/patient/:id/invitations", does(open("/patient/pt-2/invitations"), fill("E-mail of the provider", "x"), tick("Until a date"), press("Make an invitation"))},
		{"invitation-ready", "/patient/:id/invitations", does(open("/patient/pt-1/invitations"), press("Make an invitation"))},
		{"invitation-sent", "/patient/:id/invitations", does(open("/patient/pt-1/invitations"), fill("E-mail of the provider", "someone@example.org"), press("Make an invitation"), press("Send"))},
		{"invitations", "/patient/:id/invitations", does(open("/patient/pt-1/invitations"))},
		{"invitation-cancelled", "/patient/:id/invitations", does(open("/patient/pt-2/invitations"), press("Cancel"))},
		{"who-looked", "/patient/:id/activity", does(open("/patient/pt-1/activity"))},
		{"family-emergencies", "/patient/:id/emergencies", does(open("/patient/pt-1/emergencies"))},
		{"family-emergencies-none", "/patient/:id/emergencies", does(open("/patient/pt-2/emergencies"))},
		{"my-apps", "/patient/apps", does(open("/patient/apps"))},
		{"form-too-old", "/patient/notices", does(open("/patient/notices"), forge, press("Save"))},
		{"notices-family", "/patient/notices", does(open("/patient/notices"))},
		{"authorize", "/authorize", does(open("{authorize}"))},
		{"authorize-problem", "/authorize", does(open("{authorize}"), press("Approve"))},
		{"record-parent", "/patients/:id", does(open("/patients/pt-1"))},
	}},
	{"ava", []pageState{
		{"teen-home", "/patient", does(open("/patient"))},
		{"teen-private", "/patient/:id/private", does(open("/patient/pt-3/private"))},
		{"teen-invite", "/patient/:id/invitations", does(open("/patient/pt-3/invitations"))},
		{"my-apps-none", "/patient/apps", does(open("/patient/apps"))},
	}},
	{"helen", []pageState{
		{"teen-parent-home", "/patient", does(open("/patient"))},
		{"teen-parent-private", "/patient/:id/private", does(open("/patient/pt-3/private"))},
		{"invitations-none", "/patient/:id/invitations", does(open("/patient/pt-3/invitations"))},
	}},
	{"noah", []pageState{
		{"own-home", "/patient", does(open("/patient"))},
		{"who-looked-nobody", "/patient/:id/activity", does(open("/patient/pt-4/activity"))},
		{"outgrown", "/patient/:id/access", does(open("/patient/pt-4/access"))},
		{"outgrown-answer", "/patient/requests/:consent", does(open("/patient/pt-4/access"), follow("Keep it or stop it"))},
	}},
	{"sam", []pageState{
		{"staff", "/staff", does(open("/staff"))},
		{"staff-problem", "/staff", does(open("/staff"), press(find))},
		{"staff-by-name", "/staff", does(open("/staff?by=name"))},
		{"staff-by-name-problem", "/staff", does(open("/staff?by=name"), fill("Last name", "Nobody"), fill("First name", "Nora"), fill("Date of birth", "01022020"), press(find))},
		{"staff-patient", "/staff/patients/:mrn", does(open("/staff/patients/1001"))},
		{"staff-patient-problem", "/staff/patients/:mrn", does(open("/staff/patients/1001?q=okafor"), tick("Dr."), press("Add to the care team"))},
		{"staff-invite", "/staff/patients/:mrn/invitation", does(open("/staff/patients/1001/invitation"))},
		{"staff-invite-problem", "/staff/patients/:mrn/invitation", does(open("/staff/patients/1001/invitation"), press("Make an invitation"))},
		{"staff-invited", "/staff/patients/:mrn/invitation", does(open("/staff/patients/1001/invitation"), fill("Who called", "Grace"), fill("How you checked", "birth date"), fill("What they asked", "a token"), press("Make an invitation"))},
	}},
	{"ana", []pageState{
		{"worklists", "/staff", does(open("/staff"))},
		{"log", "/staff/log", does(open("/staff/log"))},
		{"log-found", "/staff/log", does(open("/staff/log"), press("Search the log"))},
		{"failed-mails", "/staff/notices", does(open("/staff/notices"))},
		{"registrations", "/staff/registrations", does(open("/staff/registrations"))},
		{"unclear", "/staff/unclear", does(open("/staff/unclear"))},
		{"unlinked", "/staff/unlinked", does(open("/staff/unlinked"))},
		{"link", "/staff/accounts/:account/link", does(open("/staff/accounts/{account}/link"))},
		{"emergencies", "/staff/emergencies", does(open("/staff/emergencies"))},
		{"emergencies-problem", "/staff/emergencies", does(open("/staff/emergencies"), press("It was justified"))},
		{"emergencies-all", "/staff/emergencies", does(open("/staff/emergencies?all=1"))},
		{"accounts", "/staff/accounts", does(open("/staff/accounts"))},
		{"accounts-problem", "/staff/accounts", does(open("/staff/accounts"), press("Find accounts"))},
		{"accounts-found", "/staff/accounts", does(open("/staff/accounts"), fill("Account", "1001"), press("Find accounts"))},
		{"account", "/staff/accounts/:account", does(open("/staff/accounts/{account}"))},
		{"account-problem", "/staff/accounts/:account", does(open("/staff/accounts/{account}"), press("Remove the link"))},
		{"apps-registered", "/staff/clients", does(open("/staff/clients"))},
		{"app-register", "/staff/clients/new", does(open("/staff/clients/new"))},
		{"app-register-problem", "/staff/clients/new", does(open("/staff/clients/new"), press("Register the app"))},
		{"app-secret", "/staff/clients/new", does(open("/staff/clients/new"), fill("Name", "Growth chart"), tick("A web app with a secret"), fill("Redirect URIs", "https://growth.example.org/callback"), press("Register the app"))},
		{"app-registered", "/staff/clients/:client", does(open("/staff/clients/demo-public"))},
	}},
}

// notPages are the routes that answer GET with something other than a page, or
// that only lead on.
var notPages = []string{
	"/static/", "/fhir", "/appstate", "/oauth/", "/healthz", "/readyz", "/metrics", "/.well-known/", stylePath, brandsPath,
	"/signin", "/signin/step-up", "/language",
}
