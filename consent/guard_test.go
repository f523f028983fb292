package consent_test

import (
	"slices"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

func TestBases(t *testing.T) {
	w := newWorld(t)
	t.Run("PCP", func(t *testing.T) {
		w.may("adams", "Patient/mateo", "Patient/sofia", "Observation/mateo-weight")
		w.mayNot("adams", "Patient/ava", "Observation/ava-weight", "Observation/ava-secret")
		w.may("baker", "Patient/ava", "Observation/ava-secret")
	})
	t.Run("care team", func(t *testing.T) {
		w.may("chen", "Patient/mateo", "Observation/mateo-weight")
		w.mayNot("chen", "Patient/sofia")
	})
	t.Run("proxy of a child", func(t *testing.T) {
		w.may("grace", "Patient/mateo", "Patient/sofia", "Observation/sofia-weight")
		w.may("luis", "Patient/mateo")
		w.mayNot("luis", "Patient/sofia", "Patient/ava")
	})
	t.Run("proxy of a teenager", func(t *testing.T) {
		w.may("helen", "Patient/ava", "Observation/ava-weight")
		w.mayNot("helen", "Observation/ava-secret")
		w.may("ava", "Patient/ava", "Observation/ava-secret")
	})
	t.Run("former guardian of an adult", func(t *testing.T) {
		w.mayNot("mark", "Patient/noah", "Observation/noah-weight")
		w.may("noah", "Patient/noah")
	})
	t.Run("no tie", func(t *testing.T) {
		w.mayNot("okafor", "Patient/mateo", "Patient/nobody", "Observation/mateo-weight", "CareTeam/mateo-team")
		w.may("okafor", "Practitioner/chen")
	})
}

func TestAbsentAndForbiddenLookAlike(t *testing.T) {
	w := newWorld(t)
	hidden, absent := w.read(w.as("okafor"), "Patient/mateo"), w.read(w.as("okafor"), "Patient/nobody")
	if hidden.Error() != absent.Error() {
		t.Errorf("hidden says %q, absent says %q", hidden, absent)
	}
}

func TestAdulthoodBeginsAtMidnight(t *testing.T) {
	w := newWorld(t)
	w.clock.set(time.Date(2028, 9, 8, 23, 59, 59, 0, w.zone))
	w.may("helen", "Patient/ava")
	w.clock.pass(time.Second)
	w.mayNot("helen", "Patient/ava")
	w.may("ava", "Patient/ava")
}

func TestSearchShowsOnlyWhatMayBeSeen(t *testing.T) {
	w := newWorld(t)
	// Two patients who refer to each other: nothing may come along by a join.
	w.put(`{"resourceType":"Observation","id":"joint","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"},"focus":[{"reference":"Patient/ava"}],"hasMember":[{"reference":"Observation/ava-weight"}]}`)
	for _, tt := range []struct {
		who   string
		t     fhir.Type
		query string
		want  []string
	}{
		{"adams", "Patient", "", []string{"mateo", "sofia"}},
		{"baker", "Patient", "", []string{"ava", "lily", "noah"}},
		{"okafor", "Patient", "", nil},
		{"grace", "Patient", "", []string{"mateo", "sofia"}},
		{"adams", "Observation", "_sort=_id", []string{"joint", "mateo-weight", "sofia-weight"}},
		{"helen", "Observation", "patient=ava", []string{"ava-weight"}},
		{"ava", "Observation", "patient=ava", []string{"ava-secret", "ava-weight"}},
		{"adams", "Observation", "_id=joint&_include=Observation:focus&_include=Observation:has-member", []string{"joint"}},
		{"baker", "Observation", "subject:Patient.family=rivera", nil},
		{"adams", "Observation", "subject:Patient.family=rivera&_sort=_id", []string{"joint", "mateo-weight", "sofia-weight"}},
		{"baker", "Patient", "_has:Observation:focus:code:text=x", nil},
		{"baker", "Patient", "_id=ava&_revinclude=Observation:focus", []string{"ava"}},
		{"adams", "Patient", "_id=ava", nil},
		{"okafor", "Practitioner", "family=chen", []string{"chen"}},
	} {
		got, err := w.search(w.as(tt.who), tt.t, tt.query)
		if err != nil {
			t.Errorf("%s %s?%s: %v", tt.who, tt.t, tt.query, err)
			continue
		}
		slices.Sort(got)
		if !slices.Equal(got, tt.want) && len(got)+len(tt.want) > 0 {
			t.Errorf("%s %s?%s: got %v, want %v", tt.who, tt.t, tt.query, got, tt.want)
		}
	}
}

func TestScopesOnlyDelegate(t *testing.T) {
	w := newWorld(t)
	app := w.app("adams", "patient/Patient.rs patient/Observation.rs", "mateo")
	if err := w.read(app, "Patient/mateo"); err != nil {
		t.Error(err)
	}
	wantKind(t, w.read(app, "Patient/sofia"), fhir.NotFound) // another patient of the same provider
	wantKind(t, w.read(app, "Condition/any"), fhir.Forbidden)
	wantKind(t, w.read(w.app("okafor", "user/*.cruds patient/*.cruds", "mateo"), "Patient/mateo"), fhir.NotFound)
	wantKind(t, w.read(w.app("adams", "system/*.rs", ""), "Patient/mateo"), fhir.Forbidden)

	granular := w.app("baker", "user/Observation.rs?code=http://loinc.org|29463-7", "")
	if got, err := w.search(granular, "Observation", "patient=ava"); err != nil || !slices.Equal(got, []string{"ava-weight"}) {
		t.Errorf("granular: got %v, %v", got, err)
	}
	wantKind(t, w.read(granular, "Observation/ava-secret"), fhir.NotFound)
}

func TestPagesAreBoundToTheCaller(t *testing.T) {
	w := newWorld(t)
	adams := w.as("adams")
	page, err := w.guard.Search(t.Context(), adams, "Patient", map[string][]string{"_count": {"1"}}, false)
	if err != nil || page.Next == "" {
		t.Fatalf("got next %q, %v", page.Next, err)
	}
	if got, err := w.search(adams, "Patient", page.Next); err != nil || !slices.Equal(got, []string{"sofia"}) {
		t.Errorf("second page: got %v, %v", got, err)
	}
	_, err = w.search(w.as("baker"), "Patient", page.Next)
	wantKind(t, err, fhir.Invalid)
	_, err = w.search(adams, "Observation", page.Next)
	wantKind(t, err, fhir.Invalid)
}

func TestSelection(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct{ who, query, want string }{
		{"adams", "identifier=1001", "mateo"},
		{"okafor", "identifier=1001", "outcome:not-authorized"},
		{"okafor", "identifier=" + mrnSystem + "|1001", "outcome:not-authorized"},
		{"okafor", "family=rivera&given=mateo&birthdate=2018-01-05", "outcome:not-authorized"},
		{"okafor", "identifier=1005", "outcome:no-portal-account"},
		{"okafor", "identifier=9999", ""},
		{"okafor", "family=riv&given=mateo&birthdate=2018-01-05", ""},
		{"okafor", "family=rivera&given=mateo&birthdate=2018-01", ""},
		{"okafor", "family=rivera", ""},
		{"grace", "identifier=1003", ""},
	} {
		got, err := w.search(w.as(tt.who), "Patient", tt.query)
		if err != nil {
			t.Errorf("%s %s: %v", tt.who, tt.query, err)
			continue
		}
		var want []string
		if tt.want != "" {
			want = []string{tt.want}
		}
		if !slices.Equal(got, want) && len(got)+len(want) > 0 {
			t.Errorf("%s %s: got %v, want %v", tt.who, tt.query, got, want)
		}
	}
}

func TestSelectionIsLimited(t *testing.T) {
	w := newWorld(t)
	okafor := w.as("okafor")
	for range consent.DefaultPolicy().SelectionsPerHour {
		if _, err := w.guard.Select(t.Context(), okafor, consent.Selection{MRN: "9999"}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.guard.Select(t.Context(), okafor, consent.Selection{MRN: "9999"})
	wantKind(t, err, fhir.Throttled)
	w.clock.pass(time.Hour)
	if _, err := w.guard.Select(t.Context(), okafor, consent.Selection{MRN: "9999"}); err != nil {
		t.Error(err)
	}
}

func TestWriting(t *testing.T) {
	w := newWorld(t)
	obs := func(patient string) []byte {
		return []byte(`{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/` + patient + `"}}`)
	}
	create := func(who, patient string) error {
		_, _, err := w.guard.Create(t.Context(), w.as(who), "Observation", obs(patient))
		return err
	}
	if err := create("adams", "mateo"); err != nil {
		t.Error(err)
	}
	wantKind(t, create("adams", "ava"), fhir.Forbidden)
	wantKind(t, create("grace", "mateo"), fhir.Forbidden)
	wantKind(t, create("okafor", "mateo"), fhir.Forbidden)
	_, _, err := w.guard.Update(t.Context(), w.as("adams"), fhir.Key{Type: "Observation", ID: "ava-weight"}, []byte(`{"resourceType":"Observation","id":"ava-weight","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"}}`), nil)
	wantKind(t, err, fhir.NotFound)
	_, _, err = w.guard.Update(t.Context(), w.as("adams"), fhir.Key{Type: "Observation", ID: "mateo-weight"}, []byte(`{"resourceType":"Observation","id":"mateo-weight","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/ava"}}`), nil)
	wantKind(t, err, fhir.Forbidden)
	wantKind(t, w.guard.Delete(t.Context(), w.as("adams"), fhir.Key{Type: "Observation", ID: "ava-weight"}, nil), fhir.NotFound)
	// A team that names another child as a member opens nothing of that child's.
	_, _, err = w.guard.Create(t.Context(), w.as("grace"), "CareTeam", []byte(`{"resourceType":"CareTeam","status":"active","subject":{"reference":"Patient/mateo"},"participant":[{"member":{"reference":"Patient/ava"}},{"member":{"reference":"Practitioner/okafor"}}]}`))
	wantKind(t, err, fhir.Forbidden)
	w.put(`{"resourceType":"CareTeam","id":"odd","status":"active","subject":{"reference":"Patient/mateo"},"participant":[{"member":{"reference":"Patient/ava"}},{"member":{"reference":"Practitioner/okafor"}}]}`)
	w.may("okafor", "Patient/mateo")
	w.mayNot("okafor", "Patient/ava")
}

func TestSystemClients(t *testing.T) {
	w := newWorld(t)
	scopes, _ := smart.ParseScopes("system/CareTeam.cruds system/Patient.rs")
	kiosk := consent.Caller{Grant: smart.Grant{ClientID: "kiosk", ClientName: "Kiosk", Identity: smart.Identity{Role: smart.System}, Scopes: scopes}}
	if _, _, err := w.guard.Create(t.Context(), kiosk, "CareTeam", []byte(`{"resourceType":"CareTeam","status":"active","subject":{"reference":"Patient/sofia"},"participant":[{"member":{"reference":"Practitioner/okafor"}}]}`)); err != nil {
		t.Fatal(err)
	}
	w.may("okafor", "Patient/sofia")
	_, _, err := w.guard.Create(t.Context(), kiosk, "CareTeam", []byte(`{"resourceType":"CareTeam","status":"active","subject":{"reference":"Patient/nobody"}}`))
	wantKind(t, err, fhir.Unprocessable)
	wantKind(t, w.read(kiosk, "Observation/sofia-weight"), fhir.Forbidden)
}
