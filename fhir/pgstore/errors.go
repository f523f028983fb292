package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"mypatients/fhir/store"
)

var errCorrupt = errors.New("pgstore: stored data is damaged")

// errAgain says that a transaction must run again: nothing was stored.
type errAgain struct {
	state   string
	careful bool // something was there that was taken to be absent
}

func (e *errAgain) Error() string { return "pgstore: the transaction must run again (" + e.state + ")" }

// SQLSTATEs (https://www.postgresql.org/docs/current/errcodes-appendix.html).
const (
	uniqueViolation = "23505"
	serialization   = "40001"
	deadlock        = "40P01"
	outOfRange      = "54000" // program limit exceeded: a row or a message too large
)

// translate turns an error of the driver into one of the port. Texts of the
// database may hold data and end here. A caller's own end of patience stays what
// it is.
func translate(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if cause := ctx.Err(); cause != nil {
		return cause
	}
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return unavailable(what, "no connection")
	}
	switch state := refused.Code; {
	case state == serialization || state == deadlock:
		return &errAgain{state: state}
	case state == uniqueViolation:
		return &errAgain{state: state, careful: true}
	case state == outOfRange:
		return fmt.Errorf("pgstore: %s: SQLSTATE %s: %w", what, state, store.ErrTooBig)
	case passing(state):
		return unavailable(what, "SQLSTATE "+state)
	default:
		return fmt.Errorf("pgstore: %s: SQLSTATE %s", what, state)
	}
}

func unavailable(what, why string) error {
	return fmt.Errorf("pgstore: %s: %s: %w", what, why, store.ErrUnavailable)
}

// passing tells whether an error is about the state that the server is in.
func passing(state string) bool {
	switch state {
	case "57014", // a statement took too long
		"25006", // read-only: a standby, until it takes over
		"25P03", // idle in a transaction for too long
		"55P03", // a lock was not to be had
		"3D000": // the database is not there, as while it is restored
		return true
	}
	for _, class := range []string{"08", "28", "53", "57P", "58"} { // connection, login, resources, shutdown, system
		if strings.HasPrefix(state, class) {
			return true
		}
	}
	return false
}

// lost tells whether an error means that the connection has gone, rather than
// that a statement was refused.
func lost(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return strings.HasPrefix(refused.Code, "57P") || strings.HasPrefix(refused.Code, "08")
	}
	return err != nil
}
