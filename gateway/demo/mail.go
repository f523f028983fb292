package demo

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/mail"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// MailPath is where the mails are shown.
const MailPath = "/demo/mail"

const (
	maxMails = 500
	maxMail  = 1 << 20 // bytes
)

// A Mail is a message that the mailbox received.
type Mail struct {
	Number  int // from 1, in the order of arrival
	To      []string
	From    string
	Subject string
	Date    string // as the message says
	ID      string // Message-ID
	Text    string
	Raw     []byte
}

// At is the time of the message; zero when it says none.
func (m Mail) At() time.Time {
	t, err := mail.ParseDate(m.Date)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// A Mailbox is a mail server that takes every mail, sends none on, and shows
// them. It listens on a loopback port of its own and is lost with the process.
type Mailbox struct {
	server   *smtp.Server
	listener net.Listener
	log      *slog.Logger

	mu    sync.Mutex
	mails []Mail // oldest first
	total int
}

// NewMailbox starts a mailbox. The log gets a line for each mail, without
// addresses and text.
func NewMailbox(log *slog.Logger) (*Mailbox, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	m := &Mailbox{listener: listener, log: log}
	m.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &delivery{box: m}, nil }))
	m.server.Domain = "demo.example.org"
	m.server.MaxMessageBytes, m.server.MaxRecipients = maxMail, 20
	m.server.ReadTimeout, m.server.WriteTimeout = 30*time.Second, 30*time.Second
	m.server.ErrorLog = quiet{}
	go func() { _ = m.server.Serve(listener) }()
	return m, nil
}

// Addr gives host and port of the mail server.
func (m *Mailbox) Addr() string { return m.listener.Addr().String() }

// Close stops the mail server.
func (m *Mailbox) Close() error {
	err := m.server.Close()
	if errors.Is(err, smtp.ErrServerClosed) {
		return nil
	}
	return err
}

// Mails gives the mails received, newest first.
func (m *Mailbox) Mails() []Mail {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := slices.Clone(m.mails)
	slices.Reverse(list)
	return list
}

func (m *Mailbox) add(mail Mail) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total++
	mail.Number = m.total
	m.mails = append(m.mails, mail)
	if len(m.mails) > maxMails {
		m.mails = slices.Delete(m.mails, 0, 1)
	}
	m.log.Info("mail received", "number", mail.Number, "subject", mail.Subject)
}

// Handler shows the mails at MailPath and below.
func (m *Mailbox) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+MailPath, func(w http.ResponseWriter, r *http.Request) {
		render(w, r, http.StatusOK, "mails", MailPath, m.Mails())
	})
	mux.HandleFunc("GET "+MailPath+"/{number}", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.PathValue("number"))
		list := m.Mails()
		i := slices.IndexFunc(list, func(mail Mail) bool { return mail.Number == n })
		if err != nil || i < 0 {
			render(w, r, http.StatusNotFound, "no-mail", MailPath, nil)
			return
		}
		render(w, r, http.StatusOK, "mail", MailPath+"/"+strconv.Itoa(n), list[i])
	})
	return mux
}

// A Piece is a part of a mail's text: words, or an address to follow.
type Piece struct{ Text, Link string }

var address = regexp.MustCompile(`https?://[^\s<>"]+`)

// Pieces splits the text at the addresses in it.
func (m Mail) Pieces() []Piece {
	var list []Piece
	rest := m.Text
	for _, at := range address.FindAllString(m.Text, -1) {
		before, after, _ := strings.Cut(rest, at)
		list = append(list, Piece{Text: before}, Piece{Text: at, Link: at})
		rest = after
	}
	return append(list, Piece{Text: rest})
}

// delivery is an SMTP session.
type delivery struct {
	box  *Mailbox
	from string
	to   []string
}

func (d *delivery) Reset()        { d.from, d.to = "", nil }
func (d *delivery) Logout() error { return nil }

func (d *delivery) Mail(from string, _ *smtp.MailOptions) error {
	d.from = from
	return nil
}

func (d *delivery) Rcpt(to string, _ *smtp.RcptOptions) error {
	d.to = append(d.to, to)
	return nil
}

func (d *delivery) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m, err := parseMail(raw)
	if err != nil {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "not a message"}
	}
	m.To, m.Raw = d.to, raw
	d.box.add(m)
	return nil
}

func parseMail(raw []byte) (Mail, error) {
	msg, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return Mail{}, err
	}
	words := new(mime.WordDecoder)
	header := func(name string) string {
		s, err := words.DecodeHeader(msg.Header.Get(name))
		if err != nil {
			return msg.Header.Get(name)
		}
		return s
	}
	text, err := plainText(msg.Header.Get("Content-Type"), msg.Header.Get("Content-Transfer-Encoding"), msg.Body)
	return Mail{From: header("From"), Subject: header("Subject"), Date: msg.Header.Get("Date"),
		ID: strings.Trim(msg.Header.Get("Message-ID"), "<>"), Text: text}, err
}

// plainText gives the body, or the first plain part of several.
func plainText(contentType, encoding string, body io.Reader) (string, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err == nil && strings.HasPrefix(kind, "multipart/") {
		parts := multipart.NewReader(body, params["boundary"])
		for {
			part, err := parts.NextRawPart()
			if err != nil {
				return "", err
			}
			if strings.HasPrefix(part.Header.Get("Content-Type"), "text/plain") {
				return plainText("text/plain", part.Header.Get("Content-Transfer-Encoding"), part)
			}
		}
	}
	switch strings.ToLower(encoding) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	text, err := io.ReadAll(body)
	return strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n")), err
}

// quiet keeps the library's own log lines, which hold addresses, to itself.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}
