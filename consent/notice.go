package consent

import (
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/smart"
)

// A NoticeKind says what a notice is about; the codes are those of the gateway's
// code system notice.
type NoticeKind string

// The kinds of notices.
const (
	NoticeRequest          NoticeKind = "request"           // somebody asks for access
	NoticeReminder         NoticeKind = "reminder"          // a request lapses soon
	NoticeConflict         NoticeKind = "conflict"          // guardians answer differently
	NoticeInvited          NoticeKind = "invited"           // an invitation was made
	NoticeRedeemed         NoticeKind = "redeemed"          // an invitation was used
	NoticeInvitationEnding NoticeKind = "invitation-ending" // an invitation can be used for a few days more
	NoticeApproved         NoticeKind = "approved"          // a request was approved
	NoticeDeclined         NoticeKind = "declined"          // a request was declined
	NoticeRevoked          NoticeKind = "revoked"           // an access was ended
	NoticeEnding           NoticeKind = "ending"            // an access ends by itself soon
	NoticeSponsored        NoticeKind = "sponsored"         // those whom a provider sponsors have to be confirmed
	NoticeBreakGlass       NoticeKind = "break-glass"       // a record was opened under the emergency rule
	NoticeLinked           NoticeKind = "linked"            // an account was connected to one who decides
	NoticeCode             NoticeKind = "code"              // an address of a registration is to be proven
	NoticeRegistration     NoticeKind = "registration"      // a registration was decided on
)

// A notice is a mail in the making: a Communication written with what causes
// it and sent by gateway/notify afterwards. Its words name no patient, no MRN
// and nothing clinical: they say that something awaits, and where.
type notice struct {
	kind                NoticeKind
	subject, text, path string
}

// The notices. Those that lead to /requests, /register and / are for providers, the
// others for the family.
var (
	noticeAsked            = notice{NoticeRequest, "A request waits for your answer", "Somebody asks to see a record that you decide about.", pathFamily}
	noticeReminder         = notice{NoticeReminder, "A request still waits for your answer", "Somebody asked to see a record that you decide about. Without an answer the request ends soon.", pathFamily}
	noticeInvited          = notice{NoticeInvited, "An invitation was made", "An invitation to a record that you decide about was made. If you do not know of it, cancel it.", pathFamily}
	noticeRedeemed         = notice{NoticeRedeemed, "An invitation was used", "An invitation to a record that you decide about was used.", pathFamily}
	noticeInvitationEnding = notice{NoticeInvitationEnding, "An invitation ends soon", "An invitation to a record that you decide about was not used yet and ends soon.", pathFamily}
	noticeFamilyEnding     = notice{NoticeEnding, "An access ends soon", "An access to a record that you decide about ends soon.", pathFamily}
	noticeBreakGlass       = notice{NoticeBreakGlass, "A record was opened under the emergency rule", "A record that you decide about was opened under the emergency rule. You can see who opened it, and why.", pathFamily}
	noticeLinked           = notice{NoticeLinked, "An account was connected", "An account was connected to somebody who decides about a record that you decide about too. If you do not know of it, call the hospital.", pathFamily}
	noticePrivacy          = notice{NoticeBreakGlass, "A record was opened under the emergency rule", "A record was opened under the emergency rule. It waits for review.", pathReview}
	noticeAnswered         = notice{NoticeRequest, "A request waits for your answer too", "Somebody else has answered a request to see a record. Your answer is needed as well.", pathFamily}
	noticeConflict         = notice{NoticeConflict, "Answers to a request differ", "A request to see a record was answered differently by those who decide about it. Nobody can see the record by it until they agree.", pathFamily}
	noticeToAgree          = notice{NoticeInvited, "An invitation waits for you to agree", "Somebody has made an invitation to a record that you decide about too. It cannot be used until you agree.", pathFamily}
	noticeAgreed           = notice{NoticeInvited, "An invitation can be used now", "All who had to agree to an invitation of yours have agreed.", pathFamily}
	noticeApproved         = notice{NoticeApproved, "Your request was approved", "A request for access that you made was approved.", pathProvider}
	noticeDeclined         = notice{NoticeDeclined, "Your request was declined", "A request for access that you made was declined.", pathProvider}
	noticeRevoked          = notice{NoticeRevoked, "An access has ended", "An access that you had been given was ended by the family.", pathProvider}
	noticeRestored         = notice{NoticeRevoked, "An access goes on", "An access that you had been given was ended by the family, who took that back at once. It goes on as before.", pathProvider}
	noticeEnding           = notice{NoticeEnding, "An access ends soon", "An access that you had been given ends soon.", pathProvider}
	noticeCode             = notice{NoticeCode, "Your code", "Somebody registers with this address. If it is you, enter this code where you are signed in: {code}. It works for 30 minutes. If it is not you, you need not do anything.", pathRegister}
	noticeConfirmed        = notice{NoticeRegistration, "Your registration was confirmed", "The registration that you made was checked and confirmed.", pathHome}
	noticeTurnedAway       = notice{NoticeRegistration, "Your registration was not accepted", "The registration that you made could not be confirmed. If you think that this is a mistake, call the help desk.", pathHome}
)

