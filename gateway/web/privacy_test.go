package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/net/html/atom"

	"mypatients/gateway/web"
)

const secret = "Anorexia nervosa"

// secretly adds a diagnosis that is marked as restricted to Mateo's record.
func (w *world) secretly() {
	w.put(`{"resourceType":"Condition","id":"c2","meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"R"}]},"clinicalStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/condition-clinical","code":"active"}]},"code":{"text":%q},"subject":{"reference":"Patient/mateo"}}`, secret)
}

// Especially private information is given only by a tick of the family, which is
// off by default, and only when it was asked for; the page says which it is.
func TestEspeciallyPrivate(t *testing.T) {
	const alsoAsk, box = "They also ask for information marked as especially private", "Also show them information marked as especially private"
	for _, c := range []struct {
		name             string
		asks             bool
		button           string
		ticks            string // what the family's form sends; "" unticked
		asked, diagnosis bool
	}{
		{"asked, approved as it stands", true, "Approve", "", true, false},
		{"asked, ticked", true, "Approve", "yes", true, true},
		{"asked, approved less", true, "Approve this much", "", true, false},
		{"asked, less but ticked", true, "Approve this much", "yes", true, true},
		{"not asked", false, "Approve", "", false, false},
		{"not asked, a forged tick", false, "Approve", "yes", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.secretly()
			okafor, home := w.as("okafor", "/")
			tick := ""
			if c.asks {
				tick = "yes"
			}
			form := home.submit("Find patient", "mrn", "1001").follow("Request non-PCP access")
			if node, _ := form.form("Request access"); filled(node).Has("private") {
				t.Error("the provider's tick is on by default")
			}
			form.submit("Request access", "private", tick).shows(200, "Your request was sent")
			_, family := w.as("grace", "/patient")
			page := family.follow("Read and answer")
			if got := strings.Contains(page.text(), alsoAsk); got != c.asked {
				t.Errorf("the page says that it was asked: %t, want %t:\n%s", got, c.asked, page.text())
			}
			for _, button := range []string{"Approve", "Approve this much"} {
				node, _ := page.form(button)
				if filled(node).Has("private") || strings.Contains(text(node), box) != c.asked {
					t.Errorf("%s: the tick is wrong: %s", button, text(node))
				}
			}
			if !c.asked {
				page.shows(200, "What stays hidden Information marked as especially private").hides("unless you tick")
			}
			done := page.submit(c.button, "private", c.ticks).shows(200, "can now see the record")
			if got := strings.Contains(done.text(), "This includes information marked as especially private"); got != c.diagnosis {
				t.Errorf("the family is told that it is included: %t, want %t", got, c.diagnosis)
			}
			record := okafor.get("/patients/mateo").shows(200, "Asthma")
			if got := strings.Contains(record.text(), secret); got != c.diagnosis {
				t.Errorf("the provider sees the restricted diagnosis: %t, want %t", got, c.diagnosis)
			}
			answered := page.b.get(page.url.Path).shows(200, "It was approved")
			if got := strings.Contains(answered.text(), "This includes information marked as especially private"); got != c.diagnosis {
				t.Errorf("the answered page says that it includes it: %t, want %t", got, c.diagnosis)
			}
		})
	}
}

