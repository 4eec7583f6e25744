package kernel

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/qrand"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// privileged reports whether this process has CAP_SYS_ADMIN where the kernel asks
// for it: in the first user namespace.
func privileged(t *testing.T) bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "CapEff:")
	caps, err := strconv.ParseUint(strings.Fields(rest)[0], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	uids, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	whole := slices.Equal(strings.Fields(string(uids)), []string{"0", "0", "4294967295"})
	return caps&(1<<unix.CAP_SYS_ADMIN) != 0 && whole
}

// feedKernel feeds this kernel's pool over HTTPS, and checks that what is said of it
// is what this process may do.
func feedKernel(t *testing.T) {
	permitted := privileged(t)
	t.Logf("uid %d, CAP_SYS_ADMIN %v", os.Getuid(), permitted)
	server := qrypttest.NewServer(qrypttest.Config{})
	defer server.Close()
	client, err := qrypt.New(qrypt.Config{Endpoints: server.Endpoints(), Token: qrypt.StaticToken(server.Token()), HTTPClient: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Blocks: client, CreditBits: MaxCreditBits, Logger: slog.New(slog.DiscardHandler)}
	strict, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer strict.Close()
	if r, err := strict.Once(t.Context()); !errors.Is(err, qrand.ErrEmulated) || r != (Result{}) {
		t.Errorf("emulated entropy for a credit: %v, %v", r, err)
	}
	cfg.AllowEmulated = true
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := f.Once(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	if r.Mixed != qrypt.BlockSize || r.Credited != 0 || r.NotCredited != ErrEmulated || !r.Origin.Emulated {
		t.Errorf("%+v", r)
	}
	if r.Reseeded != permitted || !permitted && r.NotReseeded != ErrNotPermitted {
		t.Errorf("CAP_SYS_ADMIN is %v, and %v", permitted, r)
	}

	// One bit, of a block that was made here: it counts for nothing once the kernel's
	// generator is initialized, which it is, or there would be no TLS.
	d := f.pool.(*device)
	err = d.credit(goodBytes(1), 1)
	if permitted && err != nil || !permitted && err != ErrNotPermitted {
		t.Errorf("CAP_SYS_ADMIN is %v, and crediting gives %v", permitted, err)
	}
	if d.info != (randPoolInfo{}) {
		t.Error("the copy of a block is left in memory")
	}
	if err := d.credit(make([]byte, 8), 1); err == nil {
		t.Error("eight bytes passed for a block")
	}
}

func TestKernel(t *testing.T) { feedKernel(t) }

// TestKernelAsNobody is the same without any privilege.
func TestKernelAsNobody(t *testing.T) {
	const asNobody = "QRAND_TEST_AS_NOBODY"
	if os.Getenv(asNobody) != "" {
		if privileged(t) {
			t.Fatal("this process was to have no privilege")
		}
		feedKernel(t)
		return
	}
	if os.Getuid() != 0 {
		t.Skip("not run by root: TestKernel was without privilege already")
	}
	const nobody = 65534
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestKernelAsNobody$", "-test.v", "-test.count=1") // by its path it may be out of nobody's reach
	cmd.Dir = "/"
	cmd.Env = []string{asNobody + "=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	t.Logf("as nobody:\n%s", out)
	if err != nil || !strings.Contains(string(out), "not reseeded: not permitted (needs CAP_SYS_ADMIN)") {
		t.Errorf("as nobody: %v", err)
	}
}

// TestFeed feeds this kernel until it is told to end.
func TestFeed(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	blocks := &fakeBlocks{}
	told := slog.Default()
	defer slog.SetDefault(told)
	log := &logged{then: func() { cancel(enough) }}
	slog.SetDefault(slog.New(slog.NewTextHandler(log, nil)))
	if err := Feed(ctx, blocks); err != enough {
		t.Errorf("Feed: %v", err)
	}
	if !strings.Contains(log.String(), "mixed 1024 bytes (credited 0 bits)") || !wiped(&fakePool{}, blocks) {
		t.Errorf("the log is %q", log)
	}
}

// logged is a log that calls a function after each line.
type logged struct {
	bytes.Buffer
	then func()
}

func (l *logged) Write(p []byte) (int, error) {
	defer l.then()
	return l.Buffer.Write(p)
}

// TestOtherDevices: any other file than the kernel's device is refused.
func TestOtherDevices(t *testing.T) {
	file := filepath.Join(t.TempDir(), "random")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, "/dev/null", "/dev/urandom"} {
		if d, err := openDevice(path); err == nil || !strings.Contains(err.Error(), "is not the kernel's random device") {
			t.Errorf("%s: %v, %v", path, d, err)
		}
	}
	_, err := openDevice(file + ".no")
	if !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "kernel: open ") {
		t.Errorf("a missing device: %v", err)
	}
}

// TestMixWrites: all of a block is written, once, in its order.
func TestMixWrites(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	d := &device{fd: int(w.Fd())}
	if err := d.mix(goodBytes(3)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 2*qrypt.BlockSize)
	n, err := r.Read(got)
	if err != nil || !slices.Equal(got[:n], goodBytes(3)) {
		t.Errorf("%d bytes, %v", n, err)
	}
	w.Close()
	if err := (&device{fd: -1}).mix(goodBytes(3)); !errors.Is(err, unix.EBADF) {
		t.Errorf("to no file: %v", err)
	}
}

func TestExplain(t *testing.T) {
	for errno, want := range map[unix.Errno]error{
		0: nil, unix.EPERM: ErrNotPermitted, unix.EACCES: ErrNotPermitted, unix.ENODATA: ErrNotReady,
		unix.EINVAL: ErrUnknownCall, unix.ENOTTY: ErrUnknownCall, unix.ENOSYS: ErrUnknownCall,
	} {
		if got := explain(errno); got != want {
			t.Errorf("%v is explained as %v", errno, got)
		}
	}
	if err := explain(unix.EFAULT); !errors.Is(err, unix.EFAULT) || !strings.HasPrefix(err.Error(), "kernel: ") {
		t.Errorf("EFAULT is explained as %v", err)
	}
}
