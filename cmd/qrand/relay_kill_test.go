package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/qrand/internal/abuse"
	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// A killable is qrand relay as a process. It is started again and again at the same
// port, while the service goes on and clients ask all the time.
type killable struct {
	dir    string
	env    []string
	target abuse.Target // its Addr once it has run
	source *abuse.Numbered
	ledger *abuse.Ledger

	clients             sync.WaitGroup
	stop                chan struct{}
	answered            chan struct{} // gets something for each answer, if a test waits
	got                 atomic.Int64  // bytes
	empty, refused, cut atomic.Int64
	nohup               bool // the process ignores SIGHUP from its start
	process             *exec.Cmd
	log                 bytes.Buffer
}

func newKillable(t *testing.T) *killable {
	t.Helper()
	k := &killable{dir: t.TempDir(), source: abuse.NewNumbered(), stop: make(chan struct{}), answered: make(chan struct{})}
	k.ledger = abuse.NewLedger(k.source)
	service := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("size"))
		stream, err := k.source.Give(n)
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		random := make([][]byte, n)
		for i := range random {
			random[i] = stream[i*qrypt.BlockSize:][:qrypt.BlockSize]
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set(qrypt.EmulatedHeader, "numbered")
		json.NewEncoder(w).Encode(map[string]any{"random": random, "size": n})
	}))
	t.Cleanup(service.Close)
	pair := service.TLS.Certificates[0] // the relay has the same
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(service.Certificate())
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(k.dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	token, err := clients.Add(filepath.Join(k.dir, "clients.json"), clients.Client{Name: "load", Rate: -1, Bandwidth: -1})
	if err != nil {
		t.Fatal(err)
	}
	k.env = append(os.Environ(), qrypt.EnvEndpoints+"="+service.URL, qrypt.EnvCAFile+"="+filepath.Join(k.dir, "cert.pem"),
		qrypt.EnvToken+"=token-of-nobody-0123456789", "GORACE=atexit_sleep_ms=10")
	k.target = abuse.Target{Addr: "127.0.0.1:0", TLS: &tls.Config{RootCAs: pool}, Token: token}
	return k
}

var servesAt = regexp.MustCompile(`The relay serves https://(\S+),`)

// start returns when the relay listens.
func (k *killable) start(t *testing.T) {
	t.Helper()
	path, err := exec.LookPath("qrand")
	if err != nil {
		t.Fatal(err)
	}
	k.process = exec.CommandContext(t.Context(), path, "relay", "--listen", k.target.Addr, "--clients", filepath.Join(k.dir, "clients.json"),
		"--cert", filepath.Join(k.dir, "cert.pem"), "--key", filepath.Join(k.dir, "key.pem"), "--stock", "512", "--quiet", "--log-format", "json")
	if k.nohup {
		k.process.Args = append([]string{"sh", "-c", `trap "" HUP; exec "$@"`, "sh", path}, k.process.Args[1:]...)
		if k.process.Path, err = exec.LookPath("sh"); err != nil {
			t.Fatal(err)
		}
	}
	k.log.Reset()
	k.process.Env, k.process.Stderr = k.env, &k.log
	out, err := k.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.process.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	at := servesAt.FindStringSubmatch(line)
	if err != nil || at == nil {
		k.process.Wait()
		t.Fatalf("%q, %v: %s", line, err, k.log.String())
	}
	k.target.Addr = at[1]
}

// load starts clients, in both dialects.
func (k *killable) load(t *testing.T, clients int) {
	target := k.target
	for i := range clients {
		k.clients.Go(func() {
			client := target.Client()
			defer client.CloseIdleConnections()
			for {
				select {
				case <-k.stop:
					return
				default:
				}
				pieces, size := 1+rand.IntN(4), 0
				if i%4 < 2 {
					size = 16 + rand.IntN(500)
				}
				status, entropy, err := target.Ask(t.Context(), client, pieces, size)
				var network net.Error
				switch {
				case errors.Is(err, syscall.ECONNREFUSED):
					k.refused.Add(1)
					time.Sleep(time.Millisecond) // the relay is not yet started
				case err != nil && (errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) && !errors.As(err, new(*tls.CertificateVerificationError)):
					k.cut.Add(1)
				case err != nil:
					t.Errorf("%T: %v", err, err)
				case status == http.StatusServiceUnavailable:
					k.empty.Add(1)
				case status != http.StatusOK:
					t.Errorf("status %d", status)
				default:
					k.ledger.Add(entropy)
					k.got.Add(int64(len(entropy)))
					select {
					case k.answered <- struct{}{}:
					default:
					}
				}
			}
		})
	}
}

