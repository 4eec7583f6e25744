package ignoredreader_test

import (
	"testing"

	"golang.org/x/tools/go/analysis/analysistest"

	"example.com/qrand/cmd/qrandvet/ignoredreader"
)

// TestReports: what is reported and what is not is said by the want comments of
// testdata, a module with the go line 1.26.
func TestReports(t *testing.T) {
	analysistest.Run(t, analysistest.TestData(), ignoredreader.Analyzer, "./reported", "./quiet", "./exempt")
}

// TestFixes: the fixed files are the golden ones. That such files compile and
// then read their reader is shown by the command's TestFix.
func TestFixes(t *testing.T) {
	analysistest.RunWithSuggestedFixes(t, analysistest.TestData(), ignoredreader.Analyzer, "./fixed")
}
