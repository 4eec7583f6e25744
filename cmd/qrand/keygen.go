package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/qrand"
	"example.com/qrand/provenance"
)

// keygenOptions are the flags of qrand keygen.
type keygenOptions struct {
	algorithm algorithm
	file      string
	format    choice
	count     int
	comment   string

	record         string // file; "": beside the key
	fingerprintKey string // file
	require        choice
	rehearsal      bool
	wait           waitFlag

	secret passphraseOptions
	cert   certificateOptions
}

const maxCount = 100_000

func newKeygenCommand(c *console) *cobra.Command {
	o := keygenOptions{
		format:  choice{"pem", allFormats},
		require: choice{"", []string{"initial", "fresh"}},
		wait:    waitFlag(30 * time.Second),
	}
	var list bool
	cmd := &cobra.Command{
		Use:   "keygen ALGORITHM [flags]",
		Short: "Make a key, and record where its entropy came from",
		Long: `Makes a key of bytes from a Source: crypto/rand's, with quantum entropy from
the service mixed in. qrand keygen --list lists the algorithms.

With -o FILE there are three files, none of which may exist before: FILE with
the private key, for its owner only; FILE.pub with the public key; and
FILE.provenance.json, which records what was true of the Source when the key
was made: whether a block of quantum entropy was in it, from where, how old it
was, and which (by a keyed fingerprint). qrand verify checks it against the
key. Without -o the private key is printed. If the service does not answer,
the key comes all the same, as good as crypto/rand makes it; a note on stderr
and the record say that there is no quantum entropy in it.

For a key ceremony, --require fresh asks the service for a block now, for each
key one of its own, and makes no key without it, nor while the service fails.
--require initial wants any block. Neither takes the blocks of an emulator,
unless --rehearsal says that this is a rehearsal: its keys are good for nothing
else, and their records say "emulated". --fingerprint-key names a file with 32
secret bytes or more, with which fingerprints in records of several ceremonies
can be compared.

Formats: pem and der are PKCS#8 (ML-KEM and ML-DSA as their seeds) and
SubjectPublicKeyInfo; jwk is a JSON Web Key, ssh OpenSSH's own, raw the bytes
that the algorithm's standard calls the key or its seed. --passphrase asks for
one to encrypt a pem or ssh key with.

--self-signed also makes a certificate, in FILE.crt, and --csr a certificate
request, in FILE.csr. Their serial numbers come from the Source, and what
randomness a signature takes, where Go reads it from there: the record says
how many bytes that was.`,
		Example: `  qrand keygen --list
  qrand keygen ecdsa-p256 -o key.pem
  qrand keygen ml-dsa-65 -o root.pem --require fresh --passphrase --self-signed --ca --subject "CN=Root CA"
  qrand keygen ed25519 -o id_ed25519 --format ssh --comment me@example.com
  qrand keygen ml-kem-768 -o keys/kem.pem --count 100
  qrand verify root.pem.pub`,
		Args: oneArgument,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
			if len(args) == 0 {
				for _, a := range algorithms() {
					names = append(names, a.name+"\t"+a.use)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if list {
				return listAlgorithms(c)
			}
			if o.algorithm, err = findAlgorithm(strings.Join(args, "")); err != nil {
				return misused(cmd, "%w", err)
			}
			if cmd.Flags().Changed("output") && (o.file == "" || o.file == "-") {
				return misused(cmd, "-o names no file: leave it out to print the key")
			}
			if err := o.check(c); err != nil {
				return misused(cmd, "%w", err)
			}
			return runKeygen(cmd.Context(), c, o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&list, "list", false, "list the algorithms")
	f.StringVarP(&o.file, "output", "o", "", "write the key to a new `FILE`, its public key and record beside it")
	addChoice(cmd, &o.format, "format", "how to write keys")
	f.IntVar(&o.count, "count", 1, "make `N` keys, numbered before the extension of FILE")
	f.StringVar(&o.comment, "comment", "", "the comment of ssh keys")
	addChoice(cmd, &o.require, "require", "make no key without quantum entropy")
	addRehearsal(cmd, &o.rehearsal)
	f.Var(&o.wait, "wait", "how long to wait for the first block")
	f.StringVar(&o.record, "provenance", "", "write the record to this `FILE` instead")
	f.StringVar(&o.fingerprintKey, "fingerprint-key", "", "key the fingerprints of blocks with the content of `FILE`")
	o.secret.addTo(cmd, "encrypt the private key")
	o.cert.addTo(cmd)
	return cmd
}

// check finds what is wrong with the options before anything is asked of the
// service.
func (o *keygenOptions) check(c *console) error {
	switch format := o.format.value; {
	case !slices.Contains(o.algorithm.formats, format):
		return fmt.Errorf("there is no %s form of %s keys: use --format %s", format, o.algorithm.name, strings.Join(o.algorithm.formats, ", "))
	case o.count < 1 || o.count > maxCount:
		return fmt.Errorf("--count is 1 to %d", maxCount)
	case o.file == "" && c.outTTY && (format == "der" || format == "raw"):
		return errors.New("binary keys would garble the terminal: use -o FILE")
	case o.file == "" && o.count > 1 && format != "pem" && format != "jwk":
		return fmt.Errorf("%s keys cannot be told apart in one stream: use -o FILE", format)
	case o.file == "" && o.count > 1 && o.record != "":
		return errors.New("--provenance is about one key, or files: use -o FILE")
	case o.rehearsal && o.require.value == "":
		return errors.New(rehearsalAlone)
	case o.comment != "" && format != "ssh":
		return errors.New("--comment is about --format ssh")
	case o.comment != strings.Join(strings.Fields(o.comment), " "):
		return errors.New("--comment is words with single spaces between")
	case o.secret.wanted() && format != "pem" && format != "ssh":
		return fmt.Errorf("%s keys cannot be encrypted: use --format pem or ssh", format)
	case o.file == "" && o.cert.wanted() && format != "pem":
		return fmt.Errorf("a %s key and a certificate do not go into one stream: use -o FILE", format)
	}
	if err := o.secret.check(); err != nil {
		return err
	}
	if err := o.cert.check(o.algorithm); err != nil {
		return err
	}
	all := o.names(0).all()
	slices.Sort(all)
	if len(slices.Compact(slices.Clone(all))) < len(all) {
		return errors.New("the record and the key cannot be one file: give --provenance another name")
	}
	return nil
}

// names are the files of one key.
type names struct {
	private, public, record, certificate string // "": not written
}

func (o *keygenOptions) names(i int) (n names) {
	if o.file == "" {
		return names{record: o.record}
	}
	n.private = o.numbered(o.file, i)
	n.public = n.private + ".pub"
	n.record = n.private + recordSuffix
	if o.record != "" {
		n.record = o.numbered(o.record, i)
	}
	if o.cert.wanted() {
		n.certificate = n.private + o.cert.suffix()
	}
	return n
}

func (n names) all() []string {
	return slices.DeleteFunc([]string{n.private, n.public, n.record, n.certificate}, func(path string) bool { return path == "" })
}

// numbered puts a number before the extension, with zeros so that names sort.
func (o *keygenOptions) numbered(path string, i int) string {
	if o.count == 1 {
		return path
	}
	width := len(fmt.Sprint(o.count))
	ext := filepath.Ext(path)
	return fmt.Sprintf("%s-%0*d%s", strings.TrimSuffix(path, ext), width, i+1, ext)
}

func runKeygen(ctx context.Context, c *console, o keygenOptions) error {
	cfg := qrand.Config{Policy: policies[o.require.value], AllowEmulated: o.rehearsal, BatchBlocks: 1}
	var err error
	if cfg.FingerprintKey, err = readFingerprintKey(o.fingerprintKey); err != nil {
		return err
	}
	for i := range o.count {
		if err := free(o.names(i).all()...); err != nil {
			return err
		}
	}
	passphrase, err := o.secret.read(c, true)
	if err != nil {
		return err
	}
	defer clear(passphrase)
	src, err := newSource(cfg)
	if err != nil {
		return err
	}
	defer src.Close()

	tellRehearsal(c, o.rehearsal)
	spin := c.newSpinner(c.err, c.errTTY, "waiting for a block of entropy")
	seeded := waitSeeded(ctx, src, time.Duration(o.wait)) == nil
	spin.end()
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case !seeded && o.require.value != "":
		return fmt.Errorf("no key: no quantum entropy, which --require %s asks for: %s", o.require.value, why(src.Status(), o.wait))
	case !seeded:
		c.note("no quantum entropy in what follows, it is as good as crypto/rand: %s", why(src.Status(), o.wait))
	}
	for i := range o.count {
		var err error
		if i > 0 && o.require.value == "fresh" {
			err = reseed(ctx, src, o.wait)
		}
		if err == nil {
			err = o.makeKey(ctx, c, src, passphrase, i)
		}
		if err != nil && i > 0 {
			return fmt.Errorf("%w (after %s, which are complete)", err, count(int64(i), "key"))
		} else if err != nil {
			return err
		}
	}
	tellKeys(c, src.Status(), seeded, o.file != "" || o.record != "")
	return nil
}

// reseed asks for a block of the next key's own.
func reseed(ctx context.Context, src *qrand.Source, wait waitFlag) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(wait))
	defer cancel()
	if err := src.Reseed(ctx); err != nil {
		return fmt.Errorf("no key: no block of quantum entropy, which --require fresh asks for: %s", explain(err))
	}
	return nil
}

