package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// ownName stands for openStream: a stream is its own name.
func ownName(_ context.Context, name string) (stream, error) {
	return stream{strings.NewReader(name + "\n"), func() {}}, nil
}

// The tools are scripts here, which print what the real ones do of a sound stream, or
// of a spoiled one.
var scripts = map[string]string{
	"dieharder": `
		case "$stream" in
		spoiled*) assessment=FAILED ;;
		*) assessment=PASSED ;;
		esac
		echo "   diehard_birthdays,   0,0.54137021,  $assessment  "
		echo "   diehard_birthdays,   1,0.40213121,  PASSED  "`,
	"rngtest": `
		case "$stream" in
		spoiled*) failures=$2 ;;
		*) failures=$(($2 * 83 / 100000)) ;;
		esac
		echo "rngtest: bits received from input: 20000"
		echo "rngtest: FIPS 140-2 successes: $(($2 - failures))"
		echo "rngtest: FIPS 140-2 failures: $failures"
		exit 1`,
	"ent": `
		case "$stream" in
		spoiled*) echo "would exceed this value less than 0.01 percent of the times." ;;
		*) echo "would exceed this value 23.72 percent of the times." ;;
		esac`,
}

// onPath puts the scripts on the path, alone, some of them replaced (by "": left out).
func onPath(t *testing.T, replaced map[string]string) {
	t.Helper()
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("there is no /bin/sh for the scripts that stand for the tools")
	}
	dir := t.TempDir()
	for name, text := range scripts {
		if other, ok := replaced[name]; ok {
			text = other
		}
		if text == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\nread -r stream\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

// TestCommand: all streams, with all tools. A sound stream that passes and a spoiled
// one that does not end with 0.
func TestCommand(t *testing.T) {
	onPath(t, nil)
	var stdout, stderr bytes.Buffer
	if code := command(t.Context(), ownName, []string{"-quick"}, &stdout, &stderr); code != 0 {
		t.Fatalf("ends with %d:\n%s%s", code, stdout.String(), stderr.String())
	}
	for _, stream := range slices.Concat(sound, spoiled) {
		want := " passes "
		if slices.Contains(spoiled, stream) {
			want = " found out "
		}
		rows := 0
		for line := range strings.Lines(stdout.String()) {
			if strings.HasPrefix(line, stream+" ") && strings.Contains(line, want) {
				rows++
			}
		}
		if rows != len(tools) {
			t.Errorf("%s:%sby %d tools, want all:\n%s", stream, want, rows, stdout.String())
		}
	}
	for _, want := range []string{
		"14 tests, 28 results; 0 tests run again; 0 faults\n",
		"6 tests, 12 results; 6 tests run again; 6 faults, such as diehard_birthdays 0 p = 0.54137021 0.54137021\n",
		"41 of 50000 blocks fail", "5 of 5 runs beyond 1 % or 99 %", "\nIn ",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("no %q in\n%s", want, stdout.String())
		}
	}
	if !strings.Contains(stderr.String(), "20 of 152 jobs done") {
		t.Errorf("it does not say how far it is:\n%s", stderr.String())
	}
}

