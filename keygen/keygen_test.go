package keygen_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/cloudflare/circl/kem"
	"github.com/cloudflare/circl/sign"
	"github.com/cloudflare/circl/sign/ed448"
	"github.com/cloudflare/circl/sign/slhdsa"

	"example.com/qrand/internal/built"
	"example.com/qrand/keygen"
)

// An algorithm is a function of the package, as the tables of the tests call it.
type algorithm struct {
	name      string
	size      int // bytes it documents to take
	slow      bool
	forbidden bool // under GODEBUG=fips140=only

	make func(r io.Reader) (key any, err error) // nil, not a typed nil, where there is no key
}

// entry is an algorithm whose zero key stands for none.
func entry[K any](name string, size int, isNone func(K) bool, make func(io.Reader) (K, error)) algorithm {
	return algorithm{name: name, size: size, make: func(r io.Reader) (any, error) {
		key, err := make(r)
		if isNone(key) {
			return nil, err
		}
		return key, err
	}}
}

func pointer[T any](p *T) bool  { return p == nil }
func slice[S ~[]byte](p S) bool { return p == nil }
func on[C, K any](f func(C, io.Reader) (K, error), c C) func(io.Reader) (K, error) {
	return func(r io.Reader) (K, error) { return f(c, r) }
}

func algorithms() []algorithm {
	all := []algorithm{
		entry("ECDSA P-224", 28, pointer, on(keygen.ECDSA, elliptic.P224())),
		entry("ECDSA P-256", 32, pointer, on(keygen.ECDSA, elliptic.P256())),
		entry("ECDSA P-384", 48, pointer, on(keygen.ECDSA, elliptic.P384())),
		entry("ECDSA P-521", 66, pointer, on(keygen.ECDSA, elliptic.P521())),
		entry("ECDH P-256", 32, pointer, on(keygen.ECDH, ecdh.P256())),
		entry("ECDH P-384", 48, pointer, on(keygen.ECDH, ecdh.P384())),
		entry("ECDH P-521", 66, pointer, on(keygen.ECDH, ecdh.P521())),
		entry("ECDH X25519", 32, pointer, on(keygen.ECDH, ecdh.X25519())),
		entry("Ed25519", 32, slice, keygen.Ed25519),
		entry("Ed448", 57, slice, keygen.Ed448),
		entry("RSA-2048", 64, pointer, on(keygen.RSA, 2048)),
		entry("ML-KEM-768", 64, pointer, keygen.MLKEM768),
		entry("ML-KEM-1024", 64, pointer, keygen.MLKEM1024),
		entry("circl ML-KEM-512", 64, pointer, keygen.CirclMLKEM512),
		entry("circl ML-KEM-768", 64, pointer, keygen.CirclMLKEM768),
		entry("circl ML-KEM-1024", 64, pointer, keygen.CirclMLKEM1024),
		entry("X-Wing", 32, pointer, keygen.XWing),
		entry("ML-DSA-44", 32, pointer, keygen.MLDSA44),
		entry("ML-DSA-65", 32, pointer, keygen.MLDSA65),
		entry("ML-DSA-87", 32, pointer, keygen.MLDSA87),
	}
	for id := slhdsa.SHA2_128s; id <= slhdsa.SHAKE_256f; id++ {
		set := id.String() // SLH-DSA-SHA2-128s
		size := map[string]int{"128": 48, "192": 72, "256": 96}[set[len(set)-4:len(set)-1]]
		e := entry(set, size, func(k slhdsa.PrivateKey) bool { return k.ID == 0 }, on(keygen.SLHDSA, id))
		e.slow = strings.HasSuffix(set, "s")
		all = append(all, e)
	}
	all = append(all, go127Algorithms...)
	for i, a := range all {
		all[i].forbidden = a.name == "ECDH X25519"
	}
	return all
}

// What only Go 1.27 has: keys of crypto/mldsa, and the function that verifies what they sign.
var (
	go127Algorithms []algorithm
	verifyMLDSA     func(public crypto.PublicKey, message, sig []byte) bool
)

// refused reports whether Go forbids the algorithm in this process.
func (a algorithm) refused() bool { return a.forbidden && fips140.Enforced() }

