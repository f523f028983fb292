package consent

import (
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/smart"
)

// A notice is a mail in the making: a Communication written with what causes
// it and sent by gateway/notify afterwards. Its words name no patient, no MRN
// and nothing clinical: they say that something awaits, and where.
type notice struct{ subject, text, path string }

// The notices.
var (
	noticeAsked    = notice{"A request waits for your answer", "Somebody asks to see a record that you decide about.", "/patient"}
	noticeApproved = notice{"Your request was approved", "A request for access that you made was approved.", "/requests"}
	noticeDeclined = notice{"Your request was declined", "A request for access that you made was declined.", "/requests"}
	noticeRevoked  = notice{"An access has ended", "An access that you had been given was ended by the family.", "/requests"}
	noticeRedeemed = notice{"An invitation was used", "An invitation that you made was used.", "/patient"}
)

// notify writes a Communication to each recipient.
func (g *Guard) notify(tx *engine.Tx, patient string, n notice, recipients ...string) error {
	for _, to := range recipients {
		_, err := g.put(tx, node{
			"resourceType": "Communication", "status": "preparation",
			"category":  []any{concept(g.rules.kindSystem(), kindNotice).any()},
			"subject":   reference(patient),
			"topic":     map[string]any{"text": n.subject},
			"recipient": []any{reference(to)},
			"payload":   []any{map[string]any{"contentString": n.text + "\n\nSign in to go on: " + g.base + n.path}},
		}, "")
		if err != nil {
			return err
		}
	}
	return nil
}

// put writes a resource that we composed, inside a transaction; an empty id
// makes a new one.
func (g *Guard) put(tx *engine.Tx, n node, id string) (*fhir.Resource, error) {
	p, err := g.engine.Prepare(encode(n))
	if err != nil {
		return nil, err
	}
	return tx.Create(p, id)
}

// replace writes a new version of a resource that we read in this transaction.
func (g *Guard) replace(tx *engine.Tx, n node) (*fhir.Resource, error) {
	p, err := g.engine.Prepare(encode(n))
	if err != nil {
		return nil, err
	}
	r, _, err := tx.Update(p, nil)
	return r, err
}

// provenance records who did something to a resource, and on whose word.
func (g *Guard) provenance(tx *engine.Tx, c Caller, target fhir.Key, patient, activity, note string) error {
	agent := node{
		"type": concept("http://terminology.hl7.org/CodeSystem/provenance-participant-type", "author").any(),
		"who":  g.agentOf(c),
	}
	n := node{
		"resourceType": "Provenance",
		"target":       []any{reference(target.String()), reference(patient)},
		"recorded":     instant(tx.Now(), g.zone),
		"agent":        []any{agent.any()},
		"activity":     map[string]any{"text": activity},
	}
	if note != "" {
		n["reason"] = []any{map[string]any{"text": note}}
	}
	_, err := g.put(tx, n, "")
	return err
}

// agentOf refers to the person behind a call; a system, and the gateway itself,
// go by their client id.
func (g *Guard) agentOf(c Caller) map[string]any {
	if c.Identity.Role != smart.System && c.Identity.FHIRUser != "" {
		return reference(c.Identity.FHIRUser)
	}
	return map[string]any{"identifier": map[string]any{"system": g.base + "/oauth/client", "value": c.ClientID}, "display": c.ClientName}
}
