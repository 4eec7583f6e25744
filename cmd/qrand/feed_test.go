package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"example.com/qrand"
	"example.com/qrand/kernel"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// TestFeedReports: each change is reported in a line, results on stdout and errors
// on stderr, and the sum at the end.
func TestFeedReports(t *testing.T) {
	c, out, errs := screen(false, nil)
	tally := feedTally{c: c, began: time.Now()}
	mixed := kernel.Result{Mixed: 1024, Credited: 8, Reseeded: true}
	emulated := kernel.Result{Mixed: 1024, NotReseeded: kernel.ErrNotPermitted, Origin: qrypt.Origin{Emulated: true}}
	next := time.Now().Add(time.Hour + time.Second/4)
	for _, e := range []kernel.Event{
		{Result: mixed, Changed: true}, {Result: mixed}, {Result: mixed},
		{Err: errors.New("qrypt: no"), Next: next, Changed: true}, {Err: errors.New("qrypt: no"), Next: next},
		{Err: fmt.Errorf("kernel: %w", qrand.ErrEmulated), Next: next, Changed: true},
		{Result: emulated, Changed: true}, {Result: emulated},
	} {
		tally.event(e)
	}
	if err := tally.printSum(); err != nil {
		t.Error(err)
	}
	want := `mixed 1024 bytes (credited 8 bits), reseeded
mixed 1024 bytes of EMULATED entropy (credited 0 bits), not reseeded: not permitted (needs CAP_SYS_ADMIN)
5 blocks mixed in 0s (2 of them EMULATED), 3 reseeds, 24 bits credited, 3 attempts failed.
`
	if out.String() != want {
		t.Errorf("stdout is\n%s, want\n%s", out, want)
	}
	if want := "qrand: nothing mixed: no; next try in 1h0m0s\nqrand: nothing mixed: " + creditRefused + "; next try in 1h0m0s\n"; errs.String() != want {
		t.Errorf("stderr is %q, want %q", errs, want)
	}
}

// TestFeedRuns: the feed goes on until it is interrupted, which is no failure.
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

// TestFeedUnit: systemd knows every setting of the unit. The unit runs an existing
// command line, without a privilege.
func TestFeedUnit(t *testing.T) {
	unit := unitFile(t, "qrand-feed.service")
	cmd, _ := unitCommand(t, unit)
	if cmd.Name() != "feed" {
		t.Errorf("it starts %s", cmd.CommandPath())
	}
	for _, want := range []string{"\nCapabilityBoundingSet=\n", "\nNoNewPrivileges=yes\n", "\nDynamicUser=yes\n", "\nEnvironment=QRYPT_TOKEN_FILE=%d/token\n", "\nType=notify\n"} {
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
	verifyUnit(t, "qrand-feed.service", unit, nil)
	verifyUnit(t, "qrand-feed.service", unit, map[string]string{"reseed.conf": dropIn})
}
