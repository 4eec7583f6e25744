package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/qrand"
	"example.com/qrand/internal/keyfile"
	"example.com/qrand/provenance"
	"example.com/qrand/qrypt"
)

// The record of a key's provenance has the name of the key and this suffix.
const recordSuffix = ".provenance.json"

// verifyOptions are the flags of qrand verify.
type verifyOptions struct {
	record    string
	quantum   bool
	endpoints []string
	trusted   []string // endpoints, or Qrypt's own
	trustFile string
	asJSON    bool
	secret    passphraseOptions
}

func newVerifyCommand(c *console) *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify FILE [flags]",
		Short: "Check a record of provenance against its key",
		Long: `Checks that a record of provenance belongs to the key in FILE, and prints what
it says. FILE is the key, its public key, its certificate or its request, as
qrand keygen writes them. The record is beside it, or where --provenance says.
For a private key, the public key is computed again.

A record says what the program that wrote it, and the service, claim. It is
not signed, so it proves nothing to others.

With --trust, it verifies the statement: the record, with the signatures of the
people who signed when the key was made. The statement is beside the key, in
FILE.provenance.dsse.json. The trust file says whose signatures count, how many
there must be, and which endpoints are trusted: docs/statement.md describes it.
If it names a log, the proof that the statement is in the log is verified, too.
The proof is in FILE.provenance.tlog-proof. A record beside the statement must be
the one that is in it. There is a line for each thing that follows from the
statement, and for each that does not.

The exit status is 0 if the record belongs to the key, 1 if not. It is 1, too,
if the file is not byte for byte as qrand writes it, if the times in it do not
fit each other, or if it is from the future or older than qrand.

With --quantum it is 0 only if the record also says that quantum entropy, not
emulated, was in the key, and that the last block came over HTTPS from an
endpoint that you trust. That is Qrypt's own, unless --endpoint names others.
No endpoint over plain HTTP is trusted: nobody knows who sent the block.`,
		Example: `  qrand verify root.pem.pub
  qrand verify root.pem.crt
  qrand verify root.pem --passphrase --quantum
  qrand verify tls.pem --quantum --endpoint https://relay.example:7443
  qrand verify root.pem.crt --trust trust.json
  qrand verify kem.pem.pub --json | jq .record.fingerprints`,
		Args: oneArgument,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return misused(cmd, "which file? Name a key that qrand keygen wrote")
			}
			if err := o.secret.check(); err != nil {
				return misused(cmd, "%w", err)
			}
			if err := o.trust(); err != nil {
				return misused(cmd, "%w", err)
			}
			return runVerify(c, args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.record, "provenance", "", "the record, or with --trust the statement, is in this `FILE`")
	f.StringVar(&o.trustFile, "trust", "", "verify the statement, and believe those whom this `FILE` of JSON names")
	f.BoolVar(&o.quantum, "quantum", false, "fail if no quantum entropy was in the key")
	f.StringArrayVar(&o.endpoints, "endpoint", nil, "with --quantum: trust the endpoint with this `URL`, and not Qrypt's own; once for each")
	f.BoolVar(&o.asJSON, "json", false, "print the outcome as JSON")
	o.secret.addTo(cmd, "open the private key")
	return cmd
}

// trust finds which endpoints are trusted.
func (o *verifyOptions) trust() error {
	if len(o.endpoints) > 0 && !o.quantum {
		return errors.New("--endpoint is about --quantum, which is not given")
	}
	if len(o.endpoints) > 0 && o.trustFile != "" {
		return errors.New("--endpoint and --trust exclude each other: the trust file names the endpoints")
	}
	client, err := qrypt.New(qrypt.Config{Endpoints: o.endpoints, Dialect: qrypt.DialectOpenAPI}) // it is asked for nothing
	if err != nil {
		return fmt.Errorf("--endpoint: %s", plain(err.Error()))
	}
	o.trusted = client.Endpoints()
	for _, endpoint := range o.trusted {
		if !strings.HasPrefix(endpoint, "https://") {
			return fmt.Errorf("--endpoint: %s is not https: over plain HTTP nobody knows who sent a block", endpoint)
		}
	}
	return nil
}

