package provenance

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/qrand/provenance/tlogproof"
	"example.com/qrand/qrypt"
)

// A Trust is what somebody who verifies statements has decided to believe.
type Trust struct {
	// Signers are the people whose signatures count, and Threshold is how many of them must
	// have signed. A person may have several keys, under one name, and counts once.
	Signers   []TrustedKey `json:"signers"`
	Threshold int          `json:"threshold"`

	// Endpoints are the base URLs from which blocks may have come, without a slash at the
	// end, https only. Nil: the service's own (qrypt.EndpointEUS, qrypt.EndpointWEU).
	Endpoints []string `json:"endpoints,omitempty"`

	// Emulated takes statements about keys with the blocks of an emulator: for rehearsals.
	Emulated bool `json:"emulated,omitempty"`

	// Receipts are the keys of relays, one of which must have signed a receipt for each block
	// that the record names. The relay must have had it from one of Endpoints, or from the
	// service itself. Nil: no receipt is wanted.
	Receipts []TrustedRelay `json:"receipts,omitempty"`

	// Log is the log in which the envelope must be. Nil: it need not be in any.
	Log *TrustedLog `json:"log,omitempty"`
}

// A TrustedKey is the public key of a person or a relay.
type TrustedKey struct {
	Name      string `json:"name"`
	PublicKey string `json:"public_key"` // PEM, or the base64 of the DER SubjectPublicKeyInfo
}

// A TrustedRelay is the key with which a relay signs receipts.
type TrustedRelay struct {
	TrustedKey
	Client string `json:"client,omitempty"` // to whom it must have handed the blocks out, by the name in its list; empty: to anybody
}

// A TrustedLog is a log, with the witnesses that watch it.
type TrustedLog struct {
	Key       string           `json:"key"` // verifier keys of https://c2sp.org/signed-note, with spaces between them: each must have signed
	Witnesses []TrustedWitness `json:"witnesses,omitempty"`
	Quorum    int              `json:"quorum,omitempty"`    // how many witnesses must have cosigned
	MaxDelay  string           `json:"max_delay,omitempty"` // from the Record's time until they did, as time.ParseDuration reads it; empty: no limit
}

// A TrustedWitness is one who cosigns the checkpoints of a log.
type TrustedWitness struct {
	Name string `json:"name"`
	Key  string `json:"key"` // a verifier key of https://c2sp.org/signed-note
}

// ParseTrust reads a trust file: the JSON of a Trust, which a person may write. It refuses
// members that it does not know, or that are there twice or in another case.
func ParseTrust(data []byte) (Trust, error) {
	var t Trust
	err := decodeStrictly(data, &t)
	if err == nil {
		_, err = t.signers()
	}
	if err != nil {
		return Trust{}, fmt.Errorf("provenance: the trust file: %w", err)
	}
	return t, nil
}

// A namedKey is a public key, and whose it is.
type namedKey struct {
	publicKey
	name string
}

// signers returns the keys of the signers by keyid, if all that the Trust says makes sense.
func (t *Trust) signers() (map[string]namedKey, error) {
	keys, err := parseTrustedKeys(t.Signers)
	if err != nil {
		return nil, fmt.Errorf("a signer: %w", err)
	}
	if _, err := t.relays(); err != nil {
		return nil, fmt.Errorf("the key of a relay's receipts: %w", err)
	}
	if n := len(names(keys)); t.Threshold < 1 || t.Threshold > n {
		return nil, fmt.Errorf("the threshold is %d, and there are %d signers: it must be from 1 to that", t.Threshold, n)
	}
	for i, e := range t.Endpoints {
		// A record has the URL as a Client writes it, and another text would match none.
		client, err := qrypt.New(qrypt.Config{Endpoints: []string{e}, Dialect: qrypt.DialectOpenAPI}) // it is asked for nothing
		if err != nil || client.Endpoints()[0] != e || !strings.HasPrefix(e, "https://") || !oneLineOfText(e) {
			return nil, fmt.Errorf("endpoint %d of %d is not the base URL of one: write it like %s, with no slash at the end", i+1, len(t.Endpoints), qrypt.EndpointEUS)
		}
	}
	if t.Log != nil {
		if _, err := t.Log.Policy(); err != nil {
			return nil, fmt.Errorf("the log: %w", err)
		}
	}
	return keys, nil
}

