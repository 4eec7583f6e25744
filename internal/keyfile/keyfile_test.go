package keyfile_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/cloudflare/circl/sign"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/slhdsa"

	"example.com/qrand/internal/built"
	"example.com/qrand/internal/keyfile"
	"example.com/qrand/keygen"
)

// A testKey is a key for an algorithm. It is made when a test first needs it.
type testKey struct {
	name string
	slow bool
	make func() (any, error)
}

func entry[K any](name string, make func(io.Reader) (K, error)) testKey {
	return testKey{name: name, make: sync.OnceValues(func() (any, error) {
		return make(mathrand.NewChaCha8([32]byte([]byte(name + strings.Repeat(" ", 32))[:32])))
	})}
}

func on[C, K any](f func(C, io.Reader) (K, error), c C) func(io.Reader) (K, error) {
	return func(r io.Reader) (K, error) { return f(c, r) }
}

// seeded makes an ML-KEM-512 key of circl with its seed.
func seeded(r io.Reader) (*keyfile.SeededKey, error) {
	var seed bytes.Buffer
	key, err := keygen.CirclMLKEM512(io.TeeReader(r, &seed))
	if err != nil {
		return nil, err
	}
	return keyfile.WithSeed(key, seed.Bytes())
}

var testKeys = func() []testKey {
	all := []testKey{
		entry("ecdsa-p224", on(keygen.ECDSA, elliptic.P224())),
		entry("ecdsa-p256", on(keygen.ECDSA, elliptic.P256())),
		entry("ecdsa-p384", on(keygen.ECDSA, elliptic.P384())),
		entry("ecdsa-p521", on(keygen.ECDSA, elliptic.P521())),
		entry("ecdh-p256", on(keygen.ECDH, ecdh.P256())),
		entry("ecdh-p384", on(keygen.ECDH, ecdh.P384())),
		entry("ecdh-p521", on(keygen.ECDH, ecdh.P521())),
		entry("x25519", on(keygen.ECDH, ecdh.X25519())),
		entry("ed25519", keygen.Ed25519),
		entry("ed448", keygen.Ed448),
		entry("rsa-2048", on(keygen.RSA, 2048)),
		entry("ml-kem-512", seeded),
		entry("ml-kem-768", keygen.MLKEM768),
		entry("ml-kem-1024", keygen.MLKEM1024),
		entry("x-wing", keygen.XWing),
		entry("ml-dsa-44", keygen.MLDSA44),
		entry("ml-dsa-65", keygen.MLDSA65),
		entry("ml-dsa-87", keygen.MLDSA87),
	}
	for id := slhdsa.SHA2_128s; id <= slhdsa.SHAKE_256f; id++ {
		e := entry(strings.ToLower(id.String()), on(keygen.SLHDSA, id))
		e.slow = strings.HasSuffix(e.name, "s") || built.Race && strings.Contains(e.name, "shake")
		all = append(all, e)
	}
	return all
}()

// keyNamed returns a test key. It skips a test with a key that takes long to make.
func keyNamed(t testing.TB, name string) any {
	t.Helper()
	for _, k := range testKeys {
		if k.name == name {
			if k.slow && (built.Race || testing.Short()) {
				t.Skip("its signatures take a second or so each, and far longer under the race detector")
			}
			return must(k.make())(t)
		}
	}
	t.Fatalf("there is no test key %s", name)
	return nil
}

// forEach runs a test for each key whose name has one of the prefixes.
func forEach(t *testing.T, prefixes []string, test func(t *testing.T, name string, key any)) {
	for _, k := range testKeys {
		if !hasPrefix(k.name, prefixes) {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			test(t, k.name, keyNamed(t, k.name))
		})
	}
}

