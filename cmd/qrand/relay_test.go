package main

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/qrand/keygen"
	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// runRelayCommand runs qrand relay with a list of one client, and expects a failure.
func runRelayCommand(t *testing.T, args ...string) (folder, out, errOut string) {
	t.Helper()
	path, err := exec.LookPath("qrand")
	if err != nil {
		t.Fatal(err)
	}
	folder = t.TempDir()
	list := filepath.Join(folder, "clients.json")
	if _, err := clients.Add(list, clients.Client{Name: "web"}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, append([]string{"relay", "--plain", "--clients", list}, args...)...)
	cmd.Env = append(os.Environ(), qrypt.EnvEndpoints+"=https://127.0.0.1:1", qrypt.EnvToken+"=token-of-nobody-0123456789")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err == nil {
		t.Errorf("it ran:\n%s", &stdout)
	}
	return folder, stdout.String(), stderr.String()
}

// TestRelayListensFirst: a relay that cannot listen writes nothing.
func TestRelayListensFirst(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	folder, _, errOut := runRelayCommand(t, "--listen", taken.Addr().String())
	if !strings.Contains(errOut, "--listen: ") {
		t.Errorf("it says %q", errOut)
	}
	if left, err := filepath.Glob(filepath.Join(folder, "*.usage*")); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

// TestRelayPlainRefused: a relay that would show tokens prints no address first.
func TestRelayPlainRefused(t *testing.T) {
	folder, out, errOut := runRelayCommand(t, "--listen", "0.0.0.0:0")
	if out != "" || !strings.Contains(errOut, "--plain would show tokens and entropy to the network of 0.0.0.0:0") {
		t.Errorf("it prints %q and says %q", out, errOut)
	}
	if left, err := filepath.Glob(filepath.Join(folder, "*.usage*")); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

// TestRelayZone: the URL of a relay on an IPv6 address with a zone has the zone, as RFC
// 6874 writes it. The certificate of --dev is for the address without it, which curl
// checks, and with it, which Go checks.
func TestRelayZone(t *testing.T) {
	for listen, want := range map[string]string{
		"fe80::1%eth0": "https://[fe80::1%25eth0]:8443",
		"fd00::2":      "https://[fd00::2]:8443",
		"127.0.0.2":    "https://127.0.0.2:8443",
	} {
		at, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(listen, "8443"))
		if err != nil {
			t.Fatal(err)
		}
		c, out, _ := screen(false, nil)
		if err := (&relayOptions{}).introduce(c, at, ""); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(out.String(), "The relay serves "+want+", its page is at "+want+"/\n") {
			t.Errorf("on %s it prints %q", listen, out)
		}
		_, leaf, err := devCertificate(listen)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(leaf.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		address, _, _ := strings.Cut(listen, "%")
		for _, host := range []string{address, listen} {
			if err := cert.VerifyHostname(host); err != nil {
				t.Errorf("the certificate for %s: %v", listen, err)
			}
		}
	}
}

// TestReceiptKey: a relay that cannot sign receipts as it is told to does not start.
func TestReceiptKey(t *testing.T) {
	private, err := keygen.Ed25519(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := newKeyPair(private)
	if err != nil {
		t.Fatal(err)
	}
	_, public, err1 := key.encode("pem", nil, "")
	encrypted, _, err2 := key.encode("pem", []byte("correct horse"), "")
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	path := filepath.Join(t.TempDir(), "receipts.key")
	for want, text := range map[string][]byte{
		"no such file": nil,
		" is encrypted, and a relay has nobody to ask for the passphrase":       encrypted,
		"cannot sign: give the private key":                                     public,
		"--receipt-key: " + path + ": not a key, certificate or request in PEM": []byte("hello"),
	} {
		if text != nil {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, out, errOut := runRelayCommand(t, "--listen", "127.0.0.1:0", "--receipt-key", path)
		if out != "" || !strings.Contains(errOut, want) {
			t.Errorf("it prints %q and says %q, want %q", out, errOut, want)
		}
		os.Remove(path)
	}
	if _, _, errOut := runRelayCommand(t, "--receipt-name", "relay-a"); !strings.Contains(errOut, "--receipt-name is about the receipts that --receipt-key signs") {
		t.Errorf("it says %q", errOut)
	}
}
