package notify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// deliverTime is how long somebody waits for a mail to be handed over.
const deliverTime = 15 * time.Second

// Deliver hands one mail over at once. Unlike a notice it is stored nowhere, and not
// tried again: whoever asked for it is told. An error names neither the address nor
// what the server said, which may repeat it. It may be called while Run runs.
func (w *Worker) Deliver(ctx context.Context, to, subject, text string) error {
	if w.from == nil {
		return errors.New("notify: there is no mail server")
	}
	ctx, cancel := context.WithTimeout(ctx, deliverTime)
	defer cancel()
	msg, err := w.message(&notice{id: rand.Text(), subject: oneLine(subject), text: text, language: "en"}, 0, to)
	if err != nil {
		return errors.New("notify: the address is none")
	}
	client, err := w.client()
	if err != nil {
		return errors.New("notify: the mail server's settings are wrong")
	}
	if err := client.DialWithContext(ctx); err != nil {
		return errors.New("notify: the mail server cannot be reached")
	}
	defer func() { _ = client.Close() }()
	if err := client.Send(msg); err != nil && !msg.IsDelivered() {
		code, _ := answerOf(err)
		return fmt.Errorf("notify: the mail server did not take the message, code %d", code)
	}
	return nil
}