func skipSome(t *testing.T, a algorithm) {
	if a.slow && (built.Race || testing.Short()) {
		t.Skip("its keys take a second or so each, and far longer under the race detector")
	}
	if a.refused() {
		t.Skip("GODEBUG=fips140=only refuses it, as TestGODEBUG shows")
	}
}

func encode(t *testing.T, key any) []byte {
	t.Helper()
	var b []byte
	var err error
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		b, err = k.Bytes()
	case *rsa.PrivateKey:
		b = k.D.Bytes()
	case interface{ Bytes() []byte }:
		b = k.Bytes()
	case encoding.BinaryMarshaler:
		b, err = k.MarshalBinary()
	case ed25519.PrivateKey:
		b = k
	default:
		t.Fatalf("a key of type %T", key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestReaderIsUsed: each function takes the bytes it documents, from short reads
// too; the same bytes give the same key, other bytes another.
func TestReaderIsUsed(t *testing.T) {
	for _, a := range algorithms() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			skipSome(t, a)
			make := func(s *stream, r io.Reader) []byte {
				key, err := a.make(r)
				if err != nil {
					t.Fatal(err)
				}
				if s.taken != a.size {
					t.Errorf("took %d bytes, documented are %d", s.taken, a.size)
				}
				return encode(t, key)
			}
			one, same, other := newStream(1), newStream(1), newStream(2)
			key := make(one, one)
			if !bytes.Equal(key, make(same, iotest.HalfReader(same))) {
				t.Error("the same bytes gave another key")
			}
			if bytes.Equal(key, make(other, other)) {
				t.Error("other bytes gave the same key")
			}
		})
	}
}

// TestFailingReader: a reader that fails at byte k yields its error and no key,
// for every k.
func TestFailingReader(t *testing.T) {
	for _, a := range algorithms() {
		if a.refused() {
			continue
		}
		for k := range a.size {
			key, err := a.make(&failing{*newStream(1), k})
			if key != nil || !errors.Is(err, errBroken) || !strings.HasPrefix(err.Error(), "keygen: ") {
				t.Errorf("%s: a reader that fails at byte %d: %v, a key: %v", a.name, k, err, key != nil)
			}
			key, err = a.make(io.LimitReader(newStream(1), int64(k)))
			if want := io.ErrUnexpectedEOF; key != nil || k > 0 && !errors.Is(err, want) || k == 0 && !errors.Is(err, io.EOF) {
				t.Errorf("%s: a reader that ends at byte %d: %v, a key: %v", a.name, k, err, key != nil)
			}
		}
		if key, err := a.make(lying{}); key != nil || err == nil {
			t.Errorf("%s: a reader that returns more than was asked for makes a key of zeros", a.name)
		}
		if key, err := a.make(nil); key != nil || err == nil || !strings.Contains(err.Error(), "nil") {
			t.Errorf("%s: a nil reader: %v", a.name, err)
		}
	}
}

// lying writes nothing, and returns one byte more than it was asked for: io.ReadFull takes
// that for a success.
type lying struct{}

func (lying) Read(p []byte) (int, error) { return len(p) + 1, nil }

// TestFailingLater: a reader that fails after a candidate that was rejected, at
// byte k of the next one, yields its error and no key, for every k.
func TestFailingLater(t *testing.T) {
	for _, a := range algorithms() {
		if !strings.Contains(a.name, " P-") {
			continue // it rejects none
		}
		for k := range a.size {
			zero := io.LimitReader(zeroReader{}, int64(a.size))
			key, err := a.make(io.MultiReader(zero, &failing{*newStream(1), k}))
			if key != nil || !errors.Is(err, errBroken) {
				t.Errorf("%s: a reader that fails at byte %d: %v, a key: %v", a.name, a.size+k, err, key != nil)
			}
		}
	}
}

