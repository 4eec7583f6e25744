package keyfile_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/cloudflare/circl/kem"
	kemschemes "github.com/cloudflare/circl/kem/schemes"
	signschemes "github.com/cloudflare/circl/sign/schemes"

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
// byte for byte. They are read in each form, and the damaged ones of the standards are
// refused, except the one with another t0: the public key does not depend on it. Go 1.27
// reads the files of ML-DSA keys itself, and finds the same public keys.
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
		spki := must(keyfile.PublicDER(must(keyfile.Public(key))(t)))(t)
		der := must(keyfile.PrivateDER(key))(t)
		switch fields[1] {
		case "public":
			der = spki
		case "expanded", "both":
			der = withExpanded(t, fields[0], der, fields[1] == "both")
		}
		want := "read"
		if len(fields) > 3 {
			der[must(strconv.Atoi(fields[3]))(t)] ^= 1
			want = fields[4]
		}
		if file, err := keyfile.Parse(der, nil); (err == nil) != (want == "read") || err == nil && !bytes.Equal(file.SPKI, spki) {
			t.Errorf("%v: another key, or %v", fields, err)
		}
		if go127 && strings.HasPrefix(fields[0], "ml-dsa-") && fields[1] == "private" {
			standard := must(x509.ParsePKCS8PrivateKey(der))(t).(crypto.Signer)
			if !bytes.Equal(must(x509.MarshalPKIXPublicKey(standard.Public()))(t), spki) {
				t.Errorf("%s: crypto/x509 finds another public key in the file", fields[0])
			}
		}
		if sum := sha256.Sum256(der); hex.EncodeToString(sum[:]) != fields[2] {
			t.Errorf("%s: the %s key's DER is not the published one:\n%x", fields[0], fields[1], der)
		}
	}
	if want := 4*len(makers) - 2 + 5; lines != want { // X-Wing has no expanded form; five are damaged
		t.Errorf("%d lines, want %d", lines, want)
	}
}

// withExpanded turns the PKCS #8 of a counting seed into the form with the expanded key,
// alone or behind the seed (RFC 9881 section 6, RFC 9935 section 6).
func withExpanded(t *testing.T, name string, der []byte, both bool) []byte {
	var info struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Private   []byte
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		t.Fatal(err)
	}
	seed := info.Private[2:]
	var expanded []byte
	if s := signschemes.ByName(name); s != nil {
		_, key := s.DeriveKey(seed)
		expanded = must(key.MarshalBinary())(t)
	} else {
		_, key := kemschemes.ByName(name).DeriveKeyPair(seed)
		expanded = must(key.MarshalBinary())(t)
	}
	if both {
		info.Private = must(asn1.Marshal([][]byte{seed, expanded}))(t)
	} else {
		info.Private = must(asn1.Marshal(expanded))(t)
	}
	return must(asn1.Marshal(info))(t)
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

// RFC 9909 appendix C: a key for SLH-DSA-SHA2-128s.
const (
	rfc9909Private = "MFICAQAwCwYJYIZIAWUDBAMUBECiJjvKRYYINlIxYASVI9YhZ3+tkNUetgZ6Mn4NHmSlASuBCex3fKpOHwJMz8+Ul9mRgFCSgPQlavKwevgCibSU"
	rfc9909Public  = "MDAwCwYJYIZIAWUDBAMUAyEAK4EJ7Hd8qk4fAkzPz5SX2ZGAUJKA9CVq8rB6+AKJtJQ="
)

// TestRFC9909: the SLH-DSA key of the RFC is read in both forms. Its root is computed
// from the rest.
func TestRFC9909(t *testing.T) {
	private, public := must(base64.StdEncoding.DecodeString(rfc9909Private))(t), must(base64.StdEncoding.DecodeString(rfc9909Public))(t)
	for _, der := range [][]byte{private, public} {
		if file := must(keyfile.Parse(der, nil))(t); !bytes.Equal(file.SPKI, public) {
			t.Errorf("%x was read as %x", der, file.SPKI)
		}
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
