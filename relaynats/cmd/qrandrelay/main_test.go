package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// write writes a file to a folder of the test.
func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func keyFile(t *testing.T) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// TestRefused: a command line that cannot work ends with 2, and a file that cannot be used
// with 1, before the relay listens.
func TestRefused(t *testing.T) {
	t.Setenv(qrypt.EnvEndpoints, "https://127.0.0.1:1")
	t.Setenv(qrypt.EnvToken, "token-of-nobody-0123456789")
	key, text := keyFile(t), write(t, "text", []byte("SUsecret-of-nobody"))
	servers := []string{"--nats", "tls://127.0.0.1:1"}
	plain := append(servers, "--plain", "--listen", "127.0.0.1:0")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, test := range []struct {
		status int
		want   string
		args   []string
	}{
		{2, "which NATS servers?", nil},
		{2, "give --nats-key", servers},
		{2, "give --cert and --key", append(servers, "--nats-key", key)},
		{2, "--cert and --key belong together", append(servers, "--nats-key", key, "--cert", "x")},
		{2, `unexpected argument "now"`, append(servers, "now")},
		{2, "unknown flag: --dev", append(servers, "--dev")},
		{2, "--log-format", append(plain, "--nats-key", key, "--log-format", "xml")},
		{1, "--nats-key: open", append(plain, "--nats-key", key+"x")},
		{1, "--nats-key: relaynats: want one PRIVATE KEY", append(plain, "--nats-key", text)},
		{1, "has neither a JWT", append(plain, "--nats-key", key, "--nats-creds", text)},
		{1, "--nats-creds: open", append(plain, "--nats-key", key, "--nats-creds", text+"x")},
		{1, "--listen: ", append(plain, "--nats-key", key, "--listen", taken.Addr().String())},
		{1, "there is no list of clients", append(plain, "--nats-key", key, "--clients", key+"x")},
	} {
		var stdout, stderr bytes.Buffer
		status := run(test.args, &stdout, &stderr)
		if status != test.status || !strings.Contains(stderr.String(), test.want) || stdout.Len() > 0 || strings.Contains(stderr.String(), "secret") {
			t.Errorf("%v: %d, %q and %q, want %d and %q", test.args, status, &stdout, &stderr, test.status, test.want)
		}
	}
}

// TestNATSRefused: an address of NATS that is none ends the relay.
func TestNATSRefused(t *testing.T) {
	t.Setenv(qrypt.EnvEndpoints, "https://127.0.0.1:1")
	t.Setenv(qrypt.EnvToken, "token-of-nobody-0123456789")
	list := filepath.Join(t.TempDir(), "clients.json")
	if _, err := clients.Add(list, clients.Client{Name: "web"}); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	status := run([]string{"--nats", "tls://127.0.0.1:x", "--nats-key", keyFile(t), "--plain", "--listen", "127.0.0.1:0", "--clients", list}, &stdout, &stderr)
	if status != 1 || !strings.Contains(stderr.String(), "\nqrandrelay: --nats: ") || !strings.HasPrefix(stdout.String(), "The relay listens on 127.0.0.1:") {
		t.Errorf("%d, %q and %q", status, &stdout, &stderr)
	}
}

// TestCredentials: a file of credentials may have a JWT, or the seed of an NKey.
func TestCredentials(t *testing.T) {
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	public, err := user.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	jwt := "-----BEGIN NATS USER JWT-----\neyJ0.e30.x\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n" + string(seed) + "\n------END USER NKEY SEED------\n"
	for name, text := range map[string]string{"nkey": string(seed) + "\n", "jwt": jwt} {
		o := options{creds: write(t, name, []byte(text))}
		how, err := o.connection(slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		opts := nats.GetDefaultOptions()
		for _, option := range how {
			if err := option(&opts); err != nil {
				t.Fatal(err)
			}
		}
		if name == "jwt" && opts.UserJWT == nil || name == "nkey" && opts.Nkey != public {
			t.Errorf("%s: it is not used", name)
		}
	}
}
