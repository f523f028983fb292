package pgstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the tables up to date, once, however many processes start.
func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Glob(migrations, "migrations/*.sql") // sorted; the first is version 1
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error { return migrateIn(ctx, tx, files) })
		// Two that make the first table at once: one is refused, and finds it then.
		var refused *pgconn.PgError
		if errors.As(err, &refused) && try < 5 && (refused.Code == uniqueViolation || refused.Code == "42P07" || refused.Code == deadlock) {
			continue
		}
		var own ownError
		if errors.As(err, &own) {
			return own.error
		}
		return translate(ctx, "bringing the tables up to date", err)
	}
}

func migrateIn(ctx context.Context, tx pgx.Tx, files []string) error {
	var there bool
	if err := tx.QueryRow(ctx, `SELECT to_regclass('schema_version') IS NOT NULL`).Scan(&there); err != nil {
		return err
	}
	if !there {
		if _, err := tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS schema_version (version integer PRIMARY KEY)`); err != nil {
			return err
		}
	}
	// Others wait here until the first has done all.
	if _, err := tx.Exec(ctx, `LOCK TABLE schema_version IN SHARE ROW EXCLUSIVE MODE`); err != nil {
		return err
	}
	var version int
	if err := tx.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM schema_version`).Scan(&version); err != nil {
		return err
	}
	if version > len(files) {
		return ownError{fmt.Errorf("pgstore: the database was brought to version %d by a newer program; this one knows %d", version, len(files))}
	}
	for i := version; i < len(files); i++ {
		text, err := migrations.ReadFile(files[i])
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, string(text)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO schema_version (version) VALUES ($1)`, i+1); err != nil {
			return err
		}
	}
	return checkEra(ctx, tx)
}