func runVerify(c *console, path string, o verifyOptions) error {
	var trust *provenance.Trust
	suffix := recordSuffix
	if o.trustFile != "" {
		data, err := readBounded(o.trustFile)
		if err != nil {
			return fmt.Errorf("--trust: %w", err)
		}
		parsed, err := provenance.ParseTrust(data)
		if err != nil {
			return fmt.Errorf("--trust: %s: %s", o.trustFile, plain(err.Error()))
		}
		if trust, suffix = &parsed, statementSuffix; parsed.Endpoints != nil {
			o.trusted = parsed.Endpoints
		}
	}
	recordPath := o.record
	if recordPath == "" {
		var err error
		if recordPath, err = findBeside(path, suffix); err != nil {
			return err
		}
	}
	data, err := readBounded(recordPath)
	if err != nil {
		return err
	}
	outcome := struct {
		OK       bool                 `json:"ok"`
		Problem  string               `json:"problem,omitempty"`
		Note     string               `json:"note,omitempty"`
		Record   *provenance.Record   `json:"record,omitempty"`   // if it is one
		Ceremony *provenance.Ceremony `json:"ceremony,omitempty"` // with --trust
		Findings []provenance.Finding `json:"findings,omitempty"` // with --trust
	}{}
	var key *keyfile.File
	var record provenance.Record
	var envelope provenance.Envelope
	if trust == nil {
		record, err = provenance.Parse(data)
	} else if envelope, err = provenance.ParseEnvelope(data); err == nil {
		var s provenance.Statement
		s, err = envelope.Statement()
		record, outcome.Ceremony = s.Record, s.Ceremony
	}
	if err != nil {
		path = recordPath
	} else {
		if key, err = o.readKey(c, path, record.Algorithm); err != nil {
			return err
		}
		outcome.Record = &record
		if trust == nil {
			outcome.Note = strings.TrimPrefix(versionText(record)+"; "+provesNothing, "; ")
			err = o.check(record, key)
		} else {
			evidence := provenance.Evidence{Envelope: envelope, PublicKey: key.SPKI, Certificate: key.DER}
			if evidence.Proof, err = readIfThere(proofFile(recordPath)); err != nil {
				return err
			}
			var report provenance.Report
			report, err = trust.Verify(evidence, time.Now())
			more := o.check(record, key)
			if more == nil {
				more = checkBeside(recordPath, record)
			}
			if more != nil && !slices.ContainsFunc(report.Findings, func(f provenance.Finding) bool { return f.Text == more.Error() }) {
				report.Findings = append(report.Findings, provenance.Finding{About: "record", Verdict: provenance.Refused, Text: plain(more.Error())})
			}
			err = cmp.Or(err, more)
			outcome.Findings = report.Findings
		}
	}
	if o.asJSON {
		outcome.OK = err == nil
		if err != nil {
			outcome.Problem = plain(err.Error())
		}
		enc := json.NewEncoder(c.out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(outcome); err != nil {
			return err
		}
		if !outcome.OK {
			return errReported
		}
		return nil
	}
	if trust != nil && err == nil {
		_, err := fmt.Fprintf(c.out, "%s %s: the statement about this %v is what %s asks for\n\n%s", c.onOut().green(c.marks().ok), path, key.Kind, o.trustFile, findingsText(c, outcome.Findings))
		return err
	}
	if err != nil {
		_, printErr := io.WriteString(c.out, findingsText(c, outcome.Findings))
		return errors.Join(fmt.Errorf("%s: %s", path, plain(err.Error())), printErr)
	}
	_, err = fmt.Fprintf(c.out, "%s %s: the record belongs to this %v\n\n%s\n%s\n", c.onOut().green(c.marks().ok), path, key.Kind, recordText(c, record), provesNothing)
	return err
}

const provesNothing = "a record has no signature, so it proves nothing to others: --trust FILE verifies a signed statement"

// findingsText has a line for each finding.
func findingsText(c *console, findings []provenance.Finding) string {
	var b strings.Builder
	for _, f := range findings {
		verdict := fmt.Sprintf("%-15s", map[provenance.Verdict]string{provenance.Follows: "follows", provenance.Open: "does not follow", provenance.Refused: "REFUSED"}[f.Verdict])
		switch f.Verdict {
		case provenance.Follows:
			verdict = c.onOut().green(verdict)
		case provenance.Refused:
			verdict = c.onOut().red(verdict)
		}
		fmt.Fprintf(&b, "  %s  %-11s %s\n", verdict, f.About, c.wrap(f.Text, 31))
	}
	return b.String()
}

// check finds what is wrong with a record for this key and these options.
func (o *verifyOptions) check(r provenance.Record, key *keyfile.File) error {
	if err := checkRecord(r, key); err != nil {
		return err
	}
	if err := r.CheckTime(time.Now()); err != nil {
		return err
	}
	switch {
	case !o.quantum:
		return nil
	case r.Entropy != provenance.Quantum:
		return fmt.Errorf("the record says that the entropy was %s", entropyText(r))
	case r.Version == 1 && r.Policy == qrand.RequireFresh && r.AgeSeconds > defaultMaxAge.Seconds():
		return fmt.Errorf("a block that was %g seconds old is not fresh: a record of version 1 does not say that more than %v were allowed", r.AgeSeconds, defaultMaxAge)
	}
	return r.CheckEndpoint(o.trusted)
}

// defaultMaxAge is qrand.Config's. The keygen that wrote records of version 1 had no other.
const defaultMaxAge = 10 * time.Minute

// versionText says what a record of an older version does not say.
func versionText(r provenance.Record) string {
	if r.Version >= provenance.Version {
		return ""
	}
	return fmt.Sprintf("a record of version %d: it does not say how old a block RequireFresh allowed, nor which TLS certificate the endpoint had", r.Version)
}

// findBeside finds the record or the statement beside a file of a key.
func findBeside(path, ending string) (string, error) {
	what := map[string]string{recordSuffix: "record", statementSuffix: "statement"}[ending]
	stem := path
	for _, suffix := range []string{".pub", ".crt", ".csr"} {
		stem = strings.TrimSuffix(stem, suffix)
	}
	tried := slices.Compact([]string{path + ending, stem + ending})
	for _, candidate := range tried {
		if _, err := os.Stat(candidate); err == nil {
			return candidate, nil
		}
	}
	if ending == recordSuffix { // whoever was given the evidence alone
		if statement, err := findBeside(path, statementSuffix); err == nil {
			return "", fmt.Errorf("there is no %s, only the statement %s: verify it with --trust FILE", strings.Join(tried, " and no "), statement)
		}
	}
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("there is no %s", path)
	case strings.HasSuffix(path, ending):
		return "", fmt.Errorf("%s is a %s: name the file of its key", path, what)
	}
	return "", fmt.Errorf("there is no %s: name the %s with --provenance", strings.Join(tried, " and no "), what)
}

