package keyfile_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/cloudflare/circl/kem"

	"example.com/qrand/internal/keyfile"
	"example.com/qrand/keygen"
)

// counting gives the bytes 0, 1, 2, ...
type counting byte

func (c *counting) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(*c)
		*c++
	}
	return len(p), nil
}

func anyKey[K any](key K, err error) (any, error) { return key, err }

// TestPublished: our files of the example keys in the standards are equal to theirs,
// byte for byte.
func TestPublished(t *testing.T) {
	makers := map[string]func(io.Reader) (any, error){
		"ml-dsa-44":   func(r io.Reader) (any, error) { return anyKey(keygen.MLDSA44(r)) },
		"ml-dsa-65":   func(r io.Reader) (any, error) { return anyKey(keygen.MLDSA65(r)) },
		"ml-dsa-87":   func(r io.Reader) (any, error) { return anyKey(keygen.MLDSA87(r)) },
		"ml-kem-512":  func(r io.Reader) (any, error) { return anyKey(seeded(r)) },
		"ml-kem-768":  func(r io.Reader) (any, error) { return anyKey(keygen.MLKEM768(r)) },
		"ml-kem-1024": func(r io.Reader) (any, error) { return anyKey(keygen.MLKEM1024(r)) },
		"x-wing":      func(r io.Reader) (any, error) { return anyKey(keygen.XWing(r)) },
	}
	lines := 0
	for line := range strings.Lines(string(must(os.ReadFile("testdata/published.txt"))(t))) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		lines++
		fields := strings.Fields(line)
		key := must(makers[fields[0]](new(counting)))(t)
		der, err := keyfile.PrivateDER(key)
		if fields[1] == "public" {
			der, err = keyfile.PublicDER(must(keyfile.Public(key))(t))
		}
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(der); hex.EncodeToString(sum[:]) != fields[2] {
			t.Errorf("%s: the %s key's DER is not the published one:\n%x", fields[0], fields[1], der)
		}
	}
	if lines != 2*len(makers) {
		t.Errorf("%d lines, want %d", lines, 2*len(makers))
	}
}

// RFC 8410 section 10.3: a key alone, and with an attribute and its public key.
// Section 10.1: the public key.
const (
	rfc8410Private = "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC"
	rfc8410Both    = "MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC" +
		"oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="
	rfc8410Public = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="
)

// TestRFC8410: the Ed25519 key of the RFC is written as in the RFC, and read in both
// forms. With another public key in the file it is refused.
func TestRFC8410(t *testing.T) {
	decode := func(s string) []byte { return must(base64.StdEncoding.DecodeString(s))(t) }
	private, both, public := decode(rfc8410Private), decode(rfc8410Both), decode(rfc8410Public)
	key := must(keygen.Ed25519(bytes.NewReader(private[len(private)-ed25519.SeedSize:])))(t)
	if got := must(keyfile.PrivateDER(key))(t); !bytes.Equal(got, private) {
		t.Errorf("written as %x", got)
	}
	for _, der := range [][]byte{private, both, public} {
		if file := must(keyfile.Parse(der, nil))(t); !bytes.Equal(file.SPKI, public) {
			t.Errorf("%x was read as %x", der, file.SPKI)
		}
	}
	both[len(both)-1] ^= 1
	if _, err := keyfile.Parse(both, nil); err == nil || !strings.Contains(err.Error(), "does not belong to the private key") {
		t.Errorf("with another public key beside it: %v", err)
	}
}

// TestThumbprints: for the keys in the RFCs, the kid is the published thumbprint.
func TestThumbprints(t *testing.T) {
	// RFC 8037 appendix A.1 and A.3.
	seed := must(base64.RawURLEncoding.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"))(t)
	ed := must(keygen.Ed25519(bytes.NewReader(seed)))(t)
	zeros := func() io.Reader { return bytes.NewReader(make([]byte, 32)) }
	for _, c := range []struct {
		key any
		kid string
	}{
		{ed, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
		{must(keygen.MLDSA44(zeros()))(t), "T4xl70S7MT6Zeq6r9V9fPJGVn76wfnXJ21-gyo0Gu6o"}, // RFC 9964 appendix A.1
		{must(keygen.MLDSA65(zeros()))(t), "Suiu29qbfuaBaR4Ats-c6XQBePB_OpAxAwcTR_0KXVM"},
		{must(keygen.MLDSA87(zeros()))(t), "tRn1JNIkgMsABVQBlXeDHxAIcclh-2IX0UdDEzPt5XU"},
	} {
		for _, jwk := range [][]byte{must(keyfile.PrivateJWK(c.key))(t), must(keyfile.PublicJWK(must(keyfile.Public(c.key))(t)))(t)} {
			var members map[string]string
			if err := json.Unmarshal(jwk, &members); err != nil {
				t.Fatal(err)
			}
			if members["kid"] != c.kid {
				t.Errorf("%s: kid %s, want %s", keyfile.Name(c.key), members["kid"], c.kid)
			}
		}
	}
}

// TestStandardLibrary: crypto/x509 reads our files of the algorithms it knows. For NIST
// curves, the files of crypto/ecdh and crypto/ecdsa keys are equal. For X-Wing (its
// MLKEM768X25519), crypto/hpke finds the same public key as circl.
func TestStandardLibrary(t *testing.T) {
	forEach(t, []string{"ec", "x25519", "ed25519", "rsa"}, func(t *testing.T, name string, key any) {
		parsed := must(x509.ParsePKCS8PrivateKey(must(keyfile.PrivateDER(key))(t)))(t)
		if c, ok := key.(*ecdh.PrivateKey); ok && name != "x25519" {
			parsed = must(parsed.(interface {
				ECDH() (*ecdh.PrivateKey, error)
			}).ECDH())(t)
			key = c
		}
		public := must(keyfile.PublicDER(must(keyfile.Public(key))(t)))(t)
		if got := must(x509.MarshalPKIXPublicKey(must(keyfile.Public(parsed))(t)))(t); !bytes.Equal(got, public) {
			t.Error("another public key")
		}
	})
	key := keyNamed(t, "x-wing")
	other := must(hpke.MLKEM768X25519().NewPrivateKey(must(keyfile.PrivateRaw(key))(t)))(t)
	if public := must(key.(kem.PrivateKey).Public().MarshalBinary())(t); !bytes.Equal(public, other.PublicKey().Bytes()) {
		t.Error("X-Wing: another public key")
	}
}
