package main

import (
	"cmp"
	"context"
	"crypto/fips140"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"example.com/qrand"
	"example.com/qrand/internal/keyfile"
	"example.com/qrand/internal/logclient"
	"example.com/qrand/provenance"
	"example.com/qrand/qrypt"
)

// keygenOptions are the flags of qrand keygen.
type keygenOptions struct {
	algorithm algorithm
	file      string
	stream    string    // instead of file: what is no regular file; "": stdout
	out       io.Writer // the stream
	format    choice
	count     int
	comment   string

	record         string // file; "": beside the key
	fingerprintKey string // file

	entropy entropyOptions
	secret  passphraseOptions
	cert    certificateOptions
	sign    signOptions
	log     logOptions
}

const maxCount = 100_000

func newKeygenCommand(c *console) *cobra.Command {
	o := keygenOptions{format: choice{"pem", allFormats}, entropy: newEntropyOptions()}
	var list bool
	cmd := &cobra.Command{
		Use:   "keygen ALGORITHM [flags]",
		Short: "Make a key, and record where its entropy came from",
		Long: `Makes a key from the bytes of a Source: bytes of crypto/rand, with quantum
entropy from the service mixed in. qrand keygen --list lists the algorithms.

With -o FILE there are three files. None of them may exist before.

  FILE                  the private key, for its owner only
  FILE.pub              the public key
  FILE.provenance.json  the record of provenance

The record says what was true of the Source when the key was made: whether it
contained a block of quantum entropy, from where, how old the block was, and
which one (by a keyed fingerprint). qrand verify checks it against the key.
What the record says of the entropy is the word of the service. Over plain HTTP,
which is for loopback addresses only, anybody may have said it.

Without -o, and with -o -, the private key is printed. With -o /dev/null, or the
name of a pipe, it is written there. In these cases there is a record only with
--provenance.

If the service does not answer, the key comes anyway, as good as crypto/rand
makes it. A note on stderr and the record then say that it contains no quantum
entropy.

For a key ceremony, --require fresh asks the service for a new block for each
key. It makes no key without the block, and none while the service fails.
--require initial wants any block. Both refuse the blocks of an emulator,
unless --rehearsal says that this is a rehearsal. The records of its keys say
"emulated": use the keys for nothing else. --fingerprint-key names a file with
32 secret bytes or more. Fingerprints that were made with the same file can be
compared, also between ceremonies.

Formats: pem and der are PKCS#8 (ML-KEM and ML-DSA as their seeds) and
SubjectPublicKeyInfo. jwk is a JSON Web Key, ssh the format of OpenSSH. raw is
the bytes that the algorithm's standard calls the key or its seed. age is an
identity and its recipient: of x25519, or of x-wing, which age calls
post-quantum. wg is an x25519 key as wg genkey and wg pubkey write them.
--passphrase encrypts a pem or ssh key. A passphrase has 15 characters or more.
If you type none, qrand makes one of ten words, and shows it once.

--self-signed also makes a certificate, in FILE.crt. --csr makes a certificate
request instead, in FILE.csr: give one of them. The serial number of a
certificate comes from the Source. So does the randomness of a signature, where
Go reads it from there. The record says how many bytes that was.

--sign-with also makes a statement, in FILE.provenance.dsse.json: the record,
signed with the private keys of people, the operators. The new key signs it,
too, if it can: nobody can write such a statement about a key that they do not
hold. An operator's key is for Ed25519, ECDSA, RSA or ML-DSA, in PEM. If it is
encrypted, its passphrase is asked for, unless --sign-passphrase-file has it.
qrand verify --trust checks who signed, and qrand record adds signatures.

--receipts asks a relay to sign which block it handed out, to whom, and where
it had come from. The statement has these receipts. If one is missing, or does
not fit the record, no key is written. qrand verify --trust verifies them.

--log puts the statement into a transparency log, and the proof of it beside the
key, in FILE.provenance.tlog-proof. The statement names the head of the log from
before the key was made, so it is not older. If the log or its witnesses are
away, the key and its statement are complete, stderr says "pending", and the exit
status is 0: qrand record prove gets the proof later. If the log refuses the
statement, the key and its statement stay, too, and the exit status is 1.
If others sign later, the log must wait for them. Leave out --log, and let --after
name a file with the head of the log:

  curl -o head https://log.example/keys/checkpoint
  qrand keygen ecdsa-p384 -o ca.pem --sign-with alice.pem --after head
  qrand record sign ca.pem --with bob.pem
  qrand record prove ca.pem --log https://log.example/keys \
    --log-token-file token`,
		Example: `  qrand keygen --list
  qrand keygen ecdsa-p256 -o key.pem
  qrand keygen ml-dsa-65 -o root.pem --require fresh --passphrase \
    --self-signed --ca --subject "CN=Root CA"
  qrand keygen ed25519 -o id_ed25519 --format ssh --comment me@example.com
  qrand keygen x-wing -o identity.age --format age
  qrand keygen ml-kem-768 -o keys/kem.pem --count 100
  qrand keygen ecdsa-p384 -o ca.pem --require fresh \
    --sign-with alice.pem,bob.pem --ceremony ceremony.json
  qrand keygen ecdsa-p384 -o ca.pem --sign-with alice.pem \
    --log https://log.example/keys --log-token-file token
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
			if streamed(o.file) {
				o.stream, o.file = o.file, ""
			}
			if err := o.check(c); err != nil {
				return misused(cmd, "%w", err)
			}
			return runKeygen(cmd.Context(), c, o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&list, "list", false, "list the algorithms")
	f.StringVarP(&o.file, "output", "o", "", "write the key to a new `FILE`, its public key and record beside it; - is stdout")
	addChoice(cmd, &o.format, "format", "write keys in this `FORMAT`: "+strings.Join(allFormats, ", ")) // which is too wide for a column
	f.IntVar(&o.count, "count", 1, "make `N` keys, numbered before the extension of FILE")
	f.StringVar(&o.comment, "comment", "", "put this `TEXT` into ssh keys as their comment")
	o.entropy.addRequire(cmd, "make no key without quantum entropy")
	o.entropy.addWait(cmd)
	f.StringVar(&o.record, "provenance", "", "write the record to this `FILE` instead")
	f.StringVar(&o.fingerprintKey, "fingerprint-key", "", "key the fingerprints of blocks with the content of `FILE`")
	o.secret.addTo(cmd, "encrypt the private key")
	o.cert.addTo(cmd)
	o.sign.addTo(cmd)
	o.log.addTo(cmd, "put the statement into this log, and the proof beside it")
	return cmd
}

// check finds what is wrong with the options, before the service is asked for
// anything.
func (o *keygenOptions) check(c *console) error {
	switch format := o.format.value; {
	case o.algorithm.name == "x25519" && fips140.Enforced():
		return errors.New("x25519 is not allowed in FIPS 140-only mode (GODEBUG=fips140=only): use ecdh-p256, ecdh-p384 or ecdh-p521")
	case !slices.Contains(o.algorithm.formats, format):
		return fmt.Errorf("there is no %s form of %s keys: use --format %s", format, o.algorithm.name, strings.Join(o.algorithm.formats, ", "))
	case o.count < 1 || o.count > maxCount:
		return fmt.Errorf("--count is 1 to %d", maxCount)
	case o.file == "" && (o.stream == "" || o.stream == "-") && c.outTTY && (format == "der" || format == "raw"):
		return errors.New("binary keys would garble the terminal: use -o FILE")
	case o.file == "" && o.count > 1 && slices.Contains([]string{"der", "ssh", "raw"}, format):
		return fmt.Errorf("%s keys cannot be told apart in one stream: use -o FILE", format)
	case o.file == "" && o.count > 1 && o.record != "":
		return errors.New("--provenance without -o is for one key only: use -o FILE")
	case o.comment != "" && format != "ssh":
		return errors.New("--comment is about --format ssh")
	case o.comment != strings.Join(strings.Fields(o.comment), " "):
		return errors.New("--comment: write words with single spaces between them")
	case strings.ContainsFunc(o.comment, unicode.IsControl):
		return errors.New("--comment: write printable characters")
	case o.secret.wanted() && format != "pem" && format != "ssh":
		encrypted := slices.DeleteFunc(slices.Clone(o.algorithm.formats), func(f string) bool { return f != "pem" && f != "ssh" })
		return fmt.Errorf("%s keys cannot be encrypted: use --format %s", format, strings.Join(encrypted, " or "))
	case o.file == "" && o.cert.wanted() && format != "pem":
		return fmt.Errorf("a %s key and a certificate cannot be told apart in one stream: use -o FILE", format)
	}
	if err := o.entropy.check(); err != nil {
		return err
	}
	if err := o.secret.check(); err != nil {
		return err
	}
	if err := o.cert.check(o.algorithm); err != nil {
		return err
	}
	if err := o.sign.check(o.file); err != nil {
		return err
	}
	if err := o.log.check(); err != nil {
		return err
	}
	switch {
	case o.log.url != "" && !o.sign.wanted():
		return errors.New("--log is for the statement that --sign-with makes: give that, too")
	case o.log.url != "" && !o.sign.notItself && strings.HasPrefix(o.algorithm.name, "slh-dsa-") && strings.HasSuffix(o.algorithm.name, "-256f"):
		return fmt.Errorf("a %s key signs with 49,856 bytes, and the statement would be too large for a log: use --no-self-signature, or the algorithm with 256s", o.algorithm.name)
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
	private, public, record, statement, proof, certificate string // "": not written
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
	if o.sign.wanted() {
		n.statement = n.private + statementSuffix
		n.proof = n.private + proofSuffix // also without --log: an old proof is of another key
	}
	if o.cert.wanted() {
		n.certificate = n.private + o.cert.suffix()
	}
	return n
}

func (n names) all() []string {
	return slices.DeleteFunc([]string{n.private, n.public, n.record, n.statement, n.proof, n.certificate}, func(path string) bool { return path == "" })
}

// numbered puts a number before the extension, with leading zeros so that names
// sort.
func (o *keygenOptions) numbered(path string, i int) string {
	if o.count == 1 {
		return path
	}
	width := len(fmt.Sprint(o.count))
	ext := filepath.Ext(path)
	return fmt.Sprintf("%s-%0*d%s", strings.TrimSuffix(path, ext), width, i+1, ext)
}

func runKeygen(ctx context.Context, c *console, o keygenOptions) error {
	cfg := qrand.Config{Policy: o.entropy.policy(), AllowEmulated: o.entropy.rehearsal, BatchBlocks: 1, Receipts: o.sign.receipts}
	if o.sign.receipts && c.getenv(qrypt.EnvEndpoints) == "" {
		return fmt.Errorf("--receipts: Qrypt's own service signs none: name a relay that does in %s", qrypt.EnvEndpoints)
	}
	if o.fingerprintKey != "" {
		secret, err := readSecret(o.fingerprintKey)
		if err != nil {
			return fmt.Errorf("--fingerprint-key: %w", err)
		}
		if n := len(secret); o.sign.receipts && n != qrypt.ReceiptKeySize {
			clear(secret)
			return fmt.Errorf("--fingerprint-key: %s has %d bytes, and with --receipts it has %d; qrand read -n 32 -o FILE makes one", o.fingerprintKey, n, qrypt.ReceiptKeySize)
		}
		cfg.FingerprintKey, err = qrand.NewFingerprintKey(secret)
		clear(secret)
		if err != nil {
			return fmt.Errorf("--fingerprint-key: %s: %s; qrand read -n 32 -o FILE makes one", o.fingerprintKey, plain(err.Error()))
		}
	}
	for i := range o.count {
		if err := checkFree(o.names(i).all()...); err != nil {
			return err
		}
	}
	if err := checkWritable(o.names(0).all()...); err != nil {
		return err
	}
	out, err := openStream(c, o.stream)
	if err != nil {
		return err
	}
	defer out.Close()
	o.out = out
	sign, err := o.sign.read(c)
	if err != nil {
		return err
	}
	log := logging{logOptions: o.log}
	if log.client, err = o.log.client(ctx); err != nil {
		return err
	}
	if log.client != nil {
		if sign.after, err = log.head(ctx, c, sign.after); err != nil {
			return err
		}
	}
	passphrase, err := o.secret.read(c, true) // after what may fail: nobody writes one down for nothing
	if err != nil {
		return err
	}
	defer clear(passphrase)
	src, err := newSource(cfg)
	if err != nil {
		return err
	}
	defer src.Close()

	seeded, err := o.entropy.seed(ctx, c, src, "what follows, it is")
	if err != nil {
		return fmt.Errorf("no key: %w", err)
	}
	for i := range o.count {
		var err error
		if i > 0 {
			if err = o.entropy.reseed(ctx, src); err != nil {
				err = fmt.Errorf("no key: %w", err)
			}
		}
		if err == nil {
			err = o.makeKey(ctx, c, src, passphrase, sign, i)
		}
		if err != nil && i > 0 {
			return fmt.Errorf("%w (complete before that: %s)", err, count(int64(i), "key"))
		} else if err != nil {
			return err
		}
		if log.client != nil {
			if err := log.add(ctx, c, o.names(i).statement); err != nil {
				return err
			}
		}
	}
	st := src.Status()
	if !seeded && st.Blocks > 0 {
		c.note("a block came in the end: the records say which keys contain its entropy")
	}
	noteDegraded(c, st)
	if st.Emulated {
		c.note("the entropy in what was made is EMULATED, not quantum: use it only for tests")
	}
	if strings.HasPrefix(st.LastEndpoint, "http://") {
		c.note("the last block came over plain HTTP from %s: nobody knows who sent it, so qrand verify --quantum refuses its record", st.LastEndpoint)
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("writing the key: %w", err)
	}
	if o.file == "" && o.record == "" {
		c.note("no record of provenance was written: -o with a new FILE writes one beside the key")
	}
	return nil
}

// makeKey makes key number i, and writes its files, or without a file to the stream.
func (o *keygenOptions) makeKey(ctx context.Context, c *console, src *qrand.Source, passphrase []byte, sign signing, i int) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	rec := provenance.NewRecorder(src)
	made, err := o.algorithm.make(rec)
	if err != nil {
		return o.entropy.failed(err)
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
	var receipts []provenance.Envelope
	if o.sign.receipts {
		if receipts, err = rec.Receipts(record); err != nil {
			return fmt.Errorf("no key: --receipts: %s", plain(err.Error()))
		}
	}
	var cert []byte
	if o.cert.wanted() {
		rec := provenance.NewRecorder(src)
		if cert, err = o.cert.make(key.private, rec); err != nil {
			return o.entropy.failed(err)
		}
		record.Certificate = &provenance.Certificate{Kind: o.cert.kind(), SHA256: provenance.Digest(cert), Bytes: rec.Bytes()}
	}
	// The last check before anything is written: a ceremony makes no key while the
	// service fails.
	if o.entropy.require.value == "fresh" {
		if st := src.Status(); record.State != qrand.Seeded || st.State != qrand.Seeded {
			return fmt.Errorf("no key: the service fails, which --require fresh does not allow: %s", cmp.Or(plain(st.LastError), record.Reason.String(), st.State.String()))
		}
	}
	private, public, err := key.encode(o.format.value, passphrase, o.comment)
	defer clear(private)
	if err != nil {
		return err
	}
	switch {
	case cert == nil || o.format.value == "der":
	case o.cert.csr:
		cert = keyfile.PEM(keyfile.KindRequest, cert)
	default:
		cert = keyfile.PEM(keyfile.KindCertificate, cert)
	}
	recorded, err := record.Encode()
	if err != nil {
		return err
	}
	var statement []byte
	var bySelf bool
	if o.sign.wanted() {
		if statement, bySelf, err = sign.statement(ctx, key, record, receipts); err != nil {
			return fmt.Errorf("no key: %w", err)
		}
		if o.log.url != "" && len(statement) > logclient.MaxEnvelope {
			return fmt.Errorf("no key: its statement would have %d bytes, and no log takes more than %d", len(statement), logclient.MaxEnvelope)
		}
	}
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
		{names.statement, statement, 0o644},
		{names.public, public, 0o644},
		{names.certificate, cert, 0o644},
		{names.private, private, 0o600}, // last: when it is there, the others are
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
	if names.private == "" { // before the record, so that no key that was lost has one
		for _, text := range [][]byte{private, cert} {
			if _, err := o.out.Write(text); err != nil {
				return fmt.Errorf("writing the key: %w", err)
			}
		}
		err := b.place()
		if err == nil {
			b.keep()
		}
		return err
	}
	if err := b.place(); err != nil {
		return err
	}
	told := fmt.Sprintf("%s: %s, public key SHA-256 %s, entropy %s\n", names.private, record.Algorithm, record.PublicKey, record.Entropy)
	if statement != nil {
		itself := "not by the key itself"
		if bySelf {
			itself = "by the key itself"
		}
		if receipts != nil {
			itself += ", with " + count(int64(len(receipts)), "receipt")
		}
		told += fmt.Sprintf("%s: signed by %s, and %s\n", names.statement, count(int64(len(sign.operators)), "operator"), itself)
	}
	if _, err = io.WriteString(c.out, told); err != nil {
		return fmt.Errorf("no key: telling its SHA-256: %v", err) // told even if nobody reads the output
	}
	b.keep()
	return nil
}

func listAlgorithms(c *console) error {
	t := table{heads: []string{"algorithm", "for", "bytes", "formats", "standard"}, right: []bool{false, false, true, false, false}}
	for _, a := range algorithms() {
		t.add(cell{text: a.name}, cell{text: a.use}, cell{text: fmt.Sprint(a.bytes)}, cell{text: strings.Join(a.formats, " ")}, cell{text: a.standard})
	}
	return t.print(c)
}
