package authserver

import (
	"reflect"
	"testing"
	"time"

	"mypatients/smart"
)

func TestGrantCodec(t *testing.T) {
	yes := true
	scopes, err := smart.ParseScopes("openid patient/*.read user/Observation.rs?category=http://x|a&status=final system/*.cruds")
	if err != nil {
		t.Fatal(err)
	}
	full := smart.Grant{ID: "g", ClientID: "c", ClientName: "C", Scopes: scopes,
		Identity: smart.Identity{Login: "l", Name: "N", Role: smart.Proxy, FHIRUser: "RelatedPerson/1", Persons: []string{"RelatedPerson/1", "RelatedPerson/2"}},
		Launch:   smart.Context{Patient: "p", Encounter: "e", Intent: "i", NeedPatientBanner: &yes, FHIRContext: []smart.Related{{Reference: "Consent/1", Role: "https://x"}}}, AuthTime: time.Unix(1700000000, 0).UTC(), ACR: "mfa"}
	for _, g := range []smart.Grant{{}, full} {
		for _, ehr := range []bool{false, true} {
			got, launched, err := decodeGrant(encodeGrant(g, ehr))
			if err != nil || launched != ehr || !reflect.DeepEqual(got, g) {
				t.Errorf("got %+v, %v, %v\nwant %+v", got, launched, err, g)
			}
		}
	}
}

// A damaged record is an error, never a panic and never a grant that writes back
// as another.
func FuzzDecodeGrant(f *testing.F) {
	scopes, _ := smart.ParseScopes("patient/*.rs?x=y openid")
	f.Add(encodeGrant(smart.Grant{ID: "g", Scopes: scopes, Identity: smart.Identity{Persons: []string{"Patient/1"}}}, true))
	f.Add([]byte{1, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		g, ehr, err := decodeGrant(b)
		if err != nil {
			return
		}
		again, launched, err := decodeGrant(encodeGrant(g, ehr))
		if err != nil || launched != ehr || again.ID != g.ID || again.Identity.FHIRUser != g.Identity.FHIRUser || again.Launch.Patient != g.Launch.Patient || len(again.Scopes) != len(g.Scopes) {
			t.Fatalf("%+v became %+v, %v", g, again, err)
		}
	})
}
