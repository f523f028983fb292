package smart_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"mypatients/smart"
)

func TestParseScope(t *testing.T) {
	for text, want := range map[string]smart.Scope{
		"patient/Observation.rs": {Level: "patient", Type: "Observation", May: smart.MayRead | smart.MaySearch},
		"user/*.cruds":           {Level: "user", Type: "*", May: 31},
		"system/*.read":          {Level: "system", Type: "*", May: smart.MayRead | smart.MaySearch, V1: true},
		"user/Patient.write":     {Level: "user", Type: "Patient", May: smart.MayCreate | smart.MayUpdate | smart.MayDelete, V1: true},
		"patient/*.*":            {Level: "patient", Type: "*", May: 31, V1: true},
		"launch/patient":         {},
		"openid":                 {},
		"patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory&status=final": {Level: "patient", Type: "Observation",
			May: smart.MayRead | smart.MaySearch, Params: map[string][]string{"category": {"http://terminology.hl7.org/CodeSystem/observation-category|laboratory"}, "status": {"final"}}},
	} {
		got, err := smart.ParseScope(text)
		want.Text = text
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) || got.May != want.May || got.V1 != want.V1 || got.Level != want.Level || got.Type != want.Type || len(got.Params) != len(want.Params) {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "a b", "patient/Observation", "patient/.rs", "patient/Observation.", "patient/Observation.dus", "patient/Observation.rr", "patient/Observation.x",
		"patient/observation.rs", "patient/Obs*.rs", "patient/*/x.rs", "patient/Observation.rs?", "patient/Observation.rs?category", "patient/Observation.rs?category=",
		"patient/Observation.read?category=x", "patient/Observation.rs?code:in=x", "patient/Observation.rs?subject.name=x", "patient/Observation.rs?_filter=x",
		"patient/Observation.rs?_has=x", "patient/Observation.rs?a=%zz", "patient/Obsérvation.rs", "a\"b", "a\\b", "a\nb"} {
		if got, err := smart.ParseScope(bad); err == nil {
			t.Errorf("%q: got %+v", bad, got)
		}
	}
}

