package notify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"

	"mypatients/fhir"
	"mypatients/fhir/engine"
)

// A notice is a Communication that is to be sent.
type notice struct {
	id       string
	version  int64
	tree     map[string]any
	subject  string
	text     string
	language string   // BCP 47 tag; empty: not said
	to       []string // addresses
	late     bool     // what it brings works no more
	attempts int      // before this one
	since    time.Time
}

// communication is what the worker reads of one
// (https://hl7.org/fhir/R4/communication.html).
type communication struct {
	Status   string
	Language string
	Category []struct{ Coding []fhir.Coding }
	Topic    struct{ Text string }
	Payload  []struct{ ContentString string }

	Recipient []struct{ Reference string }
	Contained []struct {
		ID string
		contact
	}
}

// contact is what somebody can be reached by.
type contact struct {
	Telecom []struct{ System, Value, Use string }
}

// email gives the first e-mail address in use, or "".
func (c contact) email() string {
	for _, t := range c.Telecom {
		if t.System == "email" && t.Use != "old" && t.Value != "" {
			return t.Value
		}
	}
	return ""
}

// read gives a notice that waits to be sent, or nil.
func (w *Worker) read(tx *engine.Tx, id string) (*notice, error) {
	r, err := tx.Read(fhir.Key{Type: "Communication", ID: id}, engine.Everything)
	if kind := fhir.KindOf(err); err != nil && (kind == fhir.NotFound || kind == fhir.Gone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var c communication
	if err := json.Unmarshal(r.JSON, &c); err != nil {
		return nil, err
	}
	if c.Status != "preparation" || !w.ours(c) {
		return nil, nil
	}
	n := &notice{id: id, version: r.Version, subject: oneLine(c.Topic.Text), language: oneLine(c.Language)}
	if n.tree, err = fhir.Tree(r.JSON); err != nil {
		return nil, err
	}
	var parts []string
	for _, p := range c.Payload {
		parts = append(parts, p.ContentString)
	}
	n.text = strings.Join(parts, "\n\n")
	if w.cfg.Complete != nil {
		inTime := true
		if n.text, inTime, err = w.cfg.Complete(tx, id, n.text); err != nil {
			return nil, err
		}
		n.late = !inTime
	}
	for _, to := range c.Recipient {
		address, err := c.mailAddress(tx, to.Reference)
		if err != nil {
			return nil, err
		}
		if address != "" {
			n.to = append(n.to, address)
		}
	}
	return n, nil
}

func (w *Worker) ours(c communication) bool {
	for _, category := range c.Category {
		for _, coding := range category.Coding {
			if coding == w.cfg.Category {
				return true
			}
		}
	}
	return false
}

// mailAddress gives the registered e-mail address of a person, or of an office that
// the notice itself holds; "" when there is none.
func (c *communication) mailAddress(tx *engine.Tx, reference string) (string, error) {
	if id, contained := strings.CutPrefix(reference, "#"); contained {
		for _, office := range c.Contained {
			if office.ID == id {
				return office.email(), nil
			}
		}
		return "", nil
	}
	key, err := fhir.ParseKey(reference)
	if err != nil || key.Type != "Practitioner" && key.Type != "RelatedPerson" && key.Type != "Patient" {
		return "", nil
	}
	r, err := tx.Read(key, engine.Everything)
	if kind := fhir.KindOf(err); err != nil && (kind == fhir.NotFound || kind == fhir.Gone) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var person contact
	if err := json.Unmarshal(r.JSON, &person); err != nil {
		return "", err
	}
	return person.email(), nil
}

// message writes the mail to one of the recipients. Each gets their own, so
// that none sees another's address.
func (w *Worker) message(n *notice, i int, address string) (*gomail.Msg, error) {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(w.from)
	if err := msg.To(address); err != nil {
		return nil, err
	}
	id := n.id
	if i > 0 {
		id = fmt.Sprintf("%s.%d", id, i)
	}
	msg.SetMessageIDWithValue(id + "@" + w.domain)
	msg.SetDateWithValue(w.cfg.Now())
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no out-of-office answers
	if n.language != "" {
		msg.SetGenHeader("Content-Language", n.language) // RFC 3282
	}
	msg.Subject(n.subject)
	msg.SetBodyString(gomail.TypeTextPlain, n.text+"\n")
	return msg, nil
}

// client makes a connection's settings.
func (w *Worker) client() (*gomail.Client, error) {
	s := w.cfg.SMTP
	options := []gomail.Option{gomail.WithPort(s.Port), gomail.WithTimeout(30 * time.Second)}
	switch s.TLS {
	case "starttls":
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case "tls":
		options = append(options, gomail.WithSSL())
	case "none":
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		return nil, fmt.Errorf("tls is %q", s.TLS)
	}
	if s.Username != "" {
		// Picks the strongest the server has; never a plain one without TLS.
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(s.Username), gomail.WithPassword(s.Password))
	}
	return gomail.NewClient(s.Host, options...)
}

// settled gives the Communication's next version.
func (n *notice) settled(status, why string, now time.Time) ([]byte, error) {
	n.tree["status"] = status
	if status == "completed" {
		n.tree["sent"] = now.UTC().Format(time.RFC3339)
	}
	delete(n.tree, "statusReason")
	if why != "" {
		n.tree["statusReason"] = map[string]any{"text": why}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(n.tree)
	return b.Bytes(), err
}

// oneLine keeps control characters out of a header.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s))
}