// A relayKey is the key of a relay's receipts, and for which client they must be.
type relayKey struct {
	namedKey
	client string
}

// relays returns the keys of the relays by keyid.
func (t *Trust) relays() (map[string]relayKey, error) {
	var all []TrustedKey
	for _, r := range t.Receipts {
		all = append(all, r.TrustedKey)
	}
	keys, err := parseTrustedKeys(all)
	if err != nil {
		return nil, err
	}
	relays := map[string]relayKey{}
	for _, r := range t.Receipts {
		if !oneLineOfText(r.Client) {
			return nil, fmt.Errorf("the client of %.100q is %.100q, which is not text of one line", r.Name, r.Client)
		}
		k, _ := r.parse() // no error, as above
		relays[k.id] = relayKey{keys[k.id], r.Client}
	}
	return relays, nil
}

// names returns whose the keys are, sorted, each once.
func names(keys map[string]namedKey) []string {
	var all []string
	for _, k := range keys {
		all = append(all, k.name)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func parseTrustedKeys(all []TrustedKey) (map[string]namedKey, error) {
	keys := map[string]namedKey{}
	for _, t := range all {
		k, err := t.parse()
		if err != nil {
			return nil, err
		}
		if other, ok := keys[k.id]; ok {
			return nil, fmt.Errorf("%.100q and %.100q have the same key, with keyid %s", other.name, t.Name, k.id)
		}
		keys[k.id] = namedKey{k, t.Name}
	}
	return keys, nil
}

func (t TrustedKey) parse() (k publicKey, err error) {
	if t.Name == "" || !oneLineOfText(t.Name) {
		return k, fmt.Errorf("%.100q is not a name", t.Name)
	}
	var der []byte
	if block, rest := pem.Decode([]byte(t.PublicKey)); block != nil && block.Type == "PUBLIC KEY" && len(bytes.TrimSpace(rest)) == 0 {
		der = block.Bytes
	} else if der, _ = base64.StdEncoding.Strict().DecodeString(t.PublicKey); len(der) == 0 {
		return k, fmt.Errorf("the public_key of %.100q is neither one PEM block of type PUBLIC KEY nor base64", t.Name)
	}
	if k, err = parsePublicKey(der); err != nil {
		return k, fmt.Errorf("the public_key of %.100q: %w", t.Name, err)
	}
	if !slices.Contains(namedAlgorithms, k.algorithm) && !strings.HasPrefix(k.algorithm, "rsa-") {
		return k, fmt.Errorf("the public_key of %.100q is for %s: it must be for rsa, %s", t.Name, k.algorithm, strings.Join(namedAlgorithms, ", "))
	}
	return k, nil
}

// Policy is what the checkpoints and the proofs of the log are verified with.
func (l *TrustedLog) Policy() (*tlogproof.Policy, error) {
	var keys []string
	seen := map[string]bool{}
	for _, w := range l.Witnesses {
		name, _, _ := strings.Cut(w.Key, "+")
		switch {
		case w.Name == "" || !oneLineOfText(w.Name):
			return nil, fmt.Errorf("%.100q is not the name of a witness", w.Name)
		case seen["name "+w.Name] || seen["key "+name]: // it would count twice
			return nil, fmt.Errorf("the witness %.100q, with a key of %.100q, is there twice: a witness has one name and one key", w.Name, name)
		}
		seen["name "+w.Name], seen["key "+name] = true, true
		keys = append(keys, w.Key)
	}
	var maxDelay time.Duration
	if l.MaxDelay != "" {
		var err error
		if maxDelay, err = time.ParseDuration(l.MaxDelay); err != nil || maxDelay <= 0 {
			return nil, fmt.Errorf("max_delay is %.100q: write it as 24h or 30m", l.MaxDelay)
		}
	}
	return tlogproof.NewPolicy(strings.Fields(l.Key), keys, l.Quorum, maxDelay)
}

// A Report says what follows from a statement and its signatures, and what does not.
type Report struct {
	Statement Statement `json:"statement"`
	Findings  []Finding `json:"findings"`
}

// A Finding is a line of a Report.
type Finding struct {
	About   string  `json:"about"` // in a word: "signer", "endpoint"
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"`
}

// A Verdict says what becomes of a Finding.
type Verdict string

const (
	Follows Verdict = "follows" // for those who believe the signers and trust what the Trust trusts
	Open    Verdict = "open"    // does not follow, and the Trust does not ask for it
	Refused Verdict = "refused" // the Trust or the statement asks for it, and it is not so
)

func (r *Report) add(about string, v Verdict, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{about, v, fmt.Sprintf(format, args...)})
}

// refuse adds an error of this package.
func (r *Report) refuse(about string, err error) {
	r.add(about, Refused, "%s", strings.TrimPrefix(err.Error(), "provenance: "))
}

// err is the error of the first Finding that is Refused.
func (r *Report) err() error {
	for _, f := range r.Findings {
		if f.Verdict == Refused {
			return fmt.Errorf("provenance: %s", f.Text)
		}
	}
	return nil
}

// Evidence is what there is of a key and a statement about it.
type Evidence struct {
	Envelope    Envelope
	PublicKey   []byte // the DER SubjectPublicKeyInfo
	Certificate []byte // the DER of the certificate or request made with the key; nil: it is not compared
	Proof       []byte // of a log that the envelope is in, https://c2sp.org/tlog-proof; nil: there is none
}

// Verify verifies that the envelope has a statement about the public key, that enough of the
// Signers signed it, and that it is in the Log. The error names the first cause for which the
// statement is refused. The Report has all of them, and has lines as soon as the envelope has
// a statement.
func (t *Trust) Verify(e Evidence, now time.Time) (Report, error) {
	r, signers, err := t.report(e.Envelope)
	if err != nil {
		return Report{}, err
	}
	own := r.subject(e.PublicKey, e.Certificate)
	r.signatures(e.Envelope, own, signers, t.Threshold)
	r.entropy(t)
	r.time(now)
	r.receipts(t)
	r.log(t, e)
	return r, r.err()
}

// VerifyEntry verifies the envelope that is an entry of a log, as Verify does, for somebody
// who reads the whole log and has no keys beside it. A log has the SHA-256 of a key, not the
// key. So the signature of the key itself is not verified: it must be there if the statement
// says so. Unlike Verify, it refuses the signature of an unknown key. It does not look at the
// log: whoever reads that does.
func (t *Trust) VerifyEntry(e Envelope, now time.Time) (Report, error) {
	r, signers, err := t.report(e)
	if err != nil {
		return Report{}, err
	}
	for _, g := range e.Signatures {
		if _, known := signers[g.KeyID]; !known && g.KeyID != r.Statement.Record.PublicKey {
			r.add("signer", Refused, "an unknown key signed it, with keyid %s", g.KeyID)
		}
	}
	r.signatures(e, publicKey{}, signers, t.Threshold)
	r.entropy(t)
	r.time(now)
	r.receipts(t)
	return r, r.err()
}

// report begins the report about an envelope, and returns the keys of the signers by keyid.
func (t *Trust) report(e Envelope) (r Report, signers map[string]namedKey, err error) {
	if signers, err = t.signers(); err != nil {
		return r, nil, fmt.Errorf("provenance: what is trusted: %w", err)
	}
	if err := e.validate(); err != nil {
		return r, nil, fmt.Errorf("provenance: the envelope: %w", err)
	}
	r.Statement, err = e.Statement()
	return r, signers, err
}

// subject compares the key and the certificate with those that the statement is about. It
// returns the key.
func (r *Report) subject(spki, certificate []byte) publicKey {
	record := r.Statement.Record
	key, err := parsePublicKey(spki)
	switch {
	case err != nil:
		r.add("key", Refused, "the key: %v", err)
	case record.Check(spki) != nil:
		r.refuse("key", record.Check(spki))
	case strings.Replace(record.Algorithm, "ecdh-", "ecdsa-", 1) != key.algorithm: // a SubjectPublicKeyInfo does not tell them apart
		r.add("key", Refused, "it is a key for %s, but the statement says %.100q", key.algorithm, record.Algorithm)
	default:
		r.add("key", Follows, "the statement is about this key for %s, whose SHA-256 is %s", record.Algorithm, record.PublicKey)
	}
	switch c := record.Certificate; {
	case c == nil && certificate != nil:
		r.add("certificate", Refused, "the statement is about no certificate and no request")
	case c != nil && certificate == nil:
		r.add("certificate", Open, "a %s was made with the key, and it was not compared: its SHA-256 is %s", c.Kind, c.SHA256)
	case c != nil && Digest(certificate) != c.SHA256:
		r.add("certificate", Refused, "it is another %s than the one made with the key: its SHA-256 is %s, in the statement it is %s", c.Kind, Digest(certificate), c.SHA256)
	case c != nil:
		r.add("certificate", Follows, "the statement is about this %s, too, whose SHA-256 is %s", c.Kind, c.SHA256)
	}
	return key
}

// signatures verifies them: those of the signers, and that of the statement's own key, unless
// that is empty.
func (r *Report) signatures(e Envelope, own publicKey, signers map[string]namedKey, threshold int) {
	s := r.Statement
	message := PAE(e.PayloadType, e.Payload)
	signed := map[string]namedKey{} // those of the signers whose signature is good
	self, unverified := false, false
	for _, g := range e.Signatures {
		key, known := signers[g.KeyID]
		isSelf := g.KeyID == s.Record.PublicKey
		if !known {
			key = namedKey{own, "the key itself"}
		}
		switch {
		case isSelf && !s.SelfSigned:
			r.add("possession", Refused, "the statement says that its own key did not sign it, and it has that key's signature")
		case isSelf && !known && own.spki == nil:
			unverified = true
		case !isSelf && !known:
			r.add("signer", Open, "an unknown key with keyid %s signed, too: that was not verified, and does not count", g.KeyID)
		case key.id != g.KeyID || key.verify == nil:
			r.add("possession", Refused, "the signature of the statement's own key cannot be verified with the key that was given")
		case !key.signed(message, g.Sig):
			r.add("signer", Refused, "the signature with the keyid of %s, %s, is wrong: another key made it, or the statement or the signature was changed", key.name, g.KeyID)
		default:
			self = self || isSelf
			if known {
				signed[g.KeyID] = key
				r.add("signer", Follows, "%s signed it, with a key for %s, keyid %s", key.name, key.algorithm, g.KeyID)
			}
		}
	}
	all, have := names(signers), names(signed)
	missing := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return slices.Contains(have, name) })
	verdict, without := Follows, ""
	if len(have) < threshold {
		verdict = Refused
	}
	if len(missing) > 0 {
		without = "; not by " + strings.Join(missing, ", ")
	}
	r.add("threshold", verdict, "it is signed by %d of %d signers, and %d must have signed%s", len(have), len(all), threshold, without)

	switch {
	case self:
		r.add("possession", Follows, "the key itself signed it: whoever made the statement had the private key")
	case unverified:
		r.add("possession", Open, "the signature of the key itself was not verified: that takes the key, and here is only its SHA-256")
	case s.SelfSigned:
		r.add("possession", Refused, "the key itself must have signed it, and there is no good signature of that key")
	case own.spki != nil && own.verify == nil || strings.HasPrefix(s.Record.Algorithm, "ecdh-"):
		r.add("possession", Open, "a key for %s cannot sign: the signers state who has the private key", s.Record.Algorithm)
	default:
		r.add("possession", Open, "the key itself did not sign it: the signers state who has the private key")
	}
	if c := s.Ceremony; c != nil {
		r.add("ceremony", Open, "it was made in the ceremony %q, by the signers' word", c.ID)
		for _, o := range c.Operators {
			if key, ok := signed[o.KeyID]; ok {
				r.add("operator", Follows, "its operator %q signed, with the key of %s", o.Name, key.name)
			} else {
				r.add("operator", Open, "its operator %q did not sign, or is no signer that counts: keyid %s", o.Name, o.KeyID)
			}
		}
	}
}

