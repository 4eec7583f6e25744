package qrand

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"example.com/qrand/internal/built"
)

// customReaderEnv says what CustomReaderHonored must answer in this process.
const customReaderEnv = "QRAND_CUSTOM_READER_HONORED"

// TestCustomReaderHonored: it says whether ecdsa.GenerateKey reads, in a process for each
// GODEBUG. The log says once if it does not.
func TestCustomReaderHonored(t *testing.T) {
	if want := os.Getenv(customReaderEnv); want != "" {
		testCustomReader(t, want == "true")
		return
	}
	for godebug, want := range map[string]string{
		"":                                "false",
		"cryptocustomrand=1":              "true",
		"fips140=on":                      "false",
		"fips140=on,cryptocustomrand=1":   "true",
		"fips140=only":                    "false",
		"fips140=only,cryptocustomrand=1": "false", // an error, then
	} {
		if built.PureGo && strings.Contains(godebug, "fips140") {
			t.Logf("GODEBUG=%s: not tried, Go has no FIPS 140 mode with the purego tag", godebug)
			continue
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestCustomReaderHonored$", "-test.v", "-test.timeout=60s")
		cmd.Env = append(os.Environ(), "GODEBUG="+godebug, customReaderEnv+"="+want)
		out, err := cmd.CombinedOutput()
		heardWriter{}.Write(out)
		if err != nil || !bytes.Contains(out, []byte("--- PASS: TestCustomReaderHonored")) {
			t.Errorf("GODEBUG=%s: %v\n%s", godebug, err, out)
		}
	}
}

func testCustomReader(t *testing.T, want bool) {
	var logged [2]bytes.Buffer
	var s, first *Source
	for i := range logged {
		first = s
		log := slog.New(slog.NewTextHandler(io.MultiWriter(&logged[i], heardWriter{}), nil))
		s = newTestSource(t, Config{Blocks: &fakeBlocks{}, Logger: log}, 1)
	}
	for range 100 { // no chance decides
		if got := CustomReaderHonored(); got != want {
			t.Fatalf("it answers %v", got)
		}
	}
	if st := s.Status(); st.Reads != 0 {
		t.Errorf("it took %d bytes of a Source", st.Bytes)
	}
	ecdsa.GenerateKey(elliptic.P256(), s) //qrandvet:ignore finds out whether it does
	if took := s.Status().Bytes; (took >= 32) != want {
		t.Errorf("ecdsa.GenerateKey took %d bytes of a Source", took)
	}
	s.Close() // so that nobody writes to the logs
	first.Close()
	lines := ""
	for line := range strings.Lines(logged[0].String()) {
		if !strings.Contains(line, "seeded") { // the one on the first block
			lines += line
		}
	}
	if want && lines != "" || !want && (strings.Count(lines, "\n") != 1 || !strings.Contains(lines, "level=INFO") || !strings.Contains(lines, "example.com/qrand/keygen")) {
		t.Errorf("the first Source logged %q", lines)
	}
	if strings.Contains(logged[1].String(), "keygen") {
		t.Errorf("the second Source logged %q", &logged[1])
	}
	if os.Getenv("GODEBUG") == "" {
		t.Setenv("GODEBUG", "cryptocustomrand=1")
		if !CustomReaderHonored() {
			t.Error("the program sets GODEBUG, and it does not notice")
		}
	}
}
