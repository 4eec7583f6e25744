package main

import (
	"context"
	"crypto/fips140"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// start runs the server, as run does, and returns its address and its CA's file.
func start(t *testing.T, kind string) (address, caFile string, tickets *ticketKeys) {
	t.Helper()
	src := newSource(t)
	ca, config, tickets := newServer(t, &recorder{src: src}, kind)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, ca.pem(), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// A client that does not trust us is noise here.
	server := &http.Server{Handler: handler(src), ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve(server, listener, config)
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return listener.Addr().String(), caFile, tickets
}

// openssl skips a test where there is no OpenSSL.
func openssl(t *testing.T) {
	t.Helper()
	out, err := exec.Command("openssl", "version").Output()
	if err != nil {
		t.Skip("there is no openssl command:", err)
	}
	if !strings.HasPrefix(string(out), "OpenSSL ") {
		t.Skipf("openssl is %s, whose s_client may differ", strings.TrimSpace(string(out)))
	}
	t.Logf("%s", out)
}

// sClient gets the page with s_client, which verifies chain and address. Of its
// output only the lines are returned that tell how it went: it prints the
// session's secrets, too.
func sClient(t *testing.T, address, caFile string, args ...string) (lines string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "openssl", append([]string{"s_client", "-connect", address,
		"-CAfile", caFile, "-no-CApath", "-verify_return_error", "-verify_ip", "127.0.0.1", "-ign_eof"}, args...)...)
	cmd.Stdin = strings.NewReader("GET / HTTP/1.0\r\n\r\n")
	out, err := cmd.CombinedOutput()
	return strings.Join(telling.FindAllString(string(out), -1), "\n"), err
}

var telling = regexp.MustCompile(`(?m)^(New, |Reused, |Verification|verify error|Peer signature type|HTTP/|.*alert ).*`)

// What the server's page says of the connection.
var page = regexp.MustCompile(`(?m)^HTTP/[12]\.[01], TLS (1\.[23]), (TLS_\w+), (\w+), resumed: (true|false)$`)

// wantPage checks the server's view, and returns the suite that it names. Whether
// the session is resumed is not looked at if that is "".
func wantPage(t *testing.T, lines, version, resumed string) (suite string) {
	t.Helper()
	m := page.FindStringSubmatch(lines)
	if m == nil {
		t.Fatalf("no page:\n%s", lines)
	}
	if m[1] != version || resumed != "" && m[4] != resumed {
		t.Errorf("the server says %q, want TLS %s, resumed: %s", m[0], version, resumed)
	}
	if group := m[3]; fips140.Enabled() && group == "X25519" {
		t.Error("FIPS mode does not allow X25519 by itself, and it was used")
	}
	return m[2]
}

var versions = []string{"1.2", "1.3"}

// TestOpenSSL: s_client trusts the CA and completes handshakes with each kind of
// key, and resumes its session with a ticket under a key of the Source.
func TestOpenSSL(t *testing.T) {
	openssl(t)
	for _, kind := range kinds {
		address, caFile, _ := start(t, kind)
		for _, version := range versions {
			t.Run(kind+", TLS "+version, func(t *testing.T) {
				session := filepath.Join(t.TempDir(), "session.pem")
				flag := "-tls" + strings.ReplaceAll(version, ".", "_")
				for _, first := range []bool{true, false} {
					begins, resumed, args := "New", "false", []string{flag, "-sess_out", session}
					if !first {
						begins, resumed, args = "Reused", "true", []string{flag, "-sess_in", session}
					}
					lines, err := sClient(t, address, caFile, args...)
					if err != nil {
						t.Fatalf("%v\n%s", err, lines)
					}
					suite := wantPage(t, lines, version, resumed)
					if version == "1.2" {
						// Ed25519 certificates use the ECDSA suites (RFC 8422 section 5.10).
						suite = map[string]string{"ecdsa": "ECDHE-ECDSA-", "ed25519": "ECDHE-ECDSA-", "rsa": "ECDHE-RSA-"}[kind]
					}
					signature := map[string]string{"ecdsa": "ecdsa", "ed25519": "ed25519", "rsa": "rsa-pss"}[kind]
					want := []string{begins + ", TLSv" + version + ", Cipher is " + suite, "Verification: OK"}
					if first { // a resumption has no signature
						want = append(want, "peer signature type: "+signature) // in capitals or not
					}
					for _, line := range want {
						if !strings.Contains(strings.ToLower(lines), strings.ToLower(line)) {
							t.Errorf("s_client does not say %q:\n%s", line, lines)
						}
					}
				}
			})
		}
	}
}

// TestOpenSSLRefuses: s_client does not talk to a server whose CA it does not
// know, so that its trust in the tests above means something.
func TestOpenSSLRefuses(t *testing.T) {
	openssl(t)
	_, otherCA, _ := start(t, "ecdsa")
	address, _, _ := start(t, "ecdsa")
	lines, err := sClient(t, address, otherCA)
	if err == nil || !strings.Contains(lines, "verify error") || page.MatchString(lines) {
		t.Errorf("s_client with another CA: %v\n%s", err, lines)
	}
}

// TestRotation: a session is resumed as long as its ticket's key is kept, and not
// after that.
func TestRotation(t *testing.T) {
	openssl(t)
	for _, version := range versions {
		t.Run("TLS "+version, func(t *testing.T) {
			address, caFile, tickets := start(t, "ecdsa")
			session := filepath.Join(t.TempDir(), "session.pem")
			flag := "-tls" + strings.ReplaceAll(version, ".", "_")
			if lines, err := sClient(t, address, caFile, flag, "-sess_out", session); err != nil {
				t.Fatalf("%v\n%s", err, lines)
			}
			for _, resumed := range []string{"true", "true", "false"} {
				if err := tickets.rotate(); err != nil {
					t.Fatal(err)
				}
				lines, err := sClient(t, address, caFile, flag, "-sess_in", session)
				if err != nil {
					t.Fatalf("%v\n%s", err, lines)
				}
				wantPage(t, lines, version, resumed)
			}
		})
	}
}

// TestCurl: curl trusts the CA, too, and connects a second time with the session
// of the first.
func TestCurl(t *testing.T) {
	out, err := exec.Command("curl", "--version").Output()
	if err != nil {
		t.Skip("there is no curl command:", err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	if !strings.Contains(first, "OpenSSL") {
		t.Skipf("it is %s, without OpenSSL, and may not know Ed25519", first)
	}
	t.Log(first)
	for _, kind := range kinds {
		address, caFile, _ := start(t, kind)
		for _, version := range versions {
			t.Run(kind+", TLS "+version, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				url := "https://" + address + "/"
				cmd := exec.CommandContext(ctx, "curl", "--disable", "--noproxy", "*", "--silent", "--show-error", "--fail", "--verbose",
					"--cacert", caFile, "--tlsv"+version, "--tls-max", version, "--http1.1", "--header", "Connection: close", url, url) // HTTP/2 would use one connection
				var said strings.Builder
				cmd.Stderr = &said
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%v\n%s", err, said.String())
				}
				pages := page.FindAllString(string(out), -1)
				if len(pages) != 2 {
					t.Fatalf("%d pages:\n%s", len(pages), out)
				}
				wantPage(t, pages[0], version, "false")
				if version == "1.2" { // in which curl asks for no ticket
					wantPage(t, pages[1], version, "")
				} else {
					wantPage(t, pages[1], version, "true")
				}
				for _, line := range []string{"SSL connection using TLSv" + version + " / ", "SSL certificate verif"} {
					if strings.Count(said.String(), line) < 2 {
						t.Errorf("curl does not say %q twice:\n%s", line, said.String())
					}
				}
			})
		}
	}
}