// entropy looks at what was in the key, and where it came from.
func (r *Report) entropy(t *Trust) {
	record := r.Statement.Record
	endpoints := t.Endpoints
	if endpoints == nil {
		endpoints = []string{qrypt.EndpointEUS, qrypt.EndpointWEU}
	}
	switch {
	case record.Entropy == OSOnly:
		r.add("entropy", Open, "no block was in the key: it is as good as crypto/rand, and no better")
	case record.Entropy == Emulated && !t.Emulated:
		r.add("entropy", Refused, "the entropy was EMULATED, not quantum")
	case record.Entropy == Emulated:
		r.add("entropy", Open, "the entropy was EMULATED, not quantum: the key is for rehearsals only")
	default:
		r.add("entropy", Open, "that the entropy was quantum is the word of the service at %q", record.Endpoint)
		if err := record.CheckEndpoint(endpoints); err != nil {
			r.refuse("endpoint", err)
		} else {
			r.add("endpoint", Follows, "the last block came from %q, which is trusted", record.Endpoint)
		}
	}
}

func (r *Report) time(now time.Time) {
	record := r.Statement.Record
	if err := record.CheckTime(now); err != nil {
		r.refuse("time", err)
	} else {
		r.add("time", Open, "it was made at %s, by the signers' word", record.Time.Format(time.RFC3339))
	}
	if record.Version < Version {
		r.add("record", Open, "the record has version %d: it does not say which TLS certificate the endpoint had, nor how old RequireFresh let a block be", record.Version)
	}
}

