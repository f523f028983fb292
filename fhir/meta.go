package fhir

import (
	"bytes"
	"strconv"
	"time"
)

// InstantLayout is how the gateway writes an instant: UTC, milliseconds.
const InstantLayout = "2006-01-02T15:04:05.000Z"

// WithMeta gives a body its id, meta.versionId and meta.lastUpdated. The body is
// that of a [Document] or a stored one: one compact JSON object. All else stays
// byte for byte; what is missing is put where the specification lists it, behind
// resourceType and id.
func WithMeta(body []byte, id string, version int64, updated time.Time) []byte {
	top := membersOf(body, 0, "resourceType", "id", "meta")
	stamp := make([]byte, 0, 96)
	stamp = append(stamp, `"versionId":"`...)
	stamp = strconv.AppendInt(stamp, version, 10)
	stamp = append(stamp, `","lastUpdated":"`...)
	stamp = updated.UTC().AppendFormat(stamp, InstantLayout)
	stamp = append(stamp, '"')

	out := splicer{from: body, out: make([]byte, 0, len(body)+len(stamp)+len(id)+32)}
	kind, name, meta := top[0], top[1], top[2]
	behind := kind.end // where to put what is missing
	if kind.end == 0 {
		behind = 1
	}
	if name.end == 0 {
		if meta.end == 0 {
			out.insert(behind, `"id":"`+id+`","meta":{`, stamp, "}")
			return out.rest()
		}
		// meta is there already, before or behind this place
		if meta.start < behind {
			out.meta(meta, stamp)
			out.insert(behind, `"id":"`+id+`"`, nil, "")
			return out.rest()
		}
		out.insert(behind, `"id":"`+id+`"`, nil, "")
		out.meta(meta, stamp)
		return out.rest()
	}
	if meta.end == 0 {
		out.replace(name.value, name.end, `"`+id+`"`)
		out.insert(name.end, `"meta":{`, stamp, "}")
		return out.rest()
	}
	if meta.start < name.start {
		out.meta(meta, stamp)
		out.replace(name.value, name.end, `"`+id+`"`)
		return out.rest()
	}
	out.replace(name.value, name.end, `"`+id+`"`)
	out.meta(meta, stamp)
	return out.rest()
}

// SameContent reports whether a stored body of a version is what a compact body
// would become if it were stored as that version.
func SameContent(stored *Resource, compact []byte) bool {
	return bytes.Equal(WithMeta(compact, stored.ID, stored.Version, stored.Updated), stored.JSON)
}

// A splicer copies a text and puts other things in on the way.
type splicer struct {
	from, out []byte
	done      int // how much of from is copied
}

func (s *splicer) copyTo(end int) {
	s.out = append(s.out, s.from[s.done:end]...)
	s.done = end
}

func (s *splicer) replace(start, end int, with string) {
	s.copyTo(start)
	s.out = append(s.out, with...)
	s.done = end
}

// insert puts a member behind the place at, which is the opening brace's end or
// the end of a member.
func (s *splicer) insert(at int, head string, body []byte, tail string) {
	s.copyTo(at)
	first := s.from[at-1] == '{' && at == 1
	if !first {
		s.out = append(s.out, ',')
	}
	s.out = append(s.out, head...)
	s.out = append(s.out, body...)
	s.out = append(s.out, tail...)
	if first && s.from[at] != '}' {
		s.out = append(s.out, ',')
	}
}

// first puts a member at the head of the object that begins at a place.
func (s *splicer) first(at int, text string) {
	s.copyTo(at + 1)
	s.out = append(s.out, text...)
	if s.from[at+1] != '}' {
		s.out = append(s.out, ',')
	}
}

// remove leaves a member out, with a comma beside it.
func (s *splicer) remove(m member) {
	start, end := m.start, m.end
	switch {
	case s.from[end] == ',':
		end++
	case s.from[start-1] == ',':
		start--
	}
	s.copyTo(start)
	s.done = end
}

