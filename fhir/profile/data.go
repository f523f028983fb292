package profile

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"mypatients/fhir"
)

//go:embed data/r4.core-4.0.1.json.gz
var coreData []byte

//go:embed data/us.core-3.1.1.json.gz
var usCore311 []byte

//go:embed data/us.core-6.1.0.json.gz
var usCore610 []byte

//go:embed data/us.core-7.0.0.json.gz
var usCore700 []byte

// theModel is made by the first who checks: a program that only reads should not
// pay some 50 ms and 3 MB.
var theModel = sync.OnceValues(func() (*model, error) { return loadModel(coreData) })

// theProfiles are made by the first who asks for one.
var theProfiles = sync.OnceValues(func() (*profiles, error) {
	m, err := theModel()
	if err != nil {
		return nil, err
	}
	return loadProfiles(m, coreData, usCore311, usCore610, usCore700)
})

// The data as generate.go writes it.
type (
	packageData struct {
		Name, Version string
		Types         []typeData
		Profiles      []profileData
		Sets          []setData
	}
	typeData struct {
		Name, Kind string
		Rules      []ruleData
		Elements   []elementData
	}
	elementData struct {
		Name  string       `json:"n"`
		Types []string     `json:"t"`
		List  bool         `json:"l"`
		Bind  *bindingData `json:"b"`
		Rules []ruleData   `json:"r"`
	}
	ruleData struct {
		Key      string `json:"k"`
		Expr     string `json:"x"`
		Human    string `json:"h"`
		Severity string `json:"s"`
	}
	bindingData struct {
		Strength string `json:"s"`
		Set      string `json:"v"`
	}
	profileData struct {
		URL, Version, Type string
		Elements           []constraintData
	}
	constraintData struct {
		ID             string
		Min            int
		Max            string
		Types          []profiledType
		Fixed, Pattern json.RawMessage
		Bind           *bindingData `json:"b"`
		By             [][2]string
		Closed, Sliced bool
		Rules          []ruleData `json:"r"`
	}
	profiledType struct {
		Code     string   `json:"c"`
		Profiles []string `json:"p"`
		Targets  []string `json:"t"`
	}
	setData struct {
		URL   string
		Codes map[string][]string
	}
)

func unpack(data []byte) (*packageData, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	p := &packageData{}
	return p, json.NewDecoder(z).Decode(p)
}

// A model is what R4 says of its types, linked for walking.
type model struct {
	types map[string]*typ
	sets  map[string]*codes
	below *typ // Element: what "_name" holds
}

// A typ is a type, or the type of a nested element ("Patient.contact").
type typ struct {
	name      string
	resource  bool
	primitive bool
	elements  map[string]*element // by JSON name, choices by their own name too
	rules     []*rule
}

// An element is one JSON name of a type, or a choice of several.
type element struct {
	base    string // of an option of a choice: "value" for "valueQuantity"
	typ     *typ   // nil: of a choice, and of resources
	list    bool
	choice  bool // stands for the options whose base is its name
	inline  bool // holds a resource, which tells its own type
	rules   []*rule
	binding *binding
	format  format // of a primitive; nil: nothing to ask
}

// A rule is an invariant, compiled.
type rule struct {
	key, text string
	severity  string // empty: error
	holds     expr
}

// codes are the codes of a value set by system.
type codes struct {
	url     string
	systems map[string]map[string]bool
	any     map[string]bool // whatever the system
}

type binding struct {
	set      *codes
	required bool
}

func loadModel(data []byte) (*model, error) {
	p, err := unpack(data)
	if err != nil {
		return nil, err
	}
	m := &model{types: map[string]*typ{}, sets: map[string]*codes{}}
	m.addSets(p.Sets)
	for _, t := range p.Types {
		m.types[t.Name] = &typ{name: t.Name, resource: t.Kind == "resource", primitive: t.Kind == "primitive-type", elements: map[string]*element{}}
	}
	for _, name := range []string{"SimpleQuantity", "MoneyQuantity"} { // profiles that R4 uses as types
		m.types[name] = &typ{name: "Quantity", elements: m.types["Quantity"].elements}
	}
	m.below = m.types["Element"]
	for _, t := range p.Types {
		made := m.types[t.Name]
		if made.rules, err = compileRules(t.Rules); err != nil {
			return nil, err
		}
		for _, e := range t.Elements {
			if err := m.addElement(made, e); err != nil {
				return nil, fmt.Errorf("%s.%s: %w", t.Name, e.Name, err)
			}
		}
	}
	m.addFormats()
	quantity := m.types["Quantity"].rules
	plain, err := compileRules([]ruleData{{Key: "sqty-1", Expr: "comparator.empty()", Human: "The comparator is not used on a SimpleQuantity"}})
	if err != nil {
		return nil, err
	}
	m.types["MoneyQuantity"].rules = quantity
	m.types["SimpleQuantity"].rules = append(plain, quantity...)
	return m, nil
}

func (m *model) addSets(sets []setData) {
	for _, s := range sets {
		c := &codes{url: s.URL, systems: map[string]map[string]bool{}, any: map[string]bool{}}
		for system, list := range s.Codes {
			c.systems[system] = map[string]bool{}
			for _, code := range list {
				c.systems[system][code] = true
				c.any[code] = true
			}
		}
		m.sets[s.URL] = c
	}
}

func (m *model) addElement(t *typ, e elementData) error {
	rules, err := compileRules(e.Rules)
	if err != nil {
		return err
	}
	made := element{list: e.List, rules: rules}
	if e.Bind != nil {
		made.binding = &binding{m.sets[e.Bind.Set], e.Bind.Strength == "required"}
	}
	name, isChoice := strings.CutSuffix(e.Name, "[x]")
	for _, code := range e.Types {
		option := made
		if option.typ = m.types[code]; option.typ == nil {
			return fmt.Errorf("no type %s", code)
		}
		option.format = formatOf(code)
		if code == "Resource" {
			option.typ, option.inline = nil, true
		}
		if !isChoice {
			t.elements[name] = &option
			continue
		}
		option.base = name
		t.elements[name+strings.ToUpper(code[:1])+code[1:]] = &option
	}
	if isChoice {
		t.elements[name] = &element{choice: true, list: e.List}
	}
	return nil
}

func compileRules(list []ruleData) ([]*rule, error) {
	var rules []*rule
	for _, r := range list {
		holds, err := compile(r.Expr)
		if err != nil {
			return nil, fmt.Errorf("profile: %s: %s: %w", r.Key, r.Expr, err)
		}
		rules = append(rules, &rule{key: r.Key, text: r.Human, severity: r.Severity, holds: holds})
	}
	return rules, nil
}

// of gives the type of a resource by what it says it is; nil for nonsense.
func (m *model) of(tree map[string]any) *typ {
	name, _ := tree["resourceType"].(string)
	if !fhir.Type(name).Valid() {
		return nil
	}
	return m.types[name]
}
