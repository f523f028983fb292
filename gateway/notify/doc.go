// Package notify sends the gateway's notices by e-mail, and sweeps.
//
// A notice is a Communication in status preparation, written in the transaction
// that causes it. The [Worker] follows the commit log, mails each notice to the
// recipient's registered address, and marks it completed. Where it has come to
// in the log, and what is still to be sent, are records in the store: a crash
// loses nothing, several gateways on one database share the work, and while no
// mail server answers the notices wait.
//
// A notice is sent at least once: when the gateway dies between the server's
// acceptance and the mark, it is sent again, under the same Message-ID, so that
// mail programs show one.
//
// One recipient who cannot be reached keeps no other waiting. What the mail server
// refuses for good, or does not take for five days, is marked and listed by
// [Worker.Failed], from where it can be sent again. A mail that bounces later is
// the mail server's to report.
//
// What is no notice and is stored nowhere is handed over at once, or not at all:
// [Worker.Deliver].
//
// The words come from the notice alone, but for a code that must not be kept, which
// the guard puts in as the mail is sent ([Config.Complete]). The worker adds no name,
// no number and nothing clinical, and logs none: log lines hold the Communication's
// id and the mail server's status code.
package notify