// meta brings an object up to date: the two members of the stamp come first, the
// rest as it was.
func (s *splicer) meta(m member, stamp []byte) {
	s.copyTo(m.value)
	if s.from[m.value] != '{' { // a checked body has an object here
		s.out = append(append(append(s.out, '{'), stamp...), '}')
		s.done = m.end
		return
	}
	s.out = append(append(s.out, '{'), stamp...)
	for at := m.value + 1; s.from[at] != '}'; {
		part, next := memberAt(s.from, at)
		name := s.from[part.start+1 : part.value-2]
		if string(name) != "versionId" && string(name) != "lastUpdated" {
			s.out = append(append(s.out, ','), s.from[part.start:part.end]...)
		}
		at = next
	}
	s.out = append(s.out, '}')
	s.done = m.end
}

func (s *splicer) rest() []byte {
	s.copyTo(len(s.from))
	return s.out
}

// A member of an object is "name":value; start is that of the name, value that
// of the value, end the byte behind it. An absent one is zero.
type member struct{ start, value, end int }

// membersOf finds members of the compact object that begins at a place; it stops
// when it has all of them. Of names written with escapes it knows nothing:
// writing "id" so is allowed by JSON and done by nobody, so [Parse] refuses it.
func membersOf(body []byte, at int, names ...string) []member {
	found := make([]member, len(names))
	missing := len(names)
	for at++; missing > 0 && at < len(body) && body[at] != '}'; {
		part, next := memberAt(body, at)
		if part.end > len(body) || part.value-2 <= part.start { // cut off: no JSON
			return found
		}
		for i, name := range names {
			if found[i].end == 0 && string(body[part.start+1:part.value-2]) == name {
				found[i] = part
				missing--
			}
		}
		at = next
	}
	return found
}

// memberAt gives the member at a place and the place of the one behind it, or of
// the closing brace.
func memberAt(body []byte, at int) (member, int) {
	value := skipString(body, at) + 1 // the colon
	end := skipValue(body, value)
	next := end
	if next < len(body) && body[next] == ',' {
		next++
	}
	return member{at, value, end}, next
}

func skipString(body []byte, at int) int {
	for at++; at < len(body); {
		i := bytes.IndexByte(body[at:], '"')
		if i < 0 {
			return len(body)
		}
		at += i
		slashes := 0
		for body[at-1-slashes] == '\\' {
			slashes++
		}
		at++
		if slashes%2 == 0 {
			return at
		}
	}
	return at
}

func skipValue(body []byte, at int) int {
	depth := 0
	for at < len(body) {
		switch body[at] {
		case '"':
			at = skipString(body, at)
			if depth == 0 {
				return at
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return at
			}
			if depth--; depth == 0 {
				return at + 1
			}
		case ',':
			if depth == 0 {
				return at
			}
		}
		at++
	}
	return at
}

// Header reads the type and the id off a compact body ([Compact]) without decoding
// it; each is empty when it is not there, not a string, or written with escapes.
func Header(compact []byte) Key {
	if len(compact) < 2 || compact[0] != '{' {
		return Key{}
	}
	found := membersOf(compact, 0, "resourceType", "id")
	text := func(m member) string {
		if m.end-m.value < 2 || compact[m.value] != '"' || bytes.IndexByte(compact[m.value:m.end], '\\') >= 0 {
			return ""
		}
		return string(compact[m.value+1 : m.end-1])
	}
	return Key{Type(text(found[0])), text(found[1])}
}

// WithID gives a compact body an id and changes nothing else.
func WithID(compact []byte, id string) []byte {
	top := membersOf(compact, 0, "resourceType", "id")
	out := splicer{from: compact, out: make([]byte, 0, len(compact)+len(id)+8)}
	switch kind, name := top[0], top[1]; {
	case name.end > 0:
		out.replace(name.value, name.end, `"`+id+`"`)
	default:
		out.insert(max(kind.end, 1), `"id":"`+id+`"`, nil, "")
	}
	return out.rest()
}
