package main

import (
	"encoding/hex"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/qrand/qrypttest"
)

// feedMark is in the blocks that these tests feed.
var feedMark = []byte("feed-\xff-mark-of-a-block")

// A traced program is this command under strace.
type traced struct {
	program, dir string
	env          []string
}

// newTraced copies this command to a folder where any user can run it. It skips the
// test if nothing can be traced.
func newTraced(t *testing.T) *traced {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("there is no strace to see the system calls with")
	}
	if out, err := exec.Command("strace", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace may not trace here: %v: %s", err, out)
	}
	dir, err := os.MkdirTemp("", "qrand-feed") // not TempDir, which is for its owner only
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	program := filepath.Join(dir, "qrand") // by which name TestMain knows it
	to, err := os.OpenFile(program, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, self)
	if err := firstError(err, to.Chmod(0o755), to.Close()); err != nil {
		t.Fatal(err)
	}
	return &traced{program: program, dir: dir}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// service tells the program where the service is.
func (p *traced) service(t *testing.T, url, token string, ca []byte) {
	file := filepath.Join(p.dir, "ca.pem")
	if err := os.WriteFile(file, ca, 0o644); err != nil {
		t.Fatal(err)
	}
	p.env = []string{"QRYPT_ENDPOINTS=" + url, "QRYPT_TOKEN=" + token, "QRYPT_CA_FILE=" + file, "GORACE=atexit_sleep_ms=10"}
}

// run runs qrand with args, as user if that is not empty. It returns what qrand printed,
// and in order all system calls with a file descriptor that concern /dev/random or show
// the mark.
func (p *traced) run(t *testing.T, user string, args ...string) (out string, calls []string) {
	dir, err := os.MkdirTemp(p.dir, "trace")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	flags := []string{"-ff", "-ttt", "-y", "-x", "-s", "4096", "-e", "trace=%desc", "-e", "signal=none", "-o", filepath.Join(dir, "t")}
	if user != "" {
		flags = append(flags, "-u", user)
	}
	cmd := exec.Command("strace", append(append(flags, p.program), args...)...)
	cmd.Dir = "/"
	cmd.Env = p.env
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	files, err := filepath.Glob(filepath.Join(dir, "t.*")) // one for each thread
	if err != nil || len(files) == 0 {
		t.Fatalf("no traces: %v", err)
	}
	hexMark := regexp.MustCompile("(..)").ReplaceAllString(hex.EncodeToString(feedMark), `\x$1`)
	for _, file := range files {
		trace, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(trace)) {
			marked := strings.Contains(line, hexMark)
			if !marked && !strings.Contains(line, "/dev/random") {
				continue
			}
			line = regexp.MustCompile(`"\\x[^"]*"`).ReplaceAllString(strings.TrimSpace(line), map[bool]string{true: "BLOCK", false: "OTHER"}[marked])
			calls = append(calls, line)
		}
	}
	slices.Sort(calls) // by time
	for i, line := range calls {
		_, calls[i], _ = strings.Cut(line, " ")
	}
	return string(text), calls
}

// The calls that are expected, and no others.
var (
	feedOpens = []string{
		`^openat\(AT_FDCWD\S*, "/dev/random", O_WRONLY\|O_NOCTTY\|O_CLOEXEC\) += \d+</dev/random>$`,
		`^\w*stat\w*\(\d+</dev/random>, .*S_IFCHR.*makedev\(0x1, 0x8\).* = 0$`,
	}
	feedWrites   = `^write\(\d+</dev/random>, BLOCK, 1024\) += 1024$`
	feedCredits  = `^ioctl\(\d+</dev/random>, RNDADDENTROPY, \{entropy_count=8, buf_size=1024, buf=BLOCK\}\) += 0$`
	feedNoCredit = `^ioctl\(\d+</dev/random>, RNDADDENTROPY, \{entropy_count=8, buf_size=1024, buf=BLOCK\}\) += -1 EPERM `
	feedReseeds  = `^ioctl\(\d+</dev/random>, RNDRESEEDCRNG\) += 0$`
	feedNoReseed = `^ioctl\(\d+</dev/random>, RNDRESEEDCRNG\) += -1 EPERM `
	feedCloses   = `^close\(\d+</dev/random>\) += 0$`
)

