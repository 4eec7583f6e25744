package qrypt

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
)

// maxToken is longer than any bearer token that servers accept in a header.
const maxToken = 16 << 10

// A TokenFunc returns the access token to use now. It is called for each request, and
// every 30 s while package qrand waits for a new token. Tokens are never in a log or in
// the text of an error. The text says that a TokenFunc failed, but does not quote its
// error, which errors.Is and errors.As find.
type TokenFunc func(ctx context.Context) (string, error)

// A tokenError is an error about a token that is known not to quote it.
type tokenError struct{ error }

func (e tokenError) Unwrap() error { return e.error }

func tokenErrorf(format string, args ...any) error {
	return tokenError{fmt.Errorf(format, args...)}
}

// StaticToken returns a TokenFunc for a token that never changes.
func StaticToken(token string) TokenFunc {
	return func(context.Context) (string, error) { return token, nil }
}

// TokenFromEnv returns a TokenFunc that reads an environment variable each time.
func TokenFromEnv(name string) TokenFunc {
	return func(context.Context) (string, error) {
		token := strings.TrimSpace(os.Getenv(name))
		if token == "" {
			return "", tokenErrorf("the environment variable %s is empty", name)
		}
		return token, nil
	}
}

// TokenFromFile returns a TokenFunc that reads a file each time, so that replacing the
// file rotates the token. White space around the token is dropped. It warns once, on
// slog.Default, if any user may read the file.
func TokenFromFile(path string) TokenFunc {
	var warn sync.Once
	return func(context.Context) (string, error) {
		info, err := os.Stat(path)
		if err != nil {
			return "", tokenErrorf("opening the token file: %w", withoutPath(err))
		}
		if !info.Mode().IsRegular() { // reading a pipe could wait forever
			return "", tokenErrorf("the token file is not a regular file")
		}
		f, err := os.Open(path)
		if err != nil {
			return "", tokenErrorf("opening the token file: %w", withoutPath(err))
		}
		defer f.Close()
		if runtime.GOOS != "windows" && info.Mode().Perm()&0o004 != 0 {
			warn.Do(func() {
				slog.Warn("qrypt: every user of this host can read the token file: chmod 600 it", "file", path)
			})
		}
		data, err := io.ReadAll(io.LimitReader(f, maxToken+1))
		defer clear(data)
		if err != nil {
			return "", tokenErrorf("reading the token file: %w", withoutPath(err))
		}
		if len(data) > maxToken { // the rest is not read, and part of a token is no token
			return "", tokenErrorf("the token file %s is longer than %d bytes: is it the right file?", path, maxToken)
		}
		token := strings.TrimSpace(string(data))
		if token == "" {
			return "", tokenErrorf("the token file %s is empty", path)
		}
		return token, nil
	}
}

// withoutPath drops the name of a file that could not be opened: the token itself may
// have been set by mistake in its place.
func withoutPath(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// checkToken refuses what cannot be a bearer token. RFC 6750 section 2.1 allows fewer
// characters, but some services use more. Its errors do not show the token.
func checkToken(token string) error {
	if token == "" {
		return tokenErrorf("the token is empty")
	}
	if len(token) > maxToken {
		return tokenErrorf("the token is longer than %d bytes: is it the right file?", maxToken)
	}
	for i := range len(token) {
		if c := token[i]; c <= ' ' || c > '~' {
			return tokenErrorf("byte %d of the token cannot be in an HTTP header: was it copied whole, on one line?", i+1)
		}
	}
	return nil
}

// A tokenID stands for a token that must be remembered or compared. It is salted, so
// that outside this process it tells nothing about the token.
type tokenID [sha256.Size]byte

var idSalt = func() (salt [32]byte) {
	rand.Read(salt[:])
	return salt
}()

func identify(token string) tokenID {
	h := sha256.New()
	h.Write(idSalt[:])
	io.WriteString(h, token)
	return tokenID(h.Sum(nil))
}
