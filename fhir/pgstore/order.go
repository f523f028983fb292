package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"mypatients/fhir/store"
)

// The order of commits. A serial number would not do: a transaction may draw one
// and commit after others that drew theirs later, behind the back of whoever has
// read those. So an entry stands under the number of its transaction (xid8), and
// who follows the log reads nothing from the oldest transaction on that was still
// running when the snapshot was taken: all that is below has ended. Read backwards
// it is whole, a commit of a moment ago included: who goes on to what is older
// misses nothing of what was there when they began.
//
// Transactions of other databases, and the server's own (autovacuum), have numbers
// too, but never write here, so they hold nothing up. One that has ended since the
// snapshot is nowhere to be seen any more, and is taken for one that does.
//
// A dump that is restored into another cluster meets smaller numbers than it
// holds. Opening the store notices and begins a new era, which sorts first.

// thisTransaction is the number of the own transaction, NULL before it has one.
const thisTransaction = `pg_current_xact_id_if_assigned()::text::bigint`

// newTransaction is the same, and gives it one.
const newTransaction = `pg_current_xact_id()::text::bigint`

// settled is the number from which on transactions may still be running.
const settled = `(SELECT coalesce(
	(SELECT x.xid FROM pg_snapshot_xip(pg_current_snapshot()) AS x(xid)
		WHERE NOT EXISTS (SELECT 1 FROM pg_stat_activity a WHERE a.backend_xid = x.xid::xid
			AND (a.backend_type <> 'client backend'
				OR a.datid <> (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())))
		ORDER BY x.xid LIMIT 1),
	pg_snapshot_xmax(pg_current_snapshot()))::text::bigint)`

// currentEra is the era that is written.
const currentEra = `(SELECT e.era FROM log_era e ORDER BY e.era DESC LIMIT 1)`

// turnEra begins a new era if the numbers of transactions are behind the log.
const turnEra = `INSERT INTO log_era (era) SELECT ` + currentEra + ` + 1 WHERE EXISTS (
	SELECT 1 FROM log l WHERE l.era = ` + currentEra + ` AND l.xid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint)`

// A place is where an entry of the log stands.
type place struct {
	era, xid, seq int64
}

const placeLen = 6 + 16 + 8

func (p place) String() string { return fmt.Sprintf("%06x%016x%08x", p.era, p.xid, p.seq) }

func parsePlace(s string) (place, error) {
	if len(s) == placeLen {
		era, err1 := strconv.ParseInt(s[:6], 16, 32)
		xid, err2 := strconv.ParseInt(s[6:22], 16, 64)
		seq, err3 := strconv.ParseInt(s[22:], 16, 32)
		if errors.Join(err1, err2, err3) == nil {
			return place{era, xid, seq}, nil
		}
	}
	return place{}, store.ErrPosition
}

func (r *reader) Log(q store.LogQuery) ([]store.LogEntry, error) {
	return r.log(q, !q.Reverse)
}

// log lists entries, if asked only those in front of which nothing can come.
func (r *reader) log(q store.LogQuery, onlySettled bool) (list []store.LogEntry, err error) {
	if q.Limit <= 0 {
		return nil, nil
	}
	b := &builder{}
	b.WriteString(`SELECT l.era, l.xid, l.seq, l.type, l.id, l.version, l.time, l.deleted FROM `)
	switch {
	case q.Owner != "":
		b.WriteString(`log_of_owner l WHERE l.owner = ` + b.bytes(q.Owner) + ` AND `)
	default:
		b.WriteString(`log l WHERE `)
	}
	if q.Type != "" {
		b.WriteString(`l.type = ` + b.bytes(q.Type) + ` AND `)
	}
	b.WriteString(`TRUE`)
	if onlySettled {
		b.WriteString(` AND (l.era < ` + currentEra + ` OR l.xid < ` + settled + ` OR l.xid = (SELECT ` + thisTransaction + `))`)
	}
	direction, beyond := "", ">"
	if q.Reverse {
		direction, beyond = " DESC", "<"
	}
	if q.After != "" {
		after, err := parsePlace(q.After)
		if err != nil {
			return nil, err
		}
		b.WriteString(` AND (l.era, l.xid, l.seq) ` + beyond + ` (` + b.arg(after.era) + `::integer, ` + b.arg(after.xid) + `::bigint, ` + b.arg(after.seq) + `::integer)`)
	}
	b.WriteString(` ORDER BY l.era` + direction + `, l.xid` + direction + `, l.seq` + direction + ` LIMIT ` + b.arg(q.Limit))
	err = r.ask(statement{b.String(), b.args, func(rows pgx.Rows) (err error) {
		list, err = scanLog(rows)
		return err
	}})
	return list, err
}

func scanLog(rows pgx.Rows) (list []store.LogEntry, err error) {
	for rows.Next() {
		var p place
		var typ, id []byte
		var millis int64
		var e store.LogEntry
		if err := rows.Scan(&p.era, &p.xid, &p.seq, &typ, &id, &e.Version, &millis, &e.Deleted); err != nil {
			return nil, errCorrupt
		}
		e.Position, e.Key, e.Time = p.String(), store.Key{Type: string(typ), ID: string(id)}, time.UnixMilli(millis).UTC()
		list = append(list, e)
	}
	return list, nil
}

// checkEra sees to it that what is written sorts behind what is there.
func checkEra(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, turnEra)
	return err
}
