package relay

import (
	"fmt"
	"os"
	"testing"
)

// TestCertificateIsPipe: a shell's <(...) is a pipe, which can be read once. Later it has
// nothing in it, or waits for a writer, and with it a relay that is to end.
func TestCertificateIsPipe(t *testing.T) {
	pipe := func(text string) string {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		if _, err := w.WriteString(text); err != nil { // it fits into the pipe
			t.Fatal(err)
		}
		w.Close()
		return fmt.Sprintf("/proc/self/fd/%d", r.Fd())
	}
	cert, key := pemPair(t, "one.example")
	c, err := LoadCertificate(pipe(cert), pipe(key))
	if err != nil {
		t.Fatal(err)
	}
	cas, err := LoadClientCAs(pipe(cert))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for what, reload := range map[string]func() (bool, error){"certificate": c.reload, "CAs of clients": cas.reload} {
			if changed, err := reload(); changed || err != nil {
				t.Errorf("%s: changed %v, %v", what, changed, err)
			}
		}
	}
}
