package clients

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// shut saves and closes, as a Relay does at its end.
func shut(t *testing.T, c *List) {
	t.Helper()
	if err := errors.Join(c.Save(), c.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestRestart: quotas and totals go on where Save left them. A new token is no new
// quota.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "clients.json")
		web := Client{Name: "web-1", Quota: Quota{100, time.Hour}}
		token := add(t, path, web)
		c := open(t, path)
		time.Sleep(30 * time.Minute)
		if _, reached, _ := known(t, c, token).Charge(80, time.Now()); reached != NoLimit {
			t.Fatal("refused")
		}
		shut(t, c)
		used := time.Now()
		time.Sleep(time.Minute)

		c = open(t, path)
		if st := c.Status()[0]; st.PeriodBytes != 80 || st.TotalBytes != 80 || !st.LastUsed.Equal(used) {
			t.Errorf("after a restart: %+v", st)
		}
		cl := known(t, c, token)
		if _, reached, wait := cl.Charge(21, time.Now()); reached != QuotaLimit || time.Now().Add(wait).Sub(used) != 30*time.Minute {
			t.Errorf("more than the quota: limit %d, wait %v", reached, wait)
		}
		if _, reached, _ := cl.Charge(15, time.Now()); reached != NoLimit {
			t.Error("less than the quota is refused")
		}
		shut(t, c)
		if err := Revoke(path, web.Name); err != nil {
			t.Fatal(err)
		}
		c = open(t, path)
		shut(t, c)
		token = add(t, path, web)
		c = open(t, path)
		cl = known(t, c, token)
		if _, reached, _ := cl.Charge(6, time.Now()); reached != QuotaLimit {
			t.Error("a new token is a new quota")
		}
		if _, reached, _ := cl.Charge(5, time.Now()); reached != NoLimit {
			t.Error("what is left of the quota is refused")
		}
		shut(t, c)
		time.Sleep(29 * time.Minute)
		c = open(t, path)
		if _, reached, _ := known(t, c, token).Charge(100, time.Now()); reached != NoLimit {
			t.Error("a new period is refused")
		}
	})
}

func TestSaveWritesChanges(t *testing.T) {
	path := listFile(t, `{"clients":[{"name":"a","certificate":"a"}]}`)
	c := open(t, path)
	saved := func() os.FileInfo {
		t.Helper()
		if err := c.Save(); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path + ".usage")
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	first := saved()
	if !os.SameFile(first, saved()) {
		t.Error("it was written without a change")
	}
	c.current.Load().all[0].Charge(1, time.Now())
	second := saved()
	if os.SameFile(first, second) {
		t.Error("a change was not written")
	}
	if runtime.GOOS != "windows" && second.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", second.Mode())
	}
	// If somebody deletes it while the relay runs, it comes back.
	if err := os.Remove(path + ".usage"); err != nil {
		t.Fatal(err)
	}
	c.current.Load().all[0].Charge(1, time.Now())
	saved()
}

// TestTwoRelays: two relays with one file would undo each other's changes. The second
// cannot open it, and the first goes on.
func TestTwoRelays(t *testing.T) {
	path := listFile(t, `{"clients":[{"name":"a","certificate":"a"}]}`)
	one := open(t, path)
	spend := func() {
		t.Helper()
		one.current.Load().all[0].Charge(1, time.Now())
		if err := one.Save(); err != nil {
			t.Error(err)
		}
	}
	spend()
	if two, err := Open(path, ""); err == nil || two != nil || !strings.Contains(err.Error(), "end that one first") {
		t.Errorf("a second relay: %v", err)
	}
	spend()
	if all, err := Read(path, ""); err != nil || all[0].TotalBytes != 2 {
		t.Errorf("while the relay runs, the list is %+v, %v", all, err)
	}
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	one.current.Load().all[0].Charge(1, time.Now())
	if err := one.Save(); err == nil {
		t.Error("without the lock it is written")
	}
	before, err := os.Stat(path + ".usage")
	if err != nil {
		t.Fatal(err)
	}
	shut(t, open(t, path))
	// It is replaced by the same: if that cannot be done, a relay does not start.
	if after, err := os.Stat(path + ".usage"); err != nil || os.SameFile(before, after) || after.Size() != before.Size() {
		t.Errorf("%v is what was %v, %v", after, before, err)
	}
}

// TestUsageReplaced: Save notices that somebody wrote the file in spite of the lock.
func TestUsageReplaced(t *testing.T) {
	for _, before := range []string{"", `{"clients":{}}`} {
		path := listFile(t, `{"clients":[{"name":"a","certificate":"a"}]}`)
		if before != "" {
			put(t, path+".usage", before)
		}
		c := open(t, path)
		put(t, path+".usage", `{"clients":{"a":{"total_bytes":7}}}`)
		c.current.Load().all[0].Charge(1, time.Now())
		if err := c.Save(); err == nil || !strings.Contains(err.Error(), "give each relay a list of clients of its own") {
			t.Errorf("after %q somebody else's file was replaced: %v", before, err)
		}
		if err := errors.Join(os.Remove(path+".usage"), os.Mkdir(path+".usage", 0o700)); err != nil {
			t.Fatal(err)
		}
		if err := c.Save(); err == nil || strings.Contains(err.Error(), "somebody else") {
			t.Errorf("a folder is called a file of somebody else's: %v", err)
		}
	}
}

