//go:build unix

// Command qrandlog keeps a transparency log of statements about keys, and follows one:
//
//	qrandlog new        make a log and its keys
//	qrandlog add        add envelopes, and write their proofs
//	qrandlog prove      write the proof of an envelope that is in the log
//	qrandlog head       three lines to read aloud, and to write on paper
//	qrandlog serve      show the log over HTTPS, and take envelopes from clients
//	qrandlog monitor    follow a log, and notice if it was changed
//
// The exit status is 0 if all is well, 1 after a failure, 2 if the command line was wrong, 130 if
// Ctrl-C came first. What runs until a signal comes then ends with 0.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/qrand/internal/cli"
	"example.com/qrand/internal/version"
	"example.com/qrand/transparency"
	"example.com/qrand/transparency/internal/atomicfile"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	return cli.Run(newCommand(), args, stdout, stderr)
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "qrandlog",
		Short: "Keep a transparency log of statements about keys",
		Long: `A transparency log is an append-only list of statements about keys. Its proofs
show, offline, that a statement is in it. Witnesses cosign its heads, so that it
cannot show one history to you and another to somebody else (docs/transparency.md).`,
		Version: version.Get(),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return cli.Misused(fmt.Errorf("there is no command %.100q", args[0]))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(newNew(), newAdd(), newProve(), newHead(), newServe(), newMonitor())
	for _, cmd := range root.Commands() {
		cmd.DisableFlagsInUseLine = true
		cmd.Flags().SortFlags = false
	}
	return root
}

// arguments wants at least min arguments and at most max.
func arguments(min, max int, which string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < min:
			return cli.Misused(errors.New(which))
		case len(args) > max:
			return cli.Misused(fmt.Errorf("unexpected argument %.100q", args[max]))
		}
		return nil
	}
}

func dirFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", "log", "the `FOLDER` of the log")
}

func newNew() *cobra.Command {
	var dir, origin, witnesses string
	cmd := &cobra.Command{
		Use:   "new [flags]",
		Short: "Make a log and its keys",
		Long: `Makes the folder of a log, with its signing keys: Ed25519 and ML-DSA-44. Prints
the verifier keys. They belong in the trust files of those who verify, and in the
configuration of the witnesses.

The origin is the name of the log, as a URL without https://. No other log may
have it. The file of witnesses is in Sigsum's policy format:

  witness w1 witness.example/w1+HASH+KEY https://witness.example/
  quorum w1`,
		Example: `  qrandlog new --dir log --origin log.example/keys --witnesses policy`,
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if origin == "" {
				host, err := os.Hostname()
				if err != nil {
					return fmt.Errorf("this host has no name, so give --origin: %w", err)
				}
				origin = host + "/" + strings.ToLower(rand.Text()[:8])
			}
			var policy []byte
			if witnesses != "" {
				var err error
				if policy, err = os.ReadFile(witnesses); err != nil {
					return err
				}
			}
			vkeys, err := transparency.Create(dir, origin, policy)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), strings.Join(vkeys, "\n"))
			return err
		},
	}
	dirFlag(cmd, &dir)
	cmd.Flags().StringVar(&origin, "origin", "", "the `NAME` of the log (default the host's name and a random word)")
	cmd.Flags().StringVar(&witnesses, "witnesses", "", "the policy of witnesses, a `FILE`")
	return cmd
}

// proofSuffix is what the name of a proof has in place of envelopeSuffix.
const (
	envelopeSuffix = ".dsse.json"
	proofSuffix    = ".tlog-proof"
)

func proofPath(envelope string) string {
	return strings.TrimSuffix(envelope, envelopeSuffix) + proofSuffix
}

func newAdd() *cobra.Command {
	return newProver("add FILE...", "Add envelopes, and write their proofs", `Adds the bytes of each envelope to the log, waits until a checkpoint covers them
and the witnesses have cosigned it, and writes the proof beside the envelope:
k.pem.provenance.tlog-proof beside k.pem.provenance.dsse.json. Bytes that are in
the log are not added again.

If the witnesses do not answer in time, the envelope is in the log but has no
proof, and the exit status is 1. Later, qrandlog prove writes the proof.`,
		func(ctx context.Context, l *transparency.Log, leaves [][]byte) error {
			_, err := l.Add(ctx, leaves...)
			return err
		})
}

func newProve() *cobra.Command {
	return newProver("prove FILE...", "Write the proof of an envelope that is in the log", `Writes the proof beside the envelope. The proof is as of now: a verifier that
limits how late an entry may be witnessed can refuse it, so keep the first proof.`,
		func(context.Context, *transparency.Log, [][]byte) error { return nil })
}

func newProver(use, short, long string, before func(context.Context, *transparency.Log, [][]byte) error) *cobra.Command {
	var dir string
	var wait time.Duration
	cmd := &cobra.Command{
		Use: use + " [flags]", Short: short, Long: long,
		Args: arguments(1, 1<<20, "which envelope? Name a file"),
		RunE: func(cmd *cobra.Command, paths []string) error {
			var leaves [][]byte
			for _, path := range paths {
				leaf, err := readEnvelope(path)
				if err != nil {
					return err
				}
				leaves = append(leaves, leaf)
			}
			l, err := transparency.Open(dir, transparency.Config{})
			if err != nil {
				return err
			}
			defer l.Close()
			if err := before(cmd.Context(), l, leaves); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), wait)
			defer cancel()
			for i, leaf := range leaves {
				proof, err := l.Prove(ctx, leaf)
				if err == nil {
					err = atomicfile.Write(proofPath(paths[i]), proof.Encode())
				}
				if err != nil {
					return fmt.Errorf("%s: %w", paths[i], err)
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: entry %d\n", paths[i], proof.Index); err != nil {
					return err
				}
			}
			return nil
		},
	}
	dirFlag(cmd, &dir)
	cmd.Flags().DurationVar(&wait, "wait", 30*time.Second, "wait for witnesses, at most this `DURATION`")
	return cmd
}

func readEnvelope(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, transparency.MaxEntry+1))
	if err == nil && len(data) > transparency.MaxEntry {
		return nil, fmt.Errorf("%s has more than %d bytes: no entry is that large", path, transparency.MaxEntry)
	}
	return data, err
}

func newHead() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "head [flags]",
		Short: "Print three lines to read aloud, and to write on paper",
		Long: `Prints the name and size of the log, its hash, and who signed it when. With
these lines on paper you can tell later whether the log was changed: at this size
it had this hash.`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := transparency.Open(dir, transparency.Config{})
			if err != nil {
				return err
			}
			defer l.Close()
			lines, err := l.Spoken(cmd.Context())
			if err == nil {
				_, err = fmt.Fprint(cmd.OutOrStdout(), lines)
			}
			return err
		},
	}
	dirFlag(cmd, &dir)
	return cmd
}
