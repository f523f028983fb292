package consent

import (
	"context"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/smart"
)

// A Validation is a call of $validate
// (https://hl7.org/fhir/R4/resource-operation-validate.html).
type Validation struct {
	Type    fhir.Type
	ID      string // of the instance it is called on; empty: on the type
	Body    []byte // nil: what is stored
	Mode    string // "", "create", "update", "delete" or "profile"
	Profile string // canonical URL; empty: what R4 asks
}

// Validate tells what is wrong with a resource, without writing anything. Whoever
// has any scope on the type may ask about a body; to ask about an instance is to
// read it. The issues of what would be an error in a write have no severity.
func (g *Guard) Validate(ctx context.Context, c Caller, v Validation) ([]fhir.Issue, error) {
	e := g.entry(c, "validate", v.Type)
	issues, err := g.validate(ctx, c, v, e)
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return issues, g.auditor.write(ctx, e)
}

func (g *Guard) validate(ctx context.Context, c Caller, v Validation, e *auditEntry) ([]fhir.Issue, error) {
	want := smart.Permission(0) // any
	if v.ID != "" {
		want = smart.MayRead
	}
	if err := g.requireScope(c, v.Type, want); err != nil {
		return nil, err
	}
	if err := v.check(); err != nil {
		return nil, err
	}
	var issues []fhir.Issue
	key := fhir.Key{Type: v.Type, ID: v.ID}
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		issues = nil
		eye, err := g.eye(tx, c, v.Type, nil, v.Mode == "delete")
		if err != nil {
			return err
		}
		tx.WatchedBy(eye)
		if v.ID != "" {
			s, err := g.lookAt(tx, c, key, smart.MayRead)
			if err != nil {
				return err
			}
			e.Patients = s.owners
			e.seenBy(s)
			found, err := tx.Read(key, s.sight)
			if err != nil {
				return err
			}
			e.returned(found)
			if v.Body == nil {
				v.Body = found.JSON
			}
		}
		if v.Mode == "delete" {
			issues, err = tx.ValidateDelete(key)
			return err
		}
		issues, err = g.validateBody(tx, v)
		return err
	})
	return issues, err
}

// check refuses what makes no sense together.
func (v *Validation) check() error {
	switch {
	case v.Mode == "" || v.Mode == "create" && v.ID == "" || v.Mode == "update":
	case v.Mode == "delete" && v.ID != "":
		return nil
	case v.Mode == "profile" && v.ID != "" && v.Profile != "":
		v.Body = nil
	default:
		return fhir.ElementErrorf(fhir.Invalid, "mode", "The mode is create (on a type), update, delete (on an instance) or profile (on an instance, with a profile).")
	}
	if v.Body == nil && v.ID == "" {
		return fhir.ElementErrorf(fhir.Invalid, "resource", "There is no resource to validate.")
	}
	return nil
}

// validateBody tells what is wrong with a body, as a write of the mode would find.
func (g *Guard) validateBody(tx *engine.Tx, v Validation) ([]fhir.Issue, error) {
	doc, issues, err := g.engine.Validate(v.Body, v.Profile)
	if err != nil {
		return nil, err
	}
	if doc.Type != v.Type {
		return append(issues, fhir.Issue{Code: "structure", Expression: "resourceType",
			Text: "The body is a " + string(doc.Type) + ", the address says " + string(v.Type) + "."}), nil
	}
	switch {
	case v.Mode == "update" && doc.ID == "":
		issues = append(issues, fhir.Issue{Code: "required", Expression: string(v.Type) + ".id", Text: "An update needs the id of the resource."})
	case v.ID != "" && doc.ID != v.ID:
		issues = append(issues, fhir.Issue{Code: "value", Expression: string(v.Type) + ".id", Text: "The id of the body must be the id of the address."})
	}
	if v.Mode == "" || v.Mode == "profile" {
		return issues, nil
	}
	more, err := tx.ValidateReferences(doc)
	return append(issues, more...), err
}
