package engine

import (
	"encoding/json"
	"slices"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/profile"
	"mypatients/fhir/search"
)

// A Statement is the part of a CapabilityStatement that this server fills in
// (https://hl7.org/fhir/R4/capabilitystatement.html).
type Statement struct {
	ResourceType   string     `json:"resourceType"`
	URL            string     `json:"url,omitempty"`
	Name           string     `json:"name,omitempty"`
	Title          string     `json:"title,omitempty"`
	Status         string     `json:"status"`
	Date           string     `json:"date"`
	Publisher      string     `json:"publisher,omitempty"`
	Description    string     `json:"description,omitempty"`
	Kind           string     `json:"kind"`
	Instantiates   []string   `json:"instantiates,omitempty"`
	Software       *Software  `json:"software,omitempty"`
	Implementation *Site      `json:"implementation,omitempty"`
	FHIRVersion    string     `json:"fhirVersion"`
	Format         []string   `json:"format"`
	PatchFormat    []string   `json:"patchFormat,omitempty"`
	Rest           []RestMode `json:"rest"`
}

// Software names the program.
type Software struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

// Site names the installation.
type Site struct {
	Description string `json:"description"`
	URL         string `json:"url,omitempty"`
}

// A RestMode says what can be done by REST. Security is any JSON value.
type RestMode struct {
	Mode          string              `json:"mode"`
	Documentation string              `json:"documentation,omitempty"`
	Security      any                 `json:"security,omitempty"`
	Resource      []ResourceMode      `json:"resource"`
	Interaction   []Interaction       `json:"interaction,omitempty"`
	SearchParam   []SearchDefinition  `json:"searchParam,omitempty"`
	Operation     []OperationOffering `json:"operation,omitempty"`
}

// A ResourceMode says what can be done with a type.
type ResourceMode struct {
	Type              fhir.Type           `json:"type"`
	Profile           string              `json:"profile,omitempty"`
	SupportedProfile  []string            `json:"supportedProfile,omitempty"`
	Documentation     string              `json:"documentation,omitempty"`
	Interaction       []Interaction       `json:"interaction"`
	Versioning        string              `json:"versioning"`
	ReadHistory       bool                `json:"readHistory"`
	UpdateCreate      bool                `json:"updateCreate"`
	ConditionalCreate bool                `json:"conditionalCreate"`
	ConditionalRead   string              `json:"conditionalRead,omitempty"`
	ConditionalUpdate bool                `json:"conditionalUpdate"`
	ConditionalDelete string              `json:"conditionalDelete"`
	ReferencePolicy   []string            `json:"referencePolicy,omitempty"`
	SearchInclude     []string            `json:"searchInclude,omitempty"`
	SearchRevInclude  []string            `json:"searchRevInclude,omitempty"`
	SearchParam       []SearchDefinition  `json:"searchParam,omitempty"`
	Operation         []OperationOffering `json:"operation,omitempty"`
}

// An Interaction is one that is there.
type Interaction struct {
	Code          string `json:"code"`
	Documentation string `json:"documentation,omitempty"`
}

// A SearchDefinition is a search parameter that is there.
type SearchDefinition struct {
	Name          string `json:"name"`
	Definition    string `json:"definition,omitempty"`
	Type          string `json:"type"`
	Documentation string `json:"documentation,omitempty"`
}

// An OperationOffering is an operation that is there.
type OperationOffering struct {
	Name          string `json:"name"`
	Definition    string `json:"definition"`
	Documentation string `json:"documentation,omitempty"`
}

// Of gives what is said of a type, to be added to; nil when it is not there.
func (r *RestMode) Of(t fhir.Type) *ResourceMode {
	for i := range r.Resource {
		if r.Resource[i].Type == t {
			return &r.Resource[i]
		}
	}
	return nil
}

// interactions are those that every type has.
var interactions = []string{"read", "vread", "update", "patch", "delete", "history-instance", "history-type", "create", "search-type"}