func TestUsageElsewhere(t *testing.T) {
	path := listFile(t, `{"clients":[{"name":"a","certificate":"a"}]}`)
	usage := filepath.Join(t.TempDir(), "usage.json")
	c, err := Open(path, usage)
	if err != nil {
		t.Fatal(err)
	}
	c.current.Load().all[0].Charge(7, time.Now())
	shut(t, c)
	if all, err := Read(path, usage); err != nil || all[0].TotalBytes != 7 {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := os.Stat(path + ".usage"); !os.IsNotExist(err) {
		t.Errorf("there is a file beside the list: %v", err)
	}
}

// TestUsageBehindLinks: a link to the usage file stays a link, also one to a file that is not
// there yet, and no second relay may use the file by another name.
func TestUsageBehindLinks(t *testing.T) {
	dir := t.TempDir()
	real, link, hard := filepath.Join(dir, "volume", "usage.json"), filepath.Join(dir, "link.json"), filepath.Join(dir, "hard.json")
	if err := os.Mkdir(filepath.Dir(real), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join("volume", "usage.json"), link); err != nil {
		t.Skipf("links cannot be made here: %v", err)
	}
	path := filepath.Join(dir, "clients.json")
	token := add(t, path, Client{Name: "web-1", Rate: -1})
	for range 2 { // the file is not there yet, and is there
		c, err := Open(path, link)
		if err != nil {
			t.Fatal(err)
		}
		known(t, c, token)
		if err := c.Save(); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("the link is a file now: %v, %v", info, err)
		}
		if data, err := os.ReadFile(real); err != nil || !strings.Contains(string(data), "web-1") {
			t.Errorf("%s, %v", data, err)
		}
		if _, err := Open(path, real); err == nil || !strings.Contains(err.Error(), "a relay that runs writes") {
			t.Errorf("a second relay has the same file by another name: %v", err)
		}
		shut(t, c)
	}
	if err := os.Link(real, hard); err != nil {
		t.Skipf("hard links cannot be made here: %v", err)
	}
	if _, err := Open(path, hard); err == nil || !strings.Contains(err.Error(), "hard link") {
		t.Errorf("a hard link: %v", err)
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, loop); err == nil {
		t.Error("a link to itself")
	}
}

func TestUnwritableFolder(t *testing.T) {
	path := listFile(t, `{"clients":[]}`)
	missing := filepath.Join(filepath.Dir(path), "missing", "usage")
	if c, err := Open(path, missing); err == nil || c != nil || !strings.Contains(err.Error(), "cannot be written") {
		t.Errorf("%v, %v", c, err)
	}
	if os.Getuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("there is no folder here in which this user may not write")
	}
	folder := filepath.Dir(path)
	shut(t, open(t, path)) // which leaves a file to lock
	if err := os.Chmod(folder, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(folder, 0o700)
	if c, err := Open(path, ""); err == nil || c != nil || !strings.Contains(err.Error(), "cannot be written") {
		t.Errorf("%v, %v", c, err)
	}
}

// TestUsageIsNoFile: a device (or a pipe, which would keep a relay waiting) and the list itself
// are no files of usage. Nothing says to delete them, and no lock is left beside them.
func TestUsageIsNoFile(t *testing.T) {
	const text = `{"clients":[]}`
	path := listFile(t, text)
	link := filepath.Join(t.TempDir(), "link")
	wrong := map[string]string{os.DevNull: "not a regular file", t.TempDir(): "not a regular file", path: "is the list of clients"}
	if err := os.Symlink(path, link); err == nil {
		wrong[link] = "is the list of clients"
	}
	for usage, want := range wrong {
		_, openErr := Open(path, usage)
		_, readErr := Read(path, usage)
		for _, err := range []error{openErr, readErr} {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "delete") {
				t.Errorf("%s: %v, want %q", usage, err, want)
			}
		}
		if _, err := os.Stat(usage + ".lock"); err == nil {
			t.Errorf("%s: a lock is left", usage)
		}
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != text {
		t.Errorf("the list: %q, %v", data, err)
	}
}

func TestDamagedUsage(t *testing.T) {
	path := listFile(t, `{"clients":[]}`)
	for _, text := range []string{
		"", "x", "{}", "null", `{"clients":null}`, `{"clients":{}} x`, `{"clients":{}}{}`, `{"clients":{},"more":1}`,
		`{"clients":{"a":{"period_bytes":-1}}}`, `{"clients":{"a":{"total_bytes":-1}}}`, `{"clients":{"a":{"total_bytes":"1"}}}`,
		`{"clients":{"a":{"bytes":1}}}`, `{"clients":{"a":{"last_used":"x"}}}`, `{"clients":{"a":{"total_by`,
	} {
		put(t, path+".usage", text)
		for what, open := range map[string]func() error{
			"Open": func() error { _, err := Open(path, ""); return err },
			"Read": func() error { _, err := Read(path, ""); return err },
		} {
			if err := open(); err == nil || !strings.Contains(err.Error(), "clients.json.usage") || !strings.Contains(err.Error(), "or delete it: then all quotas and totals begin anew") {
				t.Errorf("%s with %q: %v", what, text, err)
			}
		}
		if data, err := os.ReadFile(path + ".usage"); err != nil || string(data) != text {
			t.Errorf("%q was replaced by %q, %v", text, data, err)
		}
	}
	if err := os.Remove(path + ".usage"); err != nil {
		t.Fatal(err)
	}
	open(t, path)
}
