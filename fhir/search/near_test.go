package search_test

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// A place counts as near by its distance over the globe, but for those within a
// hundredth of the distance of the edge.
func TestNearAgreesWithTheGlobe(t *testing.T) {
	r := registry(t)
	rapid.Check(t, func(t *rapid.T) {
		lat, lon := rapid.Float64Range(-90, 90), rapid.Float64Range(-180, 180)
		a, b := lat.Draw(t, "latitude"), lon.Draw(t, "longitude")
		c, d := lat.Draw(t, "of place"), lon.Draw(t, "of place")
		if rapid.Bool().Draw(t, "close") {
			c = max(-90, min(90, a+rapid.Float64Range(-1, 1).Draw(t, "up")))
			d = math.Mod(b+rapid.Float64Range(-1, 1).Draw(t, "right")+540, 360) - 180
		}
		x, y := a*math.Pi/180, c*math.Pi/180
		h := math.Pow(math.Sin((y-x)/2), 2) + math.Cos(x)*math.Cos(y)*math.Pow(math.Sin((d-b)*math.Pi/360), 2)
		distance := 2 * 6371.0088 * math.Asin(math.Min(1, math.Sqrt(h)))
		if distance < 0.01 {
			t.Skip("one place")
		}
		tree := map[string]any{"resourceType": "Location", "position": map[string]any{
			"latitude": json.Number(fmt.Sprintf("%.7f", c)), "longitude": json.Number(fmt.Sprintf("%.7f", d))}}
		for factor, want := range map[float64]bool{0.9895: false, 1.0105: true, 0.5: false, 3: true} {
			near := fmt.Sprintf("%.7f|%.7f|%.9f|km", a, b, distance*factor)
			if got := finds(t, r, tree, "near", near); got != want {
				t.Fatalf("%v, %v is %.3f km away; near=%s: got %v", c, d, distance, near, got)
			}
		}
	})
}