// TestWiped: what was read is zero when the function returns, with a key or
// without one, also of a candidate that was rejected.
func TestWiped(t *testing.T) {
	for _, a := range algorithms() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			skipSome(t, a)
			rejected := io.LimitReader(onesReader{}, int64(a.size))
			for what, r := range map[string]io.Reader{
				"a key":            newStream(1),
				"short reads":      iotest.HalfReader(newStream(1)),
				"an error":         &failing{*newStream(1), a.size - 1},
				"ones, then a key": io.MultiReader(rejected, newStream(1)),
			} {
				if a.slow && what != "an error" {
					continue // the fast sets go the same way
				}
				k := &keeping{Reader: r}
				a.make(k)
				if len(k.kept) == 0 {
					t.Fatalf("%s: nothing was read", what)
				}
				for _, p := range k.kept {
					if !bytes.Equal(p, make([]byte, len(p))) {
						t.Errorf("%s: %x is left in memory", what, p)
					}
				}
			}
		})
	}
}

// TestScalars: the scalar of a NIST curve is the bytes read, and candidates out
// of range are skipped (FIPS 186-5 section A.2.2).
func TestScalars(t *testing.T) {
	for _, c := range []elliptic.Curve{elliptic.P224(), elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		n := c.Params().N
		size := (n.BitLen() + 7) / 8
		zero, order := make([]byte, size), n.FillBytes(make([]byte, size))
		all := bytes.Repeat([]byte{0xff}, size)
		one, last := make([]byte, size), bytes.Clone(order)
		one[size-1], last[size-1] = 1, order[size-1]-1
		for want, candidates := range map[*[]byte][][]byte{
			&one:  {one},
			&last: {zero, order, all, last},
		} {
			key, err := keygen.ECDSA(c, bytes.NewReader(bytes.Join(candidates, nil)))
			if err != nil {
				t.Fatal(err)
			}
			if got := encode(t, key); !bytes.Equal(got, *want) {
				t.Errorf("%s: the scalar is %x, want %x", c.Params().Name, got, *want)
			}
			if c == elliptic.P224() {
				continue
			}
			curve := map[elliptic.Curve]ecdh.Curve{elliptic.P256(): ecdh.P256(), elliptic.P384(): ecdh.P384(), elliptic.P521(): ecdh.P521()}[c]
			ecdhKey, err := keygen.ECDH(curve, bytes.NewReader(bytes.Join(candidates, nil)))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(ecdhKey.Bytes(), *want) {
				t.Errorf("%v: the scalar is %x, want %x", curve, ecdhKey.Bytes(), *want)
			}
		}
		if c == elliptic.P521() { // the top 7 bits are dropped
			dirty := bytes.Clone(one)
			dirty[0] = 0xfe
			key, err := keygen.ECDSA(c, bytes.NewReader(dirty))
			if err != nil || !bytes.Equal(encode(t, key), one) {
				t.Errorf("P-521: the top bits are not dropped: %v", err)
			}
		}
	}
}

