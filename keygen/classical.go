package keygen

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"

	deterministic "filippo.io/keygen"
	"github.com/cloudflare/circl/sign/ed448"
)

// scalarForm returns how many bytes a scalar of so many bits has, and which bits of the
// first byte belong to it.
func scalarForm(bits int) (n int, mask byte) {
	n = (bits + 7) / 8
	return n, 0xff >> (8*n - bits)
}

// ECDSA makes an ECDSA key on P-224, P-256, P-384 or P-521 by rejection sampling
// from 28, 32, 48 or 66 bytes; for P-521 the top 7 bits are dropped. The scalar is
// the bytes read, in big-endian order, if it is in [1, n-1]: the same choice as
// that of FIPS 186-5 section A.2.2, which adds 1 to one in [0, n-2]. At most one
// candidate in 2^32 is rejected, and then as many bytes are read again.
func ECDSA(c elliptic.Curve, r io.Reader) (*ecdsa.PrivateKey, error) {
	switch c {
	case elliptic.P224(), elliptic.P256(), elliptic.P384(), elliptic.P521():
	default:
		return nil, errors.New("keygen: ECDSA: unknown curve: use elliptic.P224, P256, P384 or P521")
	}
	n, mask := scalarForm(c.Params().N.BitLen())
	return byRejection(r, "ECDSA "+c.Params().Name, n, mask, func(scalar []byte) (*ecdsa.PrivateKey, error) {
		return ecdsa.ParseRawPrivateKey(c, scalar)
	})
}

// ECDH makes an ECDH key. On P-256, P-384 or P-521 it does as ECDSA does, from 32, 48 or
// 66 bytes (SP 800-56A section 5.6.1.2.2 chooses as FIPS 186-5 does). On X25519 it reads
// 32 bytes (RFC 7748 section 6.1); under GODEBUG=fips140=only it refuses, as crypto/ecdh
// does.
func ECDH(c ecdh.Curve, r io.Reader) (*ecdh.PrivateKey, error) {
	bits := 0
	switch c {
	case ecdh.P256():
		bits = 256
	case ecdh.P384():
		bits = 384
	case ecdh.P521():
		bits = 521
	case ecdh.X25519():
		if fips140.Enforced() { // before any byte is read
			return nil, errors.New("keygen: ECDH X25519: not allowed in FIPS 140-only mode (GODEBUG=fips140=only): use ecdh.P256, P384 or P521")
		}
		return fromSeed(r, "ECDH X25519", 32, c.NewPrivateKey)
	default:
		return nil, errors.New("keygen: ECDH: unknown curve: use ecdh.P256, P384, P521 or X25519")
	}
	n, mask := scalarForm(bits)
	return byRejection(r, fmt.Sprintf("ECDH %v", c), n, mask, c.NewPrivateKey)
}

// Ed25519 makes an Ed25519 key from a 32-byte seed (RFC 8032 section 5.1.5).
func Ed25519(r io.Reader) (ed25519.PrivateKey, error) {
	return fromSeed(r, "Ed25519", ed25519.SeedSize, func(seed []byte) (ed25519.PrivateKey, error) {
		return ed25519.NewKeyFromSeed(seed), nil
	})
}

// Ed448 makes an Ed448 key from a 57-byte seed (RFC 8032 section 5.2.5).
func Ed448(r io.Reader) (ed448.PrivateKey, error) {
	return fromSeed(r, "Ed448", ed448.SeedSize, func(seed []byte) (ed448.PrivateKey, error) {
		return ed448.NewKeyFromSeed(seed), nil
	})
}

// rsaSecretSize is how many bytes seed the DRBG of c2sp.org/det-keygen: more than any
// size of key needs.
const rsaSecretSize = 64

// RSA makes an RSA key of 2048 to 8192 bits, a multiple of 16, with exponent 65537, from
// a 64-byte secret. The secret seeds the HMAC_DRBG of c2sp.org/det-keygen, from which the
// primes are made as FIPS 186-5 section A.1.3 says. (The tests of primality use
// crypto/rand, which does not change the key.)
func RSA(bits int, r io.Reader) (*rsa.PrivateKey, error) {
	if bits < 2048 || bits > 8192 || bits%16 != 0 {
		return nil, fmt.Errorf("keygen: RSA: %d bits: use 2048 to 8192, a multiple of 16", bits)
	}
	return fromSeed(r, fmt.Sprintf("RSA-%d", bits), rsaSecretSize, func(secret []byte) (*rsa.PrivateKey, error) {
		return deterministic.RSA(bits, secret)
	})
}
