package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"example.com/qrand/qrypttest"
)

// serve starts an emulator, and points the environment to it.
func serve(t *testing.T, cfg qrypttest.Config) *qrypttest.Server {
	t.Helper()
	server := qrypttest.NewServer(cfg)
	t.Cleanup(server.Close)
	pointTo(t, strings.Join(server.Endpoints(), ","), server.Token(), server.CAPEM())
	return server
}

// newUnlabelled starts a service that does not say that it is emulated. Its blocks
// have the mark in them, and change may change the header of each answer.
func newUnlabelled(mark []byte, change func(answer int, h http.Header)) *httptest.Server {
	var answers atomic.Int32
	return httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := int(answers.Add(1))
		block := make([]byte, 1024)
		mathrand.NewChaCha8([32]byte{byte(n)}).Read(block)
		copy(block[100:], mark)
		w.Header().Set("Content-Type", "application/json")
		change(n, w.Header())
		fmt.Fprintf(w, `{"random":["%s"],"size":1}`, base64.StdEncoding.EncodeToString(block))
	}))
}

// serveUnlabelled starts such a service, and points the environment to it.
func serveUnlabelled(t *testing.T, change func(answer int, h http.Header)) *httptest.Server {
	t.Helper()
	server := newUnlabelled(nil, change)
	t.Cleanup(server.Close)
	pointTo(t, server.URL, "token-of-nobody", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	return server
}

// pointTo sets the variables that name the service.
func pointTo(t *testing.T, endpoints, token string, caPEM []byte) {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, caPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"QRYPT_ENDPOINTS": endpoints, "QRYPT_CA_FILE": ca, "QRYPT_TOKEN": token, "QRYPT_TOKEN_FILE": "", "QRYPT_DIALECT": "",
	} {
		t.Setenv(name, value)
	}
}

func TestRawBytesAreNotForTerminals(t *testing.T) {
	c, out, errs := screen(true, map[string]string{"NO_COLOR": "1"})
	if status := execute(t.Context(), []string{"read"}, c); status != exitUsage {
		t.Errorf("status %d", status)
	}
	if out.Len() > 0 || !strings.Contains(errs.String(), "--format hex, or -o FILE") {
		t.Errorf("stdout %q, stderr %q", out, errs)
	}
}

func TestProgress(t *testing.T) {
	serve(t, qrypttest.Config{})
	file := filepath.Join(t.TempDir(), "bytes")
	c, _, errs := screen(true, map[string]string{"NO_COLOR": "1"})
	if status := execute(t.Context(), []string{"read", "-n", "20MiB", "-o", file}, c); status != exitOK {
		t.Fatalf("status %d, stderr %q", status, errs)
	}
	if info, err := os.Stat(file); err != nil || info.Size() != 20<<20 {
		t.Errorf("%v, %v", info, err)
	}
	for _, want := range []string{"0% of 20 MiB, ", "20 MiB in ", "used\n", "EMULATED, not quantum\n"} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("no %q in stderr: %q", want, errs)
		}
	}

	for _, test := range []struct {
		name     string
		terminal bool
		args     []string
	}{
		{"a short read", true, []string{"read", "-n", "1MiB", "-o", file, "--force"}},
		{"no terminal", false, []string{"read", "-n", "20MiB", "-o", file, "--force"}},
		{"bytes on the same terminal", true, []string{"read", "-n", "20MiB", "--format", "hex"}},
	} {
		c, _, errs := screen(test.terminal, map[string]string{"NO_COLOR": "1"})
		if status := execute(t.Context(), test.args, c); status != exitOK {
			t.Errorf("%s: status %d", test.name, status)
		}
		if strings.Contains(errs.String(), "%") {
			t.Errorf("%s: progress is shown: %q", test.name, errs)
		}
	}
}

// counter gives the bytes 0, 1, 2 and so on, so that the expected output is known.
type counter byte

func (c *counter) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(*c)
		*c++
	}
	return len(p), nil
}