// receipts looks for a receipt of a trusted relay for each block that the record names.
func (r *Report) receipts(t *Trust) {
	record, all := r.Statement.Record, r.Statement.Receipts
	switch {
	case t.Receipts == nil && len(all) > 0:
		r.add("receipts", Open, "%d receipts of relays were not verified: no relay's key is given", len(all))
		return
	case t.Receipts == nil:
		return
	case len(record.Fingerprints) == 0:
		r.add("receipts", Refused, "receipts of a relay are wanted, and no block was in the key")
		return
	}
	relays, _ := t.relays() // signers found no error in them
	endpoints := append([]string{qrypt.EndpointEUS, qrypt.EndpointWEU}, t.Endpoints...)
	missing := slices.Clone(record.Fingerprints)
	for _, e := range all {
		i := slices.IndexFunc(e.Signatures, func(g Signature) bool { return relays[g.KeyID].id != "" })
		if i < 0 {
			r.add("receipt", Open, "an unknown key with keyid %s signed a receipt: that does not count", e.Signatures[0].KeyID)
			continue
		}
		relay := relays[e.Signatures[i].KeyID]
		receipt, err := e.Receipt()
		var named []string
		if err == nil {
			named, err = receipt.named(record)
		}
		missing = slices.DeleteFunc(missing, func(f string) bool { return slices.Contains(named, f) })
		switch {
		case !relay.signed(PAE(e.PayloadType, e.Payload), e.Signatures[i].Sig):
			r.add("receipt", Refused, "the signature of a receipt with the keyid of the relay %s, %s, is wrong: another key made it, or the receipt or the signature was changed", relay.name, relay.id)
		case err != nil:
			r.refuse("receipt", err)
		case len(named) == 0:
			r.add("receipt", Open, "the relay %s signed a receipt for other blocks: that does not count", relay.name)
		case relay.client != "" && receipt.Client != relay.client:
			r.add("receipt", Refused, "the relay %s handed the block %s out to its client %q, not to %q", relay.name, named[0], receipt.Client, relay.client)
		default:
			r.add("receipt", Follows, "the relay %s signed that it handed %d of the blocks in the key out to its client %q, the last one at %s", relay.name, len(named), receipt.Client, rfc3339(receipt.Time))
			for _, b := range receipt.Blocks {
				r.upstream(b, relay.name, endpoints)
			}
		}
	}
	if len(missing) > 0 {
		r.add("receipts", Refused, "no receipt of a trusted relay is for the block %s", missing[0])
	}
	if n := record.Blocks - int64(len(record.Fingerprints)); n > 0 {
		r.add("receipts", Open, "%d blocks that went in before are not named in the record, so nothing is known of receipts for them", n)
	}
}

