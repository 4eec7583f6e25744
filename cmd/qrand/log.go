package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/qrand/internal/logclient"
	"example.com/qrand/internal/pemfile"
	"example.com/qrand/provenance/tlogproof"
	"example.com/qrand/qrypt"
)

// The proof that a statement is in a log has the name of the key and this suffix.
const proofSuffix = ".provenance.tlog-proof"

// proofFile is where the proof is that a statement is in a log.
func proofFile(statement string) string {
	return strings.TrimSuffix(statement, statementSuffix) + proofSuffix
}

// logOptions are the flags about the log that statements go into.
type logOptions struct {
	url       string
	tokenFile string
	caFile    string
}

func (o *logOptions) addTo(cmd *cobra.Command, usage string) {
	f := cmd.Flags()
	f.StringVar(&o.url, "log", "", usage+", at this `URL`")
	f.StringVar(&o.tokenFile, "log-token-file", "", "the log knows you by the token in this `FILE`")
	f.StringVar(&o.caFile, "log-ca-file", "", "only the CAs in this `FILE` of PEM may certify the log")
}

func (o *logOptions) check() error {
	if o.url == "" {
		if o.tokenFile != "" || o.caFile != "" {
			return errors.New("--log-token-file and --log-ca-file are about --log, which is not given")
		}
		return nil
	}
	if _, err := logclient.New(o.url, "", nil); err != nil {
		return fmt.Errorf("--log: %w", err)
	}
	return nil
}

// client makes the client of the log, nil if none is wanted. It asks for nothing yet.
func (o *logOptions) client(ctx context.Context) (*logclient.Client, error) {
	if o.url == "" {
		return nil, nil
	}
	var token string
	var roots *x509.CertPool
	var err error
	if o.tokenFile != "" {
		if token, err = qrypt.TokenFromFile(o.tokenFile)(ctx); err != nil {
			return nil, fmt.Errorf("--log-token-file: %s", plain(err.Error()))
		}
	}
	if o.caFile != "" {
		if _, roots, err = pemfile.CAs(o.caFile); err != nil {
			return nil, fmt.Errorf("--log-ca-file: %w", err)
		}
	}
	client, err := logclient.New(o.url, token, roots)
	if err != nil {
		return nil, fmt.Errorf("--log: %w", err)
	}
	return client, nil
}

// command is what gets the proof of a statement later.
func (o *logOptions) command(file string) string {
	words := []string{"qrand record prove", shellQuote(file), "--log", shellQuote(o.url)}
	for _, flag := range [][2]string{{"--log-token-file", o.tokenFile}, {"--log-ca-file", o.caFile}} {
		if flag[1] != "" {
			words = append(words, flag[0], shellQuote(flag[1]))
		}
	}
	return strings.Join(words, " ")
}

// A logging puts the statements about new keys into a log.
type logging struct {
	logOptions
	client *logclient.Client // nil: none
	away   bool              // the log or its witnesses
}

// patientHead is how long to wait for the head of a log, before any key is made.
const patientHead = 10 * time.Second

// head is the head of the log for statements to name: after, if that is not empty, or else the
// newest. If the log is away there is none but after.
func (l *logging) head(ctx context.Context, c *console, after string) (string, error) {
	short, cancel := context.WithTimeout(ctx, patientHead)
	defer cancel()
	head, err := l.client.Head(short)
	switch {
	case ctx.Err() != nil:
		return "", errInterrupted
	case errors.Is(err, logclient.ErrPending) && after != "":
		return after, nil
	case errors.Is(err, logclient.ErrPending):
		c.note("the statement will name no head of the log, so nothing will show that it is not older: %v", err)
		return "", nil
	case err != nil:
		return "", fmt.Errorf("no key: --log: %w: is %s the address of a log?", err, l.url)
	}
	now, err := tlogproof.ParseNote(head)
	if err != nil {
		return "", fmt.Errorf("no key: --log: what %s answers is %w: is it the address of a log?", l.url, err)
	}
	if after == "" {
		return head, nil
	}
	before, err := tlogproof.ParseNote(after)
	if err == nil && (before.Origin != now.Origin || before.Size > now.Size) {
		err = fmt.Errorf("no key: --after has the head of the log %.100q with %d entries, and at --log is %.100q with %d: no proof could be for both", before.Origin, before.Size, now.Origin, now.Size)
	}
	return after, err
}

// add puts the statement about a new key into the log, and its proof beside it. If the log or
// its witnesses are away, that is told, and is no error: the key is complete.
func (l *logging) add(ctx context.Context, c *console, statement string) error {
	later := l.command(statement)
	if l.away {
		c.note("pending: %s has no proof either: run %s", statement, later)
		return nil
	}
	switch err := proveRecord(ctx, c, l.client, statement); {
	case err == nil:
		return nil
	case errors.Is(err, logclient.ErrPending):
		l.away = true
		c.note("pending: %s; the key and its statement are complete: for the proof, run %s", strings.Replace(err.Error(), "pending: ", "", 1), later)
		return nil
	case ctx.Err() != nil:
		c.note("pending: the key and its statement are complete: for the proof, run %s", later)
		return errInterrupted
	default:
		return fmt.Errorf("%w; the key and its statement are complete, and stay; when that is solved, run %s", err, later)
	}
}

