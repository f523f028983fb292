// Package subscription is what Subscriptions of R4
// (https://hl7.org/fhir/R4/subscription.html) are to this gateway: which of them it
// can serve, and the records that carry what is to be delivered, in the order in
// which it came to be, through restarts and to whichever gateway takes it.
//
// It knows no people and takes no decision: who may subscribe, and what of a
// subscription may be delivered now, is for package consent; sending is for
// gateway/hooks.
package subscription

import (
	"fmt"
	"strings"
	"time"

	"mypatients/fhir"
)

// The statuses (https://hl7.org/fhir/R4/valueset-subscription-status.html).
const (
	Requested = "requested" // the endpoint is not known to be there yet
	Active    = "active"
	Failed    = "error"
	Off       = "off"
)

// JSON is the one payload that is sent.
const JSON = "application/fhir+json"

// Limits of a subscription.
const (
	maxCriteria = 2000 // bytes
	maxEndpoint = 1000
	maxHeaders  = 10
	maxHeader   = 2000
)

// A Subscription is one that can be served.
type Subscription struct {
	Status   string
	Type     fhir.Type // of the criteria
	Query    string    // of the criteria, without the question mark; may be empty
	End      time.Time // zero: none
	Endpoint string
	Payload  bool // the resource is sent; else only that something happened
	Headers  [][2]string
}

func refuse(element, format string, args ...any) error {
	return fhir.ElementErrorf(fhir.Unprocessable, element, format, args...)
}

// Parse reads the decoded body of a Subscription that is valid R4. The error is
// Unprocessable and names the element that cannot be served. Whether the criteria
// and the endpoint are any good is left to others.
func Parse(tree map[string]any) (*Subscription, error) {
	text := func(in map[string]any, name string) string {
		s, _ := in[name].(string)
		return s
	}
	channel, _ := tree["channel"].(map[string]any)
	s := &Subscription{Status: text(tree, "status"), Endpoint: text(channel, "endpoint")}
	var typ string
	typ, s.Query, _ = strings.Cut(text(tree, "criteria"), "?")
	s.Type = fhir.Type(typ)
	switch {
	case s.Status != Requested && s.Status != Active && s.Status != Off && s.Status != Failed:
		return nil, refuse("Subscription.status", "%q is no status of a subscription.", s.Status)
	case len(text(tree, "criteria")) > maxCriteria || !s.Type.Valid():
		return nil, refuse("Subscription.criteria", "The criteria are a resource type and a search of it, like Consent?status=proposed.")
	case text(channel, "type") != "rest-hook":
		return nil, refuse("Subscription.channel.type", "The one kind of channel that is served is rest-hook.")
	case s.Endpoint == "" || len(s.Endpoint) > maxEndpoint:
		return nil, refuse("Subscription.channel.endpoint", "A rest-hook needs an endpoint, of %d bytes at most.", maxEndpoint)
	}
	for _, modifier := range []map[string]any{tree, channel} {
		if modifier["modifierExtension"] != nil {
			return nil, refuse("Subscription.modifierExtension", "Modifiers are not understood here.")
		}
	}
	switch payload := text(channel, "payload"); payload {
	case "":
	case JSON:
		s.Payload = true
	default:
		return nil, refuse("Subscription.channel.payload", "The payload is %s, or there is none.", JSON)
	}
	if end := text(tree, "end"); end != "" {
		var err error
		if s.End, err = time.Parse(time.RFC3339Nano, end); err != nil {
			return nil, refuse("Subscription.end", "The end is no instant.")
		}
	}
	headers, _ := channel["header"].([]any)
	if len(headers) > maxHeaders {
		return nil, refuse("Subscription.channel.header", "A channel may have %d headers.", maxHeaders)
	}
	for i, h := range headers {
		line, _ := h.(string)
		name, value, ok := parseHeader(line)
		if !ok {
			return nil, refuse(fmt.Sprintf("Subscription.channel.header[%d]", i), "A header is a name, a colon and a value, and not one that belongs to the connection.")
		}
		s.Headers = append(s.Headers, [2]string{name, value})
	}
	return s, nil
}

// parseHeader reads a header line (RFC 9110 section 5). What makes up the message
// and the connection is ours.
func parseHeader(line string) (name, value string, ok bool) {
	name, value, found := strings.Cut(line, ":")
	value = strings.Trim(value, " \t")
	if !found || name == "" || len(line) > maxHeader {
		return "", "", false
	}
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return "", "", false
		}
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c >= 0x7f {
			return "", "", false
		}
	}
	switch lower := strings.ToLower(name); lower {
	case "host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer", "expect", "http2-settings":
		return "", "", false
	default:
		return name, value, !strings.HasPrefix(lower, "proxy-")
	}
}
