package provenance

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// An Envelope is a payload with its signatures, as DSSE v1 defines it
// (https://github.com/secure-systems-lab/dsse). It is made by Statement.Sign.
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"`
	Signatures  []Signature `json:"signatures"` // sorted by KeyID, one for each
}

// A Signature is one of the PAE of payload type and payload.
type Signature struct {
	KeyID string `json:"keyid"` // the SHA-256 of the signer's DER SubjectPublicKeyInfo, in hex
	Sig   []byte `json:"sig"`
}

const (
	maxEnvelope   = 1 << 20 // bytes of the file
	maxSignatures = 32
)

// PAE is DSSE's pre-authentication encoding: what is signed.
func PAE(payloadType string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// Encode returns the bytes of an envelope's file, which are also the leaf in a log: compact
// JSON as json.Marshal writes it, and a newline.
func (e Envelope) Encode() ([]byte, error) {
	text, err := e.encode()
	if err != nil {
		return nil, fmt.Errorf("provenance: the envelope: %w", err)
	}
	return text, nil
}

func (e Envelope) encode() ([]byte, error) {
	if err := e.validate(); err != nil {
		return nil, err
	}
	text, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	if text = append(text, '\n'); len(text) > maxEnvelope {
		return nil, fmt.Errorf("it has %d bytes, more than %d", len(text), maxEnvelope)
	}
	return text, nil
}

// ParseEnvelope reads an envelope, byte for byte as Encode writes it. It verifies no
// signature: Trust.Verify does.
func ParseEnvelope(data []byte) (Envelope, error) {
	var e Envelope
	if len(data) > maxEnvelope {
		return e, fmt.Errorf("provenance: %d bytes are too many for an envelope", len(data))
	}
	if err := decodeExactly(data, &e, func() ([]byte, error) { return e.encode() }); err != nil {
		return Envelope{}, fmt.Errorf("provenance: not an envelope: %w", err)
	}
	return e, nil
}

func (e Envelope) validate() error {
	switch {
	case !oneLineOfText(e.PayloadType) || e.PayloadType == "":
		return fmt.Errorf("its payload type is %.100q, which is not text of one line", e.PayloadType)
	case len(e.Payload) == 0:
		return errors.New("it has no payload")
	case len(e.Signatures) == 0 || len(e.Signatures) > maxSignatures:
		return fmt.Errorf("it has %d signatures, and must have 1 to %d", len(e.Signatures), maxSignatures)
	}
	for i, s := range e.Signatures {
		switch {
		case !digestPattern().MatchString(s.KeyID):
			return fmt.Errorf("its keyid %.100q is not a SHA-256 in hex", s.KeyID)
		case i > 0 && s.KeyID == e.Signatures[i-1].KeyID:
			return fmt.Errorf("the keyid %s is there twice", s.KeyID)
		case i > 0 && s.KeyID < e.Signatures[i-1].KeyID:
			return errors.New("its signatures are not sorted by keyid")
		case len(s.Sig) == 0:
			return fmt.Errorf("the signature of keyid %s is empty", s.KeyID)
		}
	}
	return nil
}

// Statement returns the statement in an envelope, whoever signed it.
func (e Envelope) Statement() (Statement, error) {
	if e.PayloadType != statementPayload {
		return Statement{}, fmt.Errorf("provenance: the envelope has a payload of type %.100q, and no statement: that is of type %s", e.PayloadType, statementPayload)
	}
	return parseStatement(e.Payload)
}

// Add returns the envelope of a statement with one more signature. Its file has other bytes,
// so a person who co-signs does so before it goes into a log. Add does not verify the other
// signatures.
func (e Envelope) Add(ctx context.Context, signer Signer) (Envelope, error) {
	s, err := e.Statement()
	if err != nil {
		return Envelope{}, err
	}
	if !s.SelfSigned && Digest(signer.PublicKey()) == s.Record.PublicKey {
		return Envelope{}, errors.New("provenance: the statement says that its own key does not sign it: sign with another key")
	}
	return e.add(ctx, signer)
}

// add adds a signature to the envelope of any payload.
func (e Envelope) add(ctx context.Context, signer Signer) (Envelope, error) {
	key, err := parsePublicKey(signer.PublicKey())
	if err != nil {
		return Envelope{}, fmt.Errorf("provenance: a signer's key: %w", err)
	}
	if key.verify == nil {
		return Envelope{}, fmt.Errorf("provenance: a key for %s signs no statement", key.algorithm)
	}
	if slices.ContainsFunc(e.Signatures, func(s Signature) bool { return s.KeyID == key.id }) {
		return Envelope{}, fmt.Errorf("provenance: the key with keyid %s has signed already", key.id)
	}
	message := PAE(e.PayloadType, e.Payload)
	sig, err := signer.Sign(ctx, bytes.Clone(message))
	if err != nil {
		return Envelope{}, fmt.Errorf("provenance: signing with keyid %s: %w", key.id, err)
	}
	if !key.signed(message, sig) {
		return Envelope{}, fmt.Errorf("provenance: what keyid %s returned is not its signature: the device or agent signs with another key or algorithm (wanted: %s)", key.id, key.algorithm)
	}
	e.Signatures = append(slices.Clone(e.Signatures), Signature{key.id, bytes.Clone(sig)})
	slices.SortFunc(e.Signatures, func(a, b Signature) int { return cmp.Compare(a.KeyID, b.KeyID) })
	if err := e.validate(); err != nil {
		return Envelope{}, fmt.Errorf("provenance: the envelope: %w", err)
	}
	return e, nil
}
