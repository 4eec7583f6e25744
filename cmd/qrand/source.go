package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/qrand"
	"example.com/qrand/qrypt"
)

// policies are what --require may say.
var policies = map[string]qrand.Policy{"": qrand.Augment, "initial": qrand.RequireInitial, "fresh": qrand.RequireFresh}

// newSource makes a Source on the service that the environment names. What it
// would log, a command says itself.
func newSource(cfg qrand.Config) (*qrand.Source, error) {
	client, err := qrypt.FromEnv()
	if errors.Is(err, qrypt.ErrNoToken) {
		return nil, fmt.Errorf("%w; without an account, try qrand demo", err)
	} else if err != nil {
		return nil, err
	}
	cfg.Blocks = client
	cfg.Logger = slog.New(slog.DiscardHandler)
	return qrand.New(cfg)
}

// waitSeeded waits for the first block, but no longer than it can come: a
// refused token will not be accepted in the next five seconds.
func waitSeeded(ctx context.Context, src *qrand.Source, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	seeded := make(chan error, 1)
	go func() { seeded <- src.WaitSeeded(ctx) }()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case err := <-seeded:
			return err
		case <-poll.C:
			if st := src.Status(); st.State == qrand.Degraded && st.NextRequest.After(deadline) {
				cancel()
			}
		}
	}
}

// why says for what reason there is no block.
func why(st qrand.Status, wait waitFlag) string {
	if st.LastError == "" {
		return fmt.Sprintf("the service did not answer within %v", time.Duration(wait))
	}
	return plain(st.LastError)
}

// tellDegraded notes that the service failed after a block had come.
func tellDegraded(c *console, st qrand.Status) {
	if st.Blocks > 0 && st.State == qrand.Degraded {
		c.note("degraded at the end, the last block is %v old: %s",
			st.Time.Sub(st.LastBlock).Round(time.Second), plain(st.LastError))
	}
}