// What is said before the addresses in a mail.
const (
	noticeGoOn   = "Sign in to go on:"
	noticeChoose = "To choose which mails you get:"
)

// Where a notice leads, and where one chooses which come as mails.
const (
	pathFamily   = "/patient"
	pathProvider = "/requests"
	pathReview   = "/staff/emergencies"
	pathRegister = "/register"
	pathHome     = "/"
)

var choosing = map[string]string{pathFamily: "/patient/notices", pathProvider: "/notices"}

// notify writes a Communication to each recipient. One who does not want mails of
// the kind has it in the record all the same: it is only not sent.
func (g *Guard) notify(tx *engine.Tx, patient string, n notice, recipients ...string) error {
	for _, to := range recipients {
		wanted, err := g.wants(tx.Reader(), to, n.kind)
		if err != nil {
			return err
		}
		tag, err := g.reads(tx.Reader(), to)
		if err != nil {
			return err
		}
		c := g.communication(patient, n, tag)
		c["recipient"] = []any{reference(to)}
		if !wanted {
			c["status"], c["statusReason"] = "not-done", map[string]any{"text": "The recipient does not want mails of this kind."}
		}
		if _, err := g.put(tx, c, ""); err != nil {
			return err
		}
	}
	return nil
}

// communication writes a notice in the language of its recipient, or in English;
// without a patient it is about none.
func (g *Guard) communication(patient string, n notice, tag string) node {
	goOn, choose := noticeGoOn, noticeChoose
	in, translated := n.in(tag, g.translate)
	if translated {
		goOn, _ = g.translate(tag, noticeGoOn)
		choose, _ = g.translate(tag, noticeChoose)
	}
	text := in.text + "\n\n" + goOn + " " + g.base + n.path
	if at := choosing[n.path]; at != "" && !n.kind.mandatory() {
		text += "\n\n" + choose + " " + g.base + at
	}
	c := node{
		"resourceType": "Communication", "status": "preparation",
		"category": []any{concept(g.rules.kindSystem(), kindNotice).any(), concept(g.rules.noticeSystem(), string(n.kind)).any()},
		"topic":    map[string]any{"text": in.subject},
		"payload":  []any{map[string]any{"contentString": text}},
	}
	if patient != "" {
		c["subject"] = reference(patient)
	}
	if translated {
		c["language"] = tag
	}
	return c
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

// provenance records who did something to a resource, and on whose word. What it
// takes the place of is named by a reference.
func (g *Guard) provenance(tx *engine.Tx, c Caller, target fhir.Key, patient, activity, note string, replaces ...string) error {
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
	for _, ref := range replaces {
		n["entity"] = []any{map[string]any{"role": "revision", "what": reference(ref)}}
	}
	if note != "" {
		n["reason"] = []any{map[string]any{"text": note}}
	}
	_, about, err := live(tx, target.String())
	if err != nil {
		return err
	}
	if meta := labelsLike(about); meta != nil { // who may not know of the one may not know of the other
		n["meta"] = meta
	}
	_, err = g.put(tx, n, "")
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
