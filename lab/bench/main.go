// Command bench measures qrand's Source beside what a user would pick instead,
// all in one run, and prints a Markdown table and draws throughput.svg:
//
//	go run . [-o DIR] [-time 45s]
//
// The README says what is compared with what, and what that does not show.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

func main() {
	dir := flag.String("o", ".", "the folder that throughput.svg is written to")
	d := flag.Duration("time", 45*time.Second, "how long to read; openssl speed takes 24 seconds more")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bench: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	ssl, err := findOpenSSL()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: openssl speed is left out:", err)
	}
	if err := run(os.Stdout, ssl, *dir, *d); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, ssl *openSSL, dir string, d time.Duration) error {
	readers, closeAll, err := openReaders()
	if err != nil {
		return err
	}
	defer closeAll()
	before := load()
	rows, err := measure(readers, ssl, d)
	if err != nil {
		return err
	}
	// Afterwards, most of the load is this program.
	fmt.Fprintf(w, "%s. Load average before: %s. In parentheses: speed as a multiple of %s's.\n", machine(), before, baseline)
	fmt.Fprintf(w, "\nMedian of %d bursts:\n\n%s", len(rows[0].ns[0]), table(rows, median))
	fmt.Fprintf(w, "\nFastest burst:\n\n%s", table(rows, fastest))
	svg, err := drawSVG(rows, machine())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(dir, "throughput.svg")
	if err := os.WriteFile(path, svg, 0o644); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\nThe plot is in %s.\n", path)
	return err
}
