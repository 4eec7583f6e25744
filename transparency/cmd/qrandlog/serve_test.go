//go:build unix

package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/qrand/internal/logclient"
	"example.com/qrand/relay/clients"
	"example.com/qrand/transparency/internal/atomicfile"
	"example.com/qrand/transparency/internal/witnesstest"
)

// writeCertificate writes a certificate for this host and its key.
func writeCertificate(t *testing.T, certFile, keyFile string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "log"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	for path, data := range map[string][]byte{certFile: certPEM, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return roots
}

// serve serves the log over HTTPS, with the files crt and key, until stop is called. That
// returns what was printed.
func (s *story) serve(t *testing.T) (url string, stop func() (printed string)) {
	t.Helper()
	cmd := command(t, "serve", "--dir", s.log(), "--listen", "127.0.0.1:0", "--cert", s.path("crt"), "--key", s.path("key"), "--interval", "100ms")
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	url = regexp.MustCompile(`https://127\.0\.0\.1:\d+`).FindString(line)
	if err != nil || url == "" || !strings.Contains(line, "log.example/keys") {
		t.Fatalf("%q, %v", line, err)
	}
	return url, func() string {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			t.Errorf("after a signal: %v: %s", err, &log)
		}
		return line + log.String()
	}
}

// TestServe: clients add over HTTPS, while other processes add to the folder. Each gets its
// proof, and the server ends at a signal.
func TestServe(t *testing.T) {
	const overHTTPS, processes = 20, 10
	s := newStory(t, witnesstest.New(t, "witness.example/1", true))
	roots := writeCertificate(t, s.path("crt"), s.path("key"))
	token, err := clients.Add(s.path("log/clients.json"), clients.Client{Name: "ca-1"})
	if err != nil {
		t.Fatal(err)
	}
	url, stop := s.serve(t)
	client, err := logclient.New(url, token, roots)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range overHTTPS + processes {
		path := s.envelope(t, i)
		all.Go(func() {
			if i >= overHTTPS {
				if out, err := command(t, "add", "--dir", s.log(), path).CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
				}
				return
			}
			leaf, err := os.ReadFile(path)
			if err != nil {
				t.Error(err)
				return
			}
			proof, err := client.Submit(t.Context(), leaf)
			if err == nil {
				err = atomicfile.Write(proofPath(path), proof.Encode())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s.verifyAll(t, overHTTPS+processes)
	printed := stop()
	if got := strings.Count(printed, "client=ca-1 index="); got != overHTTPS {
		t.Errorf("the log of the server has %d entries, want %d: %s", got, overHTTPS, printed)
	}
	if strings.Contains(printed, token) {
		t.Error("the token is in what was printed")
	}
}
