package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The outcomes of a mutant.
const (
	killed       = "killed"
	survived     = "SURVIVED"
	doesNotBuild = "does not compile"
)

type outcome struct{ what, by string }

// slow are tests that take a second or more, or a go command: run last.
const slow = "^(TestStorm|TestReplaceReader|TestDependencies|TestCustomReaderHonored|TestDump|TestDisasterStartedAtOnce|TestLife|TestNothingReadIsKept|TestPromises|TestFleetStarts|TestHerd|TestBusyFleet|TestShareOfALimit|TestAnothersRefusal|TestFreshAfterARefusal|TestSourceFromOutsideABubble|TestCISaysWhatFailed)$"

// A tester runs the tests of the packages that a mutant could break: its own, and
// that at the root.
type tester struct {
	dir     string
	only    string // the tests to run; empty: all
	timeout time.Duration
	report  func(mutant, outcome) // is called for each, one at a time
}

// try finds the outcomes of a file's mutants.
func (t tester) try(file string, all []mutant, parallel int) ([]outcome, error) {
	outcomes := make([]outcome, len(all))
	source, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var together, alone []int
	for i, m := range all {
		if m.batchable() {
			together = append(together, i)
		} else {
			alone = append(alone, i)
		}
	}
	// All together, except those that do not compile. If there are none this builds the
	// file as it is, whose tests must pass.
	var binaries []binary
	for {
		var chosen []mutant
		for _, i := range together {
			chosen = append(chosen, all[i])
		}
		text, first, lines := batch(source, chosen)
		var out string
		binaries, out, err = t.build("all", file, text)
		if err == nil {
			break
		}
		bad := map[int]bool{}
		for _, found := range errorLine.FindAllStringSubmatch(out, -1) {
			if line, _ := strconv.Atoi(found[1]); line >= first && line-first < len(lines) {
				bad[lines[line-first]] = true
			}
		}
		if len(bad) == 0 {
			return nil, fmt.Errorf("%s with its mutants does not compile: %w\n%s", file, err, out)
		}
		var rest []int
		for n, i := range together {
			if bad[n] {
				outcomes[i] = outcome{doesNotBuild, ""}
				t.report(all[i], outcomes[i])
			} else {
				rest = append(rest, i)
			}
		}
		together = rest
	}
	if o, err := t.run(binaries, 0); err != nil || o.what == killed {
		return nil, fmt.Errorf("the tests fail without a mutant%s (%v)", o.by, err)
	}

	var mu sync.Mutex
	record := func(i int, o outcome) {
		mu.Lock()
		defer mu.Unlock()
		outcomes[i] = o
		t.report(all[i], o)
	}
	jobs := make(chan func() error)
	failed := make(chan error, len(all))
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for job := range jobs {
				if err := job(); err != nil {
					failed <- err
				}
			}
		})
	}
	for n, i := range together {
		jobs <- func() error {
			o, err := t.run(binaries, n+1)
			record(i, o)
			return err
		}
	}
	for _, i := range alone {
		jobs <- func() error {
			m := all[i]
			name := fmt.Sprint(i)
			binaries, out, err := t.build(name, file, bytes.Join([][]byte{source[:m.begin], []byte(m.text), source[m.end:]}, nil))
			if err != nil {
				record(i, outcome{doesNotBuild, ": " + out})
				return nil
			}
			o, err := t.run(binaries, 0)
			record(i, o)
			os.RemoveAll(filepath.Join(t.dir, name))
			return err
		}
	}
	close(jobs)
	wg.Wait()
	select {
	case err := <-failed:
		return nil, err
	default:
		return outcomes, nil
	}
}

// errorLine matches the place in an error of the compiler.
var errorLine = regexp.MustCompile(`(?m)^[^ :]+\.go:(\d+):`)

// A binary is the test binary of a package.
type binary struct{ path, dir string }

// build builds the tests with text in the place of a file.
func (t tester) build(name, file string, text []byte) (binaries []binary, out string, err error) {
	dir := filepath.Join(t.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", err
	}
	real, err := filepath.Abs(file)
	if err != nil {
		return nil, "", err
	}
	replace := map[string]string{}
	lay := func(over string, text []byte) error {
		under := filepath.Join(dir, filepath.Base(over))
		replace[over] = under
		return os.WriteFile(under, text, 0o600)
	}
	packageName := packageLine.FindSubmatch(text)
	if packageName == nil {
		return nil, "", fmt.Errorf("%s has no package clause", file)
	}
	err = errors.Join(lay(real, text), lay(filepath.Join(filepath.Dir(real), "mutant_selector.go"), fmt.Appendf(nil, selector, packageName[1])))
	if err != nil {
		return nil, "", err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, "", err
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		return nil, "", err
	}
	packages := []string{"."}
	if own := filepath.Dir(file); own != "." {
		packages = []string{own, "."}
	}
	for i, p := range packages {
		b := binary{filepath.Join(dir, fmt.Sprintf("test%d.exe", i)), p}
		build := exec.Command("go", "test", "-c", "-vet=off", "-gcflags=-e", "-ldflags=-s -w", "-overlay", path, "-o", b.path, "./"+filepath.ToSlash(p))
		if out, err := build.CombinedOutput(); err != nil {
			return nil, string(bytes.TrimSpace(out)), err
		}
		binaries = append(binaries, b)
	}
	return binaries, "", nil
}

var packageLine = regexp.MustCompile(`(?m)^package (\w+)$`)

// run runs the tests with a mutant chosen, or none.
func (t tester) run(binaries []binary, number int) (outcome, error) {
	type run struct {
		which   string
		timeout time.Duration
	}
	runs := []run{{"-test.skip=" + slow, t.timeout}, {"-test.run=" + slow, 10 * t.timeout}}
	if t.only != "" {
		runs = []run{{"-test.run=" + t.only, t.timeout}}
	}
	for _, b := range binaries {
		for _, r := range runs {
			if failed, by, err := runOne(b, r.which, number, r.timeout); failed || err != nil {
				return outcome{killed, by}, err
			}
		}
	}
	return outcome{survived, ""}, nil
}

// runOne reports whether a test failed, and the first that says so.
func runOne(b binary, which string, number int, timeout time.Duration) (failed bool, by string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.path, which, "-test.failfast", "-test.timeout="+timeout.String())
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), fmt.Sprint(selectorEnv, "=", number), "RAPID_SEED=1", "RAPID_NOFAILFILE=1", "RAPID_SHRINKTIME=0s")
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false, "", nil
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) && ctx.Err() == nil {
		return false, "", err // the mutant did not do this
	}
	for _, line := range strings.Split(string(out), "\n") {
		if name, ok := strings.CutPrefix(line, "--- FAIL: "); ok {
			return true, " by " + name, nil
		}
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return true, " by " + line, nil
		}
	}
	return true, " by the end of its time", nil
}
