package relay

import (
	"os"
	"path/filepath"
	"testing"

	"example.com/qrand/relay/clients"
)

// listFile writes a list of clients to a new folder.
func listFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clients.json")
	put(t, path, text)
	return path
}

func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func openList(t testing.TB, path string) *clients.List {
	t.Helper()
	list, err := clients.Open(path, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { list.Close() })
	return list
}

// addClient adds a client to a list and returns its token.
func addClient(t testing.TB, path string, c clients.Client) string {
	t.Helper()
	token, err := clients.Add(path, c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}
