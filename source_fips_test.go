package qrand

import (
	"bytes"
	"crypto/fips140"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"example.com/qrand/internal/built"
	"example.com/qrand/internal/osrand"
)

// A counter counts what is taken from a reader, and keeps it.
type counter struct {
	io.Reader
	taken []byte
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.taken = append(c.taken, p[:n]...)
	return n, err
}

// TestFIPS140: under fips140=only New refuses the modes whose output rests on ChaCha20. In
// MixXOR each byte of a Read has a byte of crypto/rand in it, whatever GODEBUG says.
func TestFIPS140(t *testing.T) {
	if os.Getenv("QRAND_FIPS140") != "" {
		testFIPS140(t)
		return
	}
	for godebug, want := range map[string]string{"fips140=off": "false false", "fips140=on": "true false", "fips140=only": "true true"} {
		if built.PureGo && godebug != "fips140=off" {
			t.Logf("GODEBUG=%s: not tried, Go has no FIPS 140 mode with the purego tag", godebug)
			continue
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestFIPS140$", "-test.v", "-test.timeout=60s")
		cmd.Env = append(os.Environ(), "GODEBUG="+godebug, "QRAND_FIPS140=yes")
		out, err := cmd.CombinedOutput()
		heardWriter{}.Write(out)
		if err != nil || !bytes.Contains(out, []byte("--- PASS: TestFIPS140")) || !bytes.Contains(out, []byte("enabled and enforced: "+want+"\n")) {
			t.Errorf("GODEBUG=%s: %v\n%s", godebug, err, out)
		}
	}
}

func testFIPS140(t *testing.T) {
	silent := slog.New(slog.DiscardHandler)
	t.Logf("enabled and enforced: %v %v", fips140.Enabled(), fips140.Enforced())
	for _, mix := range mixes {
		s, err := New(Config{Mix: mix, Blocks: &fakeBlocks{}, Logger: silent})
		if err == nil {
			s.Close()
		}
		switch refused := mix != MixXOR && fips140.Enforced(); {
		case !refused && err != nil:
			t.Errorf("%v: %v", mix, err)
		case refused && (err == nil || !strings.Contains(err.Error(), "GODEBUG=fips140=only") || !strings.Contains(err.Error(), "use MixXOR")):
			t.Errorf("%v: %v, want an error that says what to do", mix, err)
		}
		fips140.WithoutEnforcement(func() {
			s, err := New(Config{Mix: mix, Blocks: &fakeBlocks{}, Logger: silent})
			if err != nil {
				t.Errorf("%v, without enforcement: %v", mix, err)
				return
			}
			s.Close()
		})
	}

	os := &counter{Reader: osrand.Reader()}
	parts := realParts()
	parts.os = os
	parts.keystream = func(dst []byte, _ *[keySize]byte, _ uint32) { clear(dst) }
	s, err := newSource(Config{Blocks: &fakeBlocks{err: errors.New("no block, so that only this Read takes from crypto/rand")}, Logger: silent}, 1, parts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	os.taken = nil
	p := make([]byte, 1000)
	s.Read(p)
	if !bytes.Equal(p, os.taken) {
		t.Errorf("without its keystream, a Read of %d bytes is not the %d bytes that it took from crypto/rand", len(p), len(os.taken))
	}
}
