package notify

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// A Chore is done over and over. Its errors are logged, and it is tried again
// next time.
type Chore struct {
	Name string
	Do   func(ctx context.Context, now time.Time) error
}

// A Sweeper does chores: removing expired records, letting unanswered requests
// lapse.
type Sweeper struct {
	Every  time.Duration
	Now    func() time.Time
	Logger *slog.Logger
	Chores []Chore
}

// Run does the chores at once and then at every interval until the context
// ends; it returns nil then.
func (s Sweeper) Run(ctx context.Context) error {
	if s.Every <= 0 || s.Now == nil || s.Logger == nil {
		return errors.New("notify: a sweeper needs an interval, a clock and a log")
	}
	ticker := time.NewTicker(s.Every)
	defer ticker.Stop()
	for {
		s.Once(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Once does the chores one time.
func (s Sweeper) Once(ctx context.Context) {
	for _, c := range s.Chores {
		if err := c.Do(ctx, s.Now()); err != nil && ctx.Err() == nil {
			s.Logger.Error("chore failed", "chore", c.Name, "error", err)
		}
	}
}