// readKey finds the public key of a file. A raw key does not say its algorithm, so it is
// taken from the record. Neither it nor a key of WireGuard says whether it is private.
func (o *verifyOptions) readKey(c *console, path, algorithm string) (key *keyfile.File, err error) {
	data, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	key, err = keyfile.Parse(data, nil)
	if errors.Is(err, keyfile.ErrEncrypted) {
		if !o.secret.wanted() {
			return nil, fmt.Errorf("%s is encrypted: verify %s.pub, or give --passphrase", path, filepath.Base(path))
		}
		passphrase, err := o.secret.read(c, false)
		if err != nil {
			return nil, err
		}
		defer clear(passphrase)
		if key, err = keyfile.Parse(data, passphrase); err != nil {
			return nil, fmt.Errorf("%s: %s", path, plain(err.Error()))
		}
		return key, nil
	}
	if err != nil {
		kind := keyfile.KindPrivate
		if strings.HasSuffix(path, ".pub") {
			kind = keyfile.KindPublic
		}
		if raw, rawErr := keyfile.ParseRaw(algorithm, kind, data); rawErr == nil {
			return raw, nil
		}
		if wg, wgErr := keyfile.ParseWG(kind, data); wgErr == nil {
			return wg, nil
		}
		return nil, fmt.Errorf("%s: %s", path, plain(err.Error()))
	}
	return key, nil
}

// readIfThere is readBounded, and returns nil if there is no file.
func readIfThere(path string) ([]byte, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return readBounded(path)
}

// checkBeside compares the record in a statement with the one that is beside it, if there is
// one.
func checkBeside(statement string, record provenance.Record) error {
	stem, ok := strings.CutSuffix(statement, statementSuffix)
	if !ok {
		return nil
	}
	data, err := readIfThere(stem + recordSuffix)
	if data == nil {
		return err
	}
	text, err := record.Encode()
	if err == nil && !bytes.Equal(text, data) {
		err = fmt.Errorf("the record in %s is not the one in the statement: one of the two was changed", stem+recordSuffix)
	}
	return err
}

