package consent

import (
	"errors"
	"fmt"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// A Ceiling is how far a site lets a basis open records. It lowers and never
// raises: what a basis opens by itself is its highest ceiling, which the zero value
// leaves as it is.
type Ceiling struct {
	Off   bool        // the basis opens nothing
	Level string      // the highest confidentiality, a code of v3-Confidentiality; empty: that of the basis
	Types []fhir.Type // it opens these types alone; none: all that it opens by itself
	Never []string    // sensitivities of v3-ActCode that it does not open, with all that they comprise
}

func (c *Ceiling) lowers() bool {
	return c.Off || c.Level != "" || len(c.Types) > 0 || len(c.Never) > 0
}

// expr holds for what of a type lies under a ceiling.
func (c *Ceiling) expr(t fhir.Type) store.Expr {
	if c.Off {
		return store.None()
	}
	all := store.And{}
	if len(c.Types) > 0 {
		all = append(all, onlyTypes(c.Types)(t))
	}
	if c.Level != "" {
		highest, _ := levelOf(c.Level)
		all = append(all, levelAtMost(highest))
	}
	if len(c.Never) > 0 {
		all = append(all, store.Not{Expr: sensitiveAny(c.Never)})
	}
	return all
}

// under puts what a basis opens by itself under the ceiling that the site gives it.
func (p *Policy) under(code BasisCode, opens func(fhir.Type) store.Expr) func(fhir.Type) store.Expr {
	c := p.Bases[code]
	if !c.lowers() {
		return opens
	}
	return func(t fhir.Type) store.Expr { return simplify(store.And{opens(t), c.expr(t)}) }
}

// off tells that a basis opens nothing here.
func (p *Policy) off(code BasisCode) bool { return p.Bases[code].Off }

// lowerable are the bases that a site may put under a ceiling of its own. Nobody is
// kept from their own record, and emergencies have a policy of their own.
var lowerable = []BasisCode{BasisProxy, BasisPCP, BasisCareTeam, BasisConsent, BasisInvitation, BasisSponsored, BasisStaff, BasisSystem}

// check refuses a table of bases that cannot be applied.
func (p *Policy) check() error {
	var errs []error
	known := map[BasisCode]bool{}
	for _, code := range lowerable {
		known[code] = true
	}
	for code, c := range p.Bases {
		_, level := levelOf(c.Level)
		switch {
		case !known[code]:
			errs = append(errs, fmt.Errorf("consent: the basis %s has no ceiling of the site's", code))
		case c.Level != "" && !level:
			errs = append(errs, fmt.Errorf("consent: the ceiling of the basis %s is no confidentiality", code))
		}
	}
	return errors.Join(errs...)
}
