package main

import (
	"crypto/sha256"
	_ "embed"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"log"
	"os"

	"golang.org/x/tools/go/analysis/singlechecker"

	"example.com/qrand/cmd/qrandvet/ignoredreader"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("qrandvet: ")
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, "usage: qrandvet [flags] packages, such as ./... (qrandvet -h says more)\n")
		os.Exit(2)
	}
	switch os.Args[1] {
	case "-h", "-help", "--help", "help":
		fmt.Print(page())
		return
	case "-V=full":
		fmt.Println(version())
		return
	}
	singlechecker.Main(ignoredreader.Analyzer)
}

//go:embed doc.go
var doc []byte

// page is the command's documentation as a terminal shows it.
func page() string {
	file, err := parser.ParseFile(token.NewFileSet(), "doc.go", doc, parser.ParseComments)
	if err != nil {
		log.Fatal(err)
	}
	return file.Doc.Text()
}

// version is what go vet asks for, to know which of its cached results are still
// true. Besides the program they depend on godebug lines, which go vet does not
// think that a tool looks at.
func version() string {
	path, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	program, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer program.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, program); err != nil {
		log.Fatal(err)
	}
	dir, err := os.Getwd()
	if err != nil {
		log.Fatal(err)
	}
	io.WriteString(hash, ignoredreader.Settings(dir))
	return fmt.Sprintf("qrandvet version devel buildID=%x", hash.Sum(nil))
}
