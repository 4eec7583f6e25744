package main

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"math/big"
)

// A fact is one thing that TLS needs randomness for. Its from reports whether what
// was seen of a handshake was made from b, of size bytes, by making it again.
type fact struct {
	what  string
	size  int
	from  func(h *handshake, b []byte) bool
	reach reach
}

// find reports which bytes a fact comes from.
func (f fact) find(h *handshake, all []byte) (used []bool) {
	used = make([]bool, len(all))
	for i := range len(all) - f.size + 1 {
		if f.from(h, all[i:i+f.size]) {
			for j := range f.size {
				used[i+j] = true
			}
		}
	}
	return used
}

var (
	clientRandom    = fact{"ClientHello's random", 32, func(h *handshake, b []byte) bool { return bytes.Equal(b, h.client.random) }, always}
	clientSessionID = fact{"ClientHello's session ID", 32, func(h *handshake, b []byte) bool { return bytes.Equal(b, h.client.sessionID) }, always}
	serverRandom    = fact{"ServerHello's random", 32, func(h *handshake, b []byte) bool { return bytes.Equal(b, h.server.random) }, always}

	clientMLKEM = fact{"client's ML-KEM-768 seed", mlkem.SeedSize, func(h *handshake, b []byte) bool {
		key, err := mlkem.NewDecapsulationKey768(b)
		return err == nil && bytes.Equal(key.EncapsulationKey().Bytes(), h.client.mlkem())
	}, upTo126}
	serverMLKEM = fact{"server's ML-KEM-768 encapsulation", 32, func(h *handshake, b []byte) bool {
		key, err := mlkem.NewEncapsulationKey768(h.client.mlkem())
		if err != nil {
			return false
		}
		_, ciphertext, err := mlkemtest.Encapsulate768(key, b)
		return err == nil && bytes.Equal(ciphertext, h.server.mlkem())
	}, never}

	clientX25519 = fact{"client's X25519 key", 32, func(h *handshake, b []byte) bool { return isX25519(b, h.client.x25519()) }, onlyCustom}
	serverX25519 = fact{"server's X25519 key", 32, func(h *handshake, b []byte) bool { return isX25519(b, h.server.x25519()) }, onlyCustom}
	clientP256   = fact{"client's P-256 key", 32, func(h *handshake, b []byte) bool { return isP256(b, h.client.shares[tls.CurveP256]) }, onlyCustom}
	serverP256   = fact{"server's P-256 key", 32, func(h *handshake, b []byte) bool { return isP256(b, h.server.shares[tls.CurveP256]) }, onlyCustom}

	ecdsaNonce = fact{"nonce of an ECDSA signature", 32, isECDSA, onlyCustom}
	pssSalt    = fact{"salt of an RSA-PSS signature", sha256.Size, isPSS, always}

	unusedKey = fact{"Config.SessionTicketKey, unused", 32, func(h *handshake, b []byte) bool {
		const mark = "DEPRECATED" // crypto/tls writes it over the start
		return h.unusedKey == [32]byte(append([]byte(mark), b[len(mark):]...))
	}, always}
	ticketKey = fact{"ticket key that nobody set", 32, func(h *handshake, b []byte) bool { return opens(b, h.ticket) }, always}
	ticketIV  = fact{"ticket's IV", 16, func(h *handshake, b []byte) bool { return bytes.HasPrefix(h.ticket, b) }, always}
	ticketAge = fact{"ticket's age_add", 4, func(h *handshake, b []byte) bool {
		return bytes.Contains(h.session, binary.BigEndian.AppendUint32(nil, binary.LittleEndian.Uint32(b)))
	}, always}

	clientIV = fact{"IVs of the client's CBC records", 16, func(h *handshake, b []byte) bool { return anyHasPrefix(h.clientRecords, b) }, always}
	serverIV = fact{"IVs of the server's CBC records", 16, func(h *handshake, b []byte) bool { return anyHasPrefix(h.serverRecords, b) }, always}
)

func isX25519(b, share []byte) bool {
	key, err := ecdh.X25519().NewPrivateKey(b)
	return err == nil && bytes.Equal(key.PublicKey().Bytes(), share)
}

// isP256 tries b as it is, and as crypto/ecdh changes it, so that a reader of
// zeros does not give the key zero.
func isP256(b, share []byte) bool {
	changed := bytes.Clone(b)
	changed[1] ^= 0x42
	for _, scalar := range [][]byte{b, changed} {
		key, err := ecdh.P256().NewPrivateKey(scalar)
		if err == nil && bytes.Equal(key.PublicKey().Bytes(), share) {
			return true
		}
	}
	return false
}

// isECDSA signs again. By default crypto/ecdsa does not read b, so that this is
// false whatever b is: then it is telling that nothing was read for a signature.
func isECDSA(h *handshake, b []byte) bool {
	key, ok := h.serverKey.(*ecdsa.PrivateKey)
	if !ok {
		return false
	}
	signature, err := ecdsa.SignASN1(&replay{b}, key, h.signed) //qrandvet:ignore finds out whether it reads them
	return err == nil && bytes.Equal(signature, h.signature)
}

// A replay reads as b again and again, except to the one byte that Go sometimes reads in
// front so that nobody relies on what comes next.
type replay struct{ b []byte }

func (r *replay) Read(p []byte) (int, error) {
	if len(p) == 1 {
		return 1, nil
	}
	return copy(p, r.b), nil
}

// isPSS recovers the salt of the signature (RFC 8017 section 9.1.2) with SHA-256
// and a salt of its length, as TLS has it (RFC 8446 section 4.2.3).
func isPSS(h *handshake, b []byte) bool {
	key, ok := h.serverKey.(*rsa.PrivateKey)
	if !ok {
		return false
	}
	encoded := new(big.Int).Exp(new(big.Int).SetBytes(h.signature), big.NewInt(int64(key.E)), key.N).FillBytes(make([]byte, key.Size()))
	db, hash := encoded[:len(encoded)-sha256.Size-1], encoded[len(encoded)-sha256.Size-1:len(encoded)-1]
	var mask []byte // MGF1: RFC 8017 appendix B.2.1
	for counter := uint32(0); len(mask) < len(db); counter++ {
		block := sha256.Sum256(binary.BigEndian.AppendUint32(bytes.Clone(hash), counter))
		mask = append(mask, block[:]...)
	}
	salt := db[len(db)-sha256.Size:]
	for i := range salt {
		salt[i] ^= mask[len(db)-sha256.Size+i]
	}
	return bytes.Equal(salt, b)
}

func anyHasPrefix(records [][]byte, b []byte) bool {
	for _, record := range records {
		if bytes.HasPrefix(record, b) {
			return true
		}
	}
	return false
}
