package clients

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic("rand.Reader was read") }

// TestNewToken: a token is 256 bits from the rand.Reader with which the program
// started. What is in rand.Reader now may be a Source that waits for a relay.
func TestNewToken(t *testing.T) {
	original := rand.Reader
	rand.Reader = panicReader{}
	defer func() { rand.Reader = original }()
	seen := map[string]bool{}
	for range 1000 {
		token, err := newToken()
		if err != nil || !regexp.MustCompile(`^qrelay_[A-Za-z0-9_-]{43}$`).MatchString(token) || seen[token] {
			t.Fatalf("%q, %v", token, err)
		}
		seen[token] = true
	}
}

func TestAddListRevoke(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.json")
	began := time.Now().Add(-time.Second)
	token := add(t, path, Client{Name: "web-1", Quota: Quota{1 << 20, 36 * time.Hour}})
	if got := add(t, path, Client{Name: "db", Certificate: "db.example", Rate: -1}); got != "" {
		t.Errorf("a client with a certificate has the token %q", got)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	data, err := os.ReadFile(path)
	if err != nil || !regexp.MustCompile(`^\{
  "clients": \[
    \{
      "name": "web-1",
      "token_sha256": "`+hashOf(token)+`",
      "created": "\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
      "rate": 30,
      "bandwidth": 65536,
      "quota": \{
        "bytes": 1048576,
        "period": "36h"
      \}
    \},
    \{
      "name": "db",
      "certificate": "db.example",
      "created": "[^"]*",
      "rate": -1,
      "bandwidth": 65536
    \}
  \]
\}
$`).Match(data) {
		t.Errorf("%s, %v", data, err)
	}
	all, err := Read(path, "")
	if err != nil || len(all) != 2 || all[0].Name != "db" || all[1].Name != "web-1" || all[1].Created.Before(began) || all[1].Rate != 30 || all[0].Bandwidth != 65536 {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := Add(path, Client{Name: "db"}); !errors.Is(err, ErrExists) {
		t.Errorf("a name twice: %v", err)
	}
	for _, bad := range []Client{{}, {Name: "a b"}, {Name: "x", Rate: -2}, {Name: "x", Quota: Quota{Bytes: 1}}, {Name: "x", Quota: Quota{Period: time.Hour}},
		{Name: "x", Certificate: "db.example"}, {Name: "x", Operator: true, Quota: Quota{1, time.Hour}}, {Name: "x", Operator: true, Bandwidth: 1}, {Name: "x", Bandwidth: -2}, {Name: "x", Expires: time.Unix(-1, 0)}} {
		if token, err := Add(path, bad); err == nil || token != "" {
			t.Errorf("%+v was added", bad)
		}
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(data) {
		t.Errorf("a refused client changed the file: %s, %v", after, err)
	}
	if err := Revoke(path, "web"); !errors.Is(err, ErrUnknown) {
		t.Errorf("revoking nobody: %v", err)
	}
	if err := Revoke(path, "web-1"); err != nil {
		t.Fatal(err)
	}
	if all, err := Read(path, ""); err != nil || len(all) != 1 || all[0].Name != "db" {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestEditLeavesOthersFiles(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "clients.json")
	if err := Revoke(path, "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if names, err := os.ReadDir(folder); err != nil || len(names) != 0 {
		t.Errorf("files were made: %v, %v", names, err)
	}
	put(t, path, "something else")
	if _, err := Add(path, Client{Name: "a"}); err == nil || !strings.Contains(err.Error(), "not JSON") {
		t.Errorf("another file: %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "something else" {
		t.Errorf("it was replaced: %s, %v", data, err)
	}
}

// TestEditFollowsLink: a link to the list stays a link.
func TestEditFollowsLink(t *testing.T) {
	path := listFile(t, `{"clients":[]}`)
	link := filepath.Join(t.TempDir(), "link.json")
	if err := os.Symlink(path, link); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	add(t, link, Client{Name: "a"})
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("%v, %v", info, err)
	}
	if all, err := Read(path, ""); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}

// TestEditConcurrently: no change is lost when several processes edit the list.
func TestEditConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.json")
	const editors, each = 8, 2
	var all sync.WaitGroup
	for g := range editors {
		all.Go(func() {
			for i := range each {
				if _, err := Add(path, Client{Name: fmt.Sprintf("keep-%d-%d", g, i)}); err != nil {
					t.Error(err)
				}
				name := fmt.Sprintf("drop-%d-%d", g, i)
				if _, err := Add(path, Client{Name: name}); err != nil {
					t.Error(err)
				}
				if err := Revoke(path, name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if list, err := Read(path, ""); err != nil || len(list) != editors*each {
		t.Errorf("%d clients are left, want %d; %v", len(list), editors*each, err)
	}
	names, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if err != nil || len(names) != 0 {
		t.Errorf("files were left: %v, %v", names, err)
	}
}

// TestNoTokenLeaks: no file, no error and no printed value has a token in it.
func TestNoTokenLeaks(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "clients.json")
	token := add(t, path, Client{Name: "web-1", Expires: time.Now().Add(time.Hour)})
	unknown, err := newToken()
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, path)
	cl := known(t, c, token)
	texts := map[string]string{
		"the client": fmt.Sprintf("%+v %#v", cl.Client, c.Status()),
		"the list":   fmt.Sprintf("%+v", c),
	}
	for name, r := range map[string]*http.Request{
		"unknown":   with("Bearer " + unknown),
		"malformed": with("Bearer " + token + "\x00"),
		"no scheme": with(token),
		"twice":     with("Bearer "+token, "Bearer "+unknown),
	} {
		if _, err := c.Identify(r); err != nil {
			texts["the refusal of "+name] = fmt.Sprintf("%v %+v", err, err)
		} else {
			t.Errorf("%s was not refused", name)
		}
	}
	for _, place := range []string{
		`{"clients":[{"name":"%s","certificate":"x"}]}`, `{"clients":[{"name":"x","token_sha256":"%s"}]}`,
		`{"clients":[{"name":"x","token":"%s"}]}`, `{"clients":[{"%s":1}]}`, `{"clients":["%s"]}`, `{"clients":%q}`,
		`{"clients":[{"name":"x","certificate":"x","expires":"%s"}]}`, `{"clients":[{"name":"x","certificate":"x","quota":{"bytes":1,"period":"%s"}}]}`,
		`{"clients":[{"name":"x","certificate":"%s "}]}`, `{"%s":[]}`, `{"clients":[%s]}`,
	} {
		if _, err := parse("f", []byte(strings.ReplaceAll(strings.ReplaceAll(place, "%q", `"%s"`), "%s", token))); err != nil {
			texts["the error of "+place] = err.Error()
		} else {
			t.Errorf("%s is a list", place)
		}
	}
	if err := Revoke(path, token); !errors.Is(err, ErrUnknown) {
		t.Errorf("revoking it by its token: %v", err)
	} else {
		texts["the error of Revoke"] = err.Error()
	}
	if _, err := Add(path, Client{Name: token}); err == nil {
		t.Error("a client may be called as a token is")
	} else {
		texts["the error of Add"] = err.Error()
	}
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(name)] = string(data)
	}
	for where, text := range texts {
		for _, secret := range []string{token, unknown} {
			for i := len(tokenPrefix); i+8 <= len(secret); i++ {
				if strings.Contains(text, secret[i:i+8]) {
					t.Errorf("%s has a part of a token: %s", where, text)
					break
				}
			}
		}
	}
}
