package tlogproof_test

import (
	"fmt"
	"log"
	"os"
	"time"

	"example.com/qrand/provenance/tlogproof"
)

// A file is in a log, and two of two witnesses said so within a day. All of it is checked
// offline. The keys of the log and of the witnesses must have come another way than the proof.
func ExamplePolicy_Verify() {
	policy, err := tlogproof.NewPolicy(
		[]string{"log.example/vectors+97f9eb86+AdJjS5xoFq7TabQ6NoO2GY4wHa9kjWYlormtcTpAhR/E"},
		[]string{
			"witness.example/w1+adc9ad7e+BJcOogd5oXyDhVKeC/kpzkFt/9C+WZZhZ3G1/dmQjSBC",
			"witness.example/w2+f65c2532+BLe965vcB/9rtTzddzQ8CMCYdcLiIHtof1JB4V1WmfQh",
		}, 2, 24*time.Hour)
	if err != nil {
		log.Fatal(err)
	}
	leaf, err := os.ReadFile("../testdata/vectors/logged.provenance.dsse.json")
	if err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile("../testdata/vectors/logged.provenance.tlog-proof")
	if err != nil {
		log.Fatal(err)
	}
	proof, err := tlogproof.Parse(text)
	if err != nil {
		log.Fatal(err)
	}
	verdict, err := policy.Verify(proof, tlogproof.Entry{Leaf: leaf})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("entry", verdict.Index, "of", verdict.Origin, "by", verdict.Time.UTC())

	leaf[0]++ // the smallest change
	_, err = policy.Verify(proof, tlogproof.Entry{Leaf: leaf})
	fmt.Println(err)
	// Output:
	// entry 5 of log.example/vectors by 2026-03-01 12:02:00 +0000 UTC
	// these bytes are not entry 5 of 9 in the checkpoint: it is the proof of another entry, or its index, size or hashes were changed
}
