package ignoredreader_test

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/tools/go/analysis/analysistest"

	"example.com/qrand/cmd/qrandvet/ignoredreader"
)

// TestReports: what is reported and what is not is said by the want comments of
// testdata, a module with the go line 1.26.
func TestReports(t *testing.T) {
	analysistest.Run(t, analysistest.TestData(), ignoredreader.Analyzer, "./reported", "./quiet", "./exempt")
}

// TestFixes: the fixed files are the golden ones, and files without one have no
// fix. That such files compile and then read their reader is shown by the
// command's tests.
func TestFixes(t *testing.T) {
	dir := analysistest.TestData()
	golden, err := filepath.Glob(filepath.Join(dir, "fixed", "*.golden"))
	if err != nil {
		t.Fatal(err)
	}
	fixed := map[string]bool{}
	for _, result := range analysistest.RunWithSuggestedFixes(t, dir, ignoredreader.Analyzer, "./fixed") {
		for _, d := range result.Diagnostics {
			if len(d.SuggestedFixes) > 0 {
				fixed[result.Pass.Fset.File(d.Pos).Name()+".golden"] = true
			}
		}
	}
	if got := slices.Sorted(maps.Keys(fixed)); !slices.Equal(got, golden) {
		t.Errorf("fixes for %q, golden are %q", got, golden)
	}
}
