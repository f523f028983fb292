package notify_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mypatients/gateway/notify"
)

func TestSweeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		var times []time.Time
		ctx, stop := context.WithCancel(t.Context())
		s := notify.Sweeper{Every: time.Minute, Now: time.Now, Logger: slog.New(slog.NewTextHandler(&log, nil)), Chores: []notify.Chore{
			{Name: "broken", Do: func(context.Context, time.Time) error { return errors.New("no luck") }},
			{Name: "sweep", Do: func(_ context.Context, now time.Time) error {
				if times = append(times, now); len(times) == 3 {
					stop()
				}
				return nil
			}},
		}}
		if err := s.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if len(times) != 3 || times[2].Sub(times[0]) != 2*time.Minute {
			t.Errorf("swept at %v", times)
		}
		if strings.Count(log.String(), "chore=broken") < 2 {
			t.Errorf("log: %s", log.String())
		}
	})
}

func TestSweeperNeedsAClock(t *testing.T) {
	if err := (notify.Sweeper{Every: time.Minute}).Run(t.Context()); err == nil {
		t.Error("accepted")
	}
}
