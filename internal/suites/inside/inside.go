// Package inside sets rand.Reader to a qrand.Source, for the tests of other people's
// packages. .ci/suites copies it into a module of its own, which they can import.
package inside

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"testing"
	"time"

	"example.com/qrand"
)

// reportEnv names the file that report appends to; mixEnv is the Source's Mix. A
// program that a test starts without them keeps the rand.Reader that it has.
const (
	reportEnv = "QRAND_SUITES_REPORT"
	mixEnv    = "QRAND_SUITES_MIX"
)

var source *qrand.Source

func init() {
	if os.Getenv(reportEnv) == "" {
		return
	}
	if err := replaceReader(); err != nil {
		fmt.Fprintln(os.Stderr, "inside:", err)
		os.Exit(1)
	}
}

func replaceReader() error {
	var mix qrand.Mix
	if err := mix.UnmarshalText([]byte(os.Getenv(mixEnv))); err != nil {
		return err
	}
	src, err := qrand.New(qrand.Config{Mix: mix})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := src.WaitSeeded(ctx); err != nil {
		return err
	}
	rand.Reader, source = src, src
	return nil
}

// Main is for a TestMain: it runs the tests, reports, and ends the process.
func Main(m *testing.M) {
	code := m.Run()
	if err := report(); err != nil {
		fmt.Println("FAIL:", err)
		code = 1
	}
	os.Exit(code)
}

// Test is for a package that has a TestMain of its own: as the last test it reports
// what the others read.
func Test(t *testing.T) {
	if err := report(); err != nil {
		t.Fatal(err)
	}
}

// report appends to the report in which directory the tests ran, how many bytes
// the Source gave, and how many blocks went into it.
func report() error {
	name := os.Getenv(reportEnv)
	if name == "" {
		return nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	st := source.Status()
	_, err = fmt.Fprintf(f, "%s %d %d\n", dir, st.Bytes, st.Blocks)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
