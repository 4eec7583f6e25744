//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"example.com/qrand/provenance"
	"example.com/qrand/qrypttest"
	"example.com/qrand/relay/clients"
	"example.com/qrand/transparency/internal/witnesstest"
)

// TestKeygen is the whole way: qrand keygen signs a statement about a key and sends it to the
// log that qrandlog serves, and qrand verify verifies the proof. With the log away, qrand record
// prove completes it.
func TestKeygen(t *testing.T) {
	service := qrypttest.NewServer(qrypttest.Config{Rate: -1})
	defer service.Close()
	w := witnesstest.New(t, "witness.example/1", true)
	s := newStory(t, w)
	writeCertificate(t, s.path("crt"), s.path("key"))
	token, err := clients.Add(s.path("log/clients.json"), clients.Client{Name: "ca-1"})
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "token", []byte(token+"\n"))
	s.write(t, "ca.pem", service.CAPEM())

	run := func(status int, program string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = s.dir
		cmd.Env = append(os.Environ(), "QRYPT_ENDPOINTS="+strings.Join(service.Endpoints(), ","), "QRYPT_TOKEN="+service.Token(), "QRYPT_CA_FILE=ca.pem")
		out, err := cmd.CombinedOutput()
		if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != status) || err == nil && status != 0 {
			t.Fatalf("%s %v: %v, want status %d: %s", program, args, err, status, out)
		}
		return string(out)
	}
	s.buildQrand(t)
	qrand := func(status int, args ...string) string { t.Helper(); return run(status, s.path("qrand"), args...) }
	says := func(text string, all ...string) {
		t.Helper()
		for _, want := range all {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in %s", want, text)
			}
		}
	}

	qrand(0, "keygen", "ed25519", "-o", "op.pem")
	operator, err := os.ReadFile(s.path("op.pem.pub"))
	if err != nil {
		t.Fatal(err)
	}
	trust, err := json.Marshal(provenance.Trust{Signers: []provenance.TrustedKey{{Name: "op", PublicKey: string(operator)}}, Threshold: 1, Emulated: true,
		Log: &provenance.TrustedLog{Key: strings.Join(s.vkeys, " "), Witnesses: []provenance.TrustedWitness{{Name: "Wanda", Key: w.VKey}}, Quorum: 1, MaxDelay: "1h"}})
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "trust", trust)

	url, stop := s.serve(t)
	at := []string{"--log", url, "--log-token-file", "token", "--log-ca-file", "crt"}
	says(qrand(0, append([]string{"keygen", "ecdsa-p256", "-o", "k.pem", "--sign-with", "op.pem"}, at...)...), "k.pem.provenance.tlog-proof: entry 0 of the log \"log.example/keys\"")
	says(qrand(0, "verify", "k.pem.pub", "--trust", "trust"), "the log was cosigned by Wanda at ", "of 0 entries, has not the cosignatures of the quorum")
	says(qrand(0, append([]string{"keygen", "ml-dsa-65", "-o", "second.pem", "--sign-with", "op.pem"}, at...)...), "entry 1 of")
	says(qrand(0, "verify", "second.pem", "--trust", "trust"), "the statement is not older than ", "with 1 entries")
	printed := stop()
	says(printed, "client=ca-1 index=1")

	says(qrand(0, append([]string{"keygen", "ecdsa-p256", "-o", "away.pem", "--sign-with", "op.pem"}, at...)...), "pending: ", "run qrand record prove away.pem.provenance.dsse.json --log "+url)
	says(qrand(1, "verify", "away.pem", "--trust", "trust"), "it was never logged, or its proof is lost")
	says(qrand(1, append([]string{"record", "prove", "away.pem"}, at...)...), "pending: ")
	at[1], stop = s.serve(t)
	says(qrand(0, append([]string{"record", "prove", "away.pem"}, at...)...), "entry 2 of")
	says(qrand(0, "verify", "away.pem", "--trust", "trust"), "entry 2 of the log")
	stop()

	proof, err := os.ReadFile(s.path("k.pem.provenance.tlog-proof"))
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "second.pem.provenance.tlog-proof", proof)
	says(qrand(1, "verify", "second.pem", "--trust", "trust"), "it is the proof of another entry")
}