func TestKnownScopes(t *testing.T) {
	got := smart.KnownScopes("openid  foo patient/Observation.dus launch/patient launch/patient launch/Patient launch/consent?role=https://x/r launch/x?role= patient/Patient.rs smart/orchestrate_launch").String()
	if want := "openid launch/patient launch/consent?role=https://x/r patient/Patient.rs"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func parse(t *testing.T, s string) smart.Scopes {
	t.Helper()
	scopes, err := smart.ParseScopes(s)
	if err != nil {
		t.Fatal(err)
	}
	return scopes
}

func TestNarrow(t *testing.T) {
	for _, c := range []struct{ asked, by, want string }{
		{"patient/*.rs openid", "patient/*.cruds openid", "patient/*.rs openid"},
		{"patient/*.read", "patient/*.cruds", "patient/*.read"}, // v1 stays as written
		{"patient/*.read", "patient/Patient.rs", "patient/Patient.read"},
		{"patient/*.read", "patient/Patient.r", "patient/Patient.r"},
		{"patient/*.*", "patient/*.read patient/*.write", "patient/*.*"},
		{"patient/*.rs", "patient/Patient.rs patient/Observation.r", "patient/Patient.rs patient/Observation.r"},
		{"patient/Patient.cruds", "patient/*.rs", "patient/Patient.rs"},
		{"patient/*.rs", "user/*.rs", ""},
		{"openid launch", "launch", "launch"},
		{"patient/Observation.rs", "patient/Observation.rs?category=lab", "patient/Observation.rs?category=lab"},
		{"patient/Observation.rs?category=lab", "patient/*.rs", "patient/Observation.rs?category=lab"},
		{"patient/Observation.rs?category=lab", "patient/Observation.rs?status=final", "patient/Observation.rs?category=lab&status=final"},
		{"patient/Observation.rs", "patient/Observation.rs?category=lab patient/Observation.rs?category=vital", "patient/Observation.rs?category=lab patient/Observation.rs?category=vital"},
		{"patient/Observation.rs", "patient/Observation.rs?category=lab patient/*.rs", "patient/Observation.rs"},
		{"patient/*.rs patient/Patient.rs", "patient/Patient.rs", "patient/Patient.rs"},
		{"patient/*.rs", "patient/*.cud", ""},
		{"", "patient/*.rs", ""},
	} {
		if got := parse(t, c.asked).Narrow(parse(t, c.by)).String(); got != c.want {
			t.Errorf("%q by %q: got %q, want %q", c.asked, c.by, got, c.want)
		}
	}
	if got := parse(t, "openid patient/*.rs user/Patient.cruds").Cut(parse(t, "user/Patient.rs")).String(); got != "openid patient/Patient.rs user/Patient.rs" {
		t.Errorf("cut: got %q", got)
	}
}

func TestWithin(t *testing.T) {
	granted := "openid launch/patient patient/*.rs patient/Condition.cruds?category=a"
	for s, want := range map[string]bool{granted: true, "openid": true, "patient/Patient.r": true, "patient/*.read": true, "patient/Condition.c?category=a": true,
		"patient/Condition.c": false, "patient/Condition.c?category=b": false, "patient/Patient.u": false, "user/Patient.r": false, "fhirUser": false, "": true} {
		if got := parse(t, s).Within(parse(t, granted)); got != want {
			t.Errorf("%q: got %v", s, got)
		}
	}
}

func TestAllows(t *testing.T) {
	s := parse(t, "openid patient/*.r patient/Condition.rs?category=a user/Condition.s")
	if !s.Allows("Patient", smart.MayRead) || s.Allows("Patient", smart.MaySearch) || !s.Allows("Condition", smart.MayRead|smart.MaySearch) || s.Allows("Condition", smart.MayCreate) {
		t.Error("wrong")
	}
	if got := s.For("Condition", smart.MaySearch).String(); got != "patient/Condition.rs?category=a user/Condition.s" {
		t.Errorf("got %q", got)
	}
}

func TestExpand(t *testing.T) {
	types := []string{"Patient", "Observation"}
	for in, want := range map[string]string{"patient/*.read": "patient/Patient.read patient/Observation.read", "user/*.rs": "user/Patient.rs user/Observation.rs",
		"user/Goal.rs": "user/Goal.rs", "openid": "openid"} {
		if got := parse(t, in)[0].Expand(types).String(); got != want {
			t.Errorf("%s: got %q", in, got)
		}
	}
}

// One person's scope against what it lets happen, for small worlds.
func TestNarrowIsIntersection(t *testing.T) {
	scope := rapid.Custom(func(r *rapid.T) string {
		s := rapid.SampledFrom([]string{"patient", "user"}).Draw(r, "level") + "/" + rapid.SampledFrom([]string{"*", "A", "B"}).Draw(r, "type") + "."
		return s + rapid.SampledFrom([]string{"r", "rs", "cruds", "cud", "read", "write", "*", "rs?x=1", "rs?x=2", "r?x=1&y=1", "cruds?y=1"}).Draw(r, "rights")
	})
	set := rapid.SliceOfN(scope, 0, 4)
	may := func(s smart.Scopes, level, typ string, p smart.Permission, x, y string) bool {
		return slices.ContainsFunc(s, func(sc smart.Scope) bool {
			return sc.Level == level && sc.Covers(typ) && sc.May&p != 0 && (len(sc.Params["x"]) == 0 || sc.Params.Get("x") == x && len(sc.Params["x"]) == 1) && (len(sc.Params["y"]) == 0 || sc.Params.Get("y") == y)
		})
	}
	rapid.Check(t, func(r *rapid.T) {
		var asked, by smart.Scopes
		for _, s := range set.Draw(r, "asked") {
			sc, err := smart.ParseScope(s)
			if err != nil {
				r.Fatal(err)
			}
			asked = append(asked, sc)
		}
		for _, s := range set.Draw(r, "by") {
			sc, _ := smart.ParseScope(s)
			by = append(by, sc)
		}
		got := asked.Narrow(by)
		for _, level := range []string{"patient", "user"} {
			for _, typ := range []string{"A", "B", "C"} {
				for p := smart.MayCreate; p <= smart.MaySearch; p <<= 1 {
					for _, x := range []string{"1", "2", "3"} {
						for _, y := range []string{"1", "2"} {
							want := may(asked, level, typ, p, x, y) && may(by, level, typ, p, x, y)
							if may(got, level, typ, p, x, y) != want {
								r.Fatalf("%s by %s = %s: %s/%s.%d x=%s y=%s should be %v", asked, by, got, level, typ, p, x, y, want)
							}
						}
					}
				}
			}
		}
		if !got.Within(by) && slices.ContainsFunc(got, func(s smart.Scope) bool { return !smart.Scopes{s}.Within(append(by, asked...)) }) {
			r.Fatalf("%s is not within %s", got, by)
		}
		again, err := smart.ParseScopes(got.String())
		if err != nil || again.String() != got.String() {
			r.Fatalf("%s does not parse back: %v", got, err)
		}
	})
}

func FuzzParseScope(f *testing.F) {
	for _, s := range []string{"openid", "patient/*.rs", "user/Patient.read", "patient/Observation.rs?category=http://x|y&a=b", "system/A.cruds?x=%2B+%26"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		scope, err := smart.ParseScope(s)
		if err != nil {
			return
		}
		if scope.String() != s {
			t.Fatalf("%q is written %q", s, scope.String())
		}
		scope.Text = "" // what String makes of the parts must mean the same
		again, err := smart.ParseScope(scope.String())
		if scope.Level == "" {
			return
		}
		if err != nil || again.May != scope.May || again.Type != scope.Type || again.Level != scope.Level || again.Params.Encode() != scope.Params.Encode() {
			t.Fatalf("%q → %q → %+v, %v", s, scope.String(), again, err)
		}
	})
}

func ExampleScopes_Narrow() {
	asked, _ := smart.ParseScopes("openid patient/*.read")
	ticked, _ := smart.ParseScopes("openid patient/Patient.rs patient/Condition.rs?category=problem-list-item")
	fmt.Println(asked.Narrow(ticked))
	// Output: openid patient/Patient.read patient/Condition.rs?category=problem-list-item
}
