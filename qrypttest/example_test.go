package qrypttest_test

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"

	"example.com/qrand/qrypttest"
)

// A script of faults, and a client that meets them. docs/testing.md has a whole test, with a
// Source in a bubble of testing/synctest.
func Example() {
	server := qrypttest.NewServer(qrypttest.Config{})
	defer server.Close()

	faults, err := qrypttest.ParseScript("429 retry-after=5s; ok")
	if err != nil {
		log.Fatal(err)
	}
	server.Script(faults...)

	// A test has its client here, in place of these lines.
	for range 2 {
		req, err := http.NewRequest("GET", server.URL+"/api/v1/quantum-entropy?size=2", nil)
		if err != nil {
			log.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+server.Token())
		resp, err := server.Client().Do(req)
		if err != nil {
			log.Fatal(err)
		}
		var answer struct {
			Random [][]byte
			Size   int
		}
		if err := json.NewDecoder(resp.Body).Decode(&answer); resp.StatusCode == http.StatusOK && err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		fmt.Println(resp.StatusCode, resp.Header.Get("Retry-After"), answer.Size)
	}

	for _, r := range server.Requests() {
		fmt.Println(r.Method, r.Path, r.Blocks, "->", r.Status)
	}
	fmt.Println(qrypttest.EmulatedHeader+":", qrypttest.EmulatedValue)
	// Output:
	// 429 5 0
	// 200  2
	// GET /api/v1/quantum-entropy 2 -> 429
	// GET /api/v1/quantum-entropy 2 -> 200
	// Qrypt-Emulated: this entropy is emulated, not quantum
}
