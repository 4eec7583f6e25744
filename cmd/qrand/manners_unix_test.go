//go:build unix

package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"example.com/qrand/qrypttest"
)

// qrandCommand is qrand as a process, with an emulated service.
func qrandCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	server := qrypttest.NewServer(qrypttest.Config{})
	t.Cleanup(server.Close)
	pointTo(t, strings.Join(server.Endpoints(), ","), server.Token(), server.CAPEM())
	path, err := exec.LookPath("qrand")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = t.TempDir()
	return cmd
}

// TestIgnoredSignal: a relay that was started by nohup goes on after SIGHUP. One that was not
// ends.
func TestIgnoredSignal(t *testing.T) {
	for _, ignored := range []bool{true, false} {
		if !ignored && signal.Ignored(syscall.SIGHUP) {
			t.Skip("SIGHUP is ignored here already, so a relay that does not ignore it cannot be started")
		}
		k := newKillable(t)
		k.nohup = ignored
		k.start(t)
		if err := k.process.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if ignored {
			for range 20 {
				resp, err := k.target.Client().Get("https://" + k.target.Addr + "/healthz")
				if err != nil {
					t.Fatalf("after a SIGHUP that was ignored: %v, %s", err, k.log.String())
				}
				resp.Body.Close()
			}
			if err := k.process.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
		if err := k.process.Wait(); err != nil || strings.Count(k.log.String(), "relay: stopped") != 1 {
			t.Errorf("ignored %v: %v, %s", ignored, err, k.log.String())
		}
	}
}

// TestErrorAfterSignal: what went wrong is told, even if a signal came before.
func TestErrorAfterSignal(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c, _, errs := screen(false, nil)
	if status := execute(ctx, []string{"verify", filepath.Join(t.TempDir(), "missing")}, c); status != exitFailure {
		t.Errorf("status %d", status)
	}
	if text := errs.String(); !strings.Contains(text, "missing") || strings.Contains(text, errInterrupted.Error()) {
		t.Errorf("it prints %q", text)
	}
}

// TestInterruptedStatus: a command that a signal interrupts says that, and ends with 128 and
// the number of the signal, as shells have it. It does so also where it hangs in a write.
func TestInterruptedStatus(t *testing.T) {
	for sig, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143, syscall.SIGHUP: 129} {
		if signal.Ignored(sig) {
			t.Logf("%v is ignored here already, and so it would be by a command that is started here", sig)
			continue
		}
		for _, args := range []string{"read -n 1TiB", "demo"} { // nobody reads more than a byte of what they print
			cmd := qrandCommand(t, strings.Fields(args)...)
			var errs strings.Builder
			cmd.Stderr = &errs
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err == nil {
				_, err = out.Read(make([]byte, 1)) // it is running
			}
			if err == nil {
				err = cmd.Process.Signal(sig)
			}
			if err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			if status := cmd.ProcessState.ExitCode(); status != want || !strings.HasSuffix(errs.String(), "qrand: interrupted\n") {
				t.Errorf("%s after %v: status %d, want %d: %s", args, sig, status, want, errs.String())
			}
		}
	}
}

// TestNothingSpent: no block is asked for if the output cannot be written, and the error is
// about the file that was named.
func TestNothingSpent(t *testing.T) {
	server := serve(t, qrypttest.Config{})
	locked := filepath.Join(t.TempDir(), "locked")
	if err := os.Mkdir(locked, 0o500); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // who may write everywhere, except here
		if locked = "/proc"; runtime.GOOS != "linux" {
			t.Skip("root may write into any folder here")
		}
	}
	dir := t.TempDir()
	for args, about := range map[string]string{
		"read -o LOCKED/x":                               "x",
		"keygen ed25519 -o LOCKED/x":                     "x",
		"keygen ed25519 -o DIR/x --provenance LOCKED/r":  "r",
		"keygen ed25519 --provenance LOCKED/r":           "r",
		"emulate --ca-file LOCKED/ca":                    "ca",
		"emulate --ca-file DIR/ca --env-file LOCKED/env": "env",
		"relay --dev --listen 127.0.0.1:0 --clients DIR/none --ca-file DIR/ca --env-file LOCKED/env": "env",
	} {
		c, out, errs := screen(false, nil)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		status := execute(ctx, strings.Fields(strings.NewReplacer("LOCKED", locked, "DIR", dir).Replace(args)), c)
		cancel()
		if text := errs.String(); status != exitFailure || !strings.Contains(text, locked+"/"+about+": ") || strings.Contains(text, ".tmp") || out.Len() > 0 {
			t.Errorf("%s: status %d, %s%s", args, status, out, text)
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
			t.Errorf("%s: it leaves %v, %v", args, files, err)
		}
	}
	if n := server.Issued(); n > 0 {
		t.Errorf("%d blocks were spent", n)
	}
}

// TestFIPSOnly: what GODEBUG=fips140=only does not allow is an error of the command line, which
// names what the command has instead.
func TestFIPSOnly(t *testing.T) {
	for args, instead := range map[string]string{"read --mix rekey": "leave it out", "read --mix refill": "leave it out", "keygen x25519": "use ecdh-p256"} {
		cmd := qrandCommand(t, strings.Fields(args)...)
		cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
		out, _ := cmd.CombinedOutput()
		if status := cmd.ProcessState.ExitCode(); status != exitUsage || !strings.Contains(string(out), "GODEBUG=fips140=only): "+instead) {
			t.Errorf("%s: status %d: %s", args, status, out)
		}
	}
}