func TestStream(t *testing.T) {
	for _, size := range []int{1, 2, 3, 4, 32, pieceSize - 1, pieceSize, pieceSize + 1, 3*pieceSize + 17} {
		want := make([]byte, size)
		io.ReadFull(new(counter), want)
		for format, text := range map[string]string{
			"raw":    string(want),
			"hex":    hex.EncodeToString(want) + "\n",
			"base64": base64.StdEncoding.EncodeToString(want) + "\n",
		} {
			var b bytes.Buffer
			o := readOptions{size: sizeFlag(size), format: choice{value: format}}
			if err := stream(t.Context(), &b, new(counter), o); err != nil || b.String() != text {
				t.Errorf("%d bytes as %s: %d, %v", size, format, b.Len(), err)
			}
			if n := encodedLen(format, int64(size)); n != int64(len(text)) {
				t.Errorf("encodedLen(%s, %d) = %d, want %d", format, size, n, len(text))
			}
		}
	}
}

func TestOutputIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	c, _, _ := screen(false, nil)
	out, err := openOutput(c, path, false)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(out, "mine")
	// Another process makes the file while ours is written.
	if err := os.WriteFile(path, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := out.keep(); !errors.Is(err, errExists) {
		t.Errorf("keep: %v", err)
	}
	out.discard()
	if data, _ := os.ReadFile(path); string(data) != "theirs" {
		t.Errorf("the file is %q", data)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

// TestNothingLeaks looks for the token and for entropy in all output.
func TestNothingLeaks(t *testing.T) {
	const canary = "canary-of-entropy-0123456789abcd"
	server := serve(t, qrypttest.Config{Canary: []byte(canary), Rate: -1})
	secrets := []string{server.Token(), canary, hex.EncodeToString([]byte(canary))}
	for i := range 3 { // base64 of it, wherever it begins
		whole := canary[i:]
		secrets = append(secrets, base64.StdEncoding.EncodeToString([]byte(whole[:len(whole)/3*3])))
	}
	file := filepath.Join(t.TempDir(), "bytes")
	for _, args := range [][]string{
		{"doctor"}, {"doctor", "--json"}, {"read", "--format", "hex"}, {"read", "-n", "4KiB", "--format", "base64"},
		{"read", "-n", "2MiB", "-o", file}, {"keygen", "ml-dsa-44", "--provenance", file},
	} {
		for _, faults := range []string{"", "401 x*", "html x*", "bad-base64 x*", "truncate x*", "stuck x*", "repeat x*"} {
			os.Remove(file)
			server.ClearScript()
			script, err := qrypttest.ParseScript(faults)
			if err != nil {
				t.Fatal(err)
			}
			server.Script(script...)
			c, out, errs := screen(false, nil)
			if args[0] != "doctor" {
				args = append(args[:len(args):len(args)], "--wait", "50ms")
			}
			execute(t.Context(), args, c)
			if record, err := os.ReadFile(file); err == nil && args[0] == "keygen" {
				out.Write(record)
			}
			for _, secret := range secrets {
				if strings.Contains(out.String()+errs.String(), secret) {
					t.Errorf("%v with %q shows %q", args, faults, secret)
				}
			}
		}
	}
	if server.Issued() == 0 {
		t.Error("no block was fetched: nothing was tested")
	}
}

// A pausingWriter blocks once, after so many bytes, until wait returns.
type pausingWriter struct {
	after int
	wait  func()
}

func (w *pausingWriter) Write(p []byte) (int, error) {
	if w.after -= len(p); w.after <= 0 && w.wait != nil {
		w.wait()
		w.wait = nil
	}
	return len(p), nil
}

// TestDegradedDuringRead: a long read reports that the service failed in the
// meantime.
func TestDegradedDuringRead(t *testing.T) {
	server := serve(t, qrypttest.Config{})
	server.Script(qrypttest.Fault{Kind: qrypttest.OK}, qrypttest.Fault{Kind: qrypttest.Status, Status: 503, Times: -1})
	// The stock of the first request is used up after a few MiB, if the reseeder
	// gets its share of the machine; here it may be far behind.
	c, _, errs := screen(false, nil)
	c.out = &pausingWriter{after: 120 << 20, wait: func() {
		// The Source makes the third request when it knows that the second failed.
		eventually(func() bool { return len(server.Requests()) >= 3 })
	}}
	if status := execute(t.Context(), []string{"read", "-n", "124MiB"}, c); status != exitOK {
		t.Errorf("status %d", status)
	}
	for _, want := range []string{
		"degraded at the end, the last block is ", "supply of entropy is insufficient for now",
		"the entropy in these bytes is EMULATED, not quantum",
	} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("stderr is %q, without %q", errs, want)
		}
	}
}
