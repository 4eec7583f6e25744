// Command qrand shows what package example.com/qrand does, and lets a shell use
// it: random bytes with quantum entropy from Qrypt's Entropy-as-a-Service in
// them, never weaker than crypto/rand.
//
//	qrand demo      the whole story in half a minute, on an emulated service
//	qrand read      random bytes, as openssl rand prints them
//	qrand keygen    a key, and a record of where its entropy came from
//	qrand verify    whether a record is a key's, and what it says
//	qrand relay     one account for many programs
//	qrand feed      blocks into the Linux kernel's pool, for all that reads it
//	qrand doctor    what works here and what does not, with advice
//	qrand emulate   the emulated service, for the tests of other programs
//
// It is no way to hand keys to a program that can import the package: bytes
// that pass through a pipe or a file are in more places than they need be.
//
// The access token comes from QRYPT_TOKEN or QRYPT_TOKEN_FILE, never from a
// flag. The exit status is 0 if all is well, 1 after a failure, 2 if the
// command line was wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

const (
	exitOK = iota
	exitFailure
	exitUsage
)

func main() { os.Exit(run(os.Args[1:], newConsole(os.Stdout, os.Stderr))) }

// grace is what a command has to end in by itself after the first Ctrl-C. It
// may be blocked in a write to a pipe that nobody reads.
const grace = time.Second

// run is the process: the signals, then the command line.
func run(args []string, c *console) int {
	// A broken pipe is then an error of the write, which execute keeps quiet
	// about, and temporary files are removed.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	status := make(chan int, 1)
	go func() { status <- execute(ctx, args, c) }()
	select {
	case s := <-status:
		return s
	case <-ctx.Done():
		stop() // a second Ctrl-C ends the process at once
	}
	select {
	case s := <-status:
		return s
	case <-time.After(max(grace, time.Duration(c.grace.Load()))):
		atExit.do()
		c.complain(errInterrupted)
		return exitFailure
	}
}

var errInterrupted = errors.New("interrupted")

// execute runs one command line, and says what went wrong in one line.
func execute(ctx context.Context, args []string, c *console) int {
	slog.SetDefault(slog.New(noteHandler{w: c.err}))
	root := newRoot(c)
	root.SetArgs(args)
	root.SetOut(c.out)
	root.SetErr(c.err)
	err := root.ExecuteContext(ctx)
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		c.complain(err)
		return exitUsage
	case errors.Is(err, errReported), errors.Is(err, syscall.EPIPE):
		// It was said already, or nobody is left to hear of it.
	case ctx.Err() != nil:
		c.complain(errInterrupted)
	default:
		c.complain(err)
	}
	return exitFailure
}

// errReported is a failure that the command's output already tells of.
var errReported = errors.New("reported")

// A usageError is a command line that cannot be run. What is wrong with it is
// said in one line, with where to look, not in a page.
type usageError struct {
	path string // of the command: "qrand read"
	err  error
}

func (e *usageError) Error() string {
	return fmt.Sprintf("%v (see %s --help)", e.err, e.path)
}

func (e *usageError) Unwrap() error { return e.err }

func misused(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd.CommandPath(), fmt.Errorf(format, args...)}
}

// complain prints an error in one line.
func (c *console) complain(err error) {
	text := strings.Join(strings.Fields(err.Error()), " ")
	io.WriteString(c.err, c.onErr().red("qrand:")+" "+plain(text)+"\n")
}

// plain takes away the names of packages that errors begin with.
func plain(text string) string {
	for {
		was := text
		for _, name := range []string{"qrand: ", "qrypt: ", "qrypttest: ", "keygen: ", "keyfile: ", "provenance: ", "relay: ", "kernel: "} {
			text = strings.TrimPrefix(text, name)
		}
		if text == was {
			return text
		}
	}
}
