//go:build ignore

// Generate writes data/*.json.gz from HL7's packages hl7.fhir.r4.core and
// hl7.fhir.us.core, which are in the public domain (CC0): what this package needs
// of them and no more.
//
//	go run generate.go -definitions DIR -uscore DIR
//
// The first folder holds hl7.fhir.r4.core-4.0.1.tgz, the second the packages
// hl7.fhir.us.core-VERSION.tgz.
package main

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What the packages hold.
type (
	structure struct {
		ResourceType, URL, Version, Name, Type, Kind, Derivation, BaseDefinition string
		Snapshot                                                                 struct{ Element []element }
	}
	element struct {
		ID, Path, SliceName, Max, ContentReference string
		Min                                        int
		Type                                       []elementType
		Constraint                                 []struct{ Key, Severity, Human, Expression string }
		Binding                                    *struct{ Strength, ValueSet string }
		Slicing                                    *slicing
		values                                     map[string]json.RawMessage // fixed… and pattern…
	}
	elementType struct {
		Code                   string
		Profile, TargetProfile []string
	}
	slicing struct {
		Discriminator []struct{ Type, Path string }
		Rules         string
	}
	valueSet struct {
		URL     string
		Compose struct{ Include, Exclude []include }
	}
	include struct {
		System   string
		Concept  []concept
		Filter   []struct{ Property, Op, Value string }
		ValueSet []string
	}
	codeSystem struct {
		URL, Content string
		Concept      []concept
	}
	concept struct {
		Code    string
		Concept []concept
	}
)

// What is written; the package reads the same (data.go).
type (
	outPackage struct {
		Name     string       `json:"name"`
		Version  string       `json:"version"`
		Types    []outType    `json:"types,omitempty"`
		Profiles []outProfile `json:"profiles,omitempty"`
		Sets     []outSet     `json:"sets"`
	}
	outType struct {
		Name     string       `json:"name"` // of a type, or the path of a nested element
		Kind     string       `json:"kind,omitempty"`
		Rules    []outRule    `json:"rules,omitempty"`
		Elements []outElement `json:"elements,omitempty"`
	}
	outElement struct {
		Name  string      `json:"n"`
		Types []string    `json:"t"` // names of types; several of a choice
		List  bool        `json:"l,omitempty"`
		Bind  *outBinding `json:"b,omitempty"`
		Rules []outRule   `json:"r,omitempty"`
	}
	outRule struct {
		Key      string `json:"k"`
		Expr     string `json:"x"`
		Human    string `json:"h"`
		Severity string `json:"s,omitempty"` // empty: error
	}
	outBinding struct {
		Strength string `json:"s"`
		Set      string `json:"v"`
	}
	outProfile struct {
		URL      string        `json:"url"`
		Version  string        `json:"version"`
		Type     string        `json:"type"`
		Elements []outElement2 `json:"elements"`
	}
	outElement2 struct {
		ID      string          `json:"id"`
		Min     int             `json:"min,omitempty"`
		Max     string          `json:"max,omitempty"` // empty: not narrowed
		Types   []outElemType   `json:"types,omitempty"`
		Fixed   json.RawMessage `json:"fixed,omitempty"`
		Pattern json.RawMessage `json:"pattern,omitempty"`
		Bind    *outBinding     `json:"b,omitempty"`
		By      [][2]string     `json:"by,omitempty"` // discriminators: type, path
		Closed  bool            `json:"closed,omitempty"`
		Sliced  bool            `json:"sliced,omitempty"`
		Rules   []outRule       `json:"r,omitempty"`
	}
	outElemType struct {
		Code     string   `json:"c"`
		Profiles []string `json:"p,omitempty"`
		Targets  []string `json:"t,omitempty"`
	}
	outSet struct {
		URL   string              `json:"url"`
		Codes map[string][]string `json:"codes"` // by system
	}
)

// covered are the invariants that are checked elsewhere, in whole, or natively:
// see TestInvariants.
var covered = map[string]bool{"ele-1": true, "dom-2": true, "dom-3": true, "ref-1": true, "txt-1": true, "txt-2": true}

// maxSet keeps value sets out that are as good as a terminology of their own.
const maxSet = 4000

type library struct {
	structures map[string]*structure
	order      []*structure
	sets       map[string]*valueSet
	systems    map[string]*codeSystem
	expanded   map[string]map[string][]string
}

