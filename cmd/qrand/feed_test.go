package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"example.com/qrand/kernel"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// TestFeedTells: a line for each change, on stdout what was achieved, on stderr why
// nothing was, and the sum at the end.
func TestFeedTells(t *testing.T) {
	c, out, errs := screen(false, nil)
	tally := feedTally{c: c, began: time.Now()}
	mixed := kernel.Result{Mixed: 1024, Credited: 8, Reseeded: true}
	emulated := kernel.Result{Mixed: 1024, NotReseeded: kernel.ErrNotPermitted, Origin: qrypt.Origin{Emulated: true}}
	next := time.Now().Add(time.Hour + time.Second/4)
	for _, e := range []kernel.Event{
		{Result: mixed, Changed: true}, {Result: mixed}, {Result: mixed},
		{Err: errors.New("qrypt: no"), Next: next, Changed: true}, {Err: errors.New("qrypt: no"), Next: next},
		{Result: emulated, Changed: true}, {Result: emulated},
	} {
		tally.event(e)
	}
	if err := tally.sumUp(); err != nil {
		t.Error(err)
	}
	want := `mixed 1024 bytes (credited 8 bits), reseeded
mixed 1024 bytes of EMULATED entropy (credited 0 bits), not reseeded: not permitted (needs CAP_SYS_ADMIN)
5 blocks mixed in 0s (2 of them EMULATED), 3 reseeds, 24 bits credited, 2 attempts failed.
`
	if out.String() != want {
		t.Errorf("stdout is\n%s, want\n%s", out, want)
	}
	if want := "qrand: nothing mixed: no; next try in 1h0m0s\n"; errs.String() != want {
		t.Errorf("stderr is %q, want %q", errs, want)
	}
}

// TestFeedRuns: it goes on until it is interrupted, which is no failure.
func TestFeedRuns(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux's pool can be fed")
	}
	server := serve(t, qrypttest.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		eventually(func() bool { return server.Issued() >= 2 })
		cancel()
	}()
	c, out, errs := screen(false, nil)
	if status := execute(ctx, []string{"feed", "--interval", "1s"}, c); status != exitOK || errs.Len() > 0 {
		t.Errorf("status %d, stderr %q", status, errs)
	}
	if !regexp.MustCompile(`^mixed 1024 bytes of EMULATED entropy .*\n\d blocks? mixed in \ds \(\d of them EMULATED\), .* 0 attempts failed\.\n$`).MatchString(out.String()) {
		t.Errorf("stdout is %q", out)
	}
}

// unitFile is the service's unit, without its comments.
func unitFile(t *testing.T, name string) string {
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "systemd", name))
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^[#;].*\n`).ReplaceAllString(string(text), "")
}

// TestFeedUnit: systemd knows every setting of the unit, which runs a command line
// that there is, without a privilege.
func TestFeedUnit(t *testing.T) {
	unit := unitFile(t, "qrand-feed.service")
	start := regexp.MustCompile(`(?m)^ExecStart=(\S+) (.*)$`).FindStringSubmatch(unit)
	if start == nil {
		t.Fatal("it starts nothing")
	}
	c, _, _ := screen(false, nil)
	root := newRoot(c)
	cmd, args, err := root.Find(strings.Fields(start[2]))
	if err != nil || cmd.Name() != "feed" {
		t.Fatalf("it starts %v, %v", cmd.Name(), err)
	}
	if err := cmd.ParseFlags(args); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"\nCapabilityBoundingSet=\n", "\nNoNewPrivileges=yes\n", "\nDynamicUser=yes\n", "\nEnvironment=QRYPT_TOKEN_FILE=%d/token\n"} {
		if !strings.Contains(unit, want) {
			t.Errorf("the unit has no line %q", strings.TrimSpace(want))
		}
	}
	if strings.Contains(unit, "CAP_") {
		t.Error("the unit has a capability")
	}
	dropIn := unitFile(t, "qrand-feed-reseed.conf")
	if all := regexp.MustCompile(`CAP_\w+`).FindAllString(dropIn, -1); len(all) != 2 || all[0] != "CAP_SYS_ADMIN" || all[1] != "CAP_SYS_ADMIN" {
		t.Errorf("the drop-in gives %v", all)
	}

	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze to verify the unit with")
	}
	// It wants the program to be there.
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "qrand-feed.service")
	if err := os.WriteFile(path, []byte(strings.Replace(unit, start[1], self, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path+".d", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path+".d", "reseed.conf"), []byte(dropIn), 0o644); err != nil {
		t.Fatal(err)
	}
	cmdline := exec.Command(analyze, "verify", "--man=no", path)
	cmdline.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
	out, err := cmdline.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "qrand") {
			t.Errorf("systemd-analyze verify: %s", line)
		}
	}
	if err != nil {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
