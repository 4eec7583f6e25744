package qrand

import (
	"bytes"
	"crypto/rand"
	"math/big"
	"os"
	"os/exec"
	"testing"

	"example.com/qrand/qrypttest"
)

// TestReplaceReader sets rand.Reader to a Source in a process of its own, which
// is seeded over real TLS, from the environment, and uses crypto/rand in all its
// forms.
func TestReplaceReader(t *testing.T) {
	if os.Getenv("QRAND_REPLACE_READER") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestReplaceReader$", "-test.v", "-test.timeout=60s")
		cmd.Env = append(os.Environ(), "QRAND_REPLACE_READER=1")
		cmd.Env = append(cmd.Env, emulatorEnv(t, qrypttest.Config{Tokens: []string{testToken}, Canary: []byte(blockMark)})...)
		out, err := cmd.CombinedOutput()
		heardWriter{}.Write(out)
		if err != nil || !bytes.Contains(out, []byte("rand.Reader is a Source")) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	s := newTestSource(t, Config{}, 2)
	rand.Reader = s
	waitSeeded(t, s)
	if err := s.Reseed(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := s.Status(); st.Reads != 0 {
		t.Errorf("the Source was read %d times to seed itself", st.Reads)
	}

	counted := func(what string, least int64, f func()) {
		t.Helper()
		before := s.Status().Bytes
		f()
		if got := s.Status().Bytes - before; got < least {
			t.Errorf("%s took %d bytes, want %d or more", what, got, least)
		}
	}
	counted("rand.Read", 32, func() { rand.Read(make([]byte, 32)) })
	counted("rand.Text", 16, func() { rand.Text() })
	counted("rand.Int", 16, func() { rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128)) })

	another := newTestSource(t, Config{}, 2) // New after the replacement does not recurse
	waitSeeded(t, another)
	s.Close()
	counted("rand.Read after Close", 32, func() { rand.Read(make([]byte, 32)) })
	t.Log("rand.Reader is a Source")
}