func main() {
	definitions := flag.String("definitions", "", "folder of the core package")
	uscore := flag.String("uscore", "", "folder of the US Core packages")
	flag.Parse()
	core := &library{structures: map[string]*structure{}, sets: map[string]*valueSet{}, systems: map[string]*codeSystem{}, expanded: map[string]map[string][]string{}}
	core.read(filepath.Join(*definitions, "hl7.fhir.r4.core-4.0.1.tgz"))
	write("data/r4.core-4.0.1.json.gz", core.base())
	for _, version := range []string{"3.1.1", "6.1.0", "7.0.0"} {
		us := core.with(filepath.Join(*uscore, "hl7.fhir.us.core-"+version+".tgz"))
		write("data/us.core-"+version+".json.gz", us.profiles("hl7.fhir.us.core", version, us.order))
	}
}

// with gives a library with the contents of a package besides its own; order
// holds those of the package alone.
func (l *library) with(path string) *library {
	more := &library{structures: maps.Clone(l.structures), sets: maps.Clone(l.sets), systems: maps.Clone(l.systems), expanded: map[string]map[string][]string{}}
	more.read(path)
	return more
}

func (l *library) read(path string) {
	f, err := os.Open(path)
	check(err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	check(err)
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		check(err)
		if filepath.Dir(h.Name) != "package" {
			continue
		}
		switch kind, _, _ := strings.Cut(filepath.Base(h.Name), "-"); kind {
		case "StructureDefinition":
			s := &structure{}
			check(json.NewDecoder(t).Decode(s))
			l.structures[s.URL] = s
			l.order = append(l.order, s)
		case "ValueSet":
			v := &valueSet{}
			check(json.NewDecoder(t).Decode(v))
			l.sets[v.URL] = v
		case "CodeSystem":
			c := &codeSystem{}
			check(json.NewDecoder(t).Decode(c))
			l.systems[c.URL] = c
		}
	}
}

// normal gives the types that R4 means where its definitions name those of
// FHIRPath's system: an id, or the address of an extension.
func (e *element) normal() {
	for i := range e.Type {
		if strings.HasPrefix(e.Type[i].Code, "http://hl7.org/fhirpath/System.") {
			e.Type[i] = elementType{Code: "string"}
			if strings.HasSuffix(e.Path, ".url") {
				e.Type[i].Code = "uri"
			}
		}
	}
}