// TestEnvFile: what the emulator prints about its file of variables works in a shell, also
// where the names of files have a space and a quotation mark. Where they have not, the file is
// as docker reads it: a name and a value in each line, and nothing is quoted.
func TestEnvFile(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"plain", "it's odd"} {
		emu := qrandCommand(t, "emulate", "--env-file", "env", "--quiet")
		emu.Dir = filepath.Join(emu.Dir, folder)
		if err := os.Mkdir(emu.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		emu.Stdout = &text
		if err := emu.Start(); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(emu.Dir, "env")
		came := eventually(func() bool {
			_, err := os.Stat(file)
			return err == nil
		})
		data, err := os.ReadFile(file)
		if !came || err != nil {
			emu.Process.Kill()
			t.Fatalf("no file of variables: %v", err)
		}
		read := exec.Command(sh, "-c", "set -a; . "+shellQuote(file)+`; set +a; exec "$0" read -n 4 --require initial --rehearsal --format hex`, emu.Path)
		read.Dir = t.TempDir()
		for _, name := range os.Environ() {
			if !strings.HasPrefix(name, "QRYPT_") {
				read.Env = append(read.Env, name)
			}
		}
		if out, err := read.CombinedOutput(); err != nil {
			t.Errorf("%s: %v, %s\n%s", folder, err, out, data)
		}
		emu.Process.Signal(os.Interrupt)
		emu.Wait()
		if want := "\n  set -a; . " + shellQuote(file) + "; set +a\n"; !strings.Contains(text.String(), want) {
			t.Errorf("%s: it does not say %q: %s", folder, want, text.String())
		}
		for line := range strings.Lines(string(data)) {
			if folder == "plain" && !regexp.MustCompile(`^(#.*|QRYPT_[A-Z_]+=[^'"\s]+)\n$`).MatchString(line) {
				t.Errorf("docker would misread %q", line)
			}
		}
	}
}

// TestPipes: what goes into a named pipe reaches whoever reads there.
func TestPipes(t *testing.T) {
	for args, want := range map[string]int{"read -n 100 -o pipe": 100, "keygen ed25519 --format raw -o pipe": 32} {
		cmd := qrandCommand(t, strings.Fields(args)...)
		pipe := filepath.Join(cmd.Dir, "pipe")
		if err := syscall.Mkfifo(pipe, 0o600); err != nil {
			t.Skipf("no named pipe can be made here: %v", err)
		}
		var errs strings.Builder
		cmd.Stderr = &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		got, readErr := os.ReadFile(pipe) // until the command closes it
		if err := cmd.Wait(); err != nil || readErr != nil || len(got) != want {
			t.Errorf("%s: %d bytes, %v, %v: %s", args, len(got), readErr, err, errs.String())
		}
		if files, err := os.ReadDir(cmd.Dir); err != nil || len(files) != 1 {
			t.Errorf("%s: %v are there, %v", args, files, err)
		}
	}
}

// TestLongNames: the longest name that the system allows is a name for what is written.
func TestLongNames(t *testing.T) {
	for suffix, args := range map[string][]string{
		"":                 {"read", "-n", "32"},
		".provenance.json": {"keygen", "ecdsa-p256"},
	} {
		name := strings.Repeat("n", 255-len(suffix))
		cmd := qrandCommand(t, append(args, "-o", name)...)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %v, %s", args, err, text)
		}
		for _, path := range []string{name, name + suffix} {
			if _, err := os.Stat(filepath.Join(cmd.Dir, path)); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestUnreadableFolder: a key is made in a folder where the user may write and not read, or
// nothing of it is left.
func TestUnreadableFolder(t *testing.T) {
	cmd := qrandCommand(t, "keygen", "ecdsa-p256", "-o", "box/key")
	box := filepath.Join(cmd.Dir, "box")
	if err := os.Mkdir(box, 0o300); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // who may read everything
		if err := os.Chown(box, 65534, 65534); err != nil {
			t.Skipf("the folder cannot be given to another user: %v", err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if err := os.Chmod(os.Getenv("QRYPT_CA_FILE"), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{cmd.Path, box, os.Getenv("QRYPT_CA_FILE")} { // the way there
			for dir := filepath.Dir(path); strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
				if err := os.Chmod(dir, 0o711); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	text, err := cmd.CombinedOutput()
	if errors.Is(err, fs.ErrPermission) || strings.Contains(string(text), "cannot be read: permission denied") {
		t.Skipf("the other user cannot run the command here: %v, %s", err, text)
	}
	if err != nil {
		t.Errorf("%v, %s", err, text)
	}
	if err := os.Chmod(box, 0o700); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(box, "*"))
	if (err == nil) != (len(left) == 3) {
		t.Errorf("%v: %v is there", err, left)
	}
}

// TestUmask: what a key's owner does not want others to read, they cannot read.
func TestUmask(t *testing.T) {
	for umask, want := range map[string]fs.FileMode{"022": 0o644, "077": 0o600} {
		cmd := qrandCommand(t, "keygen", "ecdsa-p256", "-o", "key", "--self-signed", "--subject", "CN=x")
		sh, err := exec.LookPath("sh")
		if err != nil {
			t.Fatal(err)
		}
		cmd.Args = append([]string{"sh", "-c", "umask " + umask + `; exec "$@"`, "sh", cmd.Path}, cmd.Args[1:]...)
		cmd.Path = sh
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v, %s", err, text)
		}
		for name, want := range map[string]fs.FileMode{"key": 0o600, "key.pub": want, "key.crt": want, "key.provenance.json": want} {
			info, err := os.Stat(filepath.Join(cmd.Dir, name))
			if err != nil || info.Mode().Perm() != want {
				t.Errorf("umask %s: %s: %v, %v, want %v", umask, name, info.Mode(), err, want)
			}
		}
	}
}
