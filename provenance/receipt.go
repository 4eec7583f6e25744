package provenance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/qrand/qrypt"
)

const receiptPayload = "application/vnd.qrand.receipt.v1+json"

// A Receipt is what the operator of a relay signs about the blocks of one answer, if the
// client asks for that: which blocks went to which client, and where they had come from.
type Receipt struct {
	Relay  string        `json:"relay"`  // the name that it has for itself
	Client string        `json:"client"` // as the relay's list names it
	Time   time.Time     `json:"time"`   // when the relay handed the blocks out
	Blocks []RelayBlocks `json:"blocks"`
}

// RelayBlocks are blocks that came to the relay together.
type RelayBlocks struct {
	Fingerprints []string  `json:"fingerprints"` // with the client's key, as in Record.Fingerprints
	Endpoint     string    `json:"endpoint"`     // which the relay asked
	Received     time.Time `json:"received"`     // when they came from there, less the Age that another relay gave
	Emulated     bool      `json:"emulated"`     // they are not quantum entropy
}

// encode returns the payload: compact JSON as json.Marshal writes it, with times in UTC.
func (r Receipt) encode() ([]byte, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	r.Time, r.Blocks = r.Time.UTC(), slices.Clone(r.Blocks)
	for i := range r.Blocks {
		r.Blocks[i].Received = r.Blocks[i].Received.UTC()
	}
	return json.Marshal(r)
}

func (r Receipt) validate() error {
	texts := []string{r.Relay, r.Client}
	seen := map[string]bool{}
	for _, b := range r.Blocks {
		texts = append(texts, b.Endpoint)
		for _, f := range b.Fingerprints {
			if !fingerprintPattern().MatchString(f) || seen[f] {
				return fmt.Errorf("%.100q is not a fingerprint, or is there twice", f)
			}
			seen[f] = true
		}
		switch {
		case len(b.Fingerprints) == 0:
			return errors.New("it has a list of no blocks")
		case b.Received.IsZero() || b.Received.After(r.Time):
			return fmt.Errorf("blocks were handed out at %v that had come at %v", r.Time, b.Received)
		}
	}
	if i := slices.IndexFunc(texts, func(s string) bool { return !oneLineOfText(s) || s == "" }); i >= 0 {
		return fmt.Errorf("%.100q is not text of one line", texts[i])
	}
	if len(seen) == 0 || len(seen) > qrypt.MaxBlocks {
		return fmt.Errorf("it is for %d blocks: an answer has 1 to %d", len(seen), qrypt.MaxBlocks)
	}
	return nil
}

// Sign returns the receipt in an envelope. The signature is verified.
func (r Receipt) Sign(ctx context.Context, signer Signer) (Envelope, error) {
	payload, err := r.encode()
	if err != nil {
		return Envelope{}, fmt.Errorf("provenance: the receipt: %w", err)
	}
	return Envelope{PayloadType: receiptPayload, Payload: payload}.add(ctx, signer)
}

// Receipt returns the receipt in an envelope, whoever signed it.
func (e Envelope) Receipt() (Receipt, error) {
	if e.PayloadType != receiptPayload {
		return Receipt{}, fmt.Errorf("provenance: the envelope has a payload of type %.100q, and no receipt: that is of type %s", e.PayloadType, receiptPayload)
	}
	var r Receipt
	if err := decodeExactly(e.Payload, &r, func() ([]byte, error) { return r.encode() }); err != nil {
		return Receipt{}, fmt.Errorf("provenance: not a receipt: %w", err)
	}
	return r, nil
}

// named returns the fingerprints of those of the record's blocks that the receipt is for. It
// returns an error if what the receipt says of them does not fit the record.
func (r Receipt) named(record Record) (named []string, err error) {
	for _, b := range r.Blocks {
		last := false
		found := false
		for _, f := range b.Fingerprints {
			if i := slices.Index(record.Fingerprints, f); i >= 0 {
				named, found = append(named, f), true
				last = last || i == len(record.Fingerprints)-1
			}
		}
		switch {
		case !found:
		case b.Emulated && record.Entropy == Quantum:
			err = errors.New("the relay had it from an emulator, and the record says that the entropy was quantum")
		case r.Time.After(record.LastBlock.Add(clockSkew)):
			err = fmt.Errorf("the relay handed it out at %s, after it went into the key, at %s", rfc3339(r.Time), rfc3339(record.LastBlock))
		case last && b.Received.Sub(record.LastReceived).Abs() > clockSkew:
			err = fmt.Errorf("it came from the service at %s by the relay's clock, and at %s by the record", rfc3339(b.Received), rfc3339(record.LastReceived))
		}
		if err != nil {
			return named, fmt.Errorf("the receipt of %q for the block %s does not fit the record: %w", r.Relay, named[len(named)-1], err)
		}
	}
	return named, nil
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }
