package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/qrand/provenance"
	"example.com/qrand/provenance/tlogproof"
)

// newRecordCommand makes the commands for signed statements. The root gives defaults only to
// its own commands, so this gives them to these.
func newRecordCommand(c *console) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "record",
		Short: "Show, sign, log and list statements about keys",
		Long: `Shows and signs the statements that qrand keygen --sign-with writes beside keys,
puts them into a log, and makes an inventory of keys. qrand verify --trust
verifies them.`,
		Example: `  qrand record show root.pem.pub
  qrand record sign root.pem.pub --with bob.pem
  qrand record prove root.pem.pub --log https://log.example/keys \
    --log-token-file log.token
  qrand record export keys/*.pub >keys.cdx.json`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, sub := range []*cobra.Command{newRecordShowCommand(c), newRecordSignCommand(c), newRecordProveCommand(c), newRecordExportCommand(c)} {
		if sub.Args == nil {
			sub.Args = oneArgument
		}
		sub.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 && sub.Name() != "prove" && sub.Name() != "export" {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		}
		sub.DisableFlagsInUseLine = true
		sub.Flags().SortFlags = false
		cmd.AddCommand(sub)
	}
	return cmd
}

func newRecordShowCommand(c *console) *cobra.Command {
	return &cobra.Command{
		Use:   "show FILE",
		Short: "Print what a statement says, and who signed it",
		Long: `Prints what a statement says, and the keys that signed it. FILE is the statement,
or a file of the key that it is beside. If a proof is there, it prints the entry
in the log, too. No signature is verified, so what is printed proves nothing:
qrand verify --trust verifies them.`,
		Example: `  qrand record show root.pem.pub`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return misused(cmd, "which file? Name a statement, or a key that has one")
			}
			path, e, s, err := readStatement(args[0])
			if err != nil {
				return err
			}
			envelope, err := e.Encode()
			if err != nil {
				return err
			}
			logged := "there is no proof beside it that it is in a log"
			if proof, err := readProof(path, envelope); err != nil {
				logged = plain(err.Error())
			} else if proof != nil {
				logged = proofText(proofFile(path), proof)
			}
			_, err = fmt.Fprintf(c.out, "%s: a statement about a key for %s\n\n%s%s  %-11s %s\n\nno signature was verified, so this proves nothing: qrand verify KEY --trust FILE verifies them\n",
				path, s.Record.Algorithm, recordText(c, s.Record), statementText(e, s), "log", logged)
			return err
		},
	}
}

func newRecordSignCommand(c *console) *cobra.Command {
	var with, passphrase string
	cmd := &cobra.Command{
		Use:   "sign FILE --with KEY",
		Short: "Add a signature to a statement",
		Long: `Adds a signature to a statement: a second person signs what the first one did.
FILE is the statement, or a file of the key that it is beside. Read first what
you sign: qrand record show prints it.

KEY is a private key for Ed25519, ECDSA, RSA or ML-DSA, in PEM. If it is
encrypted, its passphrase is asked for, unless --passphrase-file has it. A key
signs once. The file is replaced as a whole, or left as it is.

Sign before the statement goes into a log: the log has it as it was. So do not
sign what qrand keygen --log has left pending, either.`,
		Example: `  qrand record sign root.pem.pub --with bob.pem`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return misused(cmd, "which file? Name a statement, or a key that has one")
			case with == "":
				return misused(cmd, "which key signs? Name its file with --with")
			}
			var passphrases namesFlag
			if passphrase != "" {
				passphrases = namesFlag{passphrase}
			}
			return signRecord(cmd.Context(), c, args[0], with, passphrases)
		},
	}
	cmd.Flags().StringVar(&with, "with", "", "sign with the private key in this `FILE`")
	cmd.Flags().StringVar(&passphrase, "passphrase-file", "", "open the private key with the first line of `FILE`")
	return cmd
}

