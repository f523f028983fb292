package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"mypatients/config"
	"mypatients/fhir/badgerstore"
	"mypatients/fhir/pgstore"
	"mypatients/fhir/store"
)

// openStore opens the data where the configuration says it is.
func openStore(ctx context.Context, c config.Storage, now func() time.Time, log *slog.Logger) (store.Store, error) {
	if c.Engine == "postgres" {
		return openPostgres(ctx, c, log)
	}
	s, err := badgerstore.Open(badgerstore.Config{Dir: c.Path, Now: now, Logger: log, Bulk: c.Bulk})
	if errors.Is(err, store.ErrInUse) {
		return nil, &failure{
			text: fmt.Sprintf("the data folder %s is in use by another process", c.Path), cause: err,
			hint: "stop the gateway that runs on it, or choose another folder; commands about clients and keys reach it by admin.listen",
		}
	}
	if err != nil {
		return nil, &failure{text: fmt.Sprintf("cannot open the data folder %s: %v", c.Path, err), cause: err}
	}
	return s, nil
}

func openPostgres(ctx context.Context, c config.Storage, log *slog.Logger) (store.Store, error) {
	s, err := pgstore.Open(ctx, pgstore.Options{DSN: c.DSN.Reveal(), PoolSize: c.PoolSize, Logger: log})
	if errors.Is(err, store.ErrUnavailable) {
		return nil, &failure{
			text: "the database cannot be reached", cause: err,
			hint: "check storage.dsn, and that the server runs and lets this user in",
		}
	}
	if err != nil {
		return nil, &failure{text: fmt.Sprintf("cannot open the database: %v", err), cause: err}
	}
	return s, nil
}
