package consent

import (
	"context"
	"slices"
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/smart"
)

// A stateBody is a Basic that an app sent, checked.
type stateBody struct {
	tree      node
	id        string
	versioned bool   // it has a meta.versionId
	subject   string // "Patient/1"; empty: global
	code      string // "system|code"
}

// stateMembers are what a state can hold beside its type.
var stateMembers = []string{"resourceType", "id", "meta", "code", "subject", "extension"}

// readStateBody holds a body to what an app state may be.
func (g *Guard) readStateBody(body []byte) (*stateBody, error) {
	if len(body) > maxAppState {
		return nil, fhir.Errorf(fhir.TooBig, "An app state has %d bytes at most.", maxAppState)
	}
	p, err := g.engine.Prepare(body)
	if err != nil {
		return nil, err
	}
	b := &stateBody{tree: p.Tree}
	if b.tree.str("resourceType") != "Basic" {
		return nil, fhir.Errorf(fhir.Invalid, "An app state is a Basic.")
	}
	for name := range b.tree {
		if !slices.Contains(stateMembers, name) {
			return nil, fhir.ElementErrorf(fhir.Unprocessable, "Basic."+name, "An app state has code, subject and extensions only.")
		}
	}
	b.id = b.tree.str("id")
	_, b.versioned = b.tree.obj("meta")["versionId"]
	codings := b.tree.obj("code").list("coding")
	if len(codings) != 1 || codings[0].str("system") == "" || codings[0].str("code") == "" {
		return nil, fhir.ElementErrorf(fhir.Unprocessable, "Basic.code", "An app state has one coding, with system and code.")
	}
	b.code = codings[0].str("system") + "|" + codings[0].str("code")
	if given := b.tree.obj("subject"); given != nil {
		if given.str("reference") == "" {
			return nil, fhir.ElementErrorf(fhir.Unprocessable, "Basic.subject", "The subject needs an absolute reference.")
		}
		if b.subject, err = g.stateSubject(given.str("reference")); err != nil {
			return nil, err
		}
	}
	for _, x := range b.tree.list("extension") {
		for name := range x {
			if name != "url" && name != "valueString" && name != "id" {
				return nil, fhir.ElementErrorf(fhir.Unprocessable, "Basic.extension", "Extensions of an app state have a valueString.")
			}
		}
	}
	return b, nil
}

// stateSubjects are the types that a state can be about.
var stateSubjects = []fhir.Type{"Patient", "Practitioner", "PractitionerRole", "RelatedPerson", "Person"}

// stateSubject reads an absolute reference; an empty one is about nobody.
func (g *Guard) stateSubject(reference string) (string, error) {
	if reference == "" {
		return "", nil
	}
	rest, ok := strings.CutPrefix(reference, g.base+"/fhir/")
	key, err := fhir.ParseKey(rest)
	if !ok || err != nil || !slices.Contains(stateSubjects, key.Type) {
		return "", fhir.ElementErrorf(fhir.Unprocessable, "Basic.subject", "The subject is an absolute reference to a patient or a person of %s/fhir.", g.base)
	}
	return key.String(), nil
}

// stateCode refuses codes that are not the app's.
func (g *Guard) stateCode(ctx context.Context, c Caller, code string) error {
	if g.appCode != nil {
		ok, err := g.appCode(ctx, c.ClientID, code)
		if err != nil || ok {
			return err
		}
	}
	return fhir.ElementErrorf(fhir.Forbidden, "Basic.code", "This app has no state of this code.")
}

// openState refuses what the scopes, or the record of the subject, do not open.
func (g *Guard) openState(tx *engine.Tx, c Caller, e *auditEntry, want smart.Permission, subject, code string) error {
	closed := fhir.Errorf(fhir.Forbidden, "This state is not open to the caller.")
	patient, isPatient := strings.CutPrefix(subject, "Patient/")
	if !stateScope(c, want, code, isPatient && patient == c.Launch.Patient) {
		return &fhir.Error{Kind: fhir.Forbidden, Issues: []fhir.Issue{{Text: "The scopes granted do not allow this on Basic."}}}
	}
	if subject == "" {
		if want == smart.MaySearch || c.Identity.Role == smart.Admin {
			return nil
		}
		return closed
	}
	p, err := g.cachedPerson(tx, c)
	if err != nil {
		return err
	}
	e.from(p)
	if isPatient {
		if seesByRole(p.identity.Role) {
			return closed
		}
		d, err := g.cachedDecision(tx, c, p, subject)
		if err != nil {
			return err
		}
		if open, err := g.opensPatient(tx, d); err != nil || !open { // a deny closes it too
			return orElse(err, closed)
		}
		e.concern(d)
		return nil
	}
	selves := append(slices.Clone(p.selves), c.Identity.Persons...)
	if slices.Contains(selves, subject) {
		return nil
	}
	if strings.HasPrefix(subject, "Person/") {
		_, tree, err := live(tx, subject)
		if err != nil {
			return err
		}
		for _, link := range tree.list("link") {
			if slices.Contains(selves, relativeTo(g.base, link.obj("target").str("reference"))) {
				return nil
			}
		}
	}
	return closed
}

// stateScope reports whether a scope opens states of a code. Of granular scopes
// only those by code are understood, compared to the letter.
func stateScope(c Caller, want smart.Permission, code string, inContext bool) bool {
	return slices.ContainsFunc(c.Scopes, func(s smart.Scope) bool {
		if !s.Covers("Basic") || s.May&want != want || !levelFits(s.Level, c.Grant) || s.Level == "system" || s.Level == "patient" && !inContext {
			return false
		}
		for name, values := range s.Params {
			if name != "code" || len(values) != 1 || values[0] != code {
				return false
			}
		}
		return true
	})
}