// placeProof writes a proof beside its statement, and tells it. The proof is of the envelope,
// which the statement was when the log was asked.
func placeProof(ctx context.Context, c *console, statement string, envelope []byte, proof *tlogproof.Proof) error {
	unlock, err := lockFile(ctx, statement)
	if err != nil {
		return err
	}
	defer unlock() // which the end of the process does, too
	if now, err := readBounded(statement); err != nil {
		return err
	} else if !bytes.Equal(now, envelope) {
		return errors.New("it was signed while the log was asked, so the log has it as it was before: run this again, and the log has both")
	}
	var b bundle
	defer b.discard()
	err = b.add(proofFile(statement), proof.Encode(), 0o644)
	if err == nil {
		err = b.place()
	}
	if err != nil {
		return err
	}
	b.keep()
	_, err = io.WriteString(c.out, proofText(proofFile(statement), proof)+"\n")
	return err
}

// proofText says which entry a proof is about, by its own word.
func proofText(path string, proof *tlogproof.Proof) string {
	text := fmt.Sprintf("%s: entry %d", path, proof.Index)
	if checkpoint, err := tlogproof.ParseNote(proof.Checkpoint); err == nil {
		text += fmt.Sprintf(" of the log %q, of size %d", checkpoint.Origin, checkpoint.Size)
	}
	return text
}

// readProof reads the proof beside a statement, nil if there is none. Nobody's signature is
// verified, only that the proof is of this statement.
func readProof(statement string, envelope []byte) (*tlogproof.Proof, error) {
	path := proofFile(statement)
	data, err := readIfThere(path)
	if data == nil {
		return nil, err
	}
	proof, err := tlogproof.Parse(data)
	if err == nil {
		_, err = proof.Includes(envelope)
	}
	if err != nil {
		return nil, fmt.Errorf("%s is not the proof of %s: %w", path, filepath.Base(statement), err)
	}
	return proof, nil
}

func newRecordProveCommand(c *console) *cobra.Command {
	var o logOptions
	cmd := &cobra.Command{
		Use:   "prove FILE... --log URL",
		Short: "Put a statement into a log, and its proof beside it",
		Long: `Puts a statement into a transparency log, if it is not there, and writes the proof
of it beside the statement, in FILE.provenance.tlog-proof. FILE is the statement,
or a file of the key that it is beside. More than one may be named.

Do it when all have signed: the log has the file as it is. It also completes what
qrand keygen --log left pending. The log's signatures are not verified here:
qrand verify --trust does that.

A proof that is there is kept, and the log is not asked: the first proof shows
the earliest time. If the log or its witnesses are away, the exit status is 1:
run it again later. To put the same statement into a log twice changes nothing.`,
		Example: `  qrand record prove root.pem.pub --log https://log.example/keys \
    --log-token-file log.token`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return misused(cmd, "which file? Name a statement, or a key that has one")
			case o.url == "":
				return misused(cmd, "which log? Give its address with --log")
			}
			if err := o.check(); err != nil {
				return misused(cmd, "%w", err)
			}
			client, err := o.client(cmd.Context())
			if err != nil {
				return err
			}
			for _, path := range args {
				if err := proveRecord(cmd.Context(), c, client, path); errors.Is(err, logclient.ErrPending) {
					return fmt.Errorf("%w; run this again later", err)
				} else if err != nil {
					return err
				}
			}
			return nil
		},
	}
	o.addTo(cmd, "the log")
	return cmd
}

func proveRecord(ctx context.Context, c *console, client *logclient.Client, path string) error {
	path, e, _, err := readStatement(path)
	if err != nil {
		return err
	}
	envelope, err := e.Encode()
	if err != nil {
		return err
	}
	proof, err := readProof(path, envelope)
	if err != nil {
		return fmt.Errorf("%w; if the statement was not changed, move the proof away, and run this again", err)
	}
	if proof != nil {
		_, err := fmt.Fprintf(c.out, "%s; it was there, and is kept\n", proofText(proofFile(path), proof))
		return err
	}
	if err := checkWritable(proofFile(path)); err != nil {
		return err
	}
	proof, err = client.Fetch(ctx, envelope)
	if errors.Is(err, logclient.ErrUnknown) {
		proof, err = client.Submit(ctx, envelope)
	}
	if err == nil {
		err = placeProof(ctx, c, path, envelope, proof)
	}
	switch {
	case ctx.Err() != nil && err != nil:
		return errInterrupted
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