// TestFeedTraced: strace shows the writes and ioctls that random(4) documents, with
// the block of the service and nothing else, in each case.
func TestFeedTraced(t *testing.T) {
	p := newTraced(t)
	emulator := qrypttest.NewServer(qrypttest.Config{Canary: feedMark})
	defer emulator.Close()
	unlabelled := newUnlabelled(feedMark, func(int, http.Header) {})
	defer unlabelled.Close()

	reseeded, reseeds, credited := "reseeded", feedReseeds, true
	if !mayReseed(t) {
		t.Log("not run as root with CAP_SYS_ADMIN: only the cases of an ordinary user are tested")
		reseeded, reseeds, credited = "not reseeded: not permitted (needs CAP_SYS_ADMIN)", feedNoReseed, false
	}
	const rehearsal = "qrand: this is a rehearsal: it accepts blocks of an emulator, which are not quantum entropy\n"
	const refused = "not reseeded: not permitted (needs CAP_SYS_ADMIN)"
	type test struct {
		name     string
		user     string
		emulated bool
		args     []string
		says     string
		calls    []string
	}
	tests := []test{
		{"emulated", "", true, nil, "mixed 1024 bytes of EMULATED entropy (credited 0 bits), " + reseeded, []string{feedWrites, reseeds}},
		{"emulated, credit", "", true, []string{"--credit-bits", "8", "--rehearsal"},
			rehearsal + "mixed 1024 bytes of EMULATED entropy (credited 0 bits: EMULATED entropy is never credited), " + reseeded, []string{feedWrites, reseeds}},
		{"block", "", false, nil, "mixed 1024 bytes (credited 0 bits), " + reseeded, []string{feedWrites, reseeds}},
	}
	if credited {
		tests = append(tests, test{"credit", "", false, []string{"--credit-bits", "8"}, "mixed 1024 bytes (credited 8 bits), reseeded", []string{feedCredits, feedReseeds}})
	}
	if os.Getuid() == 0 {
		tests = append(tests,
			test{"as nobody", "nobody", false, nil, "mixed 1024 bytes (credited 0 bits), " + refused, []string{feedWrites, feedNoReseed}},
			test{"as nobody, credit", "nobody", false, []string{"--credit-bits", "8"},
				"mixed 1024 bytes (credited 0 bits: not permitted (needs CAP_SYS_ADMIN)), " + refused, []string{feedNoCredit, feedWrites, feedNoReseed}})
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			if c.emulated {
				p.service(t, emulator.URL, emulator.Token(), emulator.CAPEM())
			} else {
				ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: unlabelled.Certificate().Raw})
				p.service(t, unlabelled.URL, "token-of-nobody", ca)
			}
			out, calls := p.run(t, c.user, append([]string{"feed", "--once"}, c.args...)...)
			if out != c.says+"\n" {
				t.Errorf("it says %q, want %q", out, c.says)
			}
			want := slices.Concat(feedOpens, c.calls, []string{feedCloses})
			if len(calls) != len(want) {
				t.Fatalf("%d system calls, want %d:\n%s", len(calls), len(want), strings.Join(calls, "\n"))
			}
			for i, call := range calls {
				if !regexp.MustCompile(want[i]).MatchString(call) {
					t.Errorf("call %d is %s, want %s", i+1, call, want[i])
				}
			}
			t.Logf("%s\n%s", strings.TrimSpace(out), strings.Join(calls, "\n"))
		})
	}
}

// mayReseed reports whether this process may make the kernel reseed, by trying.
func mayReseed(t *testing.T) bool {
	f, err := os.OpenFile("/dev/random", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.RNDRESEEDCRNG, 0)
	return errno == 0
}