// tellKeys notes what a person must know about keys that were made.
func tellKeys(c *console, st qrand.Status, seeded, recorded bool) {
	if !seeded && st.Blocks > 0 {
		c.note("a block came in the end: the records say which keys have it in them")
	}
	tellDegraded(c, st)
	if st.Emulated {
		c.note("the entropy in what was made is EMULATED, not quantum: use it for nothing but tests")
	}
	if !recorded {
		c.note("no record of provenance was written: -o FILE writes one beside the key")
	}
}

// makeKey makes the key of number i and writes what belongs to it.
func (o *keygenOptions) makeKey(ctx context.Context, c *console, src *qrand.Source, passphrase []byte, i int) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	rec := provenance.NewRecorder(src)
	made, err := o.algorithm.make(rec)
	if err != nil {
		return err
	}
	key, err := newKeyPair(made)
	if err != nil {
		return err
	}
	record, err := rec.Record(o.algorithm.name, key.spki)
	if err != nil {
		return err
	}
	if record.Bytes < o.algorithm.bytes {
		return fmt.Errorf("%s took %d bytes, not %d: this is a defect of qrand", o.algorithm.name, record.Bytes, o.algorithm.bytes)
	}
	var cert []byte
	if o.cert.wanted() {
		rec := provenance.NewRecorder(src)
		if cert, err = o.cert.make(key, rec); err != nil {
			return err
		}
		record.Certificate = &provenance.Certificate{Kind: o.cert.kind(), SHA256: provenance.Digest(cert), Bytes: rec.Bytes()}
	}
	// The last look before anything is written: a ceremony has no key that was
	// made while the service failed.
	if o.require.value == "fresh" {
		if st := src.Status(); record.State != qrand.Seeded || st.State != qrand.Seeded {
			return fmt.Errorf("no key: the service fails, which --require fresh does not allow: %s", cmp.Or(plain(st.LastError), record.Reason.String(), st.State.String()))
		}
	}
	private, public, err := key.encode(o.format.value, passphrase, o.comment)
	defer clear(private)
	if err != nil {
		return err
	}
	if o.format.value != "der" {
		cert = certificatePEM(o.cert.kind(), cert)
	}
	recorded := encodeRecord(record)
	if ctx.Err() != nil {
		return errInterrupted
	}

	names := o.names(i)
	var b bundle
	defer b.discard()
	for _, f := range []struct {
		path string
		data []byte
		mode os.FileMode
	}{
		{names.record, recorded, 0o644},
		{names.public, public, 0o644},
		{names.certificate, cert, 0o644},
		{names.private, private, 0o600}, // last: who sees it, sees the rest
	} {
		if f.path != "" {
			if err := b.add(f.path, f.data, f.mode); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return errInterrupted
	}
	if names.private == "" { // before its record, so that there is none of a key that nobody has
		for _, text := range [][]byte{private, cert} {
			if _, err := c.out.Write(text); err != nil {
				return fmt.Errorf("writing the key: %w", err)
			}
		}
		return b.place()
	}
	if err := b.place(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s: %s, public key SHA-256 %s, entropy %s\n", names.private, record.Algorithm, record.PublicKey, record.Entropy)
	return err
}

// readFingerprintKey reads the key in a file; without one it is the zero key.
func readFingerprintKey(path string) (key qrand.FingerprintKey, err error) {
	if path == "" {
		return key, nil
	}
	secret, err := os.ReadFile(path)
	if err != nil {
		return key, fmt.Errorf("--fingerprint-key: %w", err)
	}
	defer clear(secret)
	if key, err = qrand.NewFingerprintKey(secret); err != nil {
		return key, fmt.Errorf("--fingerprint-key: %s: %s; qrand read -n 32 -o FILE makes one", path, plain(err.Error()))
	}
	return key, nil
}

func listAlgorithms(c *console) error {
	t := table{heads: []string{"algorithm", "for", "bytes", "formats", "standard"}, right: []bool{false, false, true, false, false}}
	for _, a := range algorithms() {
		t.add(cell{text: a.name}, cell{text: a.use}, cell{text: fmt.Sprint(a.bytes)}, cell{text: strings.Join(a.formats, " ")}, cell{text: a.standard})
	}
	return t.write(c.out, c.onOut())
}
