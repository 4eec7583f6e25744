package qrypt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A secretToken is what errors about tokens must not show.
const secretToken = "J5QK2M7VXW4T6NAZ3RBJ5QK2M7VXW4T6"

// write replaces a file as programs do that rotate tokens: by renaming.
func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestTokenFromEnv(t *testing.T) {
	const name = "QRYPT_TEST_TOKEN"
	get := TokenFromEnv(name)
	for _, c := range []struct{ value, want string }{
		{secretToken, secretToken},
		{"another", "another"},
		{" \tspaced\r\n", "spaced"},
	} {
		t.Setenv(name, c.value)
		if got, err := get(t.Context()); got != c.want || err != nil {
			t.Errorf("%q, %v, want %q", got, err, c.want)
		}
	}
	for _, empty := range []string{"", " \n"} {
		t.Setenv(name, empty)
		if got, err := get(t.Context()); got != "" || err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %q, %v", empty, got, err)
		}
	}
}

func TestTokenFromFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	get := TokenFromFile(path)
	if _, err := get(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	long := strings.Repeat("x", maxToken)
	for _, c := range []struct{ content, want string }{
		{secretToken, secretToken},
		{"rotated\n", "rotated"},
		{"\n\t windows \r\n\r\n", "windows"},
		{"two\nlines\n", "two\nlines"}, // refused later, as in any other way
		{long, long},
	} {
		write(t, path, c.content)
		if got, err := get(t.Context()); got != c.want || err != nil {
			t.Errorf("%.20q, %v, want %.20q", got, err, c.want)
		}
	}
	for content, want := range map[string]string{
		"":         "is empty",
		" \r\n\n":  "is empty",
		long + "x": "longer than 16384 bytes",
		// Half of a token is not a shorter one.
		strings.Repeat(" ", maxToken-10) + secretToken: "longer than 16384 bytes",
	} {
		write(t, path, content)
		got, err := get(t.Context())
		if got != "" || err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
		checkSilent(t, err, []byte(secretToken))
	}
	dir := filepath.Join(t.TempDir(), "directory")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := TokenFromFile(dir)(t.Context()); err == nil {
		t.Error("a directory was read")
	}
	if os.Geteuid() > 0 { // root, and Windows, may read all
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := get(t.Context()); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("unreadable: %v", err)
		}
	}
}

// Who sets the token where the file's name belongs does not find it in a log.
func TestTokenForAFileName(t *testing.T) {
	for _, name := range []string{secretToken, strings.Repeat(secretToken, 20)} {
		c := mustNew(t, Config{Token: TokenFromFile(name)})
		e := mustFail(t, c, 1, ErrNoToken, []byte(secretToken))
		if !strings.Contains(e.Error(), "opening the token file") {
			t.Error(e)
		}
	}
}

// captureLog collects what is logged with slog.Default.
func captureLog(t testing.TB) *bytes.Buffer {
	t.Helper()
	var buf bytes.Buffer
	// SetDefault turns package log's output to itself: both are put back.
	logger, output, flags := slog.Default(), log.Writer(), log.Flags()
	t.Cleanup(func() {
		slog.SetDefault(logger)
		log.SetOutput(output)
		log.SetFlags(flags)
	})
	slog.SetDefault(slog.New(slog.NewTextHandler(&buf, nil)))
	return &buf
}

func TestTokenFileThatOthersCanRead(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("file modes say nothing on Windows")
	}
	path := filepath.Join(t.TempDir(), "token")
	write(t, path, secretToken)
	logged := captureLog(t)
	get := TokenFromFile(path)
	read := func(mode fs.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if got, err := get(t.Context()); got != secretToken || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	for _, private := range []fs.FileMode{0o600, 0o400, 0o640, 0o660} {
		read(private)
	}
	if logged.Len() != 0 {
		t.Errorf("a private file: %s", logged)
	}
	for range 3 {
		read(0o644)
	}
	text := logged.String()
	if strings.Count(text, "\n") != 1 || !strings.Contains(text, "level=WARN") ||
		!strings.Contains(text, "chmod 600") || !strings.Contains(text, path) {
		t.Errorf("three readings of a public file: %s", text)
	}
	checkSilent(t, text, []byte(secretToken))
}

func TestTokensThatNoHeaderCarries(t *testing.T) {
	requests := 0
	h := countingClient(&requests)
	for token, want := range map[string]string{
		"":                                       "the token is empty",
		secretToken + "\n" + secretToken:         "byte 33 of the token",
		secretToken + "\r\nX-Header: " + "1":     "byte 33 of the token",
		secretToken + " ":                        "byte 33 of the token",
		"\x00" + secretToken:                     "byte 1 of the token",
		secretToken[:8] + "\x7f" + secretToken:   "byte 9 of the token",
		secretToken[:8] + "é" + secretToken:      "byte 9 of the token",
		secretToken + strings.Repeat("x", 1<<20): "longer than 16384 bytes",
		strings.Repeat("x", maxToken+1):          "longer than 16384 bytes",
	} {
		for _, d := range bothDialects {
			c := mustNew(t, Config{Token: StaticToken(token), HTTPClient: h, Dialect: d})
			e := mustFail(t, c, 1, ErrNoToken, []byte(secretToken))
			if !strings.Contains(e.Error(), want) || e.StatusCode != 0 || e.Endpoint != EndpointEUS {
				t.Errorf("%v, want %q", e, want)
			}
		}
	}
	if requests != 0 {
		t.Errorf("%d requests with no token to send", requests)
	}
	mustBlocks(t, mustNew(t, Config{Token: StaticToken(strings.Repeat("~", maxToken)), HTTPClient: h}), 1)
	mustBlocks(t, mustNew(t, Config{Token: StaticToken("!"), HTTPClient: h}), 1)
}

