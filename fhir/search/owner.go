package search

import (
	"fmt"
	"slices"
	"strings"

	"mypatients/fhir"
)

// ownRules are the parameters that make an owner besides those of the Patient
// compartment of R4, which leaves these types out.
var ownRules = map[fhir.Type]string{"Task": "patient", "Device": "patient"}

// setOwners finds the parameters that put a resource into the compartment of a
// patient, and those whose value limits a query to one.
func (tp *typeParams) setOwners(t fhir.Type, compartment []string, known *choices) error {
	tp.compartment = compartment
	if own, ok := ownRules[t]; ok {
		compartment = append(slices.Clone(compartment), own)
	}
	for _, name := range compartment {
		p := tp.byName[name]
		if p == nil {
			return fmt.Errorf("no parameter %s of the compartment", name)
		}
		tp.owners = append(tp.owners, p)
	}
	if t == "Binary" {
		p := &Param{Name: "securityContext", Kind: Reference, Expression: "Binary.securityContext"}
		var err error
		if p.each, err = compile(p.Expression, string(t), known); err != nil {
			return err
		}
		tp.owners = append(tp.owners, p)
	}
	for _, p := range tp.list {
		if p.Kind == Reference && slices.ContainsFunc(tp.owners, func(o *Param) bool { return sameReferences(p, o) }) {
			tp.limits[p] = true
		}
	}
	return nil
}

// sameReferences reports whether two parameters hold the same references to
// patients: equal expressions, or one is the other's part that leads to patients.
func sameReferences(a, b *Param) bool {
	const onlyPatients = ".where(resolve() is Patient)"
	return strings.TrimSuffix(a.Expression, onlyPatients) == strings.TrimSuffix(b.Expression, onlyPatients)
}
