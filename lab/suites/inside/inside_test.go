package inside

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"example.com/qrand"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// TestMain calls Main only in the processes that TestProcess starts: here a Main that
// passes what failed would hide its own fault.
func TestMain(m *testing.M) {
	if os.Getenv(reportEnv) != "" {
		Main(m)
	}
	os.Exit(m.Run())
}

// withService lets the environment name an emulated service, a report and a Mix, and
// returns the report's name. It has no effect on this process, whose init is over.
func withService(t *testing.T, mix string) (file string) {
	t.Helper()
	server := qrypttest.NewServer(qrypttest.Config{})
	t.Cleanup(server.Close)
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, server.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, "report")
	for name, value := range map[string]string{
		qrypt.EnvToken: server.Token(), qrypt.EnvTokenFile: "", qrypt.EnvDialect: "",
		qrypt.EnvEndpoints: strings.Join(server.Endpoints(), ","), qrypt.EnvCAFile: ca,
		reportEnv: file, mixEnv: mix,
	} {
		t.Setenv(name, value)
	}
	return file
}

// mustReport reads a report of one line.
func mustReport(t *testing.T, file string) (dir string, bytes, blocks int64) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := fmt.Sscanf(string(text), "%s %d %d\n", &dir, &bytes, &blocks); n != 3 || err != nil || strings.Count(string(text), "\n") != 1 {
		t.Fatalf("the report is %q", text)
	}
	return dir, bytes, blocks
}

// TestReader is for the processes that TestProcess starts, and reads 1,000 bytes.
func TestReader(t *testing.T) {
	if os.Getenv(reportEnv) == "" {
		t.Skip("reads a Source where TestProcess has started it")
	}
	src, ok := rand.Reader.(*qrand.Source)
	if !ok || src.Status().Mix.String() != os.Getenv(mixEnv) {
		t.Errorf("rand.Reader is a %T, and no %s", rand.Reader, os.Getenv(mixEnv))
	}
	if _, err := rand.Reader.Read(make([]byte, 1000)); err != nil {
		t.Error(err)
	}
}

// TestProcess: the tests of a package with Main read a Source, which is seeded, and
// their report has what they read; without a Mix, or a place for the report, the
// process fails, and no test is blamed.
func TestProcess(t *testing.T) {
	for _, c := range []struct {
		mix, report string
		want        string // in the output of one that fails
	}{
		{"MixXOR", "", ""},
		{"MixRefill", "", ""},
		{"MixNothing", "", "inside: "},
		{"MixRekey", filepath.Join(t.TempDir(), "missing", "report"), "FAIL: open "},
	} {
		file := withService(t, c.mix)
		if c.report != "" {
			t.Setenv(reportEnv, c.report)
		}
		out, err := exec.Command(os.Args[0], "-test.run=^TestReader$", "-test.timeout=1m").CombinedOutput()
		if c.want != "" {
			if err == nil || !strings.Contains(string(out), c.want) || strings.Contains(string(out), "--- FAIL") {
				t.Errorf("%s: no %q in, %v,\n%s", c.mix, c.want, err, out)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", c.mix, err, out)
		}
		here, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		if dir, bytes, blocks := mustReport(t, file); dir != here || bytes != 1000 || blocks != 1 {
			t.Errorf("%s: reported %s %d %d, want %s 1000 1", c.mix, dir, bytes, blocks, here)
		}
	}
}

// failing is a test that keeps the reason for which it fails.
type failing struct {
	testing.TB
	with string
}

func (f *failing) Fatal(args ...any) { f.with = fmt.Sprint(args...) }

// TestReport: Test, for a package with a TestMain of its own, reports the same of a
// Source in this process. What cannot be reported is an error, and what is not asked
// for is none.
func TestReport(t *testing.T) {
	reader := rand.Reader
	defer func() { rand.Reader, source = reader, nil }()
	file := withService(t, "MixRekey")
	if err := start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer source.Close() // the one it is now
	if _, err := source.Read(make([]byte, 77)); err != nil {
		t.Fatal(err)
	}
	Test(t)
	if _, bytes, blocks := mustReport(t, file); bytes != 77 || blocks != 1 {
		t.Errorf("reported %d %d, want 77 1", bytes, blocks)
	}
	for _, code := range []int{0, 1} {
		if got := finish(code); got != code {
			t.Errorf("tests that end with %d end with %d", code, got)
		}
	}

	cannot := func(why, want string) {
		t.Helper()
		if code := finish(0); code != 1 {
			t.Errorf("%s: tests that pass end with %d", why, code)
		}
		failed := &failing{TB: t}
		if Test(failed); !strings.Contains(failed.with, want) {
			t.Errorf("%s: the test fails with %q, want %s in it", why, failed.with, want)
		}
	}
	if _, err := os.Stat("/dev/full"); err == nil {
		t.Setenv(reportEnv, "/dev/full")
		cannot("no space", "/dev/full")
	}
	t.Setenv(reportEnv, filepath.Join(file, "in it"))
	cannot("no directory", "in it")
	if runtime.GOOS == "linux" { // elsewhere one cannot remove it, or has it still
		gone := filepath.Join(t.TempDir(), "gone")
		if err := os.Mkdir(gone, 0o700); err != nil {
			t.Fatal(err)
		}
		t.Chdir(gone)
		if err := os.Remove(gone); err != nil {
			t.Fatal(err)
		}
		t.Setenv(reportEnv, file)
		cannot("no working directory", "getwd")
	}

	t.Setenv(reportEnv, "")
	if err := report(); err != nil {
		t.Errorf("no report: %v", err)
	}
	before := rand.Reader
	if err := start(t.Context()); err != nil || rand.Reader != before {
		t.Errorf("nobody asked for it: %v", err)
	}
}

// TestNotReplaced: rand.Reader stays as it was if there is no Source for it, or none
// that is seeded.
func TestNotReplaced(t *testing.T) {
	before := rand.Reader
	ended, end := context.WithCancel(t.Context())
	end()
	for what, c := range map[string]struct {
		ctx        context.Context
		mix, token string
		want       string // in the error
	}{
		"no such Mix": {t.Context(), "MixNothing", "a token", "MixNothing"},
		"no token":    {t.Context(), "MixXOR", "", qrypt.EnvToken},
		"not seeded":  {ended, "MixXOR", "a token", context.Canceled.Error()},
	} {
		withService(t, c.mix)
		t.Setenv(qrypt.EnvToken, c.token)
		if err := start(c.ctx); err == nil || !strings.Contains(err.Error(), c.want) || rand.Reader != before {
			t.Errorf("%s: %v, want %s in it", what, err, c.want)
		}
	}
}
