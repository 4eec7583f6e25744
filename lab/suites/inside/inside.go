// Package inside sets rand.Reader to a qrand.Source, for the tests of other people's
// packages. lab/suites/run copies it into a module of its own, which they can import.
package inside

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
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
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := start(ctx); err != nil {
		log.Fatalf("inside: %v", err)
	}
}

// start sets rand.Reader to a Source that is seeded, if there is to be a report.
func start(ctx context.Context) error {
	if os.Getenv(reportEnv) == "" {
		return nil
	}
	var mix qrand.Mix
	if err := mix.UnmarshalText([]byte(os.Getenv(mixEnv))); err != nil {
		return err
	}
	src, err := qrand.New(qrand.Config{Mix: mix})
	if err != nil {
		return err
	}
	if err := src.WaitSeeded(ctx); err != nil {
		src.Close()
		return err
	}
	rand.Reader, source = src, src //qrandvet:ignore the emulator's own keys are not what is tested
	return nil
}

// Main is for a TestMain: it runs the tests, reports, and ends the process.
func Main(m *testing.M) { os.Exit(finish(m.Run())) }

// finish reports, and returns what to exit with after tests that end with code.
func finish(code int) int {
	if err := report(); err != nil {
		fmt.Println("FAIL:", err)
		return 1
	}
	return code
}

// Test is for a package that has a TestMain of its own: as the last test it reports
// what the others read.
func Test(t testing.TB) {
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