// UnmarshalJSON keeps what fixes the value of an element besides its fields.
func (e *element) UnmarshalJSON(b []byte) error {
	type plain element
	if err := json.Unmarshal(b, (*plain)(e)); err != nil {
		return err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	e.normal()
	e.values = map[string]json.RawMessage{}
	for name, value := range all {
		if strings.HasPrefix(name, "fixed") {
			e.values["fixed"] = value
		} else if strings.HasPrefix(name, "pattern") {
			e.values["pattern"] = value
		}
	}
	return nil
}

// base gives the types of R4, their rules and required bindings, and its own
// profiles of resources.
func (l *library) base() outPackage {
	var profiles []*structure
	var types []outType
	for _, s := range l.order {
		switch {
		case s.Kind == "logical":
		case s.Derivation == "constraint" && s.Kind == "resource":
			profiles = append(profiles, s)
		case s.Derivation != "constraint":
			types = append(types, l.types(s)...)
		}
	}
	slices.SortFunc(types, func(a, b outType) int { return cmp.Compare(a.Name, b.Name) })
	out := l.profiles("hl7.fhir.r4.core", "4.0.1", profiles)
	out.Types = types
	named := map[string]bool{}
	for _, s := range out.Sets {
		named[s.URL] = true
	}
	for i := range types {
		for j := range types[i].Elements {
			if b := types[i].Elements[j].Bind; b != nil && !named[b.Set] {
				named[b.Set] = true
				out.Sets = append(out.Sets, outSet{b.Set, l.expand(b.Set)})
			}
		}
	}
	slices.SortFunc(out.Sets, func(a, b outSet) int { return cmp.Compare(a.URL, b.URL) })
	return out
}

// types gives a type and those nested in it.
func (l *library) types(s *structure) []outType {
	byPath := map[string]*outType{}
	var order []string
	for i, e := range s.Snapshot.Element {
		if i == 0 || nested(s, e) {
			t := &outType{Name: e.Path}
			if i == 0 {
				t.Kind = s.Kind
			}
			byPath[e.Path] = t
			order = append(order, e.Path)
			t.Rules = l.rules(e, i == 0)
		}
		if i == 0 {
			continue
		}
		parent, name := e.Path[:strings.LastIndex(e.Path, ".")], e.Path[strings.LastIndex(e.Path, ".")+1:]
		out := outElement{Name: name, List: e.Max != "0" && e.Max != "1"}
		switch {
		case e.ContentReference != "":
			out.Types = []string{strings.TrimPrefix(e.ContentReference, "#")}
		case nested(s, e):
			out.Types = []string{e.Path}
		default:
			for _, t := range e.Type {
				code := t.Code
				if len(t.Profile) == 1 && strings.HasSuffix(t.Profile[0], "/SimpleQuantity") {
					code = "SimpleQuantity"
				}
				if len(t.Profile) == 1 && strings.HasSuffix(t.Profile[0], "/MoneyQuantity") {
					code = "MoneyQuantity"
				}
				out.Types = append(out.Types, code)
			}
			out.Rules = l.rules(e, false)
		}
		if b := e.Binding; b != nil && b.Strength == "required" && l.expand(b.ValueSet) != nil {
			out.Bind = &outBinding{b.Strength, b.ValueSet}
		}
		byPath[parent].Elements = append(byPath[parent].Elements, out)
	}
	var list []outType
	for _, path := range order {
		list = append(list, *byPath[path])
	}
	return list
}

func nested(s *structure, e element) bool {
	return slices.ContainsFunc(s.Snapshot.Element, func(o element) bool { return strings.HasPrefix(o.Path, e.Path+".") })
}

// rules gives the invariants of an element that its types do not have anyway.
func (l *library) rules(e element, root bool) []outRule {
	var list []outRule
	inherited := map[string]bool{}
	if !root {
		for _, t := range append(e.Type, elementType{Code: "Element"}) {
			if s := l.structures["http://hl7.org/fhir/StructureDefinition/"+t.Code]; s != nil {
				for _, c := range s.Snapshot.Element[0].Constraint {
					inherited[c.Key] = true
				}
			}
		}
	}
	for _, c := range e.Constraint {
		if covered[c.Key] || inherited[c.Key] || c.Expression == "" || c.Key == "dom-6" { // dom-6 is good advice
			continue
		}
		r := outRule{Key: c.Key, Expr: c.Expression, Human: c.Human}
		if c.Severity != "error" {
			r.Severity = c.Severity
		}
		list = append(list, r)
	}
	return list
}

// profiles gives profiles and the value sets that they bind to.
func (l *library) profiles(name, version string, list []*structure) outPackage {
	out := outPackage{Name: name, Version: version}
	sets := map[string]bool{}
	for _, s := range list {
		p := outProfile{URL: s.URL, Version: s.Version, Type: s.Type}
		for _, e := range s.Snapshot.Element {
			o := l.element(s, e)
			if o.Bind != nil {
				sets[o.Bind.Set] = true
			}
			p.Elements = append(p.Elements, o)
		}
		p.Elements = slices.DeleteFunc(p.Elements, func(e outElement2) bool { return !useful(p.Elements, e) })
		out.Profiles = append(out.Profiles, p)
	}
	slices.SortFunc(out.Profiles, func(a, b outProfile) int { return cmp.Compare(a.URL, b.URL) })
	for _, url := range slices.Sorted(maps.Keys(sets)) {
		out.Sets = append(out.Sets, outSet{url, l.expand(url)})
	}
	return out
}

// element gives what a profile says of an element beyond its base type.
func (l *library) element(s *structure, e element) outElement2 {
	o := outElement2{ID: e.ID, Min: e.Min, Fixed: e.values["fixed"], Pattern: e.values["pattern"]}
	base := l.baseOf(s.Type, e.Path)
	if base == nil || base.Max != e.Max {
		o.Max = e.Max
	}
	if base != nil && base.Min == e.Min && e.SliceName == "" {
		o.Min = 0
	}
	if base == nil || differ(base.Type, e.Type) {
		for _, t := range e.Type {
			o.Types = append(o.Types, outElemType{t.Code, t.Profile, t.TargetProfile})
		}
	}
	if sl := e.Slicing; sl != nil {
		o.Sliced, o.Closed = true, sl.Rules == "closed"
		for _, d := range sl.Discriminator {
			o.By = append(o.By, [2]string{d.Type, d.Path})
		}
	}
	if b := e.Binding; b != nil && (b.Strength == "required" || b.Strength == "extensible") && b.ValueSet != "" {
		same := base != nil && base.Binding != nil && base.Binding.Strength == b.Strength && base.Binding.ValueSet == b.ValueSet
		if (!same || b.Strength == "extensible") && l.expand(b.ValueSet) != nil {
			o.Bind = &outBinding{b.Strength, b.ValueSet}
		}
	}
	known := map[string]bool{}
	if base != nil {
		for _, c := range base.Constraint {
			known[c.Key] = true
		}
	}
	for _, r := range l.rules(e, false) {
		if !known[r.Key] {
			o.Rules = append(o.Rules, r)
		}
	}
	return o
}

func (l *library) baseOf(kind, path string) *element {
	s := l.structures["http://hl7.org/fhir/StructureDefinition/"+kind]
	if s == nil {
		return nil
	}
	for i := range s.Snapshot.Element {
		if s.Snapshot.Element[i].Path == path {
			return &s.Snapshot.Element[i]
		}
	}
	// below a datatype: the element of that type
	parts := strings.Split(path, ".")
	for i := len(parts) - 1; i > 0; i-- {
		outer := strings.Join(parts[:i], ".")
		for _, e := range s.Snapshot.Element {
			if e.Path == outer && len(e.Type) == 1 && outer != s.Type {
				return l.baseOf(e.Type[0].Code, e.Type[0].Code+"."+strings.Join(parts[i:], "."))
			}
		}
	}
	return nil
}

func differ(a, b []elementType) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) != string(y)
}