// TestVerdicts: what ends with an error, and which.
func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name    string
		scripts map[string]string
		want    []string // in the error
	}{
		{"dieharder finds fault", map[string]string{"dieharder": `echo "rgb_lagged_sum,  3,0.00000000,  FAILED"`}, []string{`a fault: ["dieharder on MixXOR"]`}},
		{"dieharder is never content", map[string]string{"dieharder": `echo "rgb_lagged_sum,  3,0.00100000,  WEAK"`}, []string{`a fault: ["dieharder on MixXOR"]`}},
		{"rngtest finds too much", map[string]string{"rngtest": strings.Replace(scripts["rngtest"], "83", "104", 1)}, []string{`a fault: ["rngtest on MixXOR"]`}},
		{"rngtest finds too little", map[string]string{"rngtest": strings.Replace(scripts["rngtest"], "83", "63", 1)}, []string{`a fault: ["rngtest on MixXOR"]`}},
		{"ent finds fault", map[string]string{"ent": `echo "would exceed this value more than 99.99 percent of the times."`}, []string{`a fault: ["ent on MixXOR"]`}},
		{"ent finds nothing", map[string]string{"ent": `echo "would exceed this value 50.00 percent of the times."`}, []string{"so that they pass the others says nothing: [\"ent\"]"}},
		{"nothing is found", map[string]string{
			"ent":       `echo "would exceed this value 50.00 percent of the times."`,
			"rngtest":   strings.ReplaceAll(scripts["rngtest"], "spoiled*", "none"),
			"dieharder": `echo "diehard_runs,  0,0.5,  PASSED"`,
		}, []string{`"spoiled: stuck bit"`, `"dieharder" "rngtest" "ent"]`}},

		{"no dieharder", map[string]string{"dieharder": ""}, []string{`"dieharder": executable file not found`}},
		{"no rngtest", map[string]string{"rngtest": ""}, []string{`"rngtest": executable file not found`}},
		{"no ent", map[string]string{"ent": ""}, []string{`"ent": executable file not found`}},
		{"dieharder ends", map[string]string{"dieharder": "echo no memory; exit 4"}, []string{"dieharder -g 200", "exit status 4\nno memory"}},
		{"dieharder says something else", map[string]string{"dieharder": "echo hello"}, []string{"dieharder -d ", "unknown output:\nhello"}},
		{"rngtest ends", map[string]string{"rngtest": "echo no memory; exit 4"}, []string{"rngtest -c 500000", "exit status 4\nno memory"}},
		{"rngtest says something else", map[string]string{"rngtest": "echo hello"}, []string{"rngtest printed no counts:\nhello"}},
		{"rngtest counts other blocks", map[string]string{"rngtest": "echo FIPS 140-2 successes: 7; echo FIPS 140-2 failures: 1"}, []string{"8 blocks, want 500000"}},
		{"rngtest's count is beyond all bounds", map[string]string{"rngtest": "echo FIPS 140-2 successes: 99999999999999999999; echo FIPS 140-2 failures: 1"}, []string{"value out of range"}},
		{"ent ends", map[string]string{"ent": "echo no memory; exit 4"}, []string{"ent  on ", "exit status 4\nno memory"}},
		{"ent says something else", map[string]string{"ent": "echo hello"}, []string{"ent printed no chi-square:\nhello"}},
	} {
		onPath(t, c.scripts)
		// The smallest size in which a fault can be found.
		small := size{tests: []test{{"-d 0", 1}}, blocks: 500_000, entRuns: 5}
		trials := newTrials(ownName, "MixXOR", small)
		for _, stream := range spoiled {
			trials = append(trials, newTrials(ownName, stream, small)...)
		}
		var stdout, stderr bytes.Buffer
		err := runAll(t.Context(), trials, &stderr)
		if err == nil {
			err = report(trials, &stdout)
		}
		for _, want := range c.want {
			if !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("%s: no %q in\n%v\n%s", c.name, want, err, stdout.String())
			}
		}
	}
}

// TestTestedAgain: a result that is weak once, and then is not, is no fault; the table
// says that the test was run again.
func TestTestedAgain(t *testing.T) {
	onPath(t, map[string]string{"dieharder": `
		if [ -e "$0.again" ]; then assessment=PASSED; else assessment=WEAK; fi
		: >"$0.again"
		echo "sts_monobit,  1,0.00200000,  $assessment"`})
	tr := dieharder(ownName, "MixXOR", []test{{"-d 100", 1}})
	if err := runAll(t.Context(), []*trial{tr}, new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	if v := tr.judge(); v.fault || v.figures != "1 tests, 1 results; 1 tests run again; 0 faults" {
		t.Errorf("%t, %q", v.fault, v.figures)
	}
}

// TestUsage: what is asked for wrongly ends with 2, what fails or is interrupted with
// 1, and says why.
func TestUsage(t *testing.T) {
	onPath(t, nil)
	ended, end := context.WithCancel(t.Context())
	end()
	for _, c := range []struct {
		ctx  context.Context
		args []string
		code int
		want string // on stderr
	}{
		{t.Context(), []string{"fast"}, 2, "-quick"},
		{t.Context(), []string{"-fast"}, 2, "-fast"},
		{t.Context(), []string{"-h"}, 0, "-quick"},
		{ended, nil, 1, "stats: context canceled"},
	} {
		var stdout, stderr bytes.Buffer
		if code := command(c.ctx, ownName, c.args, &stdout, &stderr); code != c.code || !strings.Contains(stderr.String(), c.want) || stdout.Len() > 0 {
			t.Errorf("%q ends with %d, want %d and %q:\n%s%s", c.args, code, c.code, c.want, stdout.String(), stderr.String())
		}
	}
}
