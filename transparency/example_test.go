//go:build unix

package transparency_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"example.com/qrand/provenance/tlogproof"
	"example.com/qrand/transparency"
)

// The envelope of a statement goes into a new log, and its proof is verified without the log. The command does
// the same: qrandlog.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	dir = filepath.Join(dir, "log")
	keys, err := transparency.Create(dir, "log.example/keys", nil) // nil: no witnesses, only for a rehearsal
	if err != nil {
		log.Fatal(err)
	}
	keyLog, err := transparency.Open(dir, transparency.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer keyLog.Close()
	leaf, err := os.ReadFile("../provenance/testdata/vectors/two-signers.provenance.dsse.json") // Envelope.Encode makes such a file
	if err != nil {
		log.Fatal(err)
	}
	if _, err := keyLog.Add(ctx, leaf); err != nil {
		log.Fatal(err)
	}
	proof, err := keyLog.Prove(ctx, leaf)
	if err != nil {
		log.Fatal(err)
	}

	policy, err := tlogproof.NewPolicy(keys, nil, 0, 0)
	if err != nil {
		log.Fatal(err)
	}
	verdict, err := policy.Verify(proof, tlogproof.Entry{Leaf: leaf})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("entry %d of %d in %s\n", verdict.Index, verdict.Size, verdict.Origin)
	// Output: entry 0 of 1 in log.example/keys
}
