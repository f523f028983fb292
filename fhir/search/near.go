package search

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"mypatients/fhir/store"
)

const (
	earthRadius = 6371.0088 // km, the mean
	nearDefault = 50.0      // km, when no distance is given
	nearStrips  = 100       // into which a circle is cut
)

// lengths are the units of a distance, in km.
var lengths = map[string]float64{
	"": 1, "km": 1, "m": 0.001, "cm": 0.00001,
	"mi": 1.609344, "[mi_i]": 1.609344, "[mi_us]": 1.609347219, "[nmi_i]": 1.852,
	"ft": 0.0003048, "[ft_i]": 0.0003048, "yd": 0.0009144, "[yd_i]": 0.0009144,
}

// placeTerm writes a Location.position: latitude and longitude, ten characters
// each, in steps of a ten-millionth of a degree.
func placeTerm(item any) (string, bool) {
	position, ok := item.(map[string]any)
	if !ok {
		return "", false
	}
	latitude, ok1 := degrees(position["latitude"], 90)
	longitude, ok2 := degrees(position["longitude"], 180)
	return degreeForm(latitude) + degreeForm(longitude), ok1 && ok2
}

func degrees(v any, limit float64) (float64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(n), 64)
	return f, err == nil && math.Abs(f) <= limit
}

// degreeForm writes degrees so that texts sort as they do. No degree is below -360.
func degreeForm(d float64) string { return encodeMicros(int64(math.Round((d + 360) * 1e7))) }

// nearQuery is the condition of near=latitude|longitude|distance|units
// (https://hl7.org/fhir/R4/location.html#search). The circle is made of strips
// between two latitudes: what is nearer to its edge than a hundredth of the
// distance may count in or out.
func nearQuery(name, value string) (store.Expr, error) {
	parts := splitEscaped(value, '|')
	bad := badValue("%q is not of the form latitude|longitude|distance|units, in degrees", strings.Join(parts, "|"))
	if len(parts) < 2 || len(parts) > 4 {
		return nil, bad
	}
	latitude, ok1 := degrees(json.Number(parts[0]), 90)
	longitude, ok2 := degrees(json.Number(parts[1]), 180)
	if !ok1 || !ok2 {
		return nil, bad
	}
	distance := nearDefault
	if len(parts) > 2 && parts[2] != "" {
		var err error
		if distance, err = strconv.ParseFloat(parts[2], 64); err != nil || !(distance > 0) {
			return nil, badValue("%q is not a distance", parts[2])
		}
		unit := ""
		if len(parts) == 4 {
			unit = unescape(parts[3])
		}
		length, ok := lengths[unit]
		if !ok {
			return nil, badValue("%q is not a unit of length that is known: km, m, mi, ft and their like", unit)
		}
		distance *= length
	}
	return circle(name, latitude, longitude, distance), nil
}

// circle is the condition that a place is at most so many km away.
func circle(name string, latitude, longitude, distance float64) store.Expr {
	angle := min(distance/earthRadius, math.Pi) // seen from the centre of the Earth
	south, north := max(-90, latitude-degreesOf(angle)), min(90, latitude+degreesOf(angle))
	step := (north - south) / nearStrips
	var any store.Or
	for i := range nearStrips {
		from, to := south+float64(i)*step, south+float64(i+1)*step
		head := store.Span{Name: name, Split: instantLen, HeadFrom: degreeForm(from), HeadTo: degreeForm(to)}
		if i == nearStrips-1 {
			head.HeadTo = after(degreeForm(to))
		}
		half := halfWidth(latitude, (from+to)/2, angle)
		for _, part := range lines(longitude-half, longitude+half) {
			head.TailFrom, head.TailTo = degreeForm(part[0]), after(degreeForm(part[1]))
			any = append(any, head)
		}
	}
	return any
}

// halfWidth gives how many degrees to the east a circle reaches at a latitude.
func halfWidth(centre, latitude, angle float64) float64 {
	a, b := radians(centre), radians(latitude)
	if math.Cos(a) < 1e-12 || math.Cos(b) < 1e-12 { // at a pole every longitude is the same place
		return 180
	}
	c := (math.Cos(angle) - math.Sin(a)*math.Sin(b)) / (math.Cos(a) * math.Cos(b))
	return degreesOf(math.Acos(min(1, max(-1, c))))
}

// lines cuts a stretch of longitudes where it crosses the date line.
func lines(west, east float64) [][2]float64 {
	switch {
	case east-west >= 360:
		return [][2]float64{{-180, 180}}
	case west < -180:
		return [][2]float64{{-180, east}, {west + 360, 180}}
	case east > 180:
		return [][2]float64{{west, 180}, {-180, east - 360}}
	}
	return [][2]float64{{west, east}}
}

func radians(degrees float64) float64   { return degrees * math.Pi / 180 }
func degreesOf(radians float64) float64 { return radians * 180 / math.Pi }