// useful keeps elements that say something, and those above them.
func useful(all []outElement2, e outElement2) bool {
	says := func(o outElement2) bool {
		return o.Min > 0 || o.Max != "" || o.Types != nil || o.Fixed != nil || o.Pattern != nil || o.Bind != nil || o.Sliced || o.Rules != nil
	}
	return says(e) || slices.ContainsFunc(all, func(o outElement2) bool {
		return says(o) && (strings.HasPrefix(o.ID, e.ID+".") || strings.HasPrefix(o.ID, e.ID+":"))
	})
}

// expand lists the codes of a value set by system; nil when the packages do not
// hold them all.
func (l *library) expand(url string) map[string][]string {
	url, _, _ = strings.Cut(url, "|")
	if known, ok := l.expanded[url]; ok {
		return known
	}
	l.expanded[url] = nil // a set that holds itself
	set := l.sets[url]
	if set == nil || len(set.Compose.Include) == 0 {
		return nil
	}
	found := map[string]map[string]bool{}
	total := 0
	for _, i := range set.Compose.Include {
		codes := l.included(i)
		if codes == nil {
			return nil
		}
		for system, list := range codes {
			if found[system] == nil {
				found[system] = map[string]bool{}
			}
			for _, code := range list {
				found[system][code] = true
			}
			total += len(list)
		}
	}
	for _, x := range set.Compose.Exclude {
		codes := l.included(x)
		if codes == nil {
			return nil
		}
		for system, list := range codes {
			for _, code := range list {
				delete(found[system], code)
			}
		}
	}
	if total > maxSet {
		log.Printf("left out: %s has %d codes", url, total)
		return nil
	}
	out := map[string][]string{}
	for system, codes := range found {
		out[system] = slices.Sorted(maps.Keys(codes))
	}
	l.expanded[url] = out
	return out
}

func (l *library) included(i include) map[string][]string {
	var codes map[string][]string
	switch {
	case i.System == "":
	case len(i.Concept) > 0:
		codes = map[string][]string{i.System: flat(i.Concept)}
	default:
		s := l.systems[i.System]
		if s == nil || s.Content != "complete" {
			return nil
		}
		list, ok := filtered(s, i)
		if !ok {
			return nil
		}
		codes = map[string][]string{i.System: list}
	}
	for _, url := range i.ValueSet {
		other := l.expand(url)
		if other == nil {
			return nil
		}
		if codes == nil {
			codes = maps.Clone(other)
			continue
		}
		for system, list := range codes {
			codes[system] = slices.DeleteFunc(slices.Clone(list), func(c string) bool { return !slices.Contains(other[system], c) })
		}
	}
	return codes
}

func filtered(s *codeSystem, i include) ([]string, bool) {
	all := flat(s.Concept)
	for _, f := range i.Filter {
		if f.Property != "concept" || f.Op != "is-a" && f.Op != "descendent-of" && f.Op != "is-not-a" {
			return nil, false
		}
		below := find(s.Concept, f.Value)
		if below == nil {
			return nil, false
		}
		inside := flat(below.Concept)
		if f.Op != "descendent-of" {
			inside = append(inside, f.Value)
		}
		all = slices.DeleteFunc(all, func(c string) bool { return slices.Contains(inside, c) == (f.Op == "is-not-a") })
	}
	return all, true
}

func find(list []concept, code string) *concept {
	for i := range list {
		if list[i].Code == code {
			return &list[i]
		}
		if c := find(list[i].Concept, code); c != nil {
			return c
		}
	}
	return nil
}

func flat(list []concept) []string {
	var codes []string
	for _, c := range list {
		codes = append(append(codes, c.Code), flat(c.Concept)...)
	}
	return codes
}

func write(path string, p outPackage) {
	f, err := os.Create(path)
	check(err)
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	check(err)
	enc := json.NewEncoder(z)
	enc.SetEscapeHTML(false)
	check(enc.Encode(p))
	check(z.Close())
	check(f.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
