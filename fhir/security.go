package fhir

import (
	"encoding/json"
	"reflect"
)

// AddSecurity adds security labels (Codings) to meta.security of a body, after
// those that are there; what is there already is not added again. The rest of
// the body is kept to the digit. A body that cannot be read comes back as it is,
// for [Parse] to refuse.
func AddSecurity(body []byte, labels []any) []byte {
	compact, err := Compact(body)
	if err != nil || len(compact) < 2 || compact[0] != '{' {
		return body
	}
	top := membersOf(compact, 0, "resourceType", "meta")
	meta := map[string]json.RawMessage{}
	if top[1].end > 0 && json.Unmarshal(compact[top[1].value:top[1].end], &meta) != nil {
		return body
	}
	if meta == nil { // it was null
		meta = map[string]json.RawMessage{}
	}
	var security []any
	if raw, ok := meta["security"]; ok && json.Unmarshal(raw, &security) != nil {
		return body
	}
	for _, label := range labels {
		if !containsEqual(security, label) {
			security = append(security, label)
		}
	}
	if meta["security"], err = json.Marshal(security); err != nil {
		return body
	}
	text, err := json.Marshal(meta)
	if err != nil {
		return body
	}
	out := splicer{from: compact, out: make([]byte, 0, len(compact)+len(text)+10)}
	if top[1].end > 0 {
		out.replace(top[1].value, top[1].end, string(text))
	} else {
		out.insert(max(top[0].end, 1), `"meta":`, text, "")
	}
	return out.rest()
}

func containsEqual(list []any, v any) bool {
	for _, x := range list {
		if reflect.DeepEqual(x, v) {
			return true
		}
	}
	return false
}
