package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"example.com/qrand/internal/logtest"
	"example.com/qrand/provenance"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"qrand": main})
}

// TestScripts runs testdata/*.txtar. They can be read as documentation: begin with
// read.txtar.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:             "testdata",
		ContinueOnError: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("TOKEN", "token-of-nobody-0123456789")
			// By default, the race detector makes each process wait a second at the end.
			env.Setenv("GORACE", "atexit_sleep_ms=10")
			log := logtest.NewServer()
			env.Defer(log.Close)
			env.Values["log"] = log
			env.Setenv("LOG", log.URL)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"emulator": emulator,
			"until":    until,
			"await":    await,
			"head":     head,
			"file":     file,
			"named":    named,
			"names":    namesIn,
			"trust":    trustIn,
			"log":      logThat,

			"terminate":    terminate,
			"fingerprints": fingerprints,
		},
	})
}

// patience bounds every wait for a condition.
const patience = 30 * time.Second

func eventually(condition func() bool) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if condition() {
			return true
		}
	}
	return false
}

// ours are names that nobody knows who uses a command: of temporary files, and of Go.
var ours = regexp.MustCompile(`\.tmp\b|strconv|\bConfig\b|\b(qrand|qrypt|qrypttest|keygen|keyfile|provenance|kernel|relay|clients|x509|asn1|json|pem|os|io)\.[A-Z]|\b(MaxAge|BatchBlocks|Reseed|WaitSeeded|Stock|CAFile|CreditBits|FingerprintKey|Endpoints|HTTPClient)\b`)

// exits STATUS COMMAND... runs a command and compares its exit status. What it says is for
// people.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	status := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(status) != args[0] {
		ts.Fatalf("exit status %d, want %s", status, args[0])
	}
	if name := ours.FindString(ts.ReadFile("stderr")); name != "" {
		ts.Fatalf("stderr has %q", name)
	}
}

// until PATTERN COMMAND... runs a command again and again until its stderr matches.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN COMMAND...")
	}
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	if !eventually(func() bool {
		ts.Exec(args[1], args[2:]...) // its status says nothing
		return pattern.MatchString(ts.ReadFile("stderr"))
	}) {
		ts.Fatalf("stderr never matched %q", args[0])
	}
}

// emulator FILE waits for the file that qrand emulate --env-file writes, and
// sets the variables in it.
func emulator(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: emulator FILE")
	}
	await(ts, false, args)
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), "="); found {
			ts.Setenv(name, strings.Trim(value, "'"))
		}
	}
}

// await PATTERN waits until a file matches the pattern.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await PATTERN")
	}
	if !eventually(func() bool {
		found, _ := filepath.Glob(ts.MkAbs(args[0]))
		return len(found) > 0
	}) {
		ts.Fatalf("no %s came", args[0])
	}
}

// head BYTES COMMAND... reads so many bytes of a command's output, then closes the
// pipe. The command must end by itself, without a signal or an error message.
func head(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: head BYTES COMMAND...")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	cmd, cancel := program(ts, args[1:])
	defer cancel()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	if _, err := io.CopyN(io.Discard, out, int64(n)); err != nil {
		ts.Fatalf("reading its output: %v", err)
	}
	out.Close()
	cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != 0 && status != 1 {
		ts.Fatalf("it ended with %v", cmd.ProcessState)
	}
	if strings.Count(stderr.String(), "\n") > 1 || strings.Contains(stderr.String(), "pipe") {
		ts.Fatalf("it printed to stderr: %s", stderr.String())
	}
}

// program is a command that a function starts and ends. It has a time limit.
func program(ts *testscript.TestScript, args []string) (*exec.Cmd, context.CancelFunc) {
	bin, _, _ := strings.Cut(ts.Getenv("PATH"), string(os.PathListSeparator))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	cmd := exec.CommandContext(ctx, filepath.Join(bin, args[0]), args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "GORACE", "QRYPT_TOKEN", "QRYPT_ENDPOINTS", "QRYPT_CA_FILE"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	return cmd, cancel
}

// terminate FILE COMMAND... starts a command, sends it SIGTERM when the file exists,
// and expects status 0. (The kill of testscript has no SIGTERM.)
func terminate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: terminate FILE COMMAND...")
	}
	cmd, cancel := program(ts, args[1:])
	defer cancel()
	ts.Check(cmd.Start())
	await(ts, false, args[:1])
	ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	if err := cmd.Wait(); err != nil {
		ts.Fatalf("it ended with %v", err)
	}
}

// names FOLDER prints the names of the files in it, with hidden ones: there may be no
// ls.
func namesIn(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: names FOLDER")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	for _, e := range entries {
		fmt.Fprintln(ts.Stdout(), e.Name())
	}
}

