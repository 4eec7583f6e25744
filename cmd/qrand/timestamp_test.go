package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/qrand/qrypttest"
)

const authority = `[dn]
[ca]
basicConstraints = critical, CA:true
[signer]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[tsa]
default_tsa = here
[here]
serial = serial
signer_digest = sha256
default_policy = 1.2.3
digests = sha256
[req]
distinguished_name = dn
prompt = no
`

// TestTimeStamp runs the commands of docs/statement.md with a time-stamping authority that is
// an openssl. A statement that was changed afterwards does not have its time stamp.
func TestTimeStamp(t *testing.T) {
	for _, program := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("there is no %s here to run the commands with", program)
		}
	}
	openssl := tool(t, "openssl")
	if v := openssl("version"); !strings.HasPrefix(v, "OpenSSL 3") {
		t.Skipf("this is %s, whose ts command may differ", strings.TrimSpace(v))
	}
	serve(t, qrypttest.Config{Rate: -1})
	alice, _ := person(t, "alice", "ed25519")
	dir := keygenIn(t, "ecdsa-p384", "-o", "DIR/k.pem", "--sign-with", alice)
	in := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{"tsa.cnf": strings.Replace(authority, "= serial", "= "+filepath.ToSlash(in("serial")), 1), "serial": "01\n"} {
		if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	newKey := []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", in("tsa.cnf")}
	openssl(append([]string{"req", "-x509", "-subj", "/CN=root", "-extensions", "ca", "-days", "1", "-keyout", in("ca.key"), "-out", in("tsa-ca.pem")}, newKey...)...)
	openssl(append([]string{"req", "-subj", "/CN=tsa", "-keyout", in("tsa.key"), "-out", in("tsa.csr")}, newKey...)...)
	openssl("x509", "-req", "-in", in("tsa.csr"), "-CA", in("tsa-ca.pem"), "-CAkey", in("ca.key"), "-set_serial", "1", "-days", "1", "-extfile", in("tsa.cnf"), "-extensions", "signer", "-out", in("tsa.crt"))
	tsa := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if kind := r.Header.Get("Content-Type"); kind != "application/timestamp-query" { // RFC 3161 section 3.4
			http.Error(w, kind, http.StatusUnsupportedMediaType)
			return
		}
		query, err := io.ReadAll(r.Body)
		if err == nil {
			err = os.WriteFile(in("query"), query, 0o600)
		}
		var reply []byte
		if err == nil {
			reply, err = exec.CommandContext(r.Context(), "openssl", "ts", "-reply", "-config", in("tsa.cnf"), "-queryfile", in("query"), "-signer", in("tsa.crt"), "-inkey", in("tsa.key")).Output()
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/timestamp-reply")
		w.Write(reply)
	}))
	defer tsa.Close()

	page, err := os.ReadFile("../../docs/statement.md")
	if err != nil {
		t.Fatal(err)
	}
	_, commands, found := strings.Cut(string(page), "\n    openssl ts -query")
	commands, _, _ = strings.Cut("openssl ts -query"+commands, "\n\n")
	if !found || !strings.Contains(commands, "https://tsa.example/") {
		t.Fatalf("the page has no commands: %.300s", commands)
	}
	run := func(commands string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", commands)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run(strings.Replace(commands, "https://tsa.example/", tsa.URL, 1))
	if err != nil || !strings.Contains(out, "Verification: OK\n") || !strings.Contains(out, "Time stamp: ") {
		t.Fatalf("%v:\n%s", err, out)
	}
	verify := strings.Split(commands, "\n")[2]
	after := strconv.FormatInt(time.Now().Add(48*time.Hour).Unix(), 10)
	for _, test := range []struct {
		name, command string
		ok            bool
	}{
		{"at its time", verify + " -attime " + strconv.FormatInt(time.Now().Unix(), 10), true},
		{"expired", verify + " -attime " + after, false},
		{"changed", "echo >>k.pem.provenance.dsse.json\n" + verify, false},
	} {
		if out, err := run(test.command); (err == nil) != test.ok {
			t.Errorf("%s: %v: %s", test.name, err, out)
		}
	}
}
