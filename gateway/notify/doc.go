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
// The words come from the notice alone. The worker adds no name, no number and
// nothing clinical, and logs none: log lines hold the Communication's id and
// the mail server's status code.
package notify
