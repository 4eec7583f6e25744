package clients_test

import (
	"fmt"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"example.com/qrand/relay/clients"
)

// A client is added to a list, makes a request with its token, and is revoked. The command
// does the same: qrand relay token.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "clients.json")

	token, err := clients.Add(path, clients.Client{Name: "web-1", Expires: time.Now().AddDate(1, 0, 0), Bandwidth: 1 << 10})
	if err != nil {
		log.Fatal(err)
	}
	list, err := clients.Open(path, "")
	if err != nil {
		log.Fatal(err)
	}
	request := httptest.NewRequest("GET", "/api/v1/quantum-entropy?size=1", nil)
	request.Header.Set("Authorization", "Bearer "+token)
	member, err := list.Identify(request)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the request is from", member.Name)
	if err := list.Close(); err != nil {
		log.Fatal(err)
	}

	if err := clients.Revoke(path, "web-1"); err != nil { // a relay that has the list open sees it within seconds
		log.Fatal(err)
	}
	left, err := clients.Read(path, "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(left), "clients are left")
	// Output:
	// the request is from web-1
	// 0 clients are left
}
