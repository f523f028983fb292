package demo

import (
	"bytes"
	"compress/gzip"
	_ "embed" // the data
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"time"

	"mypatients/fhir"
)

var (
	//go:embed data/authored.ndjson
	authored []byte
	//go:embed data/histories.ndjson.gz
	histories []byte
)

// A Resource is one resource of the demo.
type Resource struct {
	fhir.Key
	JSON []byte
}

// Resources gives the demo's records as they are at a time in a zone: the
// patients have the ages of the story, and nothing lies in the future. Ids are
// fixed, references stay inside the set, and most of what a resource refers to
// comes before it. data/README.md describes the format of the data.
func Resources(now time.Time, zone *time.Location) ([]Resource, error) {
	if zone == nil {
		return nil, errors.New("demo: no time zone")
	}
	z, err := gzip.NewReader(bytes.NewReader(histories))
	if err != nil {
		return nil, err
	}
	told, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	y, m, d := now.In(zone).Date()
	today := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	births := map[string]time.Time{}
	var list []Resource
	for _, data := range [][]byte{authored, told} {
		for line := range bytes.Lines(data) {
			r, err := tell(bytes.TrimSpace(line), today, zone, births)
			if err != nil {
				return nil, err
			}
			list = append(list, r)
		}
	}
	return list, nil
}

// tell reads one line.
func tell(line []byte, today time.Time, zone *time.Location, births map[string]time.Time) (Resource, error) {
	whose, body, ok := bytes.Cut(line, []byte(" "))
	if !ok {
		return Resource{}, errors.New("demo: a line of the data is broken")
	}
	owner := string(whose)
	if age := ofAge.FindSubmatch(body); age != nil {
		births[owner] = today.AddDate(-number(age[1]), 0, -number(age[2]))
		body = bytes.Replace(body, age[0], []byte(`"`+births[owner].Format(time.DateOnly)+`"`), 1)
	}
	days := dates{birth: births[owner], today: today, zone: zone}
	var failed error
	body = marked.ReplaceAllFunc(body, func(quoted []byte) []byte {
		out, err := days.replace(quoted)
		if err != nil {
			failed = err
		}
		return out
	})
	var named struct{ ResourceType, ID string }
	if failed == nil {
		failed = json.Unmarshal(body, &named)
	}
	if failed != nil {
		return Resource{}, fmt.Errorf("demo: a line of the data: %w", failed)
	}
	return Resource{fhir.Key{Type: fhir.Type(named.ResourceType), ID: named.ID}, body}, nil
}

var (
	ofAge  = regexp.MustCompile(`"@(\d+)y(\d+)d"`)
	marked = regexp.MustCompile(`"@(?:[^"\\]|\\.)*"`)
	stamp  = regexp.MustCompile(`^"@([bn])([+-]\d+)(?:T(\d\d):(\d\d):(\d\d))?"$`)
	inner  = regexp.MustCompile(`\{([bn])([+-]\d+)\}`)
)

// dates turns distances into dates.
type dates struct {
	birth, today time.Time // midnight, UTC standing for any zone
	zone         *time.Location
}

// replace gives the JSON string that stands in the place of a marked one.
func (d dates) replace(quoted []byte) ([]byte, error) {
	if m := stamp.FindSubmatch(quoted); m != nil {
		day := d.day(m[1], m[2])
		if m[3] == nil {
			return []byte(`"` + day.Format(time.DateOnly) + `"`), nil
		}
		y, month, dom := day.Date()
		at := time.Date(y, month, dom, number(m[3]), number(m[4]), number(m[5]), 0, d.zone)
		return []byte(`"` + at.Format(time.RFC3339) + `"`), nil
	}
	text, ok := bytes.CutPrefix(quoted, []byte(`"@text:`))
	if !ok {
		return nil, fmt.Errorf("%s is no mark", quoted)
	}
	var note string
	if err := json.Unmarshal(append([]byte(`"`), text...), &note); err != nil {
		return nil, err
	}
	out := inner.ReplaceAllFunc([]byte(note), func(mark []byte) []byte {
		m := inner.FindSubmatch(mark)
		return []byte(d.day(m[1], m[2]).Format(time.DateOnly))
	})
	return []byte(`"` + base64.StdEncoding.EncodeToString(out) + `"`), nil
}

func (d dates) day(from, distance []byte) time.Time {
	base := d.birth
	if from[0] == 'n' {
		base = d.today
	}
	return base.AddDate(0, 0, number(distance))
}

// number reads what a pattern has matched as digits.
func number(digits []byte) int {
	n, _ := strconv.Atoi(string(digits)) // cannot fail on up to 18 digits
	return n
}
