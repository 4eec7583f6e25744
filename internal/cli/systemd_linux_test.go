package cli

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReady: systemd is told once, and nobody if systemd does not listen.
func TestReady(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Ready(); err != nil {
		t.Error("without systemd:", err)
	}
	dir, err := os.MkdirTemp("", "ready") // t.TempDir is too long for an address on some systems
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	name := filepath.Join(dir, "notify")
	t.Setenv("NOTIFY_SOCKET", name)
	if err := Ready(); err == nil || !strings.Contains(err.Error(), "unset NOTIFY_SOCKET") {
		t.Errorf("nobody listens, and the error is %v", err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	if err := Ready(); err != nil {
		t.Fatal(err)
	}
	var buf [64]byte
	n, err := conn.Read(buf[:])
	if got := string(buf[:n]); err != nil || got != "READY=1" {
		t.Errorf("systemd was told %q, %v", got, err)
	}
	if left, ok := os.LookupEnv("NOTIFY_SOCKET"); ok {
		t.Errorf("a program that this one starts would find %q", left)
	}
}
