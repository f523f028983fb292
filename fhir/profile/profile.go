package profile

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"mypatients/fhir"
)

// baseURL is where the definitions of R4 itself are.
const baseURL = "http://hl7.org/fhir/StructureDefinition/"

// usCoreURL begins the canonical URLs of US Core.
const usCoreURL = "http://hl7.org/fhir/us/core/"

// A Profile is a packaged profile of a resource type, or the type itself, which
// asks nothing beyond [Check].
type Profile struct {
	URL     string
	Version string // of the package: "6.1.0"
	Type    fhir.Type

	root  *node // nil: the type itself
	pack  *pack
	model *model
}

// profiles are all that are packaged.
type profiles struct {
	model *model
	byURL map[string][]*Profile // the newest first
	packs []*pack               // R4 itself, then the newest first
}

// A pack is one package: what it refers to it means by its own version.
type pack struct {
	version string
	own     map[string]*Profile
	core    *pack // nil: this is it
	sets    map[string]*codes
}

func (p *pack) find(canonical string) *Profile {
	url, _, _ := strings.Cut(canonical, "|")
	for ; p != nil; p = p.core {
		if found := p.own[url]; found != nil {
			return found
		}
	}
	return nil
}

// A node is what a profile says of an element, or of a slice of one.
type node struct {
	name     string // without [x]
	slice    string // of a slice: its name
	min, max int    // max -1: as the type has it
	types    []profiledType
	fixed    any
	pattern  any
	binding  *binding
	rules    []*rule

	by       [][2]string // discriminators of the slices: type and path
	closed   bool
	slices   []*node
	children []*node
}

func (n *node) child(name string) *node {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// grow gives the node that an element's id means, "Patient.extension:race.url".
func (n *node) grow(id string) *node {
	segments := strings.Split(id, ".")
	for _, segment := range segments[1:] {
		name, slice, sliced := strings.Cut(segment, ":")
		name = strings.TrimSuffix(name, "[x]")
		next := n.child(name)
		if next == nil {
			next = &node{name: name, max: -1}
			n.children = append(n.children, next)
		}
		n = next
		if !sliced {
			continue
		}
		i := slices.IndexFunc(n.slices, func(s *node) bool { return s.slice == slice })
		if i < 0 {
			i = len(n.slices)
			n.slices = append(n.slices, &node{name: name, slice: slice, max: -1})
		}
		n = n.slices[i]
	}
	return n
}

func loadProfiles(m *model, packages ...[]byte) (*profiles, error) {
	all := &profiles{model: m, byURL: map[string][]*Profile{}}
	var core *pack
	for _, data := range packages {
		d, err := unpack(data)
		if err != nil {
			return nil, err
		}
		sets := &model{sets: map[string]*codes{}}
		sets.addSets(d.Sets)
		p := &pack{version: d.Version, own: map[string]*Profile{}, core: core, sets: sets.sets}
		for _, one := range d.Profiles {
			made := &Profile{URL: one.URL, Version: one.Version, Type: fhir.Type(one.Type), root: &node{max: -1}, pack: p, model: m}
			for _, e := range one.Elements {
				if err := made.root.grow(e.ID).fill(e, p.sets); err != nil {
					return nil, err
				}
			}
			p.own[one.URL] = made
			all.byURL[one.URL] = append(all.byURL[one.URL], made)
		}
		all.packs = append(all.packs, p)
		if core == nil {
			core = p
		}
	}
	for _, versions := range all.byURL {
		slices.SortFunc(versions, func(a, b *Profile) int { return compareVersions(b.Version, a.Version) })
	}
	slices.SortFunc(all.packs[1:], func(a, b *pack) int { return compareVersions(b.version, a.version) })
	return all, nil
}

func (n *node) fill(e constraintData, sets map[string]*codes) error {
	n.min, n.types, n.by, n.closed = e.Min, e.Types, e.By, e.Closed
	if max, err := strconv.Atoi(e.Max); err == nil {
		n.max = max
	}
	if e.Bind != nil {
		n.binding = &binding{sets[e.Bind.Set], e.Bind.Strength == "required"}
	}
	var err error
	if n.fixed, err = decode(e.Fixed); err != nil {
		return err
	}
	if n.pattern, err = decode(e.Pattern); err != nil {
		return err
	}
	n.rules, err = compileRules(e.Rules)
	return err
}

// decode gives a value as it is in the trees of documents.
func decode(raw json.RawMessage) (v any, err error) {
	if raw == nil {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}

func compareVersions(a, b string) int {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		n, _ := strconv.Atoi(x[i])
		m, _ := strconv.Atoi(y[i])
		if c := cmp.Compare(n, m); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(x), len(y))
}

// Find gives the profile of a canonical URL, perhaps with |version; without one,
// the newest that is packaged. One that is not known is an error of kind
// Unprocessable about "profile".
func Find(canonical string) (*Profile, error) {
	all, err := theProfiles()
	if err != nil {
		return nil, err
	}
	url, version, _ := strings.Cut(canonical, "|")
	for _, p := range all.byURL[url] {
		if (version == "" || p.Version == version) && p.Type.Valid() {
			return p, nil
		}
	}
	name, ofBase := strings.CutPrefix(url, baseURL)
	if t := fhir.Type(name); ofBase && t.Valid() && (version == "" || version == "4.0" || version == "4.0.1") {
		return &Profile{URL: url, Version: "4.0.1", Type: t, model: all.model}, nil
	}
	return nil, &fhir.Error{Kind: fhir.Unprocessable, Issues: []fhir.Issue{{Code: "not-supported", Expression: "profile",
		Text: "This server has no such profile. It has those of R4 itself and of US Core 3.1.1, 6.1.0 and 7.0.0."}}}
}

// Supported lists the profiles of US Core for a type by their URLs, sorted: those
// that [Find] knows beside R4's own.
func Supported(t fhir.Type) ([]string, error) {
	all, err := theProfiles()
	if err != nil {
		return nil, err
	}
	var urls []string
	for url, versions := range all.byURL {
		if strings.HasPrefix(url, usCoreURL) && versions[0].Type == t {
			urls = append(urls, url)
		}
	}
	slices.Sort(urls)
	return urls, nil
}

// Check checks a resource against the profile alone: cardinality, slices, fixed
// values and patterns, bindings, types of values and of what references lead to,
// and the profile's invariants. Warnings are among the issues.
func (p *Profile) Check(tree map[string]any) ([]fhir.Issue, error) {
	t := p.model.of(tree)
	if t == nil {
		return nil, nil
	}
	if fhir.Type(t.name) != p.Type {
		return []fhir.Issue{{Code: "structure", Expression: t.name, Text: "The profile is for resources of type " + string(p.Type) + "."}}, nil
	}
	if p.root == nil {
		return nil, nil
	}
	c := &profileCheck{check: newCheck(p.model, tree, t), pack: p.pack}
	c.sets = p.pack.sets
	c.node(p.root, c.root, nil)
	c.tooCostly()
	return c.issues, nil
}
