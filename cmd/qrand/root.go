package main

import (
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

func newRoot(c *console) *cobra.Command {
	root := &cobra.Command{
		Use:   "qrand",
		Short: "Random bytes with quantum entropy in them, never weaker than crypto/rand",
		Long: `Random bytes with quantum entropy from Qrypt's Entropy-as-a-Service in
them, never weaker than crypto/rand, whatever becomes of the service.

The access token comes from QRYPT_TOKEN, or from the file that
QRYPT_TOKEN_FILE names. QRYPT_ENDPOINTS, QRYPT_DIALECT and QRYPT_CA_FILE say
where the service is, if it is not Qrypt's own. No account is needed for
qrand demo and qrand emulate.`,
		Example: `  qrand demo                       # see it ride out six kinds of outage
  qrand doctor                     # is everything set up?
  qrand read -n 32 --format hex    # 32 bytes for a person to look at
  qrand keygen ecdsa-p256 -o key   # a key, and where its entropy came from`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          knownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SuggestionsMinimumDistance = 2
	root.SetVersionTemplate("qrand {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{cmd.CommandPath(), err}
	})
	root.SetHelpCommand(newHelpCommand())
	for _, cmd := range []*cobra.Command{
		newDemoCommand(c), newReadCommand(c), newKeygenCommand(c), newVerifyCommand(c), newFeedCommand(c), newRelayCommand(c), newDoctorCommand(c), newEmulateCommand(c),
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

// version is that of the module this binary was built from.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// knownCommand refuses what is no command, and says which was meant.
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

// oneArgument refuses a second argument: what a command makes of none, it says.
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

// newHelpCommand is cobra's, but for its exit status when there is no such
// command.
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
