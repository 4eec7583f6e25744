package main

import (
	"crypto/sha256"
	_ "embed"
	"fmt"
	"go/parser"
	"go/token"
	goversion "go/version"
	"io"
	"log"
	"os"
	"runtime"
	"strings"

	"golang.org/x/tools/go/analysis/singlechecker"

	"example.com/qrand/cmd/qrandvet/ignoredreader"
	module "example.com/qrand/internal/version"
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
	case "-version", "--version":
		fmt.Println("qrandvet", module.Get())
		return
	case "-V=full":
		// GOVERSION is set by go vet, which asks this before it checks anything.
		if program, vet := lang(runtime.Version()), lang(os.Getenv("GOVERSION")); program != "" && goversion.Compare(program, vet) < 0 {
			log.Fatalf("built with %s, this program cannot check packages for %s, the version of go vet: build it again with that version", program, vet)
		}
		fmt.Println(version())
		return
	}
	analyzer := *ignoredreader.Analyzer
	analyzer.Name = "qrandvet" // by which its messages call the program
	singlechecker.Main(&analyzer)
}

// lang returns go1.N of a version of Go that is known as 1.N, and nothing of others, such as a
// development version.
func lang(version string) string {
	version, _, _ = strings.Cut(version, " ") // before experiments
	return goversion.Lang(version)
}

//go:embed doc.go
var doc []byte

// page returns the documentation of the command as text.
func page() string {
	file, err := parser.ParseFile(token.NewFileSet(), "doc.go", doc, parser.ParseComments)
	if err != nil {
		log.Fatal(err)
	}
	return file.Doc.Text()
}

// version returns what go vet asks for, to know which cached results are still right. They
// depend on this program, and also on godebug lines, which go vet does not expect.
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
