//go:build unix

package relaynats

import (
	"bufio"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"example.com/qrand"
	"example.com/qrand/internal/built"
	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// TestMain runs what TestChaos needs as a process of its own.
func TestMain(m *testing.M) {
	switch os.Getenv("QRAND_CHAOS_ROLE") {
	case "server":
		runServer()
	case "sources":
		runSources()
	default:
		os.Exit(m.Run())
	}
}

// runServer is a server of NATS, until it is killed.
func runServer() {
	opts, err := server.ProcessConfigFile(os.Getenv("QRAND_CHAOS_CONF"))
	if err != nil {
		panic(err)
	}
	opts.NoSigs = true
	s, err := server.NewServer(opts)
	if err != nil {
		panic(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		panic("the server is not ready")
	}
	fmt.Println("ready")
	s.WaitForShutdown()
}

// What runSources reports. Each frame has a letter, a length of four bytes, and data.
const (
	frameBlock  = 'B' // a block that was received, before it is used
	frameSeeded = 'S' // how many Sources are Seeded, and how many there are
	frameSeed   = 'L' // how long it took until a new Source was seeded, in ns
	frameAsk    = 'Q' // how long a request took that got blocks, in ns
	frameFail   = 'E' // what must not happen
)

// chaosReseed makes Sources ask a hundred times as often as they do by default.
const chaosReseed = 500 * time.Millisecond

// runSources runs so many Sources at a time, each with a connection of its own. It goes on
// until its standard input ends, or if each is to be seeded just once, until that is so.
func runSources() {
	var mu sync.Mutex
	report := func(letter byte, data []byte) {
		mu.Lock()
		defer mu.Unlock()
		os.Stdout.Write(append(binary.BigEndian.AppendUint32([]byte{letter}, uint32(len(data))), data...))
	}
	number := func(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }
	count, _ := strconv.Atoi(os.Getenv("QRAND_CHAOS_SOURCES"))
	once, _ := strconv.Atoi(os.Getenv("QRAND_CHAOS_ONCE"))
	relays, err := ParsePublicKeys([]byte(os.Getenv("QRAND_CHAOS_RELAYS")))
	if err != nil {
		panic(err)
	}
	nkey, err := nats.NkeyOptionFromSeed(os.Getenv("QRAND_CHAOS_NKEY"))
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	var all sync.WaitGroup
	var seeded atomic.Int64
	one := func() {
		began := time.Now()
		nc, err := nats.Connect(os.Getenv("QRAND_CHAOS_NATS"), append(Options(), nkey, nats.RootCAs(os.Getenv("NATS_CA_PATH")), inbox("web1"))...)
		if err != nil {
			report(frameFail, []byte(err.Error()))
			return
		}
		defer nc.Close()
		client, err := New(nc, Config{Relays: relays, Token: qrypt.StaticToken(os.Getenv("QRAND_CHAOS_TOKEN"))})
		if err != nil {
			report(frameFail, []byte(err.Error()))
			return
		}
		reported := sourceFunc(func(ctx context.Context, n int) ([]qrypt.Block, error) {
			began := time.Now()
			blocks, err := client.Blocks(ctx, n)
			for _, b := range blocks {
				report(frameBlock, b.Bytes())
			}
			if err == nil {
				report(frameAsk, number(int64(time.Since(began))))
			}
			return blocks, err
		})
		src, err := qrand.New(qrand.Config{Blocks: reported, ReseedInterval: chaosReseed, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			report(frameFail, []byte(err.Error()))
			return
		}
		defer src.Close()
		if src.WaitSeeded(ctx) == nil {
			report(frameSeed, number(int64(time.Since(began))))
		}
		was := false
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for once == 0 && ctx.Err() == nil {
			var p [64]byte
			if n, err := src.Read(p[:]); err != nil || n != len(p) || p == [64]byte{} {
				report(frameFail, fmt.Appendf(nil, "a Read returned %d, %v", n, err))
			}
			if is := src.Status().State == qrand.Seeded; is != was {
				was = is
				seeded.Add(map[bool]int64{true: 1, false: -1}[is])
			}
			<-tick.C
		}
	}
	if once > 0 {
		turn := make(chan bool, count)
		for range once {
			turn <- true
			all.Go(func() {
				one()
				<-turn
			})
		}
		all.Wait()
		return
	}
	for range count {
		all.Go(one)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	for ctx.Err() == nil {
		report(frameSeeded, append(number(seeded.Load()), number(int64(count))...))
		<-tick.C
	}
	all.Wait()
}

type sourceFunc func(context.Context, int) ([]qrypt.Block, error)

func (f sourceFunc) Blocks(ctx context.Context, n int) ([]qrypt.Block, error) { return f(ctx, n) }

// A wordService is Qrypt's service for the relays. Its words of 16 bytes are encrypted
// numbers, so each tells which it is. It knows what it gave to which token.
type wordService struct {
	words cipher.Block

	mu    sync.Mutex
	next  int64            // block
	given map[string]int64 // blocks, by token
	owner []string         // of each block, a token
	got   []uint64         // bits of words that were received
	count map[string]int64 // blocks that were received, by the token of the relay that had them
	twice int
}

func (s *wordService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, _ := strconv.Atoi(r.URL.Query().Get("size"))
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	random := make([][]byte, n)
	for i := range random {
		for word := range int64(qrypt.BlockSize / aes.BlockSize) {
			var p [aes.BlockSize]byte
			binary.BigEndian.PutUint64(p[8:], uint64(s.next*qrypt.BlockSize/aes.BlockSize+word))
			s.words.Encrypt(p[:], p[:])
			random[i] = append(random[i], p[:]...)
		}
		s.next++
		s.owner = append(s.owner, token)
		s.got = append(s.got, 0) // 64 words
	}
	s.given[token] += int64(n)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(qrypt.EmulatedHeader, "words")
	json.NewEncoder(w).Encode(map[string]any{"random": random, "size": n})
}

// received enters a block into the ledger.
func (s *wordService) received(t *testing.T, block []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := ""
	for p := range slices.Chunk(block, aes.BlockSize) {
		var plain [aes.BlockSize]byte
		s.words.Decrypt(plain[:], p)
		word := binary.BigEndian.Uint64(plain[8:])
		at := word / 64
		if binary.BigEndian.Uint64(plain[:]) != 0 || at >= uint64(s.next) {
			t.Errorf("a word was received that the service never gave")
			return
		}
		if s.got[at]&(1<<(word%64)) != 0 {
			s.twice++
		}
		s.got[at] |= 1 << (word % 64)
		token = s.owner[at]
	}
	s.count[token]++
}

// A chaos is all processes.
type chaos struct {
	t       *testing.T
	*bus    // its certificate and its users
	service *wordService
	rand    *mathrand.Rand
	env     []string
	program string // qrandrelay
	urls    string

	servers [3]*process
	confs   [3]string
	relays  [2]*process
	starts  int // of relays
	sources []*process

	mu      sync.Mutex
	seeds   []time.Duration // since they were cleared
	asks    []time.Duration
	blocks  int64
	fails   map[string]int
	balance []string // accounts of relays that have ended
}

// A process is one that can be killed.
type process struct {
	*exec.Cmd
	stdin   io.Closer
	ended   chan struct{}
	log     *lockedBuffer
	token   string // of a relay
	address string // of a relay, for metrics
	killed  bool

	seeded, count atomic.Int64
	seen          atomic.Int64 // when it reported that, Unix ns
}

func (c *chaos) spawn(path string, read func(*process, *bufio.Reader), env []string, args ...string) *process {
	c.t.Helper()
	p := &process{Cmd: exec.Command(path, args...), ended: make(chan struct{}), log: new(lockedBuffer)}
	p.Env, p.Stderr = append(slices.Clone(c.env), env...), p.log
	var err error
	if p.stdin, err = p.StdinPipe(); err != nil {
		c.t.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { p.Process.Kill() })
	go func() {
		defer close(p.ended)
		read(p, bufio.NewReaderSize(out, 1<<16))
		io.Copy(io.Discard, out)
		p.Wait()
	}()
	return p
}

func (p *process) kill() {
	p.killed = true
	p.Process.Kill()
	<-p.ended
}

func (c *chaos) startServer(i int) {
	c.t.Helper()
	ready := make(chan bool, 1)
	c.servers[i] = c.spawn(os.Args[0], func(_ *process, out *bufio.Reader) {
		line, _ := out.ReadString('\n')
		ready <- line == "ready\n"
	}, []string{"QRAND_CHAOS_ROLE=server", "QRAND_CHAOS_CONF=" + c.confs[i]})
	if !<-ready {
		c.t.Fatalf("a server does not start: %s", c.servers[i].log)
	}
}

var listensOn = regexp.MustCompile(`^The relay listens on (\S+), and at qrand.v1.blocks while it is connected to NATS.\n$`)

func (c *chaos) startRelay(i int) {
	c.t.Helper()
	c.starts++
	name := string(rune('a' + i))
	token := fmt.Sprintf("token-of-relay-%s-%d-0123456789", name, c.starts)
	address := make(chan []string, 1)
	p := c.spawn(c.program, func(_ *process, out *bufio.Reader) {
		line, _ := out.ReadString('\n')
		address <- listensOn.FindStringSubmatch(line)
	}, []string{qrypt.EnvToken + "=" + token}, "--plain", "--listen", "127.0.0.1:0", "--clients", c.path("clients.json"), "--usage-file", c.path("usage-"+name),
		"--quiet", "--log-format", "json",
		"--nats", c.urls, "--nats-ca", c.path("cert.pem"), "--nats-creds", c.path("relay-"+name+".nk"), "--nats-key", c.path("relay.pem"))
	found := <-address
	if found == nil {
		<-p.ended
		c.t.Fatalf("a relay does not start: %s", p.log)
	}
	p.token, p.address = token, found[1]
	c.relays[i] = p
}

func (c *chaos) startSources(count, once int) *process {
	c.t.Helper()
	return c.spawn(os.Args[0], c.read, []string{"QRAND_CHAOS_ROLE=sources", fmt.Sprint("QRAND_CHAOS_SOURCES=", count), fmt.Sprint("QRAND_CHAOS_ONCE=", once)})
}

// read takes in what a process of Sources reports, until it ends.
func (c *chaos) read(p *process, out *bufio.Reader) {
	for {
		var head [5]byte
		if _, err := io.ReadFull(out, head[:]); err != nil {
			return
		}
		data := make([]byte, binary.BigEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(out, data); err != nil {
			return // it was killed
		}
		switch head[0] {
		case frameBlock:
			c.service.received(c.t, data)
			c.mu.Lock()
			c.blocks++
			c.mu.Unlock()
		case frameSeeded:
			p.seeded.Store(int64(binary.BigEndian.Uint64(data)))
			p.count.Store(int64(binary.BigEndian.Uint64(data[8:])))
			p.seen.Store(time.Now().UnixNano())
		case frameSeed, frameAsk:
			c.mu.Lock()
			if d := time.Duration(binary.BigEndian.Uint64(data)); head[0] == frameSeed {
				c.seeds = append(c.seeds, d)
			} else {
				c.asks = append(c.asks, d)
			}
			c.mu.Unlock()
		default:
			c.mu.Lock()
			c.fails[string(data)]++
			c.mu.Unlock()
		}
	}
}

// percentSeeded is that of the Sources whose processes run; false if none does.
func (c *chaos) percentSeeded() (percent float64, ok bool) {
	seeded, count := int64(0), int64(0)
	for _, p := range c.sources {
		if p.killed || time.Since(time.Unix(0, p.seen.Load())) > time.Second {
			continue // killed or stopped
		}
		seeded, count = seeded+p.seeded.Load(), count+p.count.Load()
	}
	return 100 * float64(seeded) / float64(max(1, count)), count > 0
}

// hold lets time pass, and returns how many percent of the Sources were Seeded: the mean,
// and the least.
func (c *chaos) hold(d time.Duration) (mean, least float64) {
	sum, n := 0.0, 0
	least = 100
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		if percent, ok := c.percentSeeded(); ok {
			sum, n, least = sum+percent, n+1, min(least, percent)
		}
	}
	return sum / float64(max(1, n)), least
}

// recover waits until nearly all Sources are Seeded again, so that what happens next begins
// with a healthy fleet.
func (c *chaos) recover() time.Duration {
	c.t.Helper()
	began := time.Now()
	await(c.t, "98 % of the Sources to be Seeded", func() bool {
		percent, ok := c.percentSeeded()
		return ok && percent >= 98
	})
	return time.Since(began)
}

// audit compares what a living relay says of itself.
func (c *chaos) audit(p *process) {
	c.t.Helper()
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Get("http://" + p.address + "/metrics")
	if err != nil {
		c.t.Errorf("the metrics of a relay: %v", err)
		return
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Errorf("the metrics of a relay: %v", err)
	}
	value := func(name string) (v float64) {
		_, rest, _ := strings.Cut(string(text), "\nqrand_relay_"+name+" ")
		fmt.Sscan(rest, &v)
		return v
	}
	if received, sum := value("received_bytes_total"), value("stock_bytes")+value("in_flight_bytes")+value("handed_out_bytes_total")+value("lost_bytes_total")+value("expired_bytes_total"); received != sum {
		c.t.Errorf("a relay received %v bytes, and knows where %v are", received, sum)
	}
}

func (c *chaos) killRelay(i int) {
	c.audit(c.relays[i])
	p := c.relays[i]
	p.kill()
	c.service.mu.Lock()
	defer c.service.mu.Unlock()
	given, got := c.service.given[p.token], c.service.count[p.token]
	c.balance = append(c.balance, fmt.Sprintf("%s, killed: %d blocks drawn, %d received by Sources, %d died with it or on the way", p.token[9:16], given, got, given-got))
}

// endRelay ends a relay, and holds its account against the service's and the ledger.
func (c *chaos) endRelay(i int) {
	c.t.Helper()
	p := c.relays[i]
	p.Process.Signal(syscall.SIGTERM)
	<-p.ended
	lines := strings.Split(strings.TrimSpace(p.log.String()), "\n")
	var a struct {
		Msg                            string
		Received, Lost, Expired, Wiped int64
		HandedOut                      int64 `json:"handed_out"`
		InFlight                       int64 `json:"in_flight"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &a); err != nil || a.Msg != "relay: stopped" {
		c.t.Errorf("%v: %s", err, p.log)
		return
	}
	c.service.mu.Lock()
	defer c.service.mu.Unlock()
	given, got := c.service.given[p.token], c.service.count[p.token]
	if a.Received != given*qrypt.BlockSize || a.Received != a.HandedOut+a.Lost+a.Expired+a.Wiped || a.InFlight != 0 {
		c.t.Errorf("a relay drew %d blocks, and says %+v", given, a)
	}
	if got*qrypt.BlockSize > a.HandedOut {
		c.t.Errorf("a relay handed %d bytes out, and Sources received %d", a.HandedOut, got*qrypt.BlockSize)
	}
	c.balance = append(c.balance, fmt.Sprintf("%s, ended: %d blocks drawn = %d handed out (%d received by Sources) + %d lost + %d in stock",
		p.token[9:16], given, a.HandedOut/qrypt.BlockSize, got, a.Lost/qrypt.BlockSize, (a.Expired+a.Wiped)/qrypt.BlockSize))
}

// quantile sorts all.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(q*float64(len(all))))].Round(time.Millisecond)
}

// newChaos starts everything.
func newChaos(t *testing.T, seed uint64) *chaos {
	t.Helper()
	words, err := aes.NewCipher([]byte("numbers of words"))
	if err != nil {
		t.Fatal(err)
	}
	c := &chaos{t: t, bus: &bus{t: t, dir: t.TempDir(), users: map[string]nkeyPair{}}, rand: mathrand.New(mathrand.NewPCG(seed, 0)), fails: map[string]int{}}
	c.service = &wordService{words: words, given: map[string]int64{}, count: map[string]int64{}}
	c.makeCertificate()
	service := httptest.NewTLSServer(c.service)
	t.Cleanup(service.Close)
	c.write("service.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: service.Certificate().Raw}))
	key, _ := newSigner(t)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	c.write("relay.pem", encodePEM("PRIVATE KEY", der, err))
	der, err = x509.MarshalPKIXPublicKey(key.Public())
	public := encodePEM("PUBLIC KEY", der, err)
	token, err := clients.Add(c.path("clients.json"), clients.Client{Name: "web", Rate: -1, Bandwidth: -1})
	if err != nil {
		t.Fatal(err)
	}
	for file, user := range map[string]string{"relay-a.nk": "RELAY_A", "relay-b.nk": "RELAY_B", "web.nk": "WEB_1"} {
		pair, err := c.nkey(user).Seed()
		if err != nil {
			t.Fatal(err)
		}
		c.write(file, pair)
	}
	c.program = c.path("qrandrelay")
	if out, err := exec.Command("go", "build", "-o", c.program, "./cmd/qrandrelay").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	addresses := freeAddresses(t, 9)
	var urls []string
	for i := range c.servers {
		urls = append(urls, "tls://"+addresses[i])
	}
	c.urls = strings.Join(urls, ",")
	c.env = append(os.Environ(), qrypt.EnvEndpoints+"="+service.URL, qrypt.EnvCAFile+"="+c.path("service.pem"),
		"QRAND_CHAOS_TOKEN="+token, "QRAND_CHAOS_RELAYS="+string(public), "QRAND_CHAOS_NKEY="+c.path("web.nk"), "QRAND_CHAOS_NATS="+c.urls, "NATS_CA_PATH="+c.path("cert.pem"))
	for i := range c.servers {
		env := c.environment(fmt.Sprintf("nats-%d", i), addresses[i])
		env["NATS_CLUSTER_LISTEN"], env["NATS_LEAF_LISTEN"] = addresses[3+i], addresses[6+i]
		env["NATS_ROUTE_1"], env["NATS_ROUTE_2"] = "nats://"+addresses[3+(i+1)%3], "nats://"+addresses[3+(i+2)%3]
		c.confs[i] = c.write(fmt.Sprintf("nats-%d.conf", i), c.expand(conf(t, 0), env))
		c.startServer(i)
	}
	for i := range c.relays {
		c.startRelay(i)
	}
	for range 5 {
		c.sources = append(c.sources, c.startSources(10, 0))
	}
	await(t, "all Sources to be seeded", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.seeds) == 50
	})
	return c
}

// TestChaos: three servers of NATS, two relays and 50 Sources in five processes, of which
// some are killed or stopped all the time. No block is received twice, each block that a
// relay drew is accounted for, no Read fails, at least 90 % of the Sources stay Seeded while
// one server and one relay live, and new Sources are seeded within 2 s at the end, or without
// a limit of time under the race detector. It takes half a minute, or QRAND_CHAOS_SECONDS.
func TestChaos(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go command to build qrandrelay with")
	}
	seconds, seed := 30, uint64(time.Now().UnixNano())
	if testing.Short() || built.Race {
		seconds = 15
	}
	if text := os.Getenv("QRAND_CHAOS_SECONDS"); text != "" {
		var err error
		if seconds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv("QRAND_CHAOS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("QRAND_CHAOS_SECONDS=%d QRAND_CHAOS_SEED=%d", seconds, seed)
	c := newChaos(t, seed)
	pause := min(max(time.Duration(seconds)*time.Second/60, 500*time.Millisecond), 5*time.Second)
	stop := min(3*pause, 5*time.Second)
	long := max(2*pause, 3*time.Second) // so that a Source that lost its connection has it again for most of the time
	c.recover()
	began := time.Now()
	type event struct {
		name  string
		limit float64 // of the mean, in percent
		run   func() (mean, least float64)
	}
	// frozen stops a process for some seconds.
	frozen := func(p *process) (mean, least float64) {
		p.Process.Signal(syscall.SIGSTOP)
		defer p.Process.Signal(syscall.SIGCONT)
		return c.hold(stop)
	}
	events := []event{
		{"a server is killed", 0, func() (mean, least float64) {
			i := c.rand.IntN(3)
			c.servers[i].kill()
			defer c.startServer(i)
			return c.hold(pause)
		}},
		{"two servers are killed", 90, func() (mean, least float64) {
			i := c.rand.IntN(3)
			c.servers[i].kill()
			c.servers[(i+1)%3].kill()
			defer c.startServer(i)
			defer c.startServer((i + 1) % 3)
			return c.hold(long)
		}},
		{"two servers and a relay are killed", 90, func() (mean, least float64) {
			i, relay := c.rand.IntN(3), c.rand.IntN(2)
			c.killRelay(relay)
			c.servers[i].kill()
			c.servers[(i+1)%3].kill()
			defer c.startServer(i)
			defer c.startServer((i + 1) % 3)
			defer c.startRelay(relay)
			return c.hold(long)
		}},
		{"a relay is killed", 0, func() (mean, least float64) {
			i := c.rand.IntN(2)
			c.killRelay(i)
			defer c.startRelay(i)
			return c.hold(pause)
		}},
		{"both relays are killed", 0, func() (mean, least float64) {
			for i := range c.relays {
				c.killRelay(i)
				defer c.startRelay(i)
			}
			if mean, least = c.hold(long); least > 90 {
				t.Errorf("no relay lives, and %.0f %% of the Sources are Seeded: is that measured?", least)
			}
			return mean, least
		}},
		{"ten Sources are killed", 0, func() (mean, least float64) {
			i := c.rand.IntN(len(c.sources))
			c.sources[i].kill()
			defer func() { c.sources[i] = c.startSources(10, 0) }()
			return c.hold(pause)
		}},
		{"a server is stopped", 0, func() (mean, least float64) { return frozen(c.servers[c.rand.IntN(3)]) }},
		{"a relay is stopped", 0, func() (mean, least float64) { return frozen(c.relays[c.rand.IntN(2)]) }},
		{"ten Sources are stopped", 0, func() (mean, least float64) { return frozen(c.sources[c.rand.IntN(len(c.sources))]) }},
	}
	for round := 0; round == 0 || time.Since(began) < time.Duration(seconds)*time.Second-5*time.Second; round++ {
		c.rand.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		for _, e := range events {
			if round > 0 && time.Since(began) > time.Duration(seconds)*time.Second {
				break
			}
			mean, least := e.run()
			recovered := c.recover()
			t.Logf("%6.1f s: %-34s %5.1f %% Seeded (at least %.0f %%); 98 %% again after %.1f s", time.Since(began).Seconds(), e.name, mean, least, recovered.Seconds())
			if mean < e.limit {
				t.Errorf("%s: %.1f %% of the Sources are Seeded, want %.0f %%", e.name, mean, e.limit)
			}
		}
	}
	took := time.Since(began)

	c.mu.Lock()
	t.Logf("in %.0f s: %d blocks received, %.0f a second; requests: p50 %v, p99 %v; new Sources seeded: %d, p99 %v",
		took.Seconds(), c.blocks, float64(c.blocks)/took.Seconds(), quantile(c.asks, 0.5), quantile(c.asks, 0.99), len(c.seeds), quantile(c.seeds, 0.99))
	c.seeds = nil
	c.mu.Unlock()
	fresh := c.startSources(10, 200)
	<-fresh.ended
	c.mu.Lock()
	if p99 := quantile(c.seeds, 0.99); len(c.seeds) != 200 || p99 > 2*time.Second && !built.Race {
		t.Errorf("after the end %d of 200 new Sources were seeded, p99 %v, want 2 s", len(c.seeds), p99)
	}
	t.Logf("after the end: %d new Sources seeded, p50 %v, p99 %v", len(c.seeds), quantile(c.seeds, 0.5), quantile(c.seeds, 0.99))
	c.mu.Unlock()

	for _, p := range c.sources {
		p.stdin.Close()
		<-p.ended
		if !p.ProcessState.Success() {
			t.Errorf("a process of Sources ended by itself, %v: %s", p.ProcessState, p.log)
		}
	}
	for i := range c.relays {
		c.endRelay(i)
	}
	for _, line := range c.balance {
		t.Log(line)
	}
	drawn, got := int64(0), int64(0)
	c.service.mu.Lock()
	defer c.service.mu.Unlock()
	for token, n := range c.service.given {
		drawn, got = drawn+n, got+c.service.count[token]
	}
	t.Logf("all relays: %d blocks drawn, %d received by Sources; %d words of 16 bytes received twice", drawn, got, c.service.twice)
	if c.service.twice > 0 || got != c.blocks || got == 0 {
		t.Errorf("%d words were received twice, and of %d blocks %d are in the ledger", c.service.twice, c.blocks, got)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for text, n := range c.fails {
		t.Errorf("%d times: %s", n, text)
	}
}
