// Command qrand shows what package example.com/qrand does, and makes it usable
// from a shell: random bytes that contain quantum entropy from Qrypt's
// Entropy-as-a-Service, and are never weaker than crypto/rand.
//
//	qrand demo      six outages in half a minute, on an emulated service
//	qrand read      random bytes, as openssl rand prints them
//	qrand keygen    a key, and a record of where its entropy came from
//	qrand verify    whether a record belongs to a key, what it says, and who signed it
//	qrand record    show, sign, log and list statements about keys
//	qrand relay     one account for many programs
//	qrand feed      blocks into the Linux kernel's pool, for all programs
//	qrand doctor    what works here and what does not, with advice
//	qrand emulate   the emulated service, for the tests of other programs
//
// Do not use it to hand keys to a program that can import the package: bytes that
// pass through a pipe or a file are in more places than they need to be.
//
// The access token comes from QRYPT_TOKEN or QRYPT_TOKEN_FILE, never from a
// flag. qrand help says what its exit status means.
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
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"example.com/qrand/internal/cli"
	"example.com/qrand/internal/version"
)

const (
	exitOK = iota
	exitFailure
	exitUsage
)

func main() { os.Exit(run(os.Args[1:], newConsole(os.Stdout, os.Stderr))) }

// grace is how long a command may take to end by itself after the first Ctrl-C.
// It may be blocked in a write to a pipe that nobody reads.
const grace = time.Second

// run handles the signals, and executes the command line.
func run(args []string, c *console) int {
	// A broken pipe is then an error of the write. execute does not print it, and
	// temporary files are removed.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := cli.NotifyContext(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
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
		atExit.run()
		c.complain(errInterrupted)
		return cli.Status(ctx)
	}
}

// A cleanup is a list of what has to be done if the process must end without
// running deferred calls: remove temporary files, and make the terminal show what
// is typed.
type cleanup struct {
	mu    sync.Mutex
	next  int
	tasks map[int]func()
}

var atExit cleanup

// add adds a task, and returns a function that removes it from the list.
func (c *cleanup) add(task func()) (remove func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tasks == nil {
		c.tasks = map[int]func(){}
	}
	id := c.next
	c.next++
	c.tasks[id] = task
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.tasks, id)
	}
}

// run runs all tasks. It keeps the lock, so that nothing new begins.
func (c *cleanup) run() {
	c.mu.Lock()
	for _, task := range c.tasks {
		task()
	}
}

var (
	errInterrupted = cli.ErrInterrupted

	// errReported is a failure that the command's output already describes.
	errReported = errors.New("reported")
)

// execute runs one command line. If it fails, it prints why in one line.
func execute(ctx context.Context, args []string, c *console) int {
	slog.SetDefault(slog.New(logHandler{w: c.err}))
	root := newRoot(c)
	root.SetArgs(args)
	help := &failingWriter{Writer: c.out}
	root.SetOut(help)
	root.SetErr(c.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = help.err
	}
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		c.complain(err)
		return exitUsage
	case errors.Is(err, errReported), errors.Is(err, syscall.EPIPE):
		// It was printed already, or nobody reads the output any more.
	case ctx.Err() != nil && cli.Interrupted(err):
		if !errors.Is(err, errInterrupted) { // else it may say what is complete
			err = errInterrupted
		}
		c.complain(err)
		return cli.Status(ctx)
	default: // also after a signal: what could not be saved must be said
		c.complain(err)
	}
	return exitFailure
}

// A failingWriter keeps the first error of a Writer, for cobra, which does not look at it
// when it prints help.
type failingWriter struct {
	io.Writer
	err error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if w.err == nil {
		w.err = err
	}
	return n, err
}

// A usageError is a command line that cannot be run. Its text is one line that
// says where the help is.
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