func TestTokenFuncFails(t *testing.T) {
	requests := 0
	reason := errors.New("the vault is sealed")
	c := mustNew(t, Config{
		Token:      func(context.Context) (string, error) { return secretToken, reason },
		HTTPClient: countingClient(&requests),
	})
	e := mustFail(t, c, 1, ErrNoToken, []byte(secretToken))
	if !errors.Is(e, reason) || e.Endpoint != EndpointEUS {
		t.Error(e)
	}

	// The caller's own end is no lack of a token.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c = mustNew(t, Config{
		Token:      func(ctx context.Context) (string, error) { return "", fmt.Errorf("asking: %w", ctx.Err()) },
		HTTPClient: countingClient(&requests),
	})
	_, err := c.Blocks(ctx, 1)
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrNoToken) {
		t.Error(err)
	}
	if requests != 0 {
		t.Errorf("%d requests without a token", requests)
	}
}

func TestTokenChanged(t *testing.T) {
	ctx := context.Background()
	requests := 0
	now, failing := "first", error(nil)
	c := mustNew(t, Config{
		Token:      func(context.Context) (string, error) { return now, failing },
		HTTPClient: countingClient(&requests),
	})
	answer := http.StatusOK
	c.http.Transport = withStatus(c.http.Transport, &answer)
	check := func(want bool, when string) {
		t.Helper()
		before := requests
		if got := c.TokenChanged(ctx); got != want {
			t.Errorf("%s: %t, want %t", when, got, want)
		}
		if requests != before {
			t.Errorf("%s: a request was made", when)
		}
	}
	check(true, "before the first request")
	mustBlocks(t, c, 1)
	check(true, "after one that was not refused")
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		answer = status
		first := fmt.Sprint("first-", status)
		now = first
		c.Blocks(ctx, 1)
		check(false, "after it was refused")
		now = "second"
		check(true, "with another token")
		check(true, "asked again")
		now = first
		check(false, "with the old one again")
		answer = http.StatusTooManyRequests
		now = "second"
		c.Blocks(ctx, 1)
		check(true, "after a failure that is not the token's")
	}
	answer = http.StatusOK
	now = "sec ond"
	check(false, "with one that cannot be sent")
	now = ""
	check(false, "with an empty one")
	mustFail(t, c, 1, ErrNoToken)
	now = "first"
	check(true, "back after there was none")
	failing = errors.New("no")
	check(false, "when it fails")

	c = mustNew(t, Config{Dialect: DialectOpenAPI, HTTPClient: countingClient(&requests)})
	mustBlocks(t, c, 1)
	check(false, "where none is needed")
}

// TestTokenHangs: a function that answers nothing is given up.
func TestTokenHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freshLimiter()
		requests := 0
		c := mustNew(t, Config{
			Token:      func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() },
			HTTPClient: countingClient(&requests),
		})
		begin := time.Now()
		mustFail(t, c, 1, ErrNoToken)
		if took := time.Since(begin); took != defaultTimeout || requests != 0 {
			t.Errorf("%d requests, after %v", requests, took)
		}
	})
}

// TestTokenOfAFunctionIsNotQuoted: that it failed is told, its error only to
// errors.Is.
func TestTokenOfAFunctionIsNotQuoted(t *testing.T) {
	bad := errors.New("cannot parse " + secretToken)
	c := mustNew(t, Config{Token: func(context.Context) (string, error) { return "", bad }})
	_, err := c.Blocks(t.Context(), 1)
	if !errors.Is(err, bad) || !errors.Is(err, ErrNoToken) || strings.Contains(err.Error(), secretToken) {
		t.Errorf("is it: %t", errors.Is(err, bad))
	}
}

// TestNotARegularTokenFile: a pipe could keep a request waiting forever.
func TestNotARegularTokenFile(t *testing.T) {
	if _, err := TokenFromFile(t.TempDir())(t.Context()); err == nil || !strings.Contains(err.Error(), "regular file") {
		t.Error(err)
	}
}

func TestTokenIDsDiffer(t *testing.T) {
	a, again := identify("a"), identify("a")
	if a != again || a == identify("b") || identify("") == (tokenID{}) {
		t.Error("tokens are taken for others")
	}
	if idSalt == [32]byte{} {
		t.Error("no salt")
	}
}
