package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// feedTimeout is much more than the longest test takes.
const feedTimeout = 20 * time.Minute

// feed runs a tool on a fresh stream (an emulator, a Source and keys of its own),
// of so many bytes, or for as long as the tool reads if that is 0. It returns what
// the tool printed, and how it ended.
func feed(ctx context.Context, program, stream string, size int64, tool string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, feedTimeout)
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	var said, printed bytes.Buffer
	writer := exec.CommandContext(ctx, program, "-test.run=^TestWriteStream$")
	writer.Env = append(os.Environ(), "QRAND_STREAM="+stream)
	if size > 0 {
		writer.Env = append(writer.Env, "QRAND_STREAM_BYTES="+strconv.FormatInt(size, 10))
	}
	writer.ExtraFiles = []*os.File{w} // file descriptor 3
	writer.Stdout, writer.Stderr = &said, &said
	reader := exec.CommandContext(ctx, tool, args...)
	reader.Stdin = r
	reader.Stdout, reader.Stderr = &printed, &printed

	err = writer.Start()
	w.Close()
	if err != nil {
		r.Close()
		return "", err
	}
	readerErr := reader.Run()
	r.Close() // now the writer's next write fails, and it ends
	if err := writer.Wait(); err != nil {
		return "", fmt.Errorf("the stream %s: %w\n%s", stream, errors.Join(err, context.Cause(ctx)), said.Bytes())
	}
	if readerErr != nil {
		readerErr = fmt.Errorf("%s %s on %s: %w\n%s", tool, strings.Join(args, " "), stream, readerErr, printed.Bytes())
	}
	return printed.String(), readerErr
}