// Capabilities gives the CapabilityStatement of what the engine does. Each extra
// adds what others do with it: security, operations, names; it must not keep the
// Statement.
func (e *Engine) Capabilities(extra ...func(*Statement)) []byte {
	s := Statement{
		ResourceType: "CapabilityStatement",
		Status:       "active",
		Date:         e.started.UTC().Format(time.RFC3339),
		Kind:         "instance",
		FHIRVersion:  "4.0.1",
		Format:       []string{"application/fhir+json", "json"},
		PatchFormat:  []string{"application/json-patch+json"},
	}
	rest := RestMode{Mode: "server"}
	reverse := e.reverseIncludes()
	for _, t := range fhir.Types() {
		rest.Resource = append(rest.Resource, e.resourceMode(t, reverse[t]))
	}
	for _, code := range []string{"transaction", "batch", "search-system", "history-system"} {
		rest.Interaction = append(rest.Interaction, Interaction{Code: code})
	}
	rest.SearchParam = e.commonParams()
	if patient := rest.Of("Patient"); patient != nil {
		patient.Operation = []OperationOffering{{Name: "everything", Definition: "http://hl7.org/fhir/OperationDefinition/Patient-everything"}}
	}
	s.Rest = []RestMode{rest}
	for _, add := range extra {
		add(&s)
	}
	body, err := json.Marshal(s)
	if err != nil { // Security was no JSON value: a mistake in the program
		panic("engine: capability statement: " + err.Error())
	}
	return body
}

func (e *Engine) resourceMode(t fhir.Type, reverse []string) ResourceMode {
	mode := ResourceMode{
		Type:              t,
		Profile:           "http://hl7.org/fhir/StructureDefinition/" + string(t),
		Versioning:        "versioned-update",
		ReadHistory:       true,
		UpdateCreate:      true,
		ConditionalCreate: true,
		ConditionalRead:   "full-support",
		ConditionalUpdate: true,
		ConditionalDelete: "single",
		ReferencePolicy:   []string{"literal", "logical", "local"},
		SearchRevInclude:  reverse,
	}
	if e.integrity {
		mode.ReferencePolicy = append(mode.ReferencePolicy, "enforced")
	}
	mode.Operation = []OperationOffering{{Name: "validate", Definition: "http://hl7.org/fhir/OperationDefinition/Resource-validate"}}
	if supported, err := profile.Supported(t); err == nil { // what $validate checks against
		mode.SupportedProfile = supported
	}
	for _, code := range interactions {
		mode.Interaction = append(mode.Interaction, Interaction{Code: code})
	}
	mode.SearchParam = e.generalParams()
	for _, p := range e.Registry().Params(t) {
		mode.SearchParam = append(mode.SearchParam, SearchDefinition{Name: p.Name, Definition: p.URL, Type: string(p.Kind)})
		if p.Kind == search.Reference {
			mode.SearchInclude = append(mode.SearchInclude, string(t)+":"+p.Name)
		}
	}
	return mode
}

// commonParams lists the parameters of a search of the whole system: those that
// every type has, and _type.
func (e *Engine) commonParams() []SearchDefinition {
	params := append(e.generalParams(),
		SearchDefinition{Name: "_type", Type: "special", Documentation: "The types to search; all that may be searched when it is not given"})
	for _, p := range e.Registry().Params("Patient") {
		common := !slices.ContainsFunc(fhir.Types(), func(t fhir.Type) bool {
			of, ok := e.Registry().Param(t, p.Name)
			return !ok || of.URL != p.URL
		})
		if common {
			params = append(params, SearchDefinition{Name: p.Name, Definition: p.URL, Type: string(p.Kind)})
		}
	}
	return params
}

// generalParams lists the parameters of all types that are about no element.
func (e *Engine) generalParams() []SearchDefinition {
	params := []SearchDefinition{{Name: "_list", Type: "special", Documentation: "What is in a List, by its id"}}
	if e.Registry().SearchesText() {
		params = append(params,
			SearchDefinition{Name: "_text", Definition: "http://hl7.org/fhir/SearchParameter/DomainResource-text", Type: "string"},
			SearchDefinition{Name: "_content", Definition: "http://hl7.org/fhir/SearchParameter/Resource-content", Type: "string"})
	}
	return params
}

// reverseIncludes lists, for each type, the parameters of others that lead to it.
func (e *Engine) reverseIncludes() map[fhir.Type][]string {
	reverse := map[fhir.Type][]string{}
	for _, source := range fhir.Types() {
		for _, p := range e.Registry().Params(source) {
			if p.Kind != search.Reference {
				continue
			}
			for _, target := range p.Targets {
				reverse[target] = append(reverse[target], string(source)+":"+p.Name)
			}
		}
	}
	return reverse
}
