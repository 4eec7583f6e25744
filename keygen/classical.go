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

// scalarForm is how candidates for a NIST curve's scalar are drawn.
func scalarForm(bits int) (n int, mask byte) {
	n = (bits + 7) / 8
	return n, 0xff >> (8*n - bits)
}

// ECDSA makes an ECDSA key on P-224, P-256, P-384 or P-521 by rejection sampling
// from 28, 32, 48 or 66 bytes; for P-521 the top 7 bits are dropped. The scalar is
// the bytes read, in big-endian order, if it is in [1, n-1]: the same choice as
// that of FIPS 186-5 section A.2.2, which adds 1 to one in [0, n-2]. One candidate
// in 2^32 or fewer is rejected, and as many bytes taken again.
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

// ECDH makes an ECDH key: on P-256, P-384 or P-521 as ECDSA does, from 32, 48 or 66
// bytes (SP 800-56A section 5.6.1.2.2 chooses as FIPS 186-5 does), on X25519 from
// 32 bytes (RFC 7748 section 6.1), but not under GODEBUG=fips140=only, where
// crypto/ecdh refuses that.
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
		if fips140.Enforced() { // so that no bytes are taken for nothing
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

// rsaSecretSize seeds the DRBG of c2sp.org/det-keygen with more than any size of
// key asks for.
const rsaSecretSize = 64

// RSA makes an RSA key of 2048 to 8192 bits, a multiple of 16, with exponent
// 65537, from a 64-byte secret: the primes are FIPS 186-5 section A.1.3's with
// the HMAC_DRBG of c2sp.org/det-keygen, which that secret seeds. (What crypto/rand
// gives to the tests of primality does not change the key.)
func RSA(bits int, r io.Reader) (*rsa.PrivateKey, error) {
	if bits < 2048 || bits > 8192 || bits%16 != 0 {
		return nil, fmt.Errorf("keygen: RSA: %d bits: use 2048 to 8192, a multiple of 16", bits)
	}
	return fromSeed(r, fmt.Sprintf("RSA-%d", bits), rsaSecretSize, func(secret []byte) (*rsa.PrivateKey, error) {
		return deterministic.RSA(bits, secret)
	})
}
