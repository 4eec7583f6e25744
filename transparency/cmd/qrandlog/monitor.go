//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/qrand/internal/cli"
	"example.com/qrand/provenance"
	"example.com/qrand/provenance/tlogproof"
	"example.com/qrand/transparency"
)

type monitorOptions struct {
	trust      string // file
	keys, head string
	witnesses  []string
	quorum     int
	interval   time.Duration
}

func newMonitor() *cobra.Command {
	var o monitorOptions
	cmd := &cobra.Command{
		Use:   "monitor URL|FOLDER [flags]",
		Short: "Follow a log, and notice if it was changed",
		Long: `Reads every entry of a log, and verifies that it is the one that the log signed,
and that the log has only grown since the last time. The last head is in the file
of --head. The exit status is 1 if the log was rolled back, if it signed another
history, if an entry was rewritten or is no statement, or if the log cannot be
read. After a rollback or another history, the checkpoint that does not fit is in
the file of --head with .conflict: keep both, they are signed by the log.

With --trust, each entry must be what the trust file asks for (docs/statement.md
describes it). The exit status is also 1 if an entry does not verify, if an
unknown key signed it, if there are two entries about one key, or if a record
under RequireFresh claims the block of another key. There is a line for each of
the first 20 such entries. A log has no public keys, so the signatures of the new
keys themselves are not verified. If the trust file has a log, it has the keys,
the witnesses and the quorum: then leave out --keys, --witness and --quorum.

With --interval it goes on, until there is something wrong. If the log cannot be
read, it says so and goes on.`,
		Example: `  qrandlog monitor https://log.example/keys --keys log.keys --head head \
    --interval 1h
  qrandlog monitor https://log.example/keys --trust trust.json --head head`,
		Args: arguments(1, 1, "which log? Give its URL or folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.interval < 0 {
				return cli.Misused(errors.New("--interval is negative"))
			}
			return o.run(cmd.Context(), args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.trust, "trust", "", "verify every entry, and believe those whom this `FILE` of JSON names")
	f.StringVar(&o.keys, "keys", "", "the verifier keys of the log, a `FILE` (default keys in its folder)")
	f.StringVar(&o.head, "head", "head", "keep the last head in this `FILE`")
	f.StringArrayVar(&o.witnesses, "witness", nil, "the verifier `KEY` of a witness; more than once for more of them")
	f.IntVar(&o.quorum, "quorum", 0, "`N` witnesses must have cosigned (default all)")
	f.DurationVar(&o.interval, "interval", 0, "look again after this `DURATION` (default only once)")
	return cmd
}

func (o *monitorOptions) run(ctx context.Context, at string, out, errOut io.Writer) error {
	m := transparency.Monitor{At: at, HeadFile: o.head}
	checked := "as it was signed"
	var log *provenance.TrustedLog
	if o.trust != "" {
		data, err := os.ReadFile(o.trust)
		if err != nil {
			return fmt.Errorf("--trust: %w", err)
		}
		trust, err := provenance.ParseTrust(data)
		if err != nil {
			return fmt.Errorf("--trust: %s: %s", o.trust, strings.TrimPrefix(err.Error(), "provenance: "))
		}
		m.Verify, log = transparency.VerifyStatements(trust), trust.Log
		checked = "as it was signed, and what " + o.trust + " asks for"
	}
	var err error
	if m.Policy, err = o.policy(at, log); err != nil {
		return err
	}
	_, statErr := os.Stat(o.head)
	since := "the log has only grown since the last time"
	if statErr != nil {
		since = "this is the first time"
	}
	for {
		c, err := m.Check(ctx)
		var misbehavior *transparency.MisbehaviorError
		switch {
		case err == nil:
			if _, err := fmt.Fprintf(out, "%s, size %d: every entry is %s; %s\n", c.Origin, c.Size, checked, since); err != nil {
				return err
			}
			since = "the log has only grown since the last time"
		case ctx.Err() != nil && o.interval > 0:
			return nil
		case errors.As(err, &misbehavior) || o.interval == 0:
			return err
		default:
			fmt.Fprintf(errOut, "qrandlog: %v\n", err)
		}
		if o.interval == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(o.interval):
		}
	}
}

// policy has the keys of the log: those of a trust file, or of the flags.
func (o *monitorOptions) policy(at string, log *provenance.TrustedLog) (*tlogproof.Policy, error) {
	if log != nil {
		if o.keys != "" || len(o.witnesses) > 0 || o.quorum != 0 {
			return nil, cli.Misused(fmt.Errorf("%s has the keys of the log and its witnesses: leave out --keys, --witness and --quorum", o.trust))
		}
		return log.Policy()
	}
	keys := o.keys
	if keys == "" {
		if strings.Contains(at, "://") {
			return nil, cli.Misused(errors.New("which keys has the log? Give --keys; they must not come from where the log is"))
		}
		keys = filepath.Join(at, "keys")
	}
	vkeys, err := transparency.ReadKeys(keys)
	if err != nil {
		return nil, err
	}
	quorum := o.quorum
	if quorum == 0 {
		quorum = len(o.witnesses)
	}
	return tlogproof.NewPolicy(vkeys, o.witnesses, quorum, 0)
}
