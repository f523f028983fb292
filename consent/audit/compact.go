package audit

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"mypatients/fhir"
)

// An entry is written with each answer, so it is written by hand, as JSON that
// encoding/json reads, and short: a page returns fifty resources, and a record that
// outgrows recordSize costs a second flush to disk.

// appendEntry writes an entry as JSON.
func appendEntry(b []byte, e *Entry) ([]byte, error) {
	when, err := e.When.MarshalText() // as MarshalJSON, without the quotes
	if err != nil {
		return nil, err
	}
	b = append(b, `{"t":"`...)
	b = append(append(b, when...), '"')
	for _, f := range [...]struct{ name, value string }{
		{"l", e.Login}, {"n", e.Name}, {"p", e.Person}, {"r", string(e.Role)}, {"c", e.Client}, {"ci", e.ClientID},
		{"o", e.Org}, {"a", e.Address}, {"q", e.Request}, {"x", e.Action}, {"y", string(e.Type)}, {"f", e.Query},
		{"d", e.Detail}, {"u", e.Purpose}, {"e", e.Outcome},
	} {
		if f.value != "" {
			b = appendText(appendName(b, f.name), f.value)
		}
	}
	if len(e.Returned)+len(e.Page.list) > 0 {
		b = appendKeys(appendName(b, "i"), e.Returned, e.Page)
	}
	for _, f := range [...]struct {
		name string
		list []string
	}{{"k", e.About}, {"s", e.Asked}, {"w", e.Patients}} {
		if len(f.list) > 0 {
			b = appendList(appendName(b, f.name), f.list)
		}
	}
	if len(e.Bases) > 0 {
		b = append(appendName(b, "b"), '{')
		for i, patient := range slices.Sorted(maps.Keys(e.Bases)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendList(append(appendText(b, patient), ':'), e.Bases[patient])
		}
		b = append(b, '}')
	}
	return append(b, '}'), nil
}

func appendName(b []byte, name string) []byte {
	return append(append(append(b, `,"`...), name...), `":`...)
}

func appendList(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, s)
	}
	return append(b, ']')
}

// appendText writes a JSON string.
func appendText[S string | []byte](b []byte, s S) []byte { return appendRest(append(b, '"'), s) }

// appendRest writes a JSON string whose opening quote is there.
func appendRest[S string | []byte](b []byte, s S) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(string(s)) // a string always has a JSON form
			return append(b, quoted[1:]...)
		}
	}
	return append(append(b, s...), '"')
}

// Keys are those of many resources as they are written: small, and made where the
// resources are at hand. The zero value holds none.
type Keys struct{ list, last, next []byte }

// Add adds the key of a resource.
func (k *Keys) Add(t fhir.Type, id string) {
	k.next = append(append(append(k.next[:0], t...), '/'), id...)
	k.list = appendKey(k.list, k.next, k.last)
	k.last, k.next = k.next, k.last
}

// appendKeys writes keys of resources, and those of a page, each without what it has in
// common with the one before.
func appendKeys(b []byte, keys []string, page Keys) []byte {
	var last string
	var list []byte
	for _, key := range keys {
		list = appendKey(list, key, last)
		last = key
	}
	if len(list) > 0 && len(page.list) > 0 {
		list = append(list, ',')
	}
	b = append(append(b, '['), list...)
	return append(append(b, page.list...), ']')
}

// appendKey writes a key behind another: how many bytes they share, a colon, and the
// rest. One that begins anew is written whole; one that begins with a digit, as no type
// does, would be taken for a rest.
func appendKey[S string | []byte](b []byte, key, last S) []byte {
	if len(b) > 0 {
		b = append(b, ',')
	}
	n := 0
	for n < len(key) && n < len(last) && key[n] == last[n] && key[n] <= '~' {
		n++
	}
	if n < 4 && (len(key) == 0 || key[0] > '9') {
		return appendText(b, key)
	}
	return appendRest(append(strconv.AppendInt(append(b, '"'), int64(n), 10), ':'), key[n:])
}

// expand puts keys together that appendKeys wrote; ok is false when it did not.
func expand(keys []string) (ok bool) {
	last := ""
	for i, key := range keys {
		if key != "" && key[0] <= '9' {
			count, rest, found := strings.Cut(key, ":")
			n, err := strconv.Atoi(count)
			if !found || err != nil || n < 0 || n > len(last) {
				return false
			}
			keys[i] = last[:n] + rest
		}
		last = keys[i]
	}
	return true
}
