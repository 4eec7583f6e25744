package keyfile_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/fips140"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	mathrand "math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"example.com/qrand/internal/keyfile"
)

// encryptedInfo is an EncryptedPrivateKeyInfo with PBES2 and PBKDF2.
type encryptedInfo struct {
	Algorithm struct {
		OID    asn1.ObjectIdentifier
		Params struct {
			KDF struct {
				OID    asn1.ObjectIdentifier
				Params struct {
					Salt       []byte
					Iterations int64
					PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
				}
			}
			Cipher struct {
				OID asn1.ObjectIdentifier
				IV  []byte
			}
		}
	}
	Ciphertext []byte
}

// TestEncrypted: encryption in any other way is refused before anything is
// computed. So are lengths with which a cipher panics, and counts that would take
// years.
func TestEncrypted(t *testing.T) {
	pkcs8 := must(keyfile.PrivateDER(keyNamed(t, "ml-dsa-44")))(t)
	block, _ := pem.Decode(must(keyfile.EncryptedPEM(pkcs8, passphrase, rand.Reader))(t))
	if file, err := keyfile.Parse(block.Bytes, passphrase); err != nil || file.Kind != keyfile.KindPrivate {
		t.Errorf("as DER: %v", err)
	}
	if _, err := keyfile.Parse(block.Bytes, nil); !errors.Is(err, keyfile.ErrEncrypted) {
		t.Errorf("as DER, without the passphrase: %v", err)
	}
	const other, malformed = "in a way that is not read", "malformed encrypted"
	oid := func(n ...int) asn1.ObjectIdentifier { return n }
	for _, c := range []struct {
		what   string
		change func(*encryptedInfo)
		want   string
	}{
		{"PBES1", func(e *encryptedInfo) { e.Algorithm.OID = oid(1, 2, 840, 113549, 1, 5, 3) }, other},
		{"scrypt", func(e *encryptedInfo) { e.Algorithm.Params.KDF.OID = oid(1, 3, 6, 1, 4, 1, 11591, 4, 11) }, other},
		{"HMAC-SHA-512", func(e *encryptedInfo) {
			e.Algorithm.Params.KDF.Params.PRF.Algorithm = oid(1, 2, 840, 113549, 2, 11)
		}, other},
		{"no PRF, that is HMAC-SHA-1", func(e *encryptedInfo) { e.Algorithm.Params.KDF.Params.PRF = pkix.AlgorithmIdentifier{} }, other},
		{"DES", func(e *encryptedInfo) { e.Algorithm.Params.Cipher.OID = oid(1, 3, 14, 3, 2, 7) }, other},
		{"a short IV", func(e *encryptedInfo) { e.Algorithm.Params.Cipher.IV = make([]byte, 15) }, other},
		{"no iterations", func(e *encryptedInfo) { e.Algorithm.Params.KDF.Params.Iterations = 0 }, "iterations"},
		{"minus one iterations", func(e *encryptedInfo) { e.Algorithm.Params.KDF.Params.Iterations = -1 }, "iterations"},
		{"too many iterations", func(e *encryptedInfo) { e.Algorithm.Params.KDF.Params.Iterations = 10_000_001 }, "iterations"},
		{"no ciphertext", func(e *encryptedInfo) { e.Ciphertext = nil }, malformed},
		{"half a block", func(e *encryptedInfo) { e.Ciphertext = e.Ciphertext[8:] }, malformed},
		{"20 kB", func(e *encryptedInfo) { e.Ciphertext = make([]byte, 20000) }, malformed},
	} {
		var e encryptedInfo
		if rest, err := asn1.Unmarshal(block.Bytes, &e); err != nil || len(rest) > 0 {
			t.Fatal(err)
		}
		c.change(&e)
		began := time.Now()
		refused(t, c.what, must(asn1.Marshal(e))(t), c.want)
		if took := time.Since(began); took > time.Minute {
			t.Errorf("%s: refused after %v", c.what, took)
		}
	}
	// With a wrong passphrase, the padding is right once in 256 times. (One iteration
	// makes many attempts possible; a fixed salt makes them the same each time.)
	fixed, _ := pem.Decode(must(keyfile.EncryptedPEM(pkcs8, passphrase, mathrand.NewChaCha8([32]byte{})))(t))
	var quick encryptedInfo
	if _, err := asn1.Unmarshal(fixed.Bytes, &quick); err != nil {
		t.Fatal(err)
	}
	quick.Algorithm.Params.KDF.Params.Iterations = 1
	der := must(asn1.Marshal(quick))(t)
	for i := range 2000 {
		if _, err := keyfile.Parse(der, []byte{1, byte(i), byte(i >> 8)}); !errors.Is(err, keyfile.ErrPassphrase) {
			t.Fatalf("wrong passphrase number %d: %v", i, err)
		}
	}
	for _, bad := range []func() ([]byte, error){
		func() ([]byte, error) { return keyfile.EncryptedPEM(pkcs8, nil, rand.Reader) },
		func() ([]byte, error) { return keyfile.EncryptedPEM(pkcs8, passphrase, nil) },
	} {
		if out, err := bad(); out != nil || err == nil || !strings.HasPrefix(err.Error(), "keyfile: ") {
			t.Error(err)
		}
	}
	var c counter
	must(keyfile.EncryptedPEM(pkcs8, passphrase, &c))(t)
	if c.n != 32 {
		t.Errorf("salt and IV took %d bytes of the reader, want 32", c.n)
	}
}

