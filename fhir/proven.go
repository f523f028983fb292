package fhir

import (
	"bytes"
	"hash/maphash"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// The limits of what is remembered: values of up to provenMost bytes, and all
// together twice provenShards times provenBytes, 12 MB.
const (
	provenMost   = 512
	provenShards = 32
	provenBytes  = 192 << 10
)

// proven remembers values of complex types in which google/fhir found no fault.
// Records say the same again and again: a code, a category, a unit, whom it is
// about. What google/fhir says of a value rests on its type and its bytes alone,
// once the walk has found nothing wrong around it, so it is asked once: six tenths
// of the bytes of real records need not be shown to it again.
type proven struct {
	seed   maphash.Seed
	shards [provenShards]shard
}

// A shard keeps two generations: the older goes when the younger is full.
type shard struct {
	sync.Mutex
	young, old map[string]struct{}
	size       int // bytes in young
}

func newProven() *proven {
	p := &proven{seed: maphash.MakeSeed()}
	for i := range p.shards {
		p.shards[i].young = map[string]struct{}{}
	}
	return p
}

func (p *proven) shard(key []byte) *shard {
	return &p.shards[maphash.Bytes(p.seed, key)%provenShards]
}

// knows reports whether a key was added and is not forgotten.
func (p *proven) knows(key []byte) bool {
	s := p.shard(key)
	s.Lock()
	defer s.Unlock()
	if _, found := s.young[string(key)]; found {
		return true
	}
	_, found := s.old[string(key)]
	if found {
		s.add(key)
	}
	return found
}

func (p *proven) add(key []byte) {
	s := p.shard(key)
	s.Lock()
	defer s.Unlock()
	s.add(key)
}

func (s *shard) add(key []byte) {
	if s.size += len(key); s.size > provenBytes {
		s.young, s.old, s.size = map[string]struct{}{}, s.young, len(key)
	}
	s.young[string(key)] = struct{}{}
}

// A pruning copies a resource without the values that are proven.
type pruning struct {
	*check
	in, out []byte
	key     []byte // room for one
	asked   []span
}

// A span is a value that google/fhir gets to see.
type span struct {
	of       protoreflect.FullName
	from, to int
}

// prune copies what google/fhir needs to see of a resource: compact JSON, in which
// the walk found nothing wrong.
func (c *check) prune(body []byte, s *shape) *pruning {
	p := &pruning{check: c, in: body, out: make([]byte, 0, len(body)/2)}
	p.object(0, s)
	return p
}

// accepted remembers what google/fhir saw and found no fault in.
func (p *pruning) accepted() {
	for _, v := range p.asked {
		p.proven.add(p.keyOf(v))
	}
}

func (p *pruning) keyOf(v span) []byte {
	p.key = append(append(p.key[:0], v.of...), p.in[v.from:v.to]...)
	return p.key
}

// object copies the object that begins at a byte.
func (p *pruning) object(at int, s *shape) {
	p.out = append(p.out, '{')
	before := len(p.out)
	for more := p.in[at+1] != '}'; more; more = p.in[at] == ',' {
		name, kept := at+1, len(p.out)
		value := endOfValue(p.in, name) + 1 // behind the colon
		at = endOfValue(p.in, value)        // the comma or brace behind the value
		if kept > before {
			p.out = append(p.out, ',')
		}
		p.out = append(p.out, p.in[name:value]...)
		e := s.elements[string(p.in[name+1:value-2])]
		if !p.member(e, value, at) {
			p.out = p.out[:kept]
		}
	}
	p.out = append(p.out, '}')
}

// member copies the value of a member of an object, and reports whether anything
// of it was left.
func (p *pruning) member(e *element, from, to int) bool {
	switch {
	case e == nil || e.kind != notPrimitive || e.inline:
		p.out = append(p.out, p.in[from:to]...)
	case p.in[from] == '{':
		return p.complex(e, from, to)
	default:
		return p.list(e, from)
	}
	return true
}

// list copies the array that begins at a byte.
func (p *pruning) list(e *element, at int) bool {
	p.out = append(p.out, '[')
	before := len(p.out)
	for more := p.in[at+1] != ']'; more; more = p.in[at] == ',' {
		item, kept := at+1, len(p.out)
		at = endOfValue(p.in, item)
		if kept > before {
			p.out = append(p.out, ',')
		}
		if !p.complex(e, item, at) {
			p.out = p.out[:kept]
		}
	}
	p.out = append(p.out, ']')
	return len(p.out) > before+1
}

// complex copies an object, unless it is proven.
func (p *pruning) complex(e *element, from, to int) bool {
	if to-from <= provenMost {
		v := span{e.message.FullName(), from, to}
		if p.proven.knows(p.keyOf(v)) {
			return false
		}
		p.asked = append(p.asked, v)
	}
	p.object(from, p.of(e.message))
	return true
}

// endOfValue gives where a value of valid, compact JSON ends.
func endOfValue(json []byte, at int) int {
	switch json[at] {
	case '"':
		return endOfString(json, at)
	case '{', '[':
	default:
		return at + bytes.IndexAny(json[at:], ",}]")
	}
	for depth := 0; ; at++ {
		switch json[at] {
		case '"':
			at = endOfString(json, at) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return at + 1
			}
		}
	}
}

func endOfString(json []byte, at int) int {
	for at++; ; at++ {
		at += bytes.IndexByte(json[at:], '"')
		escapes := at
		for json[escapes-1] == '\\' {
			escapes--
		}
		if (at-escapes)%2 == 0 {
			return at + 1
		}
	}
}
