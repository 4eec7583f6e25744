package main

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"slices"
	"testing"

	"example.com/qrand/keygen"
)

var kinds = []string{"ecdsa", "ed25519", "rsa"}

// newServer makes what run does, from any reader.
func newServer(t *testing.T, src *recorder, kind string) (*authority, *tls.Config, *ticketKeys) {
	t.Helper()
	ca, err := newAuthority(src)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.issue(src, kind)
	if err != nil {
		t.Fatal(err)
	}
	config := newConfig(src, cert)
	tickets := &ticketKeys{src: src, config: config}
	if err := tickets.rotate(); err != nil {
		t.Fatal(err)
	}
	return ca, config, tickets
}

// TestLastingSecretsComeFromTheSource makes each lasting secret of the server once
// more, from the bytes that were read for it. Nothing else was read.
func TestLastingSecretsComeFromTheSource(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			src := &recorder{src: newSource(t)}
			ca, config, tickets := newServer(t, src, kind)
			leaf := config.Certificates[0]

			if seed := src.next(t, "CA's key", ed25519.SeedSize); !ca.key.Equal(ed25519.NewKeyFromSeed(seed)) {
				t.Error("the CA's key is another")
			}
			if !isSerial(ca.cert, src.next(t, "CA's serial number", 16)) {
				t.Error("the CA's serial number is another")
			}
			if again := remake(t, kind, src); !again.Equal(leaf.PrivateKey) {
				t.Error("the certificate's key is another")
			}
			if !isSerial(leaf.Leaf, src.next(t, "certificate's serial number", 16)) {
				t.Error("the certificate's serial number is another")
			}
			key := src.next(t, "ticket key", 32)
			if len(src.reads) != 0 {
				t.Errorf("%d more Reads", len(src.reads))
			}

			h := shake(t, clientOf(ca), config)
			if !opens(key, h.ticket) {
				t.Error("the ticket is under another key")
			}
			if !slices.ContainsFunc(src.reads, func(b []byte) bool { return bytes.Equal(b, h.server.random) }) {
				t.Error("Config.Rand is not the Source")
			}
			if err := tickets.rotate(); err != nil {
				t.Fatal(err)
			}
			newest := src.reads[len(src.reads)-1]
			if h = shake(t, clientOf(ca), config); !opens(newest, h.ticket) || opens(key, h.ticket) {
				t.Error("after a rotation the ticket is not under the new key")
			}
		})
	}
}

func isSerial(cert *x509.Certificate, b []byte) bool {
	return cert.SerialNumber.Cmp(new(big.Int).SetBytes(b)) == 0
}

// remake makes the certificate's key from the bytes that were read for it, with
// other functions than keygen's where there are any.
func remake(t *testing.T, kind string, src *recorder) interface{ Equal(crypto.PrivateKey) bool } {
	switch what := kind + " key"; kind {
	case "ecdsa":
		scalar := src.next(t, what, 32)
		key, err := ecdh.P256().NewPrivateKey(scalar)
		if err != nil {
			t.Fatal(err)
		}
		return ecdsaFromECDH{key}
	case "ed25519":
		return ed25519.NewKeyFromSeed(src.next(t, what, ed25519.SeedSize))
	default:
		key, err := keygen.RSA(2048, bytes.NewReader(src.next(t, what, 64)))
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
}

// ecdsaFromECDH compares a key of crypto/ecdh with one of crypto/ecdsa.
type ecdsaFromECDH struct{ key *ecdh.PrivateKey }

func (k ecdsaFromECDH) Equal(other crypto.PrivateKey) bool {
	key, ok := other.(*ecdsa.PrivateKey)
	if !ok {
		return false
	}
	same, err := key.ECDH()
	return err == nil && same.Equal(k.key)
}

// opens reports whether a ticket key of crypto/tls opens a ticket.
func opens(key, ticket []byte) bool {
	config := &tls.Config{}
	config.SetSessionTicketKeys([][32]byte{[32]byte(key)})
	state, err := config.DecryptTicket(ticket, tls.ConnectionState{})
	return err == nil && state != nil
}
