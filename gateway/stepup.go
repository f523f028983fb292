package main

import (
	"slices"
	"time"

	"mypatients/config"
	"mypatients/consent"
)

// stepUps are what the issuers' people must have proven before they let somebody
// into a record.
func stepUps(issuers []config.Issuer) map[string]consent.StepUp {
	rules := map[string]consent.StepUp{}
	for _, is := range issuers {
		if len(is.StepUpACR) > 0 {
			rules[is.Issuer] = consent.StepUp{ACR: is.StepUpACR, Within: time.Duration(is.StepUpMinutes) * time.Minute}
		}
	}
	return rules
}

// acrValues are all strengths of sign-in that one of the rules names.
func acrValues(issuers []config.Issuer) []string {
	var all []string
	for _, is := range issuers {
		all = append(all, is.StepUpACR...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