// await returns after n answers.
func (k *killable) await(t *testing.T, n int) {
	t.Helper()
	for range n {
		select {
		case <-k.answered:
		case <-time.After(time.Minute):
			t.Fatalf("nothing is answered: %s", k.log.String())
		}
	}
}

func (k *killable) String() string {
	return fmt.Sprintf("%d bytes received of %d given; %d times nothing in stock, %d connections refused, %d cut",
		k.got.Load(), k.source.Given(), k.empty.Load(), k.refused.Load(), k.cut.Load())
}

// TestRelayKilled: a relay is killed under load and started again, five times. Its
// clients see good answers, 503, and connections that are cut or refused. They
// receive each byte once.
func TestRelayKilled(t *testing.T) {
	k := newKillable(t)
	const kills = 5
	for i := range kills {
		k.start(t)
		if i == 0 {
			k.load(t, 8)
		}
		k.await(t, 50)
		if err := k.process.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := k.process.Wait(); err == nil {
			t.Error("the relay was killed, but its status is 0")
		}
	}
	close(k.stop)
	k.clients.Wait()
	t.Log(k)
	got, err := k.ledger.Check()
	if err != nil || got != k.got.Load() {
		t.Errorf("%d bytes were told apart: %v", got, err)
	}
	if k.refused.Load()+k.cut.Load() == 0 {
		t.Error("nobody noticed that the relay was killed")
	}
}

// TestRelayTerminated: a relay that gets SIGTERM under load finishes the answers it has
// begun. Each byte that a client is charged for was handed out, and each byte that was
// handed out has arrived. After a new start the relay goes on from there.
func TestRelayTerminated(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no SIGTERM")
	}
	k := newKillable(t)
	handedOut, lost := int64(0), int64(0)
	for i := range 3 {
		k.start(t)
		if i == 0 {
			k.load(t, 8)
		}
		k.await(t, 50)
		if err := k.process.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := k.process.Wait(); err != nil {
			t.Fatalf("%v: %s", err, k.log.String())
		}
		lines := strings.Split(strings.TrimSpace(k.log.String()), "\n")
		var stopped struct {
			Msg            string
			Received, Lost int64
			HandedOut      int64 `json:"handed_out"`
			InFlight       int64 `json:"in_flight"`
			Expired, Wiped int64
		}
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &stopped); err != nil || stopped.Msg != "relay: stopped" {
			t.Fatalf("%v: %s", err, k.log.String())
		}
		if stopped.Received != stopped.HandedOut+stopped.Lost+stopped.Expired+stopped.Wiped+stopped.InFlight {
			t.Errorf("the account does not balance: %+v", stopped)
		}
		handedOut, lost = handedOut+stopped.HandedOut, lost+stopped.Lost
	}
	close(k.stop)
	k.clients.Wait()
	t.Log(k)
	data, err := os.ReadFile(filepath.Join(k.dir, "clients.json.usage"))
	if err != nil {
		t.Fatal(err)
	}
	var usage struct {
		Clients map[string]struct {
			Total int64 `json:"total_bytes"`
		}
	}
	if err := json.Unmarshal(data, &usage); err != nil {
		t.Fatal(err)
	}
	charged := usage.Clients["load"].Total
	if charged != handedOut+lost {
		t.Errorf("%d bytes were charged, %d handed out and %d lost", charged, handedOut, lost)
	}
	if got := k.got.Load(); got != handedOut {
		t.Errorf("%d bytes were handed out, and %d arrived", handedOut, got)
	}
	if _, err := k.ledger.Check(); err != nil {
		t.Error(err)
	}
}