func newRoot(c *console) *cobra.Command {
	root := &cobra.Command{
		Use:   "qrand",
		Short: "Random bytes with quantum entropy in them, never weaker than crypto/rand",
		Long: `Random bytes with quantum entropy from Qrypt's Entropy-as-a-Service in
them. They are never weaker than crypto/rand, even if the service fails.

The access token comes from QRYPT_TOKEN, or from the file that
QRYPT_TOKEN_FILE names. QRYPT_ENDPOINTS, QRYPT_DIALECT, QRYPT_AUTH and
QRYPT_CA_FILE describe the service, if you do not use Qrypt's own. No account is
needed for qrand demo and qrand emulate.

The exit status is 0 if all is well, 1 after a failure, 2 if the command line
was wrong. It is 130 after Ctrl-C, and 128 with the number of another signal, if
the command had not done what it was asked for. A relay, a feed and an emulator
run until a signal comes, and then end with 0.`,
		Example: `  qrand demo                       # see six kinds of outage
  qrand doctor                     # is everything set up?
  qrand read -n 32 --format hex    # 32 bytes for a person to look at
  qrand keygen ecdsa-p256 -o key   # a key, and where its entropy came from`,
		Version:       version.Get(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          knownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		PersistentPreRunE: filesHaveNames,
	}
	root.SuggestionsMinimumDistance = 2
	root.SetVersionTemplate("qrand {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{cmd.CommandPath(), cli.FlagError(err)}
	})
	root.SetHelpCommand(newHelpCommand())
	width := 0 // of what is no terminal
	if c.outTTY {
		width = c.width
	}
	cli.FitHelp(root, width)
	for _, cmd := range []*cobra.Command{
		newDemoCommand(c), newReadCommand(c), newKeygenCommand(c), newVerifyCommand(c), newRecordCommand(c), newFeedCommand(c), newRelayCommand(c), newDoctorCommand(c), newEmulateCommand(c),
	} {
		if cmd.Args == nil {
			cmd.Args = noArguments
		}
		if cmd.ValidArgsFunction == nil {
			cmd.ValidArgsFunction = cobra.NoFileCompletions
		}
		cmd.DisableFlagsInUseLine = true
		cmd.Flags().SortFlags = false
		root.AddCommand(cmd)
	}
	return root
}

// newHelpCommand differs from cobra's own in the exit status for a command that
// does not exist.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about a command",
		Long:  "Prints the help of a command, as the command does with --help.",
		Example: `  qrand help read
  qrand read --help`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			if len(args) == 0 {
				for _, other := range cmd.Root().Commands() {
					names = append(names, other.Name()+"\t"+other.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return misused(cmd.Root(), "no command %q", strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// filesHaveNames refuses a flag for a file without its name. That is a variable of a shell that is
// not set, and the command must not do without the file: --passphrase-file "$UNSET" would make a
// key that is not encrypted. A - would be a file of that name, except for --output, where it is
// stdout.
func filesHaveNames(cmd *cobra.Command, _ []string) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if what, _ := pflag.UnquoteUsage(f); what == "FILE" && (f.Value.String() == "" || f.Value.String() == "-" && f.Name != "output") && err == nil {
			err = misused(cmd, "--%s names no file: leave it out, or write the file's name", f.Name)
		}
	})
	return err
}

// knownCommand refuses an unknown command, and suggests similar ones.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var meant string
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		meant = ", did you mean " + strings.Join(like, " or ") + "?"
	}
	return misused(cmd, "no command %q%s", args[0], meant)
}

// oneArgument refuses a second argument. The command itself says what it needs
// if there is none.
func oneArgument(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return misused(cmd, "unexpected argument %q", args[1])
	}
	return nil
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.Name() == "read" {
		if _, err := parseSize(args[0]); err == nil {
			return misused(cmd, "unexpected argument %q: for that many bytes, write -n %s", args[0], args[0])
		}
	}
	return misused(cmd, "unexpected argument %q", args[0])
}

// complain prints an error in one line.
func (c *console) complain(err error) {
	text := strings.Join(strings.Fields(err.Error()), " ")
	io.WriteString(c.err, c.onErr().red("qrand:")+" "+plain(text)+"\n")
}

// plain removes the package names at the beginning of an error's text, and of each error
// that follows a semicolon in it.
func plain(text string) string {
	for {
		was := text
		for _, name := range []string{"qrand: ", "qrypt: ", "qrypttest: ", "keygen: ", "keyfile: ", "provenance: ", "relay: ", "kernel: "} {
			text = strings.ReplaceAll(strings.TrimPrefix(text, name), "; "+name, "; ")
		}
		if text == was {
			return text
		}
	}
}