// TestOthersWrote: the files that OpenSSL wrote are read, with each size of key, and
// the one with Java's parameters, which include keyLength. They are the witnesses for
// all of PBES2; the vectors of RFC 7914 section 11 for PBKDF2-HMAC-SHA-256 are in the
// standard library's own tests.
func TestOthersWrote(t *testing.T) {
	if fips140.Enforced() {
		t.Skip("GODEBUG=fips140=only refuses OpenSSL's salts of 8 bytes, as TestFIPS shows")
	}
	seed := make([]byte, ed25519.SeedSize)
	new(counting).Read(seed)
	want := must(keyfile.PublicDER(ed25519.NewKeyFromSeed(seed).Public()))(t)
	for _, name := range []string{"openssl/aes-128-cbc", "openssl/aes-192-cbc", "openssl/aes-256-cbc", "java/aes-256-cbc"} {
		data := must(os.ReadFile("testdata/" + name + ".pem"))(t)
		if f, err := keyfile.Parse(data, []byte("correct horse")); err != nil || !bytes.Equal(f.SPKI, want) {
			t.Errorf("%s: another key, or %v", name, err)
		}
		if _, err := keyfile.Parse(data, []byte("correct")); !errors.Is(err, keyfile.ErrPassphrase) {
			t.Errorf("%s: with a wrong passphrase: %v", name, err)
		}
	}
}

// FuzzEncrypted: no algorithm, length or ciphertext of an encrypted private key
// makes Parse panic. The number of iterations is fixed, to save time.
func FuzzEncrypted(f *testing.F) {
	pkcs8 := must(keyfile.PrivateDER(keyNamed(f, "ed25519")))(f)
	block, _ := pem.Decode(must(keyfile.EncryptedPEM(pkcs8, passphrase, rand.Reader))(f))
	var e encryptedInfo
	if _, err := asn1.Unmarshal(block.Bytes, &e); err != nil {
		f.Fatal(err)
	}
	f.Add(e.Algorithm.Params.KDF.Params.Salt, 2, e.Algorithm.Params.Cipher.IV, e.Ciphertext)
	f.Fuzz(func(t *testing.T, salt []byte, arc int, iv, ciphertext []byte) {
		e := e
		e.Algorithm.Params.KDF.Params.Salt = salt
		e.Algorithm.Params.KDF.Params.Iterations = 3
		e.Algorithm.Params.Cipher.OID = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, arc & 0xff}
		e.Algorithm.Params.Cipher.IV = iv
		e.Ciphertext = ciphertext
		data, err := asn1.Marshal(e)
		if err != nil {
			t.Skip("not to be written")
		}
		if file, err := keyfile.Parse(data, passphrase); (err == nil) == (file == nil) {
			t.Error("both or neither of a file and an error")
		}
	})
}
