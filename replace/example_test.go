package replace_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"example.com/qrand"
	"example.com/qrand/qrypttest"
	"example.com/qrand/replace"
)

// ids is such a variable as other packages have.
var ids = rand.Reader

// The Source takes its token and the rest from the environment.
func Example() {
	defer onEmulator()()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	defer replace.Reader(nil)

	src, err := qrand.New(qrand.Config{}) // Augment: a Read never fails
	if err != nil {
		log.Fatal(err)
	}
	if err := replace.Reader(src); err != nil {
		log.Fatal(err)
	}
	if err := src.WaitSeeded(ctx); err != nil { // before the first key that needs a block in it
		log.Print(err) // Reads work all the same
	}

	before := src.Status().Bytes
	rand.Text()
	ids.Read(make([]byte, 16))
	fmt.Println(src.Status().Bytes-before, "bytes came from the Source")
	// Output: 42 bytes came from the Source
}

// onEmulator sets the environment to an emulator's. A program has it from whoever runs it.
func onEmulator() (stop func()) {
	server := qrypttest.NewServer(qrypttest.Config{})
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, server.CAPEM(), 0o600); err != nil {
		log.Fatal(err)
	}
	os.Setenv("QRYPT_ENDPOINTS", strings.Join(server.Endpoints(), ","))
	os.Setenv("QRYPT_TOKEN", server.Token())
	os.Setenv("QRYPT_CA_FILE", ca)
	slog.SetDefault(slog.New(slog.DiscardHandler)) // a Source says that its entropy is emulated
	return func() {
		server.Close()
		os.RemoveAll(dir)
	}
}
