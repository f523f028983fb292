package fhir

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
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

// EditSecurity takes labels out of meta.security of a compact body, by their
// places, and adds others behind those that stay. The rest of the body, and of the
// labels, is kept to the digit; when nothing is left there is no meta.security.
func EditSecurity(compact []byte, drop []int, add []any) ([]byte, error) {
	top := membersOf(compact, 0, "resourceType", "id", "meta")
	meta := top[2]
	var list []json.RawMessage
	var old member
	if meta.end > 0 {
		old = membersOf(compact, meta.value, "security")[0]
	}
	if old.end > 0 {
		if err := json.Unmarshal(compact[old.value:old.end], &list); err != nil {
			return nil, err
		}
	}
	var kept []json.RawMessage
	for i, label := range list {
		if !slices.Contains(drop, i) {
			kept = append(kept, label)
		}
	}
	for _, label := range add {
		text, err := json.Marshal(label)
		if err != nil {
			return nil, err
		}
		kept = append(kept, text)
	}
	out := splicer{from: compact, out: make([]byte, 0, len(compact)+160*len(add)+32)}
	text := append(bytes.Join(asBytes(kept), []byte{','}), ']')
	switch {
	case len(kept) == 0 && old.end == 0:
		return compact, nil
	case len(kept) == 0:
		out.remove(old)
	case old.end > 0:
		out.replace(old.value, old.end, "["+string(text))
	case meta.end > 0:
		out.first(meta.value, `"security":[`+string(text))
	default:
		out.insert(max(top[0].end, top[1].end, 1), `"meta":{"security":[`, text, "}")
	}
	return out.rest(), nil
}

func asBytes(list []json.RawMessage) [][]byte {
	out := make([][]byte, len(list))
	for i, raw := range list {
		out[i] = raw
	}
	return out
}
