package main

import (
	"crypto/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"example.com/qrand/internal/relaycmd"
	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// unitFile is a unit or a drop-in of deploy/systemd, without its comments.
func unitFile(t *testing.T, name string) string {
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "systemd", name))
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^[#;].*\n`).ReplaceAllString(string(text), "")
}

var execStart = regexp.MustCompile(`(?m)^ExecStart=(\S+) (.*)$`)

// unitCommand finds the command that a unit starts, and its flags, which must be
// valid.
func unitCommand(t *testing.T, unit string) (cmd *cobra.Command, flags []string) {
	start := execStart.FindStringSubmatch(unit)
	if start == nil {
		t.Fatal("the unit starts nothing")
	}
	c, _, _ := screen(false, nil)
	cmd, flags, err := newRoot(c).Find(strings.Fields(start[2]))
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.ParseFlags(flags); err != nil {
		t.Error(err)
	}
	if left := cmd.Flags().Args(); len(left) > 0 {
		t.Errorf("the unit starts %s with %q", cmd.CommandPath(), left)
	}
	return cmd, flags
}

// unitSetting is the last value that a unit gives a setting.
func unitSetting(unit, name string) string {
	all := regexp.MustCompile(`(?m)^`+name+`=(.*)$`).FindAllStringSubmatch(unit, -1)
	if all == nil {
		return ""
	}
	return all[len(all)-1][1]
}

// TestRelayUnit: the unit starts a relay that keeps its secrets, with time to end and
// enough files. Only the drop-in gives it a capability.
func TestRelayUnit(t *testing.T) {
	unit, dropIn := unitFile(t, "qrand-relay.service"), unitFile(t, "qrand-relay-443.conf")
	cmd, flags := unitCommand(t, unit)
	if cmd.CommandPath() != "qrand relay" {
		t.Errorf("it starts %s", cmd.CommandPath())
	}
	for _, want := range []string{"CapabilityBoundingSet=", "NoNewPrivileges=yes", "DynamicUser=yes", "StateDirectory=qrand-relay",
		"LimitCORE=0", "MemorySwapMax=0", "Environment=QRYPT_TOKEN_FILE=%d/token", "Type=notify"} {
		if !strings.Contains(unit, "\n"+want+"\n") {
			t.Errorf("the unit has no line %q", want)
		}
	}
	if strings.Contains(unit, "CAP_") {
		t.Error("the unit has a capability")
	}
	if stop, err := time.ParseDuration(unitSetting(unit, "TimeoutStopSec")); err != nil || stop <= relaycmd.Grace {
		t.Errorf("it is killed after %v, %v: a relay may take %v to end", stop, err, relaycmd.Grace)
	}
	if files, err := strconv.Atoi(unitSetting(unit, "LimitNOFILE")); err != nil || files < 2048+64 {
		t.Errorf("it may have %d files open, %v: fewer than connections", files, err)
	}
	credentials := regexp.MustCompile(`(?m)^LoadCredential=(\S+?):`).FindAllStringSubmatch(unit, -1)
	for _, credential := range credentials {
		if !strings.Contains(unit, "%d/"+credential[1]) {
			t.Errorf("nothing uses the credential %s", credential[1])
		}
	}
	for _, used := range regexp.MustCompile(`%d/(\S+)`).FindAllStringSubmatch(unit, -1) {
		if !strings.Contains(unit, "\nLoadCredential="+used[1]+":") {
			t.Errorf("there is no credential %s", used[1])
		}
	}

	if all := regexp.MustCompile(`CAP_\w+`).FindAllString(dropIn, -1); len(all) != 2 || all[0] != "CAP_NET_BIND_SERVICE" || all[1] != "CAP_NET_BIND_SERVICE" {
		t.Errorf("the drop-in gives %v", all)
	}
	cmd, other := unitCommand(t, dropIn)
	if cmd.CommandPath() != "qrand relay" || strings.Join(other, " ") != strings.Replace(strings.Join(flags, " "), ":8443", ":443", 1) {
		t.Errorf("the drop-in starts %s %v, not what the unit starts with another port", cmd.CommandPath(), other)
	}
	verifyUnit(t, "qrand-relay.service", unit, nil)
	verifyUnit(t, "qrand-relay.service", unit, map[string]string{"443.conf": dropIn})
}

// underSystemd is qrand as a process whose unit has Type=notify, and the socket at which systemd
// would listen. A relay has a list of one client.
func underSystemd(t *testing.T, args ...string) (*exec.Cmd, *net.UnixConn) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("systemd is for Linux only")
	}
	path, err := exec.LookPath("qrand")
	if err != nil {
		t.Fatal(err)
	}
	if args[0] == "relay" {
		list := filepath.Join(t.TempDir(), "clients.json")
		if _, err := clients.Add(list, clients.Client{Name: "web"}); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--clients", list)
	}
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "@" + t.Name() + rand.Text(), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket.LocalAddr().String(),
		qrypt.EnvEndpoints+"=https://127.0.0.1:1", qrypt.EnvToken+"=token-of-nobody-0123456789")
	return cmd, socket
}

// TestReady: a relay that listens and a feed that runs tell systemd, as their units promise it.
func TestReady(t *testing.T) {
	for _, args := range [][]string{{"relay", "--plain", "--listen", "127.0.0.1:0"}, {"feed"}} {
		cmd, socket := underSystemd(t, args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		socket.SetReadDeadline(time.Now().Add(time.Minute))
		var buf [64]byte
		n, err := socket.Read(buf[:])
		if got := string(buf[:n]); err != nil || got != "READY=1" {
			t.Errorf("qrand %s tells systemd %q, %v", args[0], got, err)
		}
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait() // its status says that a signal ended it
	}
}

// TestNotReady: a relay that cannot say where it listens ends, and has not told systemd that it
// is ready.
func TestNotReady(t *testing.T) {
	cmd, socket := underSystemd(t, "relay", "--plain", "--listen", "127.0.0.1:0")
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	cmd.Stdout = full
	if err := cmd.Run(); err == nil {
		t.Error("the relay was successful")
	}
	socket.SetReadDeadline(time.Now().Add(time.Millisecond)) // what it told is there already
	var buf [64]byte
	if n, err := socket.Read(buf[:]); err == nil {
		t.Errorf("systemd was told %q", buf[:n])
	}
}

// verifyUnit lets systemd check that it knows every setting. Without drop-ins it also
// checks that the unit exposes little: 1.2 of 10 with systemd 252.
func verifyUnit(t *testing.T, name, unit string, dropIns map[string]string) {
	if unitSetting(unit, "SystemCallErrorNumber") != "EPERM" {
		t.Error("a system call that the filter does not know kills the service: another kernel or Go may need one")
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze to verify the unit with")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, name)
	files := map[string]string{path: unit}
	for dropIn, text := range dropIns {
		files[filepath.Join(path+".d", dropIn)] = text
	}
	if err := os.Mkdir(path+".d", 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range files { // systemd checks that the program exists
		text = execStart.ReplaceAllString(text, "ExecStart="+self+" $2")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		cmd := exec.Command(analyze, args...)
		cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
		return string(out)
	}
	for line := range strings.Lines(run("verify", "--man=no", path)) {
		if strings.Contains(line, "qrand") {
			t.Errorf("systemd-analyze verify: %s", line)
		}
	}
	if len(dropIns) == 0 {
		run("security", "--offline=yes", "--threshold=15", "--no-pager", path) // in tenths
	}
}
