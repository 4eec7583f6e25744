package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"example.com/qrand"
	"example.com/qrand/qrypt"
)

// policies are what --require may say.
var policies = map[string]qrand.Policy{"": qrand.Augment, "initial": qrand.RequireInitial, "fresh": qrand.RequireFresh}

// addRehearsal adds the flag that lets a requirement be met by an emulator.
func addRehearsal(cmd *cobra.Command, rehearsal *bool) {
	cmd.Flags().BoolVar(rehearsal, "rehearsal", false, "blocks of an emulator will do: a rehearsal, not quantum entropy")
}

// rehearsalAlone is what is wrong with --rehearsal by itself.
const rehearsalAlone = "--rehearsal is about --require, which is not there: without it blocks of an emulator are taken anyway"

// tellRehearsal notes, before anything is made, what it is going to be good for.
func tellRehearsal(c *console, rehearsal bool) {
	if rehearsal {
		c.note("this is a rehearsal: blocks of an emulator will do, which are not quantum entropy")
	}
}

// emulatorRefused is what to know about qrand.ErrEmulated.
const emulatorRefused = "the endpoint is an emulator, or has its blocks from one, and they are not quantum entropy: " +
	"is " + qrypt.EnvEndpoints + " right? To rehearse with an emulator, add --rehearsal"

// explain is the text of an error of a requirement.
func explain(err error) string {
	if errors.Is(err, qrand.ErrEmulated) {
		return emulatorRefused
	}
	return plain(err.Error())
}

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

// waitSeeded waits for the first block, but no longer than it can come: a quota
// that is used up will not be renewed in the next five seconds, and an emulator will
// not become the service.
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
			st := src.Status()
			if st.State == qrand.Degraded && (st.NextRequest.After(deadline) || st.Reason == qrand.NoToken || onlyEmulators(st)) {
				cancel()
			}
		}
	}
}

// onlyEmulators reports whether nothing came but blocks of emulators, which are
// refused.
func onlyEmulators(st qrand.Status) bool {
	return st.Failures[qrand.Emulated] > 0 && len(st.Failures) == 1
}

// why says for what reason there is no block.
func why(st qrand.Status, wait waitFlag) string {
	switch {
	case st.LastError == "":
		return fmt.Sprintf("the service did not answer within %v", time.Duration(wait))
	case st.Reason == qrand.Emulated:
		return emulatorRefused
	case st.Failures[qrand.Emulated] > 0:
		return plain(st.LastError) + "; as for another one, " + emulatorRefused
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
