package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"example.com/qrand/internal/cli"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
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
	key, secret := keyFile(t), write(t, "text", []byte("SUsecret-of-nobody"))
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
		{2, "--nats has something that is no URL", []string{"--nats", "tls://127.0.0.1:1,tls://user:secret@127.0.0.1:x", "--plain", "--nats-key", key}},
		{2, "--nats has something that is no URL", []string{"--nats", "127.0.0.1", "--plain", "--nats-key", key}},
		{2, "--nats-subject: \"a.*\" is not", append(plain, "--nats-key", key, "--nats-subject", "a.*")},
		{2, "--log-format", append(plain, "--nats-key", key, "--log-format", "xml")},
		{1, "--nats-key: open", append(plain, "--nats-key", key+"x")},
		{1, "--nats-key: relaynats: want one PRIVATE KEY", append(plain, "--nats-key", secret)},
		{1, "--nats-ca: ", append(plain, "--nats-key", key, "--nats-ca", secret)},
		{1, "has neither a JWT", append(plain, "--nats-key", key, "--nats-creds", secret)},
		{1, "--nats-creds: open", append(plain, "--nats-key", key, "--nats-creds", secret+"x")},
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

// TestNATSRefuses: what a server of NATS says does not end a relay, which goes on over HTTPS,
// and the log tells it. That NATS is away is told, too.
func TestNATSRefuses(t *testing.T) {
	service := qrypttest.NewServer(qrypttest.Config{})
	defer service.Close()
	t.Setenv(qrypt.EnvEndpoints, service.URL)
	t.Setenv(qrypt.EnvToken, service.Token())
	t.Setenv(qrypt.EnvCAFile, write(t, "ca.pem", service.CAPEM()))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	list := filepath.Join(t.TempDir(), "clients.json")
	if _, err := clients.Add(list, clients.Client{Name: "web"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdout, stderr := new(text), new(text)
	cmd := newCommand(stdout, stderr)
	cmd.SetArgs([]string{"--nats", "nats://" + l.Addr().String(), "--nats-key", keyFile(t), "--plain", "--listen", "127.0.0.1:0", "--clients", list})
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	address := regexp.MustCompile(`127.0.0.1:\d+`).FindString(stdout.await(t, "The relay listens on"))
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	stderr.await(t, "cannot connect to NATS")
	if c, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "INFO {}\r\n")
	bufio.NewReader(c).ReadString('G') // of PING
	io.WriteString(c, "PONG\r\n-ERR 'Maximum Payload Violation'\r\n")
	stderr.await(t, "does not listen at NATS, and tries again soon")
	resp, err := http.Get("http://" + address + "/healthz")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("over HTTP: %v, %v", resp, err)
	}
	resp.Body.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A text is written by another goroutine.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (x *text) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.Write(p)
}

// await waits until something was written, and returns all.
func (x *text) await(t *testing.T, what string) string {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		x.mu.Lock()
		all := x.b.String()
		x.mu.Unlock()
		if strings.Contains(all, what) {
			return all
		}
		if time.Now().After(deadline) {
			t.Fatalf("there is no %q in %s", what, all)
		}
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

// TestHelpWidth: no line of help has more than 80 columns, and in a terminal of 40 columns only a
// command that can be copied.
func TestHelpWidth(t *testing.T) {
	for _, width := range []int{0, 40} {
		var out strings.Builder
		cmd := newCommand(io.Discard, io.Discard)
		cli.FitHelp(cmd, width)
		cmd.SetOut(&out)
		cmd.SetArgs([]string{"--help"})
		if err := cmd.Execute(); err != nil || out.Len() < 200 {
			t.Errorf("%v, %q", err, out.String())
		}
		for line := range strings.Lines(out.String()) {
			line = strings.TrimSuffix(line, "\n")
			if n := utf8.RuneCountInString(line); n > 80 || width == 40 && n > 40 && !copied.MatchString(line) {
				t.Errorf("width %d: %q", width, line)
			}
		}
	}
}

// copied are the lines of help that stay whole: commands, and what has no space.
var copied = regexp.MustCompile(`^  (qrandrelay|qrand|  --)|^ *\S+$`)