// upstream looks at where a relay had blocks from, some of which are in the key.
func (r *Report) upstream(b RelayBlocks, relay string, trusted []string) {
	record := r.Statement.Record
	if b.Emulated || !slices.ContainsFunc(b.Fingerprints, func(f string) bool { return slices.Contains(record.Fingerprints, f) }) {
		return // an emulated one is refused elsewhere, unless this is a rehearsal
	}
	if err := checkEndpoint(b.Endpoint, trusted); err != nil {
		r.add("upstream", Refused, "what the relay %s handed out: %v", relay, err)
	} else {
		r.add("upstream", Follows, "it had come to the relay from %q, which is trusted, by the relay's word", b.Endpoint)
	}
}

// log verifies that the envelope is in the log, and since when it can have been there. The
// witnesses' names are those of the Trust.
func (r *Report) log(t *Trust, e Evidence) {
	if t.Log == nil {
		unverified := ""
		if e.Proof != nil {
			unverified = "; the proof of a log that is there was not verified"
		}
		r.add("log", Open, "nothing shows when the statement was made, nor that there is no other one: no log is given%s", unverified)
		return
	}
	if e.Proof == nil {
		origin, _, _ := strings.Cut(t.Log.Key, "+")
		r.add("log", Refused, "it was never logged, or its proof is lost: there is no proof that it is in the log %q; qrand record prove gets one", origin)
		return
	}
	var v tlogproof.Verdict
	var proof *tlogproof.Proof
	policy, err := t.Log.Policy()
	leaf, encodeErr := e.Envelope.encode()
	if err == nil {
		err = encodeErr
	}
	if err == nil {
		proof, err = tlogproof.Parse(e.Proof)
	}
	if err == nil {
		v, err = policy.Verify(proof, tlogproof.Entry{Leaf: leaf, Made: r.Statement.Record.Time, After: r.Statement.After})
	}
	if err != nil {
		r.add("log", Refused, "the log: %v", err)
		return
	}
	r.add("log", Follows, "it is entry %d of the log %q, whose size was then %d", v.Index, v.Origin, v.Size)
	if t.Log.Quorum == 0 {
		r.add("logged", Open, "nobody but the log says when it was logged, and the log may show others another history: no witnesses are given")
	} else {
		var cosigned []string
		for _, c := range v.Cosignatures {
			for _, w := range t.Log.Witnesses {
				if name, _, _ := strings.Cut(w.Key, "+"); name == c.Witness {
					cosigned = append(cosigned, fmt.Sprintf("%s at %s", w.Name, c.Time.Format(time.RFC3339)))
				}
			}
		}
		r.add("logged", Follows, "it existed by %s: the log was cosigned by %s; %d of %d witnesses, and %d are wanted",
			v.Time.Format(time.RFC3339), strings.Join(cosigned, ", "), len(cosigned), len(t.Log.Witnesses), t.Log.Quorum)
	}
	switch {
	case r.Statement.After == "":
		r.add("after", Open, "nothing shows since when the statement can have been made: it names no earlier head of the log")
	case t.Log.Quorum == 0:
		r.add("after", Open, "the log has grown from the head of %d entries that the statement names, and nobody but the log says when that was: no witnesses are given", proof.After.Size)
	case v.NotBefore.IsZero():
		r.add("after", Open, "nothing shows since when the statement can have been made: the earlier head of the log that it names, of %d entries, has not the cosignatures of the quorum", proof.After.Size)
	default:
		r.add("after", Follows, "the statement is not older than %s: it names the head of the log with %d entries, which witnesses cosigned then", v.NotBefore.Format(time.RFC3339), proof.After.Size)
	}
	r.add("others", Open, "nothing here shows that there is no other statement about the key: qrandlog monitor reads the whole log")
}
