package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// feedTimeout is much more than the longest test takes.
const feedTimeout = 20 * time.Minute

// An opener opens a stream by its name: openStream, except in tests.
type opener func(ctx context.Context, name string) (stream, error)

// feed runs a tool on a stream, of so many bytes, or for as long as the tool reads if
// that is 0. It returns what the tool printed, and how it ended.
func (open opener) feed(ctx context.Context, name string, size int64, tool string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, feedTimeout)
	defer cancel()
	cannotRead := func(err error) error {
		return fmt.Errorf("the stream %s: %w", name, errors.Join(err, context.Cause(ctx)))
	}
	s, err := open(ctx, name)
	if err != nil {
		return "", cannotRead(err)
	}
	defer s.close()
	if size == 0 {
		size = math.MaxInt64
	}

	cmd := exec.CommandContext(ctx, tool, args...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	if err := cmd.Start(); err != nil {
		return "", err
	}
	// Without ReadFrom, which would read in sizes of its own.
	_, copyErr := io.CopyBuffer(struct{ io.Writer }{stdin}, io.LimitReader(s, size), make([]byte, 1<<20))
	stdin.Close()
	err = cmd.Wait()
	if copyErr != nil && !errors.Is(copyErr, syscall.EPIPE) { // EPIPE: the tool has read enough
		return "", cannotRead(copyErr)
	}
	if err != nil {
		err = fmt.Errorf("%s %s on %s: %w\n%s", tool, strings.Join(args, " "), name, errors.Join(err, context.Cause(ctx)), printed.Bytes())
	}
	return printed.String(), err
}
