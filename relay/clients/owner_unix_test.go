//go:build unix

package clients

import (
	"os"
	"syscall"
	"testing"
)

// TestReplaceKeepsOwner: root can add a client to the list of a relay that runs as
// another user.
func TestReplaceKeepsOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a file away")
	}
	const user, group = 12, 34
	path := listFile(t, "old")
	if err := os.Chown(path, user, group); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := replaceFile(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	if st.Uid != user || st.Gid != group || info.Mode().Perm() != 0o640 {
		t.Errorf("user %d, group %d, %v", st.Uid, st.Gid, info.Mode())
	}
}
