package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/qrand/internal/logtest"
	"example.com/qrand/provenance"
	"example.com/qrand/qrypttest"
)

// TestVerifyPy: docs/verify.py accepts what keygen wrote, beside the key and the certificate,
// and refuses what qrand verify refuses, for the same cause.
func TestVerifyPy(t *testing.T) {
	for _, program := range []string{"python3", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("there is no %s here, which docs/verify.py needs", program)
		}
	}
	serve(t, qrypttest.Config{Rate: -1})
	alice, aliceKey := person(t, "alice", "ed25519")
	bob, bobKey := person(t, "bob", "ecdsa-p384")
	_, carolKey := person(t, "carol", "rsa-2048")
	log := logtest.NewServer()
	defer log.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(log.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := keygenIn(t, "ecdsa-p256", "-o", "DIR/key", "--self-signed", "--subject", "CN=test", "--sign-with", alice+","+bob, "--log", log.URL, "--log-token-file", token)
	both := provenance.Trust{Signers: []provenance.TrustedKey{aliceKey, bobKey}, Threshold: 2, Emulated: true}
	quantum, three := both, both
	quantum.Emulated = false
	logged, elsewhere := both, both
	logged.Log = log.Trusted()
	elsewhere.Log = &provenance.TrustedLog{Key: logtest.NewSigner("log.example/keys", 1, 9).VKey}
	three.Signers, three.Threshold = append(three.Signers[:2:2], carolKey), 3
	for _, c := range []struct {
		trust provenance.Trust
		want  string
	}{
		{both, "OK: "},
		{logged, "OK: "},
		{elsewhere, "REFUSED: the log's key log.example/keys+"},
		{quantum, "REFUSED: the entropy was EMULATED"},
		{three, "REFUSED: 2 people signed it, and 3 must have"},
	} {
		trust := trusting(t, c.trust)
		for _, file := range []string{"/key.pub", "/key.crt"} {
			screen, _, _ := screen(false, nil)
			ours := execute(t.Context(), []string{"verify", dir + file, "--trust", trust}, screen) == exitOK
			out, err := exec.CommandContext(t.Context(), "python3", "../../docs/verify.py", dir+file, trust).CombinedOutput()
			if (err == nil) != ours || ours != (c.want == "OK: ") || !strings.Contains("\n"+string(out), "\n"+c.want) {
				t.Errorf("%s: qrand verify: %v; verify.py: %v, want %s:\n%s", file, ours, err, c.want, out)
			}
		}
	}
}
