// Laid over qrandvet by release/build: writes its manual page, from its documentation, to the
// folder of the first argument.
package main

import (
	"fmt"
	"go/doc/comment"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
)

func init() {
	dir, version := os.Args[1], os.Args[2]
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	var parser comment.Parser
	printer := comment.Printer{HeadingLevel: 3, HeadingID: func(*comment.Heading) string { return "" }}
	markdown := fmt.Sprintf("%% \"QRANDVET\" \"1\" %q %q \"qrand\"\n", time.Unix(seconds, 0).UTC().Format("Jan 2006"), "qrand "+version) +
		"# NAME\nqrandvet - Report readers that the standard library does not read\n" +
		"# SYNOPSIS\n**qrandvet** [OPTION]... *PACKAGE*...\n" +
		"# DESCRIPTION\n" + string(printer.Markdown(parser.Parse(page())))
	file := filepath.Join(dir, "man", "qrandvet.1")
	if err := os.WriteFile(file, md2man.Render([]byte(markdown)), 0o644); err != nil {
		log.Fatal(err)
	}
	os.Exit(0)
}
