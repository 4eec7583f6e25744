package main

import (
	"bytes"
	"crypto/fips140"
	"crypto/rand"
	"crypto/tls"
	"go/build"
	"io"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
)

// A reach says when a fact comes from a reader that is set as tls.Config.Rand, or
// as crypto/rand.Reader.
type reach int

const (
	never      reach = iota
	onlyCustom       // with GODEBUG=cryptocustomrand=1
	upTo126          // up to Go 1.26
	always           // so far
)

func (r reach) holds(custom bool) bool {
	switch r {
	case never:
		return false
	case onlyCustom:
		return custom
	case upTo126:
		return !slices.Contains(build.Default.ReleaseTags, "go1.27")
	}
	return true
}

// A scene is a handshake, and all that either side needs randomness for in it.
type scene struct {
	name           string
	kind           string // of the certificate's key
	shape          func(*tls.Config)
	client, server []fact
}

// scenes is the table. What FIPS mode does not allow is not in it: X25519 without
// ML-KEM beside it, and ChaCha20-Poly1305, which needs no randomness.
var scenes = []scene{
	{
		name: "TLS 1.3 with X25519MLKEM768 and Ed25519",
		kind: "ed25519",
		shape: func(c *tls.Config) {
			c.MinVersion = tls.VersionTLS13
			c.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768}
		},
		client: []fact{clientRandom, clientSessionID, clientMLKEM, clientX25519},
		server: []fact{serverRandom, serverMLKEM, serverX25519, unusedKey, ticketKey, ticketIV, ticketAge},
	},
	{
		name: "TLS 1.3 with P-256 and Ed25519",
		kind: "ed25519",
		shape: func(c *tls.Config) {
			c.MinVersion = tls.VersionTLS13
			c.CurvePreferences = []tls.CurveID{tls.CurveP256}
			c.SessionTicketsDisabled = true
		},
		client: []fact{clientRandom, clientSessionID, clientP256},
		server: []fact{serverRandom, serverP256},
	},
	{
		name: "TLS 1.2 with P-256 and ECDSA",
		kind: "ecdsa",
		shape: func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CurvePreferences = []tls.CurveID{tls.CurveP256}
			c.SessionTicketsDisabled = true
		},
		client: []fact{clientRandom, clientSessionID, clientP256},
		server: []fact{serverRandom, serverP256, ecdsaNonce},
	},
	{
		name: "TLS 1.2 with P-256, RSA-PSS and AES-CBC",
		kind: "rsa",
		shape: func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CurvePreferences = []tls.CurveID{tls.CurveP256}
			c.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256}
		},
		client: []fact{clientRandom, clientSessionID, clientP256, clientIV},
		server: []fact{serverRandom, serverP256, pssSalt, unusedKey, ticketKey, ticketIV, serverIV},
	},
}

// TestReach holds the table against this Go, with and without the GODEBUG setting,
// each in a process of its own: what the table says comes from the reader is made
// again from bytes that were read from it, what it says does not cannot be, and no
// byte was read for anything else.
func TestReach(t *testing.T) {
	if os.Getenv("QRAND_TLS_REACH") != "" {
		testReach(t)
		return
	}
	for name, setting := range map[string]string{"by default": "", "custom": ",cryptocustomrand=1"} {
		t.Run(name, func(t *testing.T) {
			others := slices.DeleteFunc(strings.Split(os.Getenv("GODEBUG"), ","), func(s string) bool {
				return strings.HasPrefix(s, "cryptocustomrand=")
			})
			cmd := exec.Command(os.Args[0], "-test.run=^TestReach$", "-test.v", "-test.timeout=60s")
			cmd.Env = append(os.Environ(), "QRAND_TLS_REACH=1", "GODEBUG="+strings.Join(others, ",")+setting)
			out, err := cmd.CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte("every fact was looked at")) {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

func testReach(t *testing.T) {
	custom := strings.Contains(os.Getenv("GODEBUG"), "cryptocustomrand=1")
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			src := newSource(t)
			ca, issued, _ := newServer(t, &recorder{src: src}, s.kind)
			// Others for each handshake: a config keeps its ticket keys.
			play := func(clientRand, serverRand io.Reader) *handshake {
				client, server := clientOf(ca), &tls.Config{Certificates: issued.Certificates}
				client.Rand, server.Rand = clientRand, serverRand //qrandvet:ignore finds out what it reaches
				s.shape(client)
				s.shape(server)
				return shake(t, client, server)
			}
			here, there := &recorder{src: src}, &recorder{src: src}
			h := play(here, there)
			check(t, "the client's Config.Rand", h, here, s.client, custom)
			check(t, "the server's Config.Rand", h, there, s.server, custom)

			both := &recorder{src: src}
			saved := rand.Reader
			rand.Reader = both
			h = play(nil, nil)
			rand.Reader = saved
			check(t, "rand.Reader", h, both, slices.Concat(s.client, s.server), custom)
		})
	}
	t.Log("every fact was looked at")
}

// TestFactsAreSeen: the facts that no reader reaches would be noticed if one did.
// With a known generator under all that crypto/tls does, they are found in it.
func TestFactsAreSeen(t *testing.T) {
	if fips140.Version() == "v1.0.0" {
		t.Skip("version 1.0.0 of the FIPS module has no generator for tests")
	}
	s := scenes[0]
	ca, server, _ := newServer(t, &recorder{src: rand.Reader}, s.kind)
	server = &tls.Config{Certificates: server.Certificates}
	client := clientOf(ca)
	s.shape(client)
	s.shape(server)
	const seed = 1
	cryptotest.SetGlobalRandom(t, seed)
	h := shake(t, client, server)

	key := [32]byte{seed}       // the same generator: the seed is little-endian
	stream := make([]byte, 512) // more than both sides take
	mathrand.NewChaCha8(key).Read(stream)
	for _, f := range slices.Concat(s.client, s.server) {
		if !slices.Contains(f.find(h, stream), true) {
			t.Errorf("%s is not found in what it was made from", f.what)
		}
	}
}

// check compares facts with what was read.
func check(t *testing.T, reader string, h *handshake, r *recorder, facts []fact, custom bool) {
	t.Helper()
	var all []byte
	for _, b := range r.reads {
		if custom && len(b) == 1 {
			continue // read so that nobody relies on what comes next
		}
		all = append(all, b...)
	}
	explained := make([]bool, len(all))
	for _, f := range facts {
		used := f.find(h, all)
		found := slices.Contains(used, true)
		for i := range used {
			explained[i] = explained[i] || used[i]
		}
		if want := f.reach.holds(custom); found != want {
			t.Errorf("with %s and cryptocustomrand=1 %t, the %s comes from %s: %t; the table says %t. "+
				"If Go has changed that, change the table here, and the one in docs/tls.md",
				runtime.Version(), custom, f.what, reader, found, want)
		} else {
			t.Logf("%-33s from %s: %t", f.what, reader, found)
		}
	}
	if n := len(slices.DeleteFunc(explained, func(is bool) bool { return is })); n > 0 {
		t.Errorf("with %s and cryptocustomrand=1 %t, %d bytes of %d were read from %s for something that is not in the table",
			runtime.Version(), custom, n, len(all), reader)
	}
}
