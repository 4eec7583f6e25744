package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// programs builds both, and returns a function that prepares to run one,
// without a token that the environment may have: no test talks to the service.
func programs(t *testing.T) func(name string, args ...string) *exec.Cmd {
	t.Helper()
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("there is no go command to build the programs with")
	}
	dir := t.TempDir()
	if out, err := exec.Command(goTool, "build", "-o", dir+string(filepath.Separator), ".", "../tls-client").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, filepath.Join(dir, name), args...)
		cmd.Dir = dir // where the CA's file goes
		cmd.Env = slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "QRYPT_") })
		return cmd
	}
}

// TestPrograms runs both, as the package comment says, and then interrupts the
// server.
func TestPrograms(t *testing.T) {
	program := programs(t)
	server := program("tls-server", "-listen", "127.0.0.1:0")
	var said strings.Builder
	server.Stderr = &said
	stdout, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Process.Kill()
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	url := regexp.MustCompile(`https://127\.0\.0\.1:\d+/`).FindString(line)
	if url == "" {
		t.Fatalf("the server says %q", line)
	}

	client := program("tls-client", "-url", url)
	out, err := client.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		`(?m)^The entropy is EMULATED, not quantum`,
		`(?m)^HTTP/2\.0, TLS 1\.3, X25519MLKEM768, resumed: false$`,
		`(?m)^the server says: HTTP/2\.0, TLS 1\.3, TLS_\w+, X25519MLKEM768, resumed: false$`,
		`(?m)^HTTP/2\.0, TLS 1\.3, X25519MLKEM768, resumed: true$`,
		`(?m)^the server says: HTTP/2\.0, TLS 1\.3, TLS_\w+, X25519MLKEM768, resumed: true$`,
		`(?m)^the server's Source: Seeded .*\(EMULATED, not quantum\)`,
		`(?m)^the client's Source: Seeded .*\(EMULATED, not quantum\).* served [1-9]`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("the client does not say %s:\n%s", want, out)
		}
	}

	if runtime.GOOS == "windows" {
		return // a process cannot be interrupted there
	}
	if err := server.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, stdout)
	if err := server.Wait(); err != nil {
		t.Errorf("the server, interrupted: %v", err)
	}
	if !strings.HasPrefix(said.String(), "The entropy is EMULATED, not quantum") {
		t.Errorf("the server says %q first", said.String())
	}
}

// TestMisuse: what is wrong is said, and ends the program.
func TestMisuse(t *testing.T) {
	program := programs(t)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"tls-server", "-key", "dsa"}, "tls-server: -key dsa: use ecdsa, ed25519, rsa or ml-dsa\n"},
		{[]string{"tls-server", "-rotate", "0s"}, "tls-server: -rotate 0s: use a duration above zero\n"},
		{[]string{"tls-client"}, "tls-client: open qrand-tls-ca.pem: "},
		{[]string{"tls-client", "-ca-file", "tls-client"}, "tls-client: tls-client has no PEM certificate: run tls-server first, which writes it\n"},
	} {
		out, err := program(test.args[0], test.args[1:]...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), test.want) {
			t.Errorf("%s: %v\n%s", strings.Join(test.args, " "), err, out)
		}
	}
}
