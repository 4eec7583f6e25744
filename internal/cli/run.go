package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// A UsageError is a command line that cannot be run.
type UsageError struct{ error }

// Misused returns a UsageError of an error.
func Misused(err error) error { return &UsageError{err} }

// FlagError makes an error of package pflag fit for people: a number that is none has the name
// of a Go function in it.
func FlagError(err error) error {
	if text, _, found := strings.Cut(err.Error(), ": strconv."); found {
		return errors.New(text + ": write a whole number")
	}
	return err
}

// Run runs a command, and returns the exit status: 0 if all is well, 1 after a failure, 2 if
// the command line was wrong, that of Status if a signal came before the command was done.
// SIGINT, SIGTERM and SIGHUP end the command's context, and a second one ends the process at
// once. That nobody reads its output any more does not end it.
func Run(cmd *cobra.Command, args []string, stdout, stderr io.Writer) int {
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := NotifyContext(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return Misused(FlagError(err)) })
	FitHelp(cmd, Width(stdout))
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	var usage *UsageError
	switch name := cmd.Name(); {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "%s: %v (see %[1]s --help)\n", name, err)
		return 2
	case ctx.Err() != nil && Interrupted(err):
		fmt.Fprintf(stderr, "%s: %v\n", name, ErrInterrupted)
		return Status(ctx)
	default:
		fmt.Fprintf(stderr, "%s: %s\n", name, strings.TrimPrefix(err.Error(), "relay: "))
		return 1
	}
}
