// Package relaynats lets clients reach relays over NATS. A relay gets a second front door
// with [Serve]. [New] is the other side: a qrand.BlockSource.
//
// Most people need neither: one relay, or several behind a load balancer, serve a large
// fleet over HTTPS (docs/fleet.md). NATS is for those who run it already, and for clients
// and relays that cannot open connections to each other.
//
// NATS carries the blocks, and needs no trust for it. A client makes a key pair for each
// request, and the relay seals the answer to it with HPKE (RFC 9180) and X-Wing. So NATS,
// and who listens there, can read no block, also not with a quantum computer that exists
// one day. The relay signs each answer, and a signature is good for one request only. The
// client authenticates the request with a key that is derived from its token. NATS may drop,
// delay and repeat what it carries, and it sees who asks for how much and when. It stores
// nothing: neither side uses JetStream.
package relaynats

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"example.com/qrand/internal/pemfile"
)

// DefaultSubject is where relays are asked. Serve subscribes to it as a queue group, so each
// request reaches one relay.
const DefaultSubject = "qrand.v1.blocks"

// queue is the name of the group.
const queue = "qrand-relays"

// Options are what a connection for New or for Serve should have, besides an address and
// credentials: it never gives up, and it drops what cannot be sent now, because a request
// that NATS gets late is answered when nobody waits for it any more.
func Options() []nats.Option {
	return []nats.Option{
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(400*time.Millisecond, 900*time.Millisecond), // many may reconnect together
		nats.ReconnectBufSize(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.Timeout(2 * time.Second),
		nats.PingInterval(2 * time.Second), // a server that hangs is left after two
		nats.MaxPingsOutstanding(1),
		nats.FlusherTimeout(defaultTimeout), // or a server that reads nothing stops all, for a minute
	}
}

// ParseKey reads the key with which a relay signs its answers: Ed25519 in PKCS#8 and PEM, as
// qrand keygen ed25519 writes it.
func ParseKey(text []byte) (ed25519.PrivateKey, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" || len(strings.TrimSpace(string(rest))) > 0 {
		return nil, errors.New("relaynats: want one PRIVATE KEY in PEM: qrand keygen ed25519 makes it")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if signer, ok := key.(ed25519.PrivateKey); ok && err == nil {
		return signer, nil
	}
	return nil, errors.New("relaynats: the private key is not one of Ed25519: qrand keygen ed25519 makes it")
}

// ParsePublicKeys reads the public keys of relays, one or more, in PEM.
func ParsePublicKeys(text []byte) ([]ed25519.PublicKey, error) {
	var keys []ed25519.PublicKey
	text = pemfile.Text(text)
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		if block.Type != "PUBLIC KEY" { // a private key does not belong at a client
			return nil, fmt.Errorf("relaynats: key %d is not a PUBLIC KEY", len(keys)+1)
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		key, ok := parsed.(ed25519.PublicKey)
		if err != nil || !ok {
			return nil, fmt.Errorf("relaynats: key %d is not one of Ed25519", len(keys)+1)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || len(strings.TrimSpace(string(text))) > 0 {
		return nil, errors.New("relaynats: want PUBLIC KEYs in PEM and nothing else: qrand keygen ed25519 writes one beside each key")
	}
	return keys, nil
}

// checkSubject refuses what is no subject to ask at: wildcards and spaces.
func checkSubject(subject string) error {
	for _, token := range strings.Split(subject, ".") {
		if token == "" || strings.ContainsAny(token, "*> \t\r\n\f") {
			return fmt.Errorf("relaynats: %q is not a subject without wildcards", subject)
		}
	}
	return nil
}