// TestBadArguments: errors that say what to do, instead of a key, a panic or an
// endless loop.
func TestBadArguments(t *testing.T) {
	r := newStream(1)
	for name, call := range map[string]func() error{
		"ECDSA":           func() error { _, err := keygen.ECDSA(nil, r); return err },
		"ECDSA, params":   func() error { _, err := keygen.ECDSA(elliptic.P256().Params(), r); return err },
		"ECDH":            func() error { _, err := keygen.ECDH(nil, r); return err },
		"RSA 1024":        func() error { _, err := keygen.RSA(1024, r); return err },
		"RSA 16384":       func() error { _, err := keygen.RSA(16384, r); return err },
		"RSA 2049":        func() error { _, err := keygen.RSA(2049, r); return err },
		"SLH-DSA 0":       func() error { _, err := keygen.SLHDSA(0, r); return err },
		"SLH-DSA 13":      func() error { _, err := keygen.SLHDSA(13, r); return err },
		"zeros for ECDSA": func() error { _, err := keygen.ECDSA(elliptic.P384(), zeroReader{}); return err },
		"zeros for ECDH":  func() error { _, err := keygen.ECDH(ecdh.P256(), zeroReader{}); return err },
	} {
		if err := call(); err == nil || !strings.HasPrefix(err.Error(), "keygen: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if r.taken != 0 {
		t.Errorf("%d bytes were taken for nothing", r.taken)
	}
}

// TestOtherImplementation: circl and the standard library make the same ML-KEM
// key from the same seed, and each opens what the other seals.
func TestOtherImplementation(t *testing.T) {
	std, err := keygen.MLKEM768(newStream(3))
	if err != nil {
		t.Fatal(err)
	}
	circl, err := keygen.CirclMLKEM768(newStream(3))
	if err != nil {
		t.Fatal(err)
	}
	public, err := circl.Public().MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(public, std.EncapsulationKey().Bytes()) {
		t.Error("the public keys differ")
	}
	ours, sealed := std.EncapsulationKey().Encapsulate()
	theirs, err := circl.Scheme().Decapsulate(circl, sealed)
	if err != nil || !bytes.Equal(ours, theirs) {
		t.Errorf("circl does not open what the standard library sealed: %v", err)
	}
	sealed, theirs, err = circl.Scheme().Encapsulate(circl.Public())
	if err != nil {
		t.Fatal(err)
	}
	if ours, err = std.Decapsulate(sealed); err != nil || !bytes.Equal(ours, theirs) {
		t.Errorf("the standard library does not open what circl sealed: %v", err)
	}
	seed := make([]byte, mlkem.SeedSize)
	newStream(3).Read(seed)
	if !bytes.Equal(std.Bytes(), seed) {
		t.Error("the key's seed is not what was read")
	}
}

// TestKeysWork: what each signature key signs, its public key verifies; what is
// sealed for each other key, it opens.
func TestKeysWork(t *testing.T) {
	message := []byte("a message")
	digest := sha256.Sum256(message)
	for _, a := range algorithms() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			skipSome(t, a)
			made, err := a.make(newStream(4))
			if err != nil {
				t.Fatal(err)
			}
			var ok bool
			switch key := made.(type) {
			case *ecdsa.PrivateKey:
				sig, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
				ok = err == nil && ecdsa.VerifyASN1(&key.PublicKey, digest[:], sig)
			case *rsa.PrivateKey:
				sig, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], nil)
				ok = err == nil && rsa.VerifyPSS(&key.PublicKey, crypto.SHA256, digest[:], sig, nil) == nil &&
					key.Validate() == nil && key.N.BitLen() == 2048 && key.E == 65537
			case *ecdh.PrivateKey:
				other, err := keygen.ECDH(key.Curve(), newStream(5))
				if err != nil {
					t.Fatal(err)
				}
				one, err1 := key.ECDH(other.PublicKey())
				two, err2 := other.ECDH(key.PublicKey())
				ok = err1 == nil && err2 == nil && bytes.Equal(one, two)
			case ed25519.PrivateKey:
				ok = ed25519.Verify(key.Public().(ed25519.PublicKey), message, ed25519.Sign(key, message))
			case ed448.PrivateKey:
				ok = ed448.Verify(key.Public().(ed448.PublicKey), message, ed448.Sign(key, message, ""), "")
			case *mlkem.DecapsulationKey768:
				secret, sealed := key.EncapsulationKey().Encapsulate()
				opened, err := key.Decapsulate(sealed)
				ok = err == nil && bytes.Equal(secret, opened)
			case *mlkem.DecapsulationKey1024:
				secret, sealed := key.EncapsulationKey().Encapsulate()
				opened, err := key.Decapsulate(sealed)
				ok = err == nil && bytes.Equal(secret, opened)
			case kem.PrivateKey:
				sealed, secret, err := key.Scheme().Encapsulate(key.Public())
				if err != nil {
					t.Fatal(err)
				}
				opened, err := key.Scheme().Decapsulate(key, sealed)
				ok = err == nil && bytes.Equal(secret, opened)
			case sign.PrivateKey:
				scheme := key.Scheme()
				ok = scheme.Verify(key.Public().(sign.PublicKey), message, scheme.Sign(key, message, nil), nil)
			case crypto.Signer: // of crypto/mldsa
				sig, err := key.Sign(nil, message, nil)
				ok = err == nil && verifyMLDSA(key.Public(), message, sig)
			default:
				t.Fatalf("a key of type %T", key)
			}
			if !ok {
				t.Error("it does not work")
			}
		})
	}
}
