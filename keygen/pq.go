package keygen

import (
	"bytes"
	"crypto/mlkem"
	"fmt"
	"io"

	"github.com/cloudflare/circl/kem/mlkem/mlkem1024"
	"github.com/cloudflare/circl/kem/mlkem/mlkem512"
	"github.com/cloudflare/circl/kem/mlkem/mlkem768"
	"github.com/cloudflare/circl/kem/xwing"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
	"github.com/cloudflare/circl/sign/slhdsa"
)

// MLKEM768 makes an ML-KEM-768 key of the standard library from the 64-byte seed
// d || z (FIPS 203 section 7.1). Its Bytes method returns the seed.
func MLKEM768(r io.Reader) (*mlkem.DecapsulationKey768, error) {
	return fromSeed(r, "ML-KEM-768", mlkem.SeedSize, mlkem.NewDecapsulationKey768)
}

// MLKEM1024 makes an ML-KEM-1024 key of the standard library from the 64-byte
// seed d || z (FIPS 203 section 7.1). Its Bytes method returns the seed.
func MLKEM1024(r io.Reader) (*mlkem.DecapsulationKey1024, error) {
	return fromSeed(r, "ML-KEM-1024", mlkem.SeedSize, mlkem.NewDecapsulationKey1024)
}

// CirclMLKEM512 makes an ML-KEM-512 key of circl from the 64-byte seed d || z
// (FIPS 203 section 7.1). The standard library has no ML-KEM-512.
func CirclMLKEM512(r io.Reader) (*mlkem512.PrivateKey, error) {
	return fromSeed(r, "ML-KEM-512", mlkem512.KeySeedSize, private(mlkem512.NewKeyFromSeed))
}

// CirclMLKEM768 makes an ML-KEM-768 key of circl from the 64-byte seed d || z
// (FIPS 203 section 7.1): the same that MLKEM768 makes from the same bytes.
func CirclMLKEM768(r io.Reader) (*mlkem768.PrivateKey, error) {
	return fromSeed(r, "ML-KEM-768", mlkem768.KeySeedSize, private(mlkem768.NewKeyFromSeed))
}

// CirclMLKEM1024 makes an ML-KEM-1024 key of circl from the 64-byte seed d || z
// (FIPS 203 section 7.1): the same that MLKEM1024 makes from the same bytes.
func CirclMLKEM1024(r io.Reader) (*mlkem1024.PrivateKey, error) {
	return fromSeed(r, "ML-KEM-1024", mlkem1024.KeySeedSize, private(mlkem1024.NewKeyFromSeed))
}

// XWing makes an X-Wing key (ML-KEM-768 with X25519) from a 32-byte seed
// (draft-connolly-cfrg-xwing-kem section 5.2).
func XWing(r io.Reader) (*xwing.PrivateKey, error) {
	return fromSeed(r, "X-Wing", xwing.SeedSize, func(seed []byte) (*xwing.PrivateKey, error) {
		key, _ := xwing.DeriveKeyPair(seed)
		return key, nil
	})
}

// MLDSA44 makes an ML-DSA-44 key from the 32-byte seed xi (FIPS 204 section 6.1).
func MLDSA44(r io.Reader) (*mldsa44.PrivateKey, error) {
	return fromSeed(r, "ML-DSA-44", mldsa44.SeedSize, fixed(mldsa44.NewKeyFromSeed))
}

// MLDSA65 makes an ML-DSA-65 key from the 32-byte seed xi (FIPS 204 section 6.1).
func MLDSA65(r io.Reader) (*mldsa65.PrivateKey, error) {
	return fromSeed(r, "ML-DSA-65", mldsa65.SeedSize, fixed(mldsa65.NewKeyFromSeed))
}

// MLDSA87 makes an ML-DSA-87 key from the 32-byte seed xi (FIPS 204 section 6.1).
func MLDSA87(r io.Reader) (*mldsa87.PrivateKey, error) {
	return fromSeed(r, "ML-DSA-87", mldsa87.SeedSize, fixed(mldsa87.NewKeyFromSeed))
}

// SLHDSA makes an SLH-DSA key of any of the twelve parameter sets from 48, 72 or
// 96 bytes, SK.seed || SK.prf || PK.seed of 16, 24 or 32 bytes each (FIPS 205
// section 9.1). The sets that end in s take a second or so.
func SLHDSA(id slhdsa.ID, r io.Reader) (slhdsa.PrivateKey, error) {
	if !id.IsValid() {
		return slhdsa.PrivateKey{}, fmt.Errorf("keygen: SLH-DSA: unknown parameter set %d: use slhdsa.SHA2_128s and so on", byte(id))
	}
	return fromSeed(r, id.String(), id.Scheme().PublicKeySize()/2*3, func(seed []byte) (slhdsa.PrivateKey, error) {
		_, key, err := slhdsa.GenerateKey(bytes.NewReader(seed), id)
		return key, err
	})
}

// private adapts a constructor of a key pair from a slice.
func private[P, K any](pair func([]byte) (P, K)) func([]byte) (K, error) {
	return func(seed []byte) (K, error) {
		_, key := pair(seed)
		return key, nil
	}
}

// fixed adapts a constructor of a key pair from an array of 32 bytes.
func fixed[P, K any](pair func(*[32]byte) (P, K)) func([]byte) (K, error) {
	return func(seed []byte) (K, error) {
		_, key := pair((*[32]byte)(seed))
		return key, nil
	}
}
