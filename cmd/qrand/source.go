package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"example.com/qrand"
	"example.com/qrand/internal/cli"
	"example.com/qrand/qrypt"
)

// entropyOptions are the flags about the quantum entropy in what a command makes.
type entropyOptions struct {
	require   choice
	rehearsal bool
	wait      waitFlag
}

func newEntropyOptions() entropyOptions {
	return entropyOptions{require: choice{"", []string{"initial", "fresh"}}, wait: waitFlag(30 * time.Second)}
}

func (o *entropyOptions) addRequire(cmd *cobra.Command, usage string) {
	addChoice(cmd, &o.require, "require", usage)
	addRehearsal(cmd, &o.rehearsal)
}

func (o *entropyOptions) addWait(cmd *cobra.Command) {
	cmd.Flags().Var(&o.wait, "wait", "how long to wait for the first block")
}

func (o *entropyOptions) check() error {
	if o.rehearsal && o.require.value == "" {
		return errors.New("--rehearsal is about --require, which is not given: without it, blocks of an emulator are accepted anyway")
	}
	return nil
}

func (o *entropyOptions) policy() qrand.Policy {
	return map[string]qrand.Policy{"": qrand.Augment, "initial": qrand.RequireInitial, "fresh": qrand.RequireFresh}[o.require.value]
}

// addRehearsal adds the flag that lets an emulator meet a requirement.
func addRehearsal(cmd *cobra.Command, rehearsal *bool) {
	cmd.Flags().BoolVar(rehearsal, "rehearsal", false, "accept blocks of an emulator: a rehearsal, not quantum entropy")
}

// noteRehearsal says, before anything is made, that it is for a rehearsal only.
func noteRehearsal(c *console, rehearsal bool) {
	if rehearsal {
		c.note("this is a rehearsal: it accepts blocks of an emulator, which are not quantum entropy")
	}
}

// emulatorRefused explains qrand.ErrEmulated.
const emulatorRefused = "the endpoint is an emulator, or has its blocks from one, and they are not quantum entropy: " +
	"is " + qrypt.EnvEndpoints + " right? To rehearse with an emulator, add --rehearsal"

// newSource makes a Source on the service that the environment names. The Source
// logs nothing, because the commands report what happens.
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

// seed waits for the first block. Without one it fails if quantum entropy is
// required, and notes it otherwise; made describes what will be without it.
func (o *entropyOptions) seed(ctx context.Context, c *console, src *qrand.Source, made string) (seeded bool, err error) {
	noteRehearsal(c, o.rehearsal)
	// In a pipe to a program on the same terminal, a spinner could spoil that
	// program's output. But it removes itself before the first byte.
	spin := c.newSpinner(c.err, c.errTTY, "waiting for a block of entropy")
	seeded = waitSeeded(ctx, src, time.Duration(o.wait)) == nil
	spin.end()
	switch {
	case ctx.Err() != nil:
		return false, errInterrupted
	case !seeded && o.require.value != "":
		return false, fmt.Errorf("no quantum entropy, which --require %s asks for: %s", o.require.value, o.whyNoBlock(src.Status()))
	case !seeded:
		c.note("no quantum entropy in %s as good as crypto/rand: %s", made, o.whyNoBlock(src.Status()))
	}
	return seeded, nil
}

// reseed asks for one more block, if --require fresh is given.
func (o *entropyOptions) reseed(ctx context.Context, src *qrand.Source) error {
	if o.require.value != "fresh" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(o.wait))
	defer cancel()
	err := src.Reseed(ctx)
	if err == nil {
		return nil
	}
	if cli.Interrupted(err) {
		return errInterrupted
	}
	reason := plain(err.Error())
	if errors.Is(err, qrand.ErrEmulated) {
		reason = emulatorRefused
	}
	return fmt.Errorf("no block of quantum entropy, which --require fresh asks for: %s", reason)
}

// failed explains why a Read of the Source failed.
func (o *entropyOptions) failed(err error) error {
	if errors.Is(err, qrand.ErrStale) || errors.Is(err, qrand.ErrNotSeeded) {
		return fmt.Errorf("the newest block of quantum entropy is too old, which --require %s does not allow, and the service gave no other in time", o.require.value)
	}
	return err
}

// waitSeeded waits for the first block, and stops early if none can come in time:
// if no endpoint may be asked before the deadline, if there is no token, or if all
// endpoints are emulators, which are refused.
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
			onlyEmulators := st.Failures[qrand.Emulated] > 0 && len(st.Failures) == 1
			if st.State == qrand.Degraded && (st.NextRequest.After(deadline) || st.Reason == qrand.NoToken || onlyEmulators) {
				cancel()
			}
		}
	}
}

func (o *entropyOptions) whyNoBlock(st qrand.Status) string {
	switch {
	case st.LastError == "":
		return fmt.Sprintf("the service did not answer within %v", time.Duration(o.wait))
	case st.Reason == qrand.Emulated:
		return emulatorRefused
	case st.Failures[qrand.Emulated] > 0:
		return plain(st.LastError) + "; as for another one, " + emulatorRefused
	}
	return plain(st.LastError)
}

// noteDegraded says that the service failed after a block had come.
func noteDegraded(c *console, st qrand.Status) {
	if st.Blocks > 0 && st.State == qrand.Degraded {
		c.note("degraded at the end, the last block is %v old: %s",
			st.Time.Sub(st.LastBlock).Round(time.Second), plain(st.LastError))
	}
}
