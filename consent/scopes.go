package consent

import (
	"slices"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// scopeExpr gives what the scopes of a grant open of a type for an interaction:
// step 0 of the decision. Several scopes add up; the parameters of a granular
// scope all hold; a patient scope reaches the record of the launch patient, and
// the directory.
func (g *Guard) scopeExpr(grant smart.Grant, t fhir.Type, want smart.Permission) store.Expr {
	var open store.Or
	for _, s := range grant.Scopes {
		if !s.Covers(string(t)) || s.May&want != want || !levelFits(s.Level, grant) {
			continue
		}
		where := store.And{}
		if s.Level == "patient" && !isDirectory(t) && t != "Subscription" { // which is the app's own
			where = append(where, whose(t, []string{"Patient/" + grant.Launch.Patient}))
		}
		if len(s.Params) > 0 {
			q, err := g.engine.Registry().Parse(t, s.Params, search.Options{Base: g.base + "/fhir"})
			if err != nil {
				continue // a constraint that cannot be kept opens nothing
			}
			where = append(where, q.Plan(engine.Everything).Where)
		}
		if len(where) == 0 {
			return store.All()
		}
		open = append(open, where)
	}
	return open
}

// levelFits reports whether a level of scopes can serve a grant: patient scopes
// need a launch patient, user scopes a person, system scopes a system.
func levelFits(level string, grant smart.Grant) bool {
	switch level {
	case "patient":
		return grant.Launch.Patient != "" && grant.Identity.Role != smart.System
	case "user":
		return grant.Identity.Role != smart.System
	case "system":
		return grant.Identity.Role == smart.System
	}
	return false
}

// requireScope refuses an interaction that no scope covers.
func (g *Guard) requireScope(c Caller, t fhir.Type, want smart.Permission) error {
	for _, s := range c.Scopes {
		if s.Covers(string(t)) && s.May&want == want && levelFits(s.Level, c.Grant) {
			return nil
		}
	}
	return &fhir.Error{Kind: fhir.Forbidden, Issues: []fhir.Issue{{Text: "The scopes granted do not allow this on " + string(t) + "."}}}
}

// requireUserScope is requireScope for what reaches beyond a launch patient: a
// patient scope does not do.
func (g *Guard) requireUserScope(c Caller, t fhir.Type, want smart.Permission) error {
	c.Scopes = slices.DeleteFunc(slices.Clone(c.Scopes), func(s smart.Scope) bool { return s.Level == "patient" })
	return g.requireScope(c, t, want)
}
