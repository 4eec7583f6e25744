// Command mutate finds out whether the tests would notice a mistake. It changes one
// thing at a time in the files that make and feed the generators, and runs the tests
// with each change. It takes an hour. Start it in the folder lab:
//
//	go run ./mutate
//	go run ./mutate drbg.go shard.go
//
// It prints each change that no test notices, and ends with 1 if there is one. Then
// either a test is missing, or the change does no harm and belongs in survivors.txt,
// with the reason. No file is edited: the changed ones are laid over the real ones
// (go help build, -overlay).
package main

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// files are the ones that matter: the generators and their locks, the seed, the reseeder,
// the supply of blocks and the health tests. A folder stands for all of its files.
var files = []string{"source.go", "drbg.go", "shard.go", "reseed.go", "status.go", "internal/supply", "internal/health", "internal/clock"}

// survivors lists mutants that do no harm. A line has four fields between tabs:
// package, function, change, and why no test can tell, or needs to.
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
	timeout := flags.Duration("timeout", time.Minute, "how long the tests of one mutant may take; one that takes longer counts as killed")
	only := flags.String("run", "", "run only the tests that match this `expression`")
	match := flags.String("match", "", "try only the mutants whose lines in survivors.txt would match this regular `expression`")
	list := flags.Bool("list", false, "list the mutants and end")
	verbose := flags.Bool("v", false, "print the outcome of each mutant")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	chosen := flags.Args()
	if flags.NArg() == 0 {
		chosen = files
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
	argued, err := parseSurvivors(survivors)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	all, err := mutantsOf(chosen, ".")
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	if gone := withoutMutant(argued, all); flags.NArg() == 0 && !*list && len(gone) > 0 {
		fmt.Fprintf(stderr, "survivors.txt argues for these, which are no mutants of %s: look at the argument again, or add the file in which they are now\n%s\n", strings.Join(files, ", "), strings.Join(gone, "\n"))
		return 1
	}
	all = slices.DeleteFunc(all, func(m mutant) bool { return !matches.MatchString(m.name()) })
	if *list {
		for _, m := range all {
			fmt.Fprintf(stdout, "%s:%d\t%s\t%s\n", m.file, m.line, m.function, m.change)
		}
		return 0
	}
	t := tester{only: *only, timeout: *timeout, report: func(m mutant, o outcome) {
		if *verbose || o.what == survived {
			fmt.Fprintf(stdout, "%s:%d: %s%s\n%s\n", m.file, m.line, o.what, o.by, m.name())
		}
	}}
	unexplained, err := tryAll(t, all, argued, *parallel, stdout)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	if unexplained > 0 {
		return 1
	}
	return 0
}

// tryAll tries all mutants except those that are argued for, prints the sums, and
// returns how many survive unexplained.
func tryAll(t tester, all []mutant, argued map[string]string, parallel int, stdout io.Writer) (_ int, err error) {
	if t.dir, err = os.MkdirTemp("", "mutate"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(t.dir)
	begin := time.Now()
	counts := map[string]int{}
	spared := 0
	byFile := map[string][]mutant{}
	for _, m := range all {
		if argued[m.name()] != "" {
			spared++
			continue
		}
		byFile[m.file] = append(byFile[m.file], m)
	}
	for _, file := range slices.Sorted(maps.Keys(byFile)) {
		outcomes, err := t.try(file, byFile[file], parallel)
		if err != nil {
			return 0, err
		}
		for _, o := range outcomes {
			counts[o.what]++
		}
	}
	fmt.Fprintf(stdout, "%d mutants, %d killed, %d argued, %d unexplained; %d more do not compile (%v)\n",
		len(all)-counts[doesNotBuild], counts[killed], spared, counts[survived], counts[doesNotBuild], time.Since(begin).Round(time.Second))
	return counts[survived], nil
}

// mutantsOf lists the mutants of files, and of those of folders, under the module's root.
func mutantsOf(files []string, root string) (all []mutant, err error) {
	for _, name := range files {
		of := []string{name}
		if info, err := os.Stat(filepath.Join(root, name)); err == nil && info.IsDir() {
			of = goFiles(root, name)
		}
		for _, file := range of {
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
	}
	return all, nil
}

// goFiles lists the Go files of a folder, without its tests.
func goFiles(root, folder string) (files []string) {
	found, _ := filepath.Glob(filepath.Join(root, folder, "*.go")) // this pattern is not malformed
	for _, path := range found {
		if name := filepath.Base(path); !strings.HasSuffix(name, "_test.go") {
			files = append(files, filepath.Join(folder, name))
		}
	}
	return files
}

// withoutMutant lists the names that are argued for and that no mutant has. What they
// were about has changed, so somebody must look at the argument again.
func withoutMutant(argued map[string]string, all []mutant) []string {
	gone := maps.Clone(argued)
	for _, m := range all {
		delete(gone, m.name())
	}
	return slices.Sorted(maps.Keys(gone))
}

// parseSurvivors reads survivors.txt, and returns the reasons by the names of mutants.
func parseSurvivors(text string) (map[string]string, error) {
	argued := map[string]string{}
	for i, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		cut := strings.LastIndexByte(line, '\t')
		if strings.Count(line, "\t") != 3 || line[cut+1:] == "" {
			return nil, fmt.Errorf("survivors.txt:%d: want package, function, change and reason, with tabs between", i+1)
		}
		argued[line[:cut]] = line[cut+1:]
	}
	return argued, nil
}
