package qrypt

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

// selfSigned returns a certificate for a host that is its own authority.
func selfSigned(t testing.TB, host string, edits ...func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		DNSNames:              []string{host},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	for _, edit := range edits {
		edit(template)
	}
	der, err := x509.CreateCertificate(cryptorand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// A tlsServer answers each connection's first request with a block. Where the
// handshake fails it still reads all that the client sends, so that what the
// client sees does not depend on who is faster.
type tlsServer struct {
	address string
	cert    tls.Certificate
}

func newTLSServer(t testing.TB, cert tls.Certificate, edit func(*tls.Config)) *tlsServer {
	t.Helper()
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}}
	if edit != nil {
		edit(cfg)
	}
	body := answerWith(DialectQuantumEntropy, noise(1, 1)...)
	answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	s := &tlsServer{cert: cert}
	s.address = listen(t, func(conn net.Conn) {
		c := tls.Server(conn, cfg)
		if c.Handshake() != nil {
			return
		}
		var request []byte
		for buf := make([]byte, 1024); !bytes.Contains(request, []byte("\r\n\r\n")); {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			request = append(request, buf[:n]...)
		}
		io.WriteString(c, answer)
		c.CloseWrite()
	})
	return s
}

// client trusts the server and takes it for host.
func (s *tlsServer) client(t testing.TB, host, token string, edits ...func(*tls.Config)) *Client {
	t.Helper()
	h := NewHTTPClient()
	cfg := h.Transport.(*http.Transport).TLSClientConfig
	cfg.RootCAs, cfg.ServerName = trustIn(s.cert.Leaf), host
	for _, edit := range edits {
		edit(cfg)
	}
	return mustNew(t, Config{Endpoints: []string{"https://" + s.address}, Token: StaticToken(token), HTTPClient: h})
}

// A client of the caller's may bring a certificate of its own.
func TestClientCertificate(t *testing.T) {
	mine := selfSigned(t, "client", func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	})
	server := newTLSServer(t, selfSigned(t, "there.example"), func(c *tls.Config) {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, trustIn(mine.Leaf)
		// With TLS 1.3 a client learns of its refusal after its request.
		c.MaxVersion = tls.VersionTLS12
	})
	withMine := func(c *tls.Config) { c.Certificates = []tls.Certificate{mine} }
	mustBlocks(t, server.client(t, "there.example", "token", withMine), 1)
	if e := mustFail(t, server.client(t, "there.example", "token"), 1, ErrTLS); e.Detail != "the handshake failed" {
		t.Error(e)
	}
}

// rand.Reader may be a reader that is itself seeded through this client: then
// TLS must not wait for it. (A Rand that the caller gave to an http.Client is the
// caller's affair.)
func TestTLSUsesNoReplacedReader(t *testing.T) {
	s := newTLSServer(t, selfSigned(t, "there.example"), func(c *tls.Config) {
		c.Rand = cryptorand.Reader // as it is now: the server is not what is tested
	})
	c := s.client(t, "there.example", "token")

	original := cryptorand.Reader
	t.Cleanup(func() { cryptorand.Reader = original })
	cryptorand.Reader = readerFunc(func([]byte) (int, error) { panic("rand.Reader was read") })

	mustBlocks(t, c, 1)
	mustBlocks(t, s.client(t, "there.example", "token"), 1) // made after the replacement
	noRand := func(c *tls.Config) { c.Rand = nil }
	mustBlocks(t, s.client(t, "there.example", "token", noRand), 1)
	b, err := NewBlock(make([]byte, BlockSize), Origin{})
	if err != nil {
		t.Fatal(err)
	}
	b.Wipe()
}

// TestOriginNamesCertificate: a block says which certificate and key its server had, of the
// chain the leaf, in a resumed session too. Without TLS it says none.
func TestOriginNamesCertificate(t *testing.T) {
	cert := selfSigned(t, "there.example")
	cert.Certificate = append(cert.Certificate, selfSigned(t, "another.example").Certificate...)
	spki, err := x509.MarshalPKIXPublicKey(cert.Leaf.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	var resumed []bool
	s := newTLSServer(t, cert, func(c *tls.Config) {
		c.VerifyConnection = func(state tls.ConnectionState) error {
			resumed = append(resumed, state.DidResume)
			return nil
		}
	})
	c := s.client(t, "there.example", "token")
	for range 2 {
		o := mustBlocks(t, c, 1)[0].Origin()
		if o.CertificateSHA256 != sha256.Sum256(cert.Certificate[0]) || o.PublicKeySHA256 != sha256.Sum256(spki) {
			t.Errorf("certificate %x, public key %x", o.CertificateSHA256, o.PublicKeySHA256)
		}
	}
	if !slices.Equal(resumed, []bool{false, true}) {
		t.Errorf("resumed: %v", resumed)
	}
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(oneBlock[DialectQuantumEntropy])
	}))
	defer plain.Close()
	o := mustBlocks(t, clientOf(t, plain), 1)[0].Origin()
	if none := ([sha256.Size]byte{}); o.Endpoint != plain.URL || o.CertificateSHA256 != none || o.PublicKeySHA256 != none {
		t.Errorf("without TLS: %+v", o)
	}
}