// trust FILE THRESHOLD NAME... writes a trust file for rehearsals, whose signers have their
// keys in NAME.pem.pub. A NAME of relay=NAME, or relay=NAME/CLIENT, is a relay whose receipts
// are wanted. A NAME of log is the log at $LOG.
func trustIn(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: trust FILE THRESHOLD NAME...")
	}
	threshold, err := strconv.Atoi(args[1])
	ts.Check(err)
	trust := provenance.Trust{Threshold: threshold, Emulated: true}
	for _, name := range args[2:] {
		if relay, ok := strings.CutPrefix(name, "relay="); ok {
			relay, client, _ := strings.Cut(relay, "/")
			trust.Receipts = append(trust.Receipts, provenance.TrustedRelay{TrustedKey: provenance.TrustedKey{Name: relay, PublicKey: ts.ReadFile(relay + ".pem.pub")}, Client: client})
			continue
		}
		if name == "log" {
			trust.Log = ts.Value("log").(*logtest.Server).Trusted()
			continue
		}
		trust.Signers = append(trust.Signers, provenance.TrustedKey{Name: name, PublicKey: ts.ReadFile(name + ".pem.pub")})
	}
	text, err := json.Marshal(trust)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
}

// log STATUS|well|cosigns|waits|head makes the log at $LOG give every answer a status, or work
// again, with its witness or without. Or its head goes into the file head.
func logThat(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: log STATUS|well|cosigns|waits|head")
	}
	log := ts.Value("log").(*logtest.Server)
	switch args[0] {
	case "well":
		log.Fail(0)
	case "cosigns", "waits":
		log.SetWitnessAway(args[0] == "waits")
	case "head":
		ts.Check(os.WriteFile(ts.MkAbs("head"), []byte(log.Head()), 0o644))
	default:
		status, err := strconv.Atoi(args[0])
		ts.Check(err)
		log.Fail(status)
	}
}

// file PATH SIZE [MODE] checks them; a SIZE of - is any.
func file(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: file PATH SIZE [MODE]")
	}
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if size := strconv.FormatInt(info.Size(), 10); size != args[1] && args[1] != "-" {
		ts.Fatalf("%s has %s bytes, want %s", args[0], size, args[1])
	}
	if mode := strconv.FormatUint(uint64(info.Mode().Perm()), 8); len(args) == 3 && mode != args[2] {
		ts.Fatalf("%s has mode %s, want %s", args[0], mode, args[2])
	}
}

// named NAME replaces the addresses in QRYPT_ENDPOINTS by a name.
func named(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: named NAME")
	}
	ts.Setenv("QRYPT_ENDPOINTS", strings.ReplaceAll(ts.Getenv("QRYPT_ENDPOINTS"), "127.0.0.1", args[0]))
}

// fingerprints FILE FILE same-key|other-key compares two records. Their blocks must
// differ, and the keys of the fingerprints must be the same, or must not.
func fingerprints(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: fingerprints FILE FILE same-key|other-key")
	}
	var found [2]string
	for i := range found {
		record, err := provenance.Parse([]byte(ts.ReadFile(args[i])))
		ts.Check(err)
		found[i] = record.Fingerprints[0]
	}
	id1, block1, _ := strings.Cut(found[0], ":")
	id2, block2, _ := strings.Cut(found[1], ":")
	if (id1 == id2) != (args[2] == "same-key") || block1 == block2 {
		ts.Fatalf("fingerprints %v", found)
	}
}

// screen is a console with output that a test can read. It is a terminal if the test
// says so.
func screen(terminal bool, env map[string]string) (c *console, out, err *bytes.Buffer) {
	out, err = new(bytes.Buffer), new(bytes.Buffer)
	getenv := func(name string) string { return env[name] }
	if env == nil {
		getenv = os.Getenv
	}
	return &console{out: out, err: err, outTTY: terminal, errTTY: terminal, getenv: getenv}, out, err
}

// TestInit: a program that imports a package of this project pays little for that before
// main. Only the relay's page is parsed then, and what the command itself needs.
func TestInit(t *testing.T) {
	path, err := exec.LookPath("qrand")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, "--version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace bytes.Buffer
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	inits := regexp.MustCompile(`(?m)^init (example\.com/qrand\S*) @.* clock, (\d+) bytes`).FindAllStringSubmatch(trace.String(), -1)
	if len(inits) < 5 {
		t.Errorf("%d packages: are they found?\n%s", len(inits), &trace)
	}
	for _, init := range inits {
		if bytes, _ := strconv.Atoi(init[2]); bytes > 8<<10 && !strings.HasSuffix(init[1], "/relay/internal/page") && !strings.HasSuffix(init[1], "/cmd/qrand") {
			t.Errorf("%s allocates %d bytes when a program begins", init[1], bytes)
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestHelpFails: where help cannot be written, the command fails, as any other does.
func TestHelpFails(t *testing.T) {
	for _, args := range [][]string{{}, {"help"}, {"help", "read"}, {"keygen", "--help"}, {"--version"}, {"keygen", "--list"}, {"completion", "bash"}} {
		c, _, errs := screen(false, nil)
		c.out = fullDisk{}
		if status := execute(t.Context(), args, c); status != exitFailure || !strings.Contains(errs.String(), syscall.ENOSPC.Error()) {
			t.Errorf("%q: status %d, %q", args, status, errs)
		}
	}
}