func signRecord(ctx context.Context, c *console, path, with string, passphrases namesFlag) error {
	path, e, s, err := readStatement(path)
	if err == nil {
		err = checkUnlogged(path)
	}
	if err != nil {
		return err
	}
	signer, err := readSigner(c, with, "--passphrase-file", &passphrases)
	if err != nil {
		return fmt.Errorf("--with: %w", err)
	}
	unlock, err := lockFile(ctx, path)
	if err != nil {
		return err
	}
	defer unlock()       // which the end of the process does, too
	payload := e.Payload // another person may have signed meanwhile, or logged it
	if _, e, s, err = readStatement(path); err == nil {
		err = checkUnlogged(path)
	}
	if err != nil {
		return err
	} else if !bytes.Equal(e.Payload, payload) {
		return fmt.Errorf("%s: another statement is there now: read it with qrand record show, and sign again", path)
	}
	if e, err = e.Add(ctx, signer); err != nil {
		return fmt.Errorf("%s: %s", path, plain(err.Error()))
	}
	data, err := e.Encode()
	if err != nil {
		return fmt.Errorf("%s: %s", path, plain(err.Error()))
	}
	if ctx.Err() != nil {
		return errInterrupted
	}
	if err := replaceFile(path, data); err != nil {
		return fmt.Errorf("%s is as it was: %w", path, err)
	}
	_, err = fmt.Fprintf(c.out, "%s: signed with keyid %s; %s in all; about %s, public key SHA-256 %s\n",
		path, provenance.Digest(signer.PublicKey()), count(int64(len(e.Signatures)), "signature"), s.Record.Algorithm, s.Record.PublicKey)
	return err
}

// checkUnlogged returns an error if the proof of a log is beside a statement.
func checkUnlogged(statement string) error {
	proof := proofFile(statement)
	if _, err := os.Lstat(proof); err == nil {
		return fmt.Errorf("%s: it is in a log already, as %s shows: with another signature it would be another statement", statement, proof)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// readStatement reads the statement at, or beside, a file.
func readStatement(path string) (found string, e provenance.Envelope, s provenance.Statement, err error) {
	found, err = findBeside(path, statementSuffix)
	if err != nil {
		found = path // then it is one itself
	}
	data, err := readBounded(found)
	if err != nil {
		return
	}
	if e, err = provenance.ParseEnvelope(data); err == nil {
		s, err = e.Statement()
	}
	switch {
	case err != nil && found == path && !strings.HasSuffix(path, statementSuffix):
		err = fmt.Errorf("%s is no statement, and there is none beside it, in %s%s", path, path, statementSuffix)
	case err != nil:
		err = fmt.Errorf("%s: %s", found, plain(err.Error()))
	}
	return
}

// statementText is what a statement says besides its record, in lines for a person.
func statementText(e provenance.Envelope, s provenance.Statement) string {
	var b strings.Builder
	add := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-11s %s\n", name, fmt.Sprintf(format, args...))
	}
	operators := map[string]string{}
	if ceremony := s.Ceremony; ceremony != nil {
		add("ceremony", "%q", ceremony.ID)
		if ceremony.Place != "" {
			add("place", "%q", ceremony.Place)
		}
		if ceremony.ScriptSHA256 != "" {
			add("script", "SHA-256 %s", ceremony.ScriptSHA256)
		}
		for _, o := range ceremony.Operators {
			operators[o.KeyID] = o.Name
			add("operator", "%q, keyid %s", o.Name, o.KeyID)
		}
		for _, name := range ceremony.Witnesses {
			add("witness", "%q", name)
		}
	}
	if s.After != "" {
		if c, err := tlogproof.ParseNote(s.After); err != nil {
			add("after", "it is %.100q", plain(err.Error()))
		} else {
			add("after", "the head of the log %q, of size %d, with the hash", c.Origin, c.Size)
			add("", "%s", c.Spoken())
		}
	}
	for _, e := range s.Receipts {
		r, err := e.Receipt()
		if err != nil {
			add("receipt", "it is not one: %.100q", plain(err.Error()))
			continue
		}
		n := 0
		for _, b := range r.Blocks {
			n += len(b.Fingerprints)
		}
		add("receipt", "of the relay %q for %s to its client %q at %s, keyid %s", r.Relay, count(int64(n), "block"), r.Client, r.Time.Format(time.RFC3339), e.Signatures[0].KeyID)
	}
	if !s.SelfSigned {
		add("itself", "the key itself does not sign: the signers state who holds it")
	}
	for _, g := range e.Signatures {
		switch name, named := operators[g.KeyID]; {
		case g.KeyID == s.Record.PublicKey:
			add("signed by", "keyid %s, the key itself", g.KeyID)
		case named:
			add("signed by", "keyid %s, which it calls the key of %q", g.KeyID, name)
		default:
			add("signed by", "keyid %s", g.KeyID)
		}
	}
	return b.String()
}
