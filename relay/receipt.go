package relay

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"time"

	"example.com/qrand"
	"example.com/qrand/provenance"
	"example.com/qrand/qrypt"
)

// Receipts say how a relay signs which blocks went to which client, for clients that ask.
type Receipts struct {
	// Signer has the key. It is called for each answer with a receipt, and the client
	// waits for it.
	Signer provenance.Signer

	// Name is what the relay calls itself in receipts. Empty: the name of this host.
	Name string
}

func (r *Receipts) withDefaults() (*Receipts, error) {
	if r.Signer == nil {
		return nil, errors.New("relay: Receipts has no Signer: provenance.NewSigner makes one of a private key")
	}
	named := *r
	if named.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("relay: Receipts has no Name, and this host none: %w", err)
		}
		named.Name = host
	}
	// A key that does not sign, and a name that no receipt may have, are found now.
	_, err := provenance.Receipt{Relay: named.Name, Client: "nobody", Time: time.Now(), Blocks: []provenance.RelayBlocks{{
		Fingerprints: []string{"00000000:00000000000000000000000000000000"}, Endpoint: "nowhere", Received: time.Now().Add(-time.Second)}}}.Sign(context.Background(), named.Signer)
	if err != nil {
		return nil, fmt.Errorf("relay: Receipts: %w", err)
	}
	return &named, nil
}

// readReceiptKey takes the key of the fingerprints from a request that asks for a receipt. A
// relay that signs none does not look for it.
func (r *Relay) readReceiptKey(x *exchange, o order) *refusal {
	values := x.r.Header[qrypt.ReceiptKeyHeader]
	if r.cfg.Receipts == nil || values == nil {
		return nil
	}
	key, err := base64.StdEncoding.Strict().DecodeString(values[0])
	switch {
	case err != nil || len(values) > 1 || len(key) != qrypt.ReceiptKeySize:
		return o.malformed("%s must be the base64 of %d bytes, once", qrypt.ReceiptKeyHeader, qrypt.ReceiptKeySize)
	case o.size != qrypt.BlockSize:
		return o.malformed("a receipt names blocks of %d bytes: ask for these, or leave %s out", qrypt.BlockSize, qrypt.ReceiptKeyHeader)
	}
	x.receiptKey = key
	return nil
}

// receipt signs for the blocks of an answer. It is nil if that fails: the client gets its
// blocks, and sees that there is no receipt.
func (r *Relay) receipt(x *exchange, raw []byte, origins []qrypt.Origin) []byte {
	key, err := qrand.NewFingerprintKey(x.receiptKey)
	if err != nil {
		panic(err) // readReceiptKey has looked at its length
	}
	const precision = time.Millisecond
	receipt := provenance.Receipt{Relay: r.cfg.Receipts.Name, Client: x.client, Time: time.Now().Truncate(precision)}
	for i, origin := range origins {
		received := origin.Received.Truncate(precision)
		if received.After(receipt.Time) { // the clock was set
			received = receipt.Time
		}
		named := key.Fingerprint(raw[i*qrypt.BlockSize:][:qrypt.BlockSize])
		if n := len(receipt.Blocks); n > 0 {
			if last := &receipt.Blocks[n-1]; last.Endpoint == origin.Endpoint && last.Received.Equal(received) && last.Emulated == origin.Emulated {
				last.Fingerprints = append(last.Fingerprints, named)
				continue
			}
		}
		receipt.Blocks = append(receipt.Blocks, provenance.RelayBlocks{Fingerprints: []string{named}, Endpoint: origin.Endpoint, Received: received, Emulated: origin.Emulated})
	}
	envelope, err := receipt.Sign(x.r.Context(), r.cfg.Receipts.Signer)
	var text []byte
	if err == nil {
		text, err = envelope.Encode()
	}
	if err != nil {
		r.cfg.Logger.Error("relay: an answer goes without the receipt that its client asked for", "client", x.client, "error", err.Error())
		return nil
	}
	r.receipts.Add(1)
	return bytes.TrimSuffix(text, []byte("\n"))
}
