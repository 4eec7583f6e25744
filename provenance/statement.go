package provenance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// PredicateType says what kind of statement a Statement is. docs/statement.md describes it.
const PredicateType = "https://example.com/qrand/key-provenance/v1"

const (
	statementType    = "https://in-toto.io/Statement/v1"
	statementPayload = "application/vnd.in-toto+json"
)

// A Statement is what people, and the key itself, sign about a key. It is written as an
// in-toto Statement v1 whose subjects are the public key, and the certificate or request that
// was made with it. Those are taken from the Record.
type Statement struct {
	Record   Record    `json:"record"`
	Ceremony *Ceremony `json:"ceremony,omitempty"`

	// After is a checkpoint of a log, as the log wrote it, that was seen before the key was
	// made: so the statement is not older than that.
	After string `json:"after,omitempty"`

	// Receipts are what relays signed about the blocks that they handed out.
	Receipts []Envelope `json:"receipts,omitempty"`

	// SelfSigned says that the key itself signs, so that nobody can write a statement about a
	// key that they do not hold. It is false for keys that cannot sign, and where a policy
	// limits what the key may sign. Then the signers alone state who has the key (for keys of
	// KEM and DH as in RFC 9883).
	SelfSigned bool `json:"self_signed"`
}

// A Ceremony says at which occasion a key was made. Every text is one line of up to 1 kB.
type Ceremony struct {
	ID           string     `json:"id"`
	Place        string     `json:"place,omitempty"`
	ScriptSHA256 string     `json:"script_sha256,omitempty"` // in hex, of the file with the steps of the ceremony
	Operators    []Operator `json:"operators,omitempty"`     // who sign
	Witnesses    []string   `json:"witnesses,omitempty"`     // who were there
}

// An Operator is a person who signs.
type Operator struct {
	Name  string `json:"name"`
	KeyID string `json:"keyid"` // the SHA-256 of the DER SubjectPublicKeyInfo, in hex
}

// ParseCeremony reads a Ceremony from a file that a person wrote.
func ParseCeremony(data []byte) (Ceremony, error) {
	var c Ceremony
	err := decodeStrictly(data, &c)
	if err == nil {
		err = c.validate()
	}
	if err != nil {
		return Ceremony{}, fmt.Errorf("provenance: the ceremony: %w", err)
	}
	return c, nil
}

// inToto is the in-toto Statement v1 of
// https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md.
type inToto struct {
	Type          string    `json:"_type"`
	Subject       []subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     Statement `json:"predicate"`
}

type subject struct {
	Name   string `json:"name"`
	Digest struct {
		SHA256 string `json:"sha256"`
	} `json:"digest"`
}

// encode returns the payload: compact JSON as json.Marshal writes it.
func (s Statement) encode() ([]byte, error) {
	record, err := s.Record.Encode()
	if err == nil {
		s.Record, err = Parse(record) // with times in UTC
	}
	if err != nil {
		return nil, fmt.Errorf("its record: %s", strings.TrimPrefix(err.Error(), "provenance: "))
	}
	if err := s.validate(); err != nil {
		return nil, err
	}
	t := inToto{Type: statementType, PredicateType: PredicateType, Predicate: s, Subject: []subject{{Name: s.Record.Algorithm}}}
	t.Subject[0].Digest.SHA256 = s.Record.PublicKey
	if c := s.Record.Certificate; c != nil {
		t.Subject = append(t.Subject, subject{Name: c.Kind})
		t.Subject[1].Digest.SHA256 = c.SHA256
	}
	return json.Marshal(t)
}

// parseStatement reads a payload, byte for byte as encode writes it.
func parseStatement(payload []byte) (Statement, error) {
	var t inToto
	err := decodeExactly(payload, &t, func() ([]byte, error) {
		if t.Type != statementType || t.PredicateType != PredicateType {
			return nil, fmt.Errorf("it is of type %.100q with a predicate of type %.100q, not %q with %q", t.Type, t.PredicateType, statementType, PredicateType)
		}
		return t.Predicate.encode()
	})
	if err != nil {
		return Statement{}, fmt.Errorf("provenance: not a statement about a key: %w", err)
	}
	return t.Predicate, nil
}

const (
	maxPeople   = 32 // operators or witnesses of a ceremony
	maxReceipts = 16 // as many as a Record has fingerprints
	maxAfter    = 128 << 10
)

// validate looks at all but the record.
func (s Statement) validate() error {
	if s.Ceremony != nil {
		if err := s.Ceremony.validate(); err != nil {
			return fmt.Errorf("its ceremony: %w", err)
		}
	}
	if len(s.After) > maxAfter || !utf8.ValidString(s.After) || strings.ContainsFunc(s.After, func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }) {
		return errors.New("after is not the text of a checkpoint")
	}
	if len(s.Receipts) > maxReceipts {
		return fmt.Errorf("it has %d receipts, more than %d", len(s.Receipts), maxReceipts)
	}
	for _, r := range s.Receipts {
		if err := r.validate(); err != nil {
			return fmt.Errorf("a receipt: %w", err)
		}
	}
	if s.SelfSigned && strings.HasPrefix(s.Record.Algorithm, "ecdh-") {
		return fmt.Errorf("a key for %s does not sign", s.Record.Algorithm)
	}
	return nil
}

func (c Ceremony) validate() error {
	texts := append([]string{c.ID, c.Place}, c.Witnesses...)
	seen := map[string]bool{}
	for _, o := range c.Operators {
		if !digestPattern().MatchString(o.KeyID) || seen[o.KeyID] {
			return fmt.Errorf("the keyid of operator %.100q is not a SHA-256 in hex, or is that of another operator", o.Name)
		}
		seen[o.KeyID] = true
		texts = append(texts, o.Name)
	}
	if i := slices.IndexFunc(texts, func(s string) bool { return !oneLineOfText(s) }); i >= 0 {
		return fmt.Errorf("%.100q is not text of one line", texts[i])
	}
	switch {
	case c.ID == "":
		return errors.New("it has no id")
	case c.ScriptSHA256 != "" && !digestPattern().MatchString(c.ScriptSHA256):
		return errors.New("script_sha256 is not a SHA-256 in hex")
	case len(c.Operators) > maxPeople || len(c.Witnesses) > maxPeople:
		return fmt.Errorf("it names more than %d operators or witnesses", maxPeople)
	case slices.Contains(texts[2:], ""):
		return errors.New("an operator or witness has no name")
	}
	return nil
}

// Sign returns the statement in an envelope, signed by all of the signers. The key itself is
// one of them if SelfSigned is set, and none of them otherwise. Each signature is verified.
func (s Statement) Sign(ctx context.Context, signers ...Signer) (Envelope, error) {
	payload, err := s.encode()
	if err != nil {
		return Envelope{}, fmt.Errorf("provenance: the statement: %w", err)
	}
	e := Envelope{PayloadType: statementPayload, Payload: payload}
	for _, signer := range signers {
		if e, err = e.Add(ctx, signer); err != nil {
			return Envelope{}, err
		}
	}
	switch {
	case len(e.Signatures) == 0:
		return Envelope{}, errors.New("provenance: nobody signs the statement")
	case s.SelfSigned && !slices.ContainsFunc(e.Signatures, func(g Signature) bool { return g.KeyID == s.Record.PublicKey }):
		return Envelope{}, errors.New("provenance: the statement says that its own key signs it: pass its Signer, too")
	}
	return e, nil
}