// The preview says what the family will read, for what the form says now.
func TestPreview(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"PractitionerRole","id":"r1","active":true,"practitioner":{"reference":"Practitioner/okafor"},"organization":{"display":"Longwood Heart"},"specialty":[{"text":"Cardiology"}]}`)
	_, home := w.as("okafor", "/")
	form := home.submit("Find patient", "mrn", "1001").follow("Request non-PCP access")
	preview := func(p *page) string {
		for n := range p.doc.Descendants() {
			if n.DataAtom == atom.Section && attr(n, "aria-labelledby") == "preview" {
				return shown(n)
			}
		}
		t.Fatal("no preview")
		return ""
	}
	got := preview(form)
	for _, want := range []string{"Dr. Samir Okafor, Cardiology, Longwood Heart", "They gave no reason", "The whole record", "especially private stays hidden"} {
		if !strings.Contains(got, want) {
			t.Errorf("the preview does not say %q: %s", want, got)
		}
	}
	changed := form.submit("Update the preview", "reason", "A murmur", "what", "parts", "part", "results", "private", "yes", "span", "date", "date", "2999-03-03")
	got = preview(changed.shows(200))
	for _, want := range []string{"A murmur", "Test results and measurements", "They also ask for information marked as especially private", "until 3 March 2999"} {
		if !strings.Contains(got, want) {
			t.Errorf("the preview does not say %q: %s", want, got)
		}
	}
	for _, not := range []string{"The whole record", "no reason", "stays hidden", "Vaccinations"} {
		if strings.Contains(got, not) {
			t.Errorf("the preview says %q: %s", not, got)
		}
	}
	_, family := w.as("grace", "/patient")
	family.hides("Okafor") // a preview sends nothing
}

// Who registered themself is shown to families as who they say they are.
func TestSelfClaimed(t *testing.T) {
	const unchecked = "The hospital has not checked this."
	w := newWorld(t)
	newton, page := w.as("newton", "/")
	page.follow("Register as a provider").submit("Register", "given", "Nora", "family", "Newton", "npi", "1234567893", "specialty", "Cardiology").shows(200, "You are registered")
	newton.get("/").submit("Find patient", "mrn", "1002").follow("Request non-PCP access").submit("Request access")

	grace, family := w.as("grace", "/patient")
	family.shows(200, "Says they are: Nora Newton, Cardiology", unchecked)
	request := family.follow("Read and answer").shows(200, "Someone who says they are Nora Newton asks to see", "Be sure that you know who this is", unchecked).hides("how the hospital knows them")
	request.submit("Approve")
	grace.get("/patient/sofia/access").shows(200, "Says they are: Nora Newton", unchecked)
	grace.get("/patient/mateo/care-team?q=newton").shows(200, "Says they are: Nora Newton", unchecked)
	grace.get("/patient/mateo/care-team?q=okafor").shows(200, "Dr. Samir Okafor").hides(unchecked)
	_, sam := w.as("sam", "/staff/patients/1001?q=newton")
	sam.shows(200, "Says they are: Nora Newton", unchecked)
}

// An app's answer goes where this request said, of all that is registered.
func TestRedirectHost(t *testing.T) {
	for redirect, want := range map[string]string{
		"https://diary.example/callback": "Your answer goes to diary.example.", "http://127.0.0.1:9/callback": "It runs on your own device, at 127.0.0.1:9.",
		"com.example.diary:/callback": "It runs on your own device.",
	} {
		w := newWorld(t)
		client := diaryApp("openid patient/*.rs")
		client.RedirectURIs = []string{"https://good.example/callback", redirect}
		address := w.register(client, "redirect_uri", redirect)
		_, page := w.as("grace", address)
		page.shows(200, want).hides("good.example")
	}
}

func TestErrorPage(t *testing.T) {
	show, err := web.ErrorPage(web.Brand{Name: "Test Hospital", Accent: "#104488"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		status   int
		want, no string
	}{{400, "This app is not registered &lt;here&gt;.", "<here>"}, {500, "The mistake is on our side", "registered"}} {
		rec := httptest.NewRecorder()
		show(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/oauth/authorize", nil), c.status, "This app is not registered <here>.")
		body := rec.Body.String()
		if rec.Code != c.status || !strings.Contains(body, c.want) || strings.Contains(body, c.no) || !strings.Contains(body, "Test Hospital") {
			t.Errorf("status %d: %s", rec.Code, body)
		}
		checkPage(t, "error page", rec.Header(), body)
	}
	if _, err := web.ErrorPage(web.Brand{Accent: "red"}); err == nil {
		t.Error("an accent that is no colour was taken")
	}
}
