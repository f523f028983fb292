package fhir

import (
	"strconv"
	"strings"
)

// A Place is where a value stands in a tree, as a list from the leaf up, so that
// walking costs nothing and only a fault makes a text of it. Nil is the root.
type Place struct {
	Up    *Place
	Name  string // the JSON name; empty for an item of an array
	Base  string // the element's name when it differs: "value" for "valueQuantity"
	Index int    // of an item
}

// Expression gives the place as a simple FHIRPath behind root, "Patient.name[0]".
func (p *Place) Expression(root string) string {
	if p == nil {
		return root
	}
	up := p.Up.Expression(root)
	name := p.Base
	if name == "" {
		name = strings.TrimPrefix(p.Name, "_")
	}
	switch {
	case p.Name == "":
		return up + "[" + strconv.Itoa(p.Index) + "]"
	case up == "":
		return name
	}
	return up + "." + name
}

// steps gives the place as names (string) and indexes (int) from the root.
func (p *Place) steps() []any {
	if p == nil {
		return nil
	}
	if p.Name == "" {
		return append(p.Up.steps(), p.Index)
	}
	return append(p.Up.steps(), p.Name)
}
