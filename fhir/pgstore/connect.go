package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// settings are those of a session. Statements are planned once per connection,
// without looking at their arguments, and only by walking indexes, each step
// within the one before: that is what they are written for, and the statistics,
// which may be old or missing, have no say.
func settings(timeout time.Duration) map[string]string {
	millis := strconv.FormatInt(timeout.Milliseconds(), 10)
	return map[string]string{
		"application_name":                    "gateway",
		"plan_cache_mode":                     "force_generic_plan",
		"enable_seqscan":                      "off",
		"enable_bitmapscan":                   "off",
		"enable_hashjoin":                     "off",
		"enable_mergejoin":                    "off",
		"enable_sort":                         "off", // where an index has the order
		"jit":                                 "off",
		"max_parallel_workers_per_gather":     "0",
		"statement_timeout":                   millis,
		"idle_in_transaction_session_timeout": "300000", // a client that is lost gives its locks back
	}
}

// durable sees to it that a commit is on disk when it is answered, whatever the
// server's default; a stronger default stays.
const durable = `SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`

func connect(ctx context.Context, o Options) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(o.DSN)
	if err != nil {
		return nil, errors.New("pgstore: the DSN is neither a URL nor key=value words") // the error shows it
	}
	for name, value := range settings(o.Timeout) {
		config.ConnConfig.RuntimeParams[name] = value
	}
	config.MaxConns = int32(o.PoolSize)
	config.MaxConnIdleTime = 5 * time.Minute
	config.ConnConfig.ConnectTimeout = min(o.Timeout, 10*time.Second)
	config.ConnConfig.StatementCacheCapacity = 1024
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, durable)
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("pgstore: the pool: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, translate(ctx, "connecting", err)
	}
	return pool, nil
}
