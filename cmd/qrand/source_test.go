package main

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"example.com/qrand"
	"example.com/qrand/qrypttest"
)

// TestNoWaitForToken: if no endpoint accepts the token, or there is none, a command
// says so at once, even if it may wait long for a block.
func TestNoWaitForToken(t *testing.T) {
	server := serve(t, qrypttest.Config{Regions: []string{"one", "two"}})
	for _, test := range []struct {
		name, token, file string
		want              string // in stderr
	}{
		{"refused", "not-" + server.Token(), "", "the access token is invalid or has expired: "},
		{"no file", "", filepath.Join(t.TempDir(), "token"), "no access token: opening the token file: "},
	} {
		t.Setenv("QRYPT_TOKEN", test.token)
		t.Setenv("QRYPT_TOKEN_FILE", test.file)
		for _, args := range []string{
			"read --format hex --wait 3h", "read --require initial --wait 3h", "keygen ed25519 --wait 3h", "keygen ed25519 --require fresh --wait 3h", "feed --once",
		} {
			if strings.HasPrefix(args, "feed") && runtime.GOOS != "linux" {
				continue
			}
			status := exitFailure
			if strings.HasPrefix(args, "read --format") || strings.HasPrefix(args, "keygen ed25519 --wait") {
				status = exitOK // the bytes come anyway
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			c, out, errs := screen(false, nil)
			got := execute(ctx, strings.Fields(args), c)
			if ctx.Err() != nil {
				t.Errorf("%s: %s: it waits", test.name, args)
			}
			cancel()
			if got != status || (out.Len() > 0) != (status == exitOK) || !strings.Contains(errs.String(), test.want) {
				t.Errorf("%s: %s: status %d, %d bytes on stdout, %s", test.name, args, got, out.Len(), errs)
			}
		}
	}
	if server.Issued() > 0 {
		t.Error("a block was fetched")
	}
}

// TestStaleExplained: whoever runs a command reads of its flags, not of a Go API.
func TestStaleExplained(t *testing.T) {
	o := newEntropyOptions()
	o.require.value = "fresh"
	for _, err := range []error{qrand.ErrStale, fmt.Errorf("keygen: %w", qrand.ErrNotSeeded)} {
		if text := o.failed(err).Error(); !ours.MatchString(err.Error()) || ours.MatchString(text) || !strings.Contains(text, "--require fresh") {
			t.Errorf("%v: %s", err, text)
		}
	}
}
