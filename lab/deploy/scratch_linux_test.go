package deploy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	caPath = "/etc/ssl/certs/ca-certificates.crt"
	nobody = 65532
)

// TestScratch runs the image as well as it can be without a container engine: in a
// root directory with nothing but what the Dockerfile copies and the Deployment
// mounts, as the Deployment's user, with its arguments, fed by an emulator whose CA
// stands for the public ones.
func TestScratch(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may change the root directory")
	}
	program := build(t)
	work := t.TempDir()
	emulated := start(t, exec.Command(program, "emulate", "--listen", "127.0.0.1:0", "--token", "a-token-for-the-emulator", "--quiet",
		"--ca-file", filepath.Join(work, "emulator.pem"), "--env-file", filepath.Join(work, "env")))
	endpoint := ""
	eventually(t, "the emulator starts", emulated, func() bool {
		env, _ := os.ReadFile(filepath.Join(work, "env"))
		_, rest, found := strings.Cut(string(env), "QRYPT_ENDPOINTS=")
		endpoint, _, _ = strings.Cut(rest, "\n")
		return found
	})

	// The image.
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(work, "emulator.pem"), filepath.Join(root, caPath), 0o644)
	copyFile(t, program, filepath.Join(root, "qrand"), 0o755)

	// The mounts: the files of a Secret belong to root, and the group may read them.
	m := readManifest(t)
	pod := m.deployment.Spec.Template.Spec
	relay := pod.Containers[0]
	certificate(t, program, filepath.Join(work, "tls"), endpoint, filepath.Join(work, "emulator.pem"))
	list := exec.Command(program, "relay", "token", "new", "web-1", "--clients", filepath.Join(work, "clients.json"))
	token, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(work, "token"), []byte("a-token-for-the-emulator\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mounts := map[string]string{}
	for _, mount := range relay.VolumeMounts {
		mounts[mount.Name] = filepath.Join(root, mount.MountPath)
	}
	for file, to := range map[string]string{"token": mounts["account"] + "/token", "clients.json": mounts["clients"] + "/clients.json",
		"tls.crt": mounts["tls"] + "/tls.crt", "tls": mounts["tls"] + "/tls.key"} {
		copyFile(t, filepath.Join(work, file), to, 0o440)
	}
	if err := os.MkdirAll(mounts["usage"], 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(mounts["usage"], 0, nobody); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(mounts["usage"], 0o775); err != nil {
		t.Fatal(err)
	}

	address := freeAddress(t)
	run := &exec.Cmd{Path: "/qrand", Args: append([]string{"/qrand"}, relay.Args...), Dir: "/"}
	for i, arg := range run.Args {
		run.Args[i] = strings.Replace(arg, "--listen=:8443", "--listen="+address, 1)
	}
	run.Env = []string{"QRYPT_ENDPOINTS=" + endpoint}
	for _, v := range relay.Env {
		run.Env = append(run.Env, v.Name+"="+v.Value)
	}
	run.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: uint32(*pod.SecurityContext.RunAsUser), Gid: uint32(*pod.SecurityContext.RunAsGroup)}}
	running := start(t, run)

	pem, err := os.ReadFile(filepath.Join(work, "tls.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: 10 * time.Second}
	get := func(path string) (int, string) {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		resp, err := client.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	eventually(t, "the relay is ready", running, func() bool {
		status, _ := get(relay.ReadinessProbe.HTTPGet.Path)
		return status == http.StatusOK
	})
	if status, body := get(relay.LivenessProbe.HTTPGet.Path); status != http.StatusOK {
		t.Errorf("the liveness probe gets %d, %s", status, body)
	}
	if status, body := get("/api/v1/quantum-entropy?size=1"); status != http.StatusOK || len(body) < 1024 {
		t.Errorf("a client gets %d, %s", status, body)
	}
	run.Process.Signal(syscall.SIGTERM)
	<-running.done
	if running.err != nil || !strings.Contains(running.log.String(), `"msg":"relay: stopped"`) {
		t.Errorf("after SIGTERM: %v", running.err)
	}
	if strings.Contains(running.log.String(), "can read the token file") {
		t.Error("the token's mode is one that the relay warns of")
	}
	usage, err := os.ReadFile(filepath.Join(mounts["usage"], "usage.json"))
	if err != nil || !strings.Contains(string(usage), `"web-1"`) {
		t.Errorf("the usage file has %s, %v", usage, err)
	}
}

// certificate makes what is to be tls.crt and tls.key.
func certificate(t *testing.T, program, key, endpoint, ca string) {
	t.Helper()
	cmd := exec.Command(program, "keygen", "ecdsa-p256", "--self-signed", "--subject", "CN=relay", "--san", "127.0.0.1", "-o", key)
	cmd.Env = append(os.Environ(), "QRYPT_TOKEN=a-token-for-the-emulator", "QRYPT_ENDPOINTS="+endpoint, "QRYPT_CA_FILE="+ca)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// copyFile copies a file for the Pod's group.
func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(to, 0, nobody); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(to, mode); err != nil {
		t.Fatal(err)
	}
}

// freeAddress is one that was free a moment ago.
func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A process runs until the test ends, unless it ends before.
type process struct {
	log  bytes.Buffer // to be read when done is closed, or the test is over
	done chan struct{}
	err  error
}

func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("%s printed:\n%s", cmd, p.log.String())
		}
	})
	return p
}

func eventually(t *testing.T, what string, p *process, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if condition() {
			return
		}
		select {
		case <-p.done:
			t.Fatalf("%s: it ended, %v", what, p.err)
		default:
		}
	}
	t.Fatalf("%s: not within 20 s", what)
}
