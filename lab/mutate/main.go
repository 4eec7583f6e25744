// Mutate asks of the tests whether they would notice: it changes one thing at a
// time in the files that make and feed the generators, and runs the tests over
// each change. By hand, for it takes an hour, from the folder lab:
//
//	go run ./mutate
//	go run ./mutate drbg.go shard.go
//
// A change that the tests let pass is printed, and is either a test that is
// missing, or a change that does no harm and belongs into survivors.txt, with
// the reason. It ends with 1 if there is one that is neither. No file is edited:
// the changed ones are laid over the real ones (go help build, -overlay).
package main

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// files are the ones that matter: the generator, its locks, the seed and when it
// comes, whom it is asked of and when, and what judges a block.
var files = []string{
	"drbg.go", "shard.go", "reseed.go", "fallback.go",
	"internal/supply/supply.go", "internal/supply/endpoint.go", "internal/supply/failures.go", "internal/supply/crowd.go", "internal/supply/log.go", "internal/supply/run.go",
	"internal/health/health.go", "internal/health/seen.go", "internal/clock/clock.go",
}

// survivors lists mutants that do no harm. A line has four fields between tabs:
// file, function, change, and why no test can or need tell.
//
//go:embed survivors.txt
var survivors string

func main() { os.Exit(command(os.Args[1:], os.Stdout, os.Stderr)) }

// command is the program; it returns the exit code.
func command(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("mutate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	root := flags.String("C", "..", "the root `directory` of the module whose files are changed")
	parallel := flags.Int("parallel", 2, "mutants at a time")
	timeout := flags.Duration("timeout", time.Minute, "for the tests of one mutant; no end in it counts as killed")
	only := flags.String("run", "", "run the tests that match this alone, to see what they are worth")
	match := flags.String("match", "", "try the mutants alone whose lines in survivors.txt would match this regular expression")
	list := flags.Bool("list", false, "list the mutants and end")
	verbose := flags.Bool("v", false, "print each mutant's fate")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	chosen := files
	if flags.NArg() > 0 {
		chosen = flags.Args()
	}
	matches, err := regexp.Compile(*match)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	if err := os.Chdir(*root); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	all, err := mutantsOf(chosen, ".")
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	all = slices.DeleteFunc(all, func(m mutant) bool { return !matches.MatchString(m.name()) })
	if *list {
		for _, m := range all {
			fmt.Fprintf(stdout, "%s:%d\t%s\t%s\n", m.file, m.line, m.function, m.change)
		}
		return 0
	}
	t := tester{only: *only, timeout: *timeout, report: func(m mutant, f fate) {
		if *verbose || f.fate == survived {
			fmt.Fprintf(stdout, "%s:%d: %s%s\n%s\n", m.file, m.line, f.fate, f.by, m.name())
		}
	}}
	unexplained, err := tryAll(t, chosen, all, *parallel, stdout)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	if unexplained > 0 {
		return 1
	}
	return 0
}

// tryAll finds the fates of all mutants but for those that survivors.txt argues for,
// sums them up, and returns how many survive unexplained.
func tryAll(t tester, files []string, all []mutant, parallel int, stdout io.Writer) (int, error) {
	argued, err := parseSurvivors(survivors)
	if err != nil {
		return 0, err
	}
	if t.dir, err = os.MkdirTemp("", "mutate"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(t.dir)
	begin := time.Now()
	counts := map[string]int{}
	spared := 0
	for _, file := range files {
		var of []mutant
		for _, m := range all {
			switch {
			case m.file != file:
			case argued[m.name()] != "":
				spared++
			default:
				of = append(of, m)
			}
		}
		fates, err := t.try(file, of, parallel)
		if err != nil {
			return 0, err
		}
		for _, f := range fates {
			counts[f.fate]++
		}
	}
	fmt.Fprintf(stdout, "%d mutants, %d killed, %d argued, %d unexplained; %d more do not compile (%v)\n",
		len(all)-counts[doesNotBuild], counts[killed], spared, counts[survived], counts[doesNotBuild], time.Since(begin).Round(time.Second))
	return counts[survived], nil
}

// mutantsOf lists the mutants of files under the module's root.
func mutantsOf(files []string, root string) (all []mutant, err error) {
	for _, file := range files {
		source, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			return nil, fmt.Errorf("%w: run this from the folder lab", err)
		}
		found, err := mutants(file, source)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// parseSurvivors reads survivors.txt: the reasons by mutants' names.
func parseSurvivors(text string) (map[string]string, error) {
	argued := map[string]string{}
	for i, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		cut := strings.LastIndexByte(line, '\t')
		if strings.Count(line, "\t") != 3 || line[cut+1:] == "" {
			return nil, fmt.Errorf("survivors.txt:%d: want file, function, change and reason, with tabs between", i+1)
		}
		argued[line[:cut]] = line[cut+1:]
	}
	return argued, nil
}