// readBounded reads a file, unless it is larger than any key or record.
func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path) // before opening it, which for a pipe could block
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no %s", path)
	case err != nil:
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, keyfile.MaxSize+1))
	if err == nil && len(data) > keyfile.MaxSize {
		return nil, fmt.Errorf("%s has more than %d bytes: no key and no record is that large", path, keyfile.MaxSize)
	}
	return data, err
}

// maxCandidates is the most candidates that package keygen tries.
const maxCandidates = 100

// checkRecord compares a record with the key in a file: the public key, the algorithm,
// how many bytes such keys take, and the certificate.
func checkRecord(r provenance.Record, key *keyfile.File) error {
	if err := r.Check(key.SPKI); err != nil {
		return err
	}
	a, err := findAlgorithm(r.Algorithm)
	if err != nil {
		return fmt.Errorf("the record names an algorithm that is unknown here: %w", err)
	}
	found := keyfile.Name(key.Public)
	if a.name != found && strings.Replace(a.name, "ecdh-", "ecdsa-", 1) != found { // files do not tell them apart
		return fmt.Errorf("it is a key for %s, but the record says %s", found, a.name)
	}
	if r.Bytes < a.bytes || r.Bytes%a.bytes != 0 || r.Bytes > maxCandidates*a.bytes {
		return fmt.Errorf("the record says that %d bytes went into the key, but %s keys take %d", r.Bytes, a.name, a.bytes)
	}
	if key.DER == nil {
		return nil
	}
	switch sum := provenance.Digest(key.DER); {
	case r.Certificate == nil:
		return fmt.Errorf("the record belongs to the key, but it names no %v", key.Kind)
	case r.Certificate.SHA256 != sum:
		return fmt.Errorf("the record belongs to the key, but this %v is not the one made with it: its SHA-256 is %s, the record has %s", key.Kind, sum, r.Certificate.SHA256)
	}
	return nil
}

func entropyText(r provenance.Record) string {
	switch r.Entropy {
	case provenance.Quantum:
		return "quantum, XORed over crypto/rand"
	case provenance.Emulated:
		return "EMULATED, not quantum"
	}
	return "crypto/rand alone"
}

// seconds makes a duration for people.
func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Microsecond)
}

// recordText is what a record says, in lines for a person.
func recordText(c *console, r provenance.Record) string {
	p := c.onOut()
	var lines []string
	add := func(name, format string, args ...any) {
		lines = append(lines, fmt.Sprintf("  %-11s %s", name, fmt.Sprintf(format, args...)))
	}
	entropy := p.green(entropyText(r))
	if r.Entropy != provenance.Quantum {
		entropy = p.yellow(entropyText(r))
	}
	version := fmt.Sprintf("version %d", r.Version)
	if text := versionText(r); text != "" {
		version = p.yellow(text)
	}
	add("record", "%s", version)
	add("algorithm", "%s", r.Algorithm)
	add("public key", "SHA-256 %s", r.PublicKey)
	add("made", "%s by %s with %s", r.Time.UTC().Format(time.RFC3339), r.Software, r.GoVersion)
	add("entropy", "%s; %d bytes", entropy, r.Bytes)
	state := r.State.String()
	if r.State == qrand.Degraded {
		state = p.yellow(stateText(r.State, r.Reason))
	}
	policy := r.Policy.String()
	if r.MaxAgeSeconds > 0 {
		policy += fmt.Sprintf(" of %v", seconds(r.MaxAgeSeconds))
	}
	add("source", "%s; %v, %s", state, r.Mix, policy)
	if r.Blocks > 0 {
		add("last block", "%v old, from %s; %s in all", seconds(r.AgeSeconds), r.Endpoint, count(r.Blocks, "block"))
		for _, f := range r.Fingerprints {
			add("", "%s", f)
		}
		if r.EndpointCertificate != "" {
			add("endpoint", "TLS certificate SHA-256 %s", r.EndpointCertificate)
			add("", "its public key  SHA-256 %s", r.EndpointPublicKey)
		}
	}
	if r.Certificate != nil {
		where := "serial number and signature"
		if r.Certificate.Kind == "request" {
			where = "its signature"
		}
		add(r.Certificate.Kind, "SHA-256 %s; %s of the Source in %s", r.Certificate.SHA256, count(r.Certificate.Bytes, "byte"), where)
	}
	return strings.Join(lines, "\n") + "\n"
}