func hasPrefix(name string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// must is for calls that cannot fail here: must(f())(t).
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// run runs a program with this input, and returns its output.
func run(t *testing.T, input []byte, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

// The algorithms that have a form. For the others there are errors.
var (
	all      = []string{""}
	withJWK  = []string{"ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ecdh", "x25519", "ed", "rsa", "ml-dsa"}
	withSSH  = []string{"ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "rsa"}
	withAge  = []string{"x25519", "x-wing"}
	withRaw  = []string{"ec", "x", "ed", "ml", "slh"}
	thatSign = []string{"ecdsa", "ed25519", "ed448", "rsa", "ml-dsa", "slh-dsa"}

	// Encryption is slow on purpose, so only these are tested.
	encryptedPEM = []string{"ed448", "rsa", "ml-kem-512", "ml-dsa-65"}
	encryptedSSH = []string{"ecdsa-p256", "ed25519"}
)

// A form is a function that writes keys, and the keys it is for.
type form struct {
	name     string
	kind     keyfile.Kind
	prefixes []string
	make     func(key, public any) ([]byte, error)
}

var passphrase = []byte("a passphrase, with a ü")

var forms = []form{
	{"private DER", keyfile.KindPrivate, all, func(k, _ any) ([]byte, error) { return keyfile.PrivateDER(k) }},
	{"public DER", keyfile.KindPublic, all, func(_, p any) ([]byte, error) { return keyfile.PublicDER(p) }},
	{"private PEM", keyfile.KindPrivate, all, func(k, _ any) ([]byte, error) {
		der, err := keyfile.PrivateDER(k)
		return keyfile.PEM(keyfile.KindPrivate, der), err
	}},
	{"public PEM", keyfile.KindPublic, all, func(_, p any) ([]byte, error) {
		der, err := keyfile.PublicDER(p)
		return keyfile.PEM(keyfile.KindPublic, der), err
	}},
	{"encrypted PEM", keyfile.KindPrivate, encryptedPEM, func(k, _ any) ([]byte, error) {
		der, err := keyfile.PrivateDER(k)
		if err != nil {
			return nil, err
		}
		return keyfile.EncryptedPEM(der, passphrase, rand.Reader)
	}},
	{"private JWK", keyfile.KindPrivate, withJWK, func(k, _ any) ([]byte, error) { return keyfile.PrivateJWK(k) }},
	{"public JWK", keyfile.KindPublic, withJWK, func(_, p any) ([]byte, error) { return keyfile.PublicJWK(p) }},
	{"private SSH", keyfile.KindPrivate, withSSH, func(k, _ any) ([]byte, error) { return keyfile.PrivateSSH(k, "a comment", nil) }},
	{"encrypted SSH", keyfile.KindPrivate, encryptedSSH, func(k, _ any) ([]byte, error) { return keyfile.PrivateSSH(k, "a comment", passphrase) }},
	{"public SSH", keyfile.KindPublic, withSSH, func(_, p any) ([]byte, error) { return keyfile.PublicSSH(p, "a comment") }},
	{"private age", keyfile.KindPrivate, withAge, func(k, _ any) ([]byte, error) { return keyfile.PrivateAge(k) }},
	{"public age", keyfile.KindPublic, withAge, func(_, p any) ([]byte, error) { return keyfile.PublicAge(p) }},
}

// TestParseWhatIsWritten: for each key and form, Parse returns the kind of the file and
// the SubjectPublicKeyInfo. If a key has no such form, the error says so.
func TestParseWhatIsWritten(t *testing.T) {
	forEach(t, all, func(t *testing.T, name string, key any) {
		public := must(keyfile.Public(key))(t)
		spki := must(keyfile.PublicDER(public))(t)
		if keyfile.Name(key) != name || keyfile.Name(public) != name {
			t.Errorf("named %s and %s", keyfile.Name(key), keyfile.Name(public))
		}
		for _, f := range forms {
			encrypted := strings.HasPrefix(f.name, "encrypted")
			if encrypted && !hasPrefix(name, f.prefixes) {
				continue
			}
			data, err := f.make(key, public)
			if !hasPrefix(name, f.prefixes) {
				if err == nil || !strings.HasPrefix(err.Error(), "keyfile: ") || !strings.Contains(err.Error(), name) {
					t.Errorf("%s: %v", f.name, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", f.name, err)
				continue
			}
			if encrypted {
				if _, err := keyfile.Parse(data, nil); !errors.Is(err, keyfile.ErrEncrypted) {
					t.Errorf("%s, without the passphrase: %v", f.name, err)
				}
				if _, err := keyfile.Parse(data, []byte("another")); !errors.Is(err, keyfile.ErrPassphrase) {
					t.Errorf("%s, with another passphrase: %v", f.name, err)
				}
			}
			file, err := keyfile.Parse(data, passphrase) // which the others do not mind
			if err != nil {
				t.Errorf("%s: %v", f.name, err)
				continue
			}
			if file.Kind != f.kind || !bytes.Equal(file.SPKI, spki) {
				t.Errorf("%s: read as a %v; the same key: %v", f.name, file.Kind, bytes.Equal(file.SPKI, spki))
			}
			if got := keyfile.Name(file.Public); got != name && got != strings.Replace(name, "ecdh-", "ecdsa-", 1) {
				t.Errorf("%s: read as a key of %s", f.name, got)
			}
		}
	})
}

// TestRaw: ParseRaw reads what is written, if it gets the name and the kind. Other
// lengths are errors.
func TestRaw(t *testing.T) {
	forEach(t, withRaw, func(t *testing.T, name string, key any) {
		public := must(keyfile.Public(key))(t)
		spki := must(keyfile.PublicDER(public))(t)
		for kind, raw := range map[keyfile.Kind][]byte{
			keyfile.KindPrivate: must(keyfile.PrivateRaw(key))(t),
			keyfile.KindPublic:  must(keyfile.PublicRaw(public))(t),
		} {
			file, err := keyfile.ParseRaw(name, kind, raw)
			if err != nil {
				t.Errorf("%v: %v", kind, err)
				continue
			}
			if file.Kind != kind || !bytes.Equal(file.SPKI, spki) {
				t.Errorf("a %v was read as a %v; the same key: %v", kind, file.Kind, bytes.Equal(file.SPKI, spki))
			}
			for _, wrong := range [][]byte{nil, raw[:len(raw)-1], append(bytes.Clone(raw), 0)} {
				if _, err := keyfile.ParseRaw(name, kind, wrong); err == nil || !strings.HasPrefix(err.Error(), "keyfile: ") {
					t.Errorf("a %v of %d bytes instead of %d: %v", kind, len(wrong), len(raw), err)
				}
			}
		}
	})
	rsa := keyNamed(t, "rsa-2048")
	_, err1 := keyfile.PrivateRaw(rsa)
	_, err2 := keyfile.PublicRaw(must(keyfile.Public(rsa))(t))
	_, err3 := keyfile.ParseRaw("rsa-2048", keyfile.KindPublic, make([]byte, 256))
	for _, err := range []error{err1, err2, err3} {
		if err == nil || !strings.Contains(err.Error(), "use der") {
			t.Errorf("raw RSA: %v", err)
		}
	}
	for name, kind := range map[string]keyfile.Kind{"ml-dsa-45": keyfile.KindPublic, "ed25519": keyfile.KindRequest, "": keyfile.KindPrivate} {
		if _, err := keyfile.ParseRaw(name, kind, make([]byte, 32)); err == nil || !strings.HasPrefix(err.Error(), "keyfile: ") {
			t.Errorf("a raw %v of %q: %v", kind, name, err)
		}
	}
}

// TestSeeds: ML-KEM keys of circl need their seed. Another seed is an error.
func TestSeeds(t *testing.T) {
	var seed bytes.Buffer
	key := must(keygen.CirclMLKEM768(io.TeeReader(rand.Reader, &seed)))(t)
	if _, err := keyfile.PrivateDER(key); err == nil || !strings.Contains(err.Error(), "WithSeed") {
		t.Errorf("without its seed: %v", err)
	}
	joined := must(keyfile.WithSeed(key, seed.Bytes()))(t)
	public := must(key.Public().MarshalBinary())(t)
	file := must(keyfile.Parse(must(keyfile.PrivateDER(joined))(t), nil))(t)
	if got := must(keyfile.PublicRaw(file.Public))(t); !bytes.Equal(got, public) {
		t.Error("the file's public key is another one")
	}
	for _, wrong := range [][]byte{nil, make([]byte, 64), seed.Bytes()[:63]} {
		if _, err := keyfile.WithSeed(key, wrong); err == nil {
			t.Errorf("a seed of %d bytes that is not the key's was taken", len(wrong))
		}
	}

	// An ML-DSA key that was made from its expanded form has no seed, either.
	var expanded mldsa44.PrivateKey
	whole := keyNamed(t, "ml-dsa-44").(sign.PrivateKey)
	if err := expanded.UnmarshalBinary(must(whole.MarshalBinary())(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := keyfile.PrivateDER(&expanded); err == nil || !strings.Contains(err.Error(), "does not keep its seed") {
		t.Errorf("ML-DSA without its seed: %v", err)
	}
}

// TestKindString: an unknown Kind has a text, too.
func TestKindString(t *testing.T) {
	for kind, want := range map[keyfile.Kind]string{keyfile.KindRequest: "certificate request", 99: "Kind(99)"} {
		if got := kind.String(); got != want {
			t.Errorf("%d is %q, want %q", int(kind), got, want)
		}
	}
}

// TestOtherTypes: every function refuses keys that package keygen does not make.
func TestOtherTypes(t *testing.T) {
	for _, key := range []any{nil, "a string", 7, struct{}{}, keyNamed(t, "ed25519")} { // the last is private
		_, isPrivate := key.(interface{ Seed() []byte })
		for name, call := range map[string]func() error{
			"PublicDER": func() error { _, err := keyfile.PublicDER(key); return err },
			"PublicRaw": func() error { _, err := keyfile.PublicRaw(key); return err },
			"PublicJWK": func() error { _, err := keyfile.PublicJWK(key); return err },
		} {
			if err := call(); err == nil || !strings.HasPrefix(err.Error(), "keyfile: ") {
				t.Errorf("%s of a %T: %v", name, key, err)
			}
		}
		if isPrivate {
			continue
		}
		for name, call := range map[string]func() error{
			"Public":     func() error { _, err := keyfile.Public(key); return err },
			"PrivateDER": func() error { _, err := keyfile.PrivateDER(key); return err },
			"PrivateRaw": func() error { _, err := keyfile.PrivateRaw(key); return err },
			"PrivateJWK": func() error { _, err := keyfile.PrivateJWK(key); return err },
			"PrivateSSH": func() error { _, err := keyfile.PrivateSSH(key, "", nil); return err },
			"PublicSSH":  func() error { _, err := keyfile.PublicSSH(key, ""); return err },
			"SelfSigned": func() error { _, err := keyfile.SelfSigned(key, nil, rand.Reader); return err },
			"Request":    func() error { _, err := keyfile.Request(key, nil, rand.Reader); return err },
		} {
			if err := call(); err == nil || !strings.HasPrefix(err.Error(), "keyfile: ") {
				t.Errorf("%s of a %T: %v", name, key, err)
			}
		}
	}
}
