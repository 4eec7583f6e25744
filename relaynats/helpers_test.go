package relaynats

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"example.com/qrand"
	"example.com/qrand/internal/abuse"
	"example.com/qrand/qrypt"
	"example.com/qrand/relay"
	"example.com/qrand/relay/clients"
)

// A bus is the NATS of docs/fleet.md: three servers, with the accounts and permissions that
// its configuration has. A test may add users.
type bus struct {
	t       testing.TB
	dir     string
	users   map[string]nkeyPair // by the name in the configuration
	servers []*server.Server
	leafs   []string // addresses for leaf nodes
}

type nkeyPair = nkeys.KeyPair

// conf is the n-th configuration of docs/fleet.md.
func conf(t testing.TB, n int) []byte {
	t.Helper()
	text, err := os.ReadFile("../docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile("(?s)```conf\n(.*?)```").FindAllSubmatch(text, -1)
	if len(all) <= n {
		t.Fatalf("docs/fleet.md has %d configurations", len(all))
	}
	return all[n][1]
}

// freeAddresses returns addresses of this host that are free now.
func freeAddresses(t testing.TB, n int) []string {
	t.Helper()
	var all []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		all = append(all, l.Addr().String())
	}
	return all
}

// nkey makes the user of a name, once.
func (b *bus) nkey(name string) nkeyPair {
	b.t.Helper()
	if b.users[name] == nil {
		pair, err := nkeys.CreateUser()
		if err != nil {
			b.t.Fatal(err)
		}
		b.users[name] = pair
	}
	return b.users[name]
}

func (b *bus) public(name string) string {
	b.t.Helper()
	public, err := b.nkey(name).PublicKey()
	if err != nil {
		b.t.Fatal(err)
	}
	return public
}

// makeCertificate writes the certificate of all servers, which is that of their CA, too.
func (b *bus) makeCertificate() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "NATS"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		b.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		b.t.Fatal(err)
	}
	b.write("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	b.write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func (b *bus) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bus) write(name string, data []byte) string {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), data, 0o600); err != nil {
		b.t.Fatal(err)
	}
	return b.path(name)
}

// expand puts values in place of the variables of a configuration: what NATS does with
// those in its environment. Here several servers in one process have values of their own.
func (b *bus) expand(text []byte, env map[string]string) []byte {
	b.t.Helper()
	return regexp.MustCompile(`\$(NATS|NKEY)_\w+`).ReplaceAllFunc(text, func(name []byte) []byte {
		variable := string(name[1:])
		if user, ok := strings.CutPrefix(variable, "NKEY_"); ok {
			return []byte(b.public(user))
		}
		if env[variable] == "" {
			b.t.Fatalf("there is no %s", variable)
		}
		return strconv.AppendQuote(nil, env[variable])
	})
}

// parse reads a configuration whose variables are in env.
func (b *bus) parse(text []byte, env map[string]string) *server.Options {
	b.t.Helper()
	opts, err := server.ProcessConfigFile(b.write("nats.conf", b.expand(text, env)))
	if err != nil {
		b.t.Fatal(err)
	}
	opts.NoSigs, opts.NoLog = true, true
	return opts
}

func (b *bus) start(opts *server.Options) *server.Server {
	b.t.Helper()
	s, err := server.NewServer(opts)
	if err != nil {
		b.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		b.t.Fatal("a server of NATS does not start")
	}
	return s
}

// environment has the variables of one server.
func (b *bus) environment(name, listen string) map[string]string {
	return map[string]string{
		"NATS_NAME": name, "NATS_LISTEN": listen,
		"NATS_CERT": b.path("cert.pem"), "NATS_KEY": b.path("key.pem"), "NATS_CA": b.path("cert.pem"),
	}
}

// newBus starts three servers. Each change may add to their configuration.
func newBus(t testing.TB, changes ...func(*bus, *server.Options)) *bus {
	t.Helper()
	if t, ok := t.(*testing.T); ok {
		t.Parallel() // it takes seconds until the servers have found each other
	}
	b := &bus{t: t, dir: t.TempDir(), users: map[string]nkeyPair{}}
	b.makeCertificate()
	routes := []string{"nats://127.0.0.1:1", "nats://127.0.0.1:1"} // where nobody listens
	for i := range 3 {
		env := b.environment(fmt.Sprintf("nats-%d", i), "127.0.0.1:-1")
		env["NATS_CLUSTER_LISTEN"], env["NATS_LEAF_LISTEN"] = "127.0.0.1:-1", "127.0.0.1:-1"
		env["NATS_ROUTE_1"], env["NATS_ROUTE_2"] = routes[i], routes[i+1]
		opts := b.parse(conf(t, 0), env)
		for _, change := range changes {
			change(b, opts)
		}
		s := b.start(opts)
		b.servers = append(b.servers, s)
		routes = append(routes, "nats://"+s.ClusterAddr().String())
		b.leafs = append(b.leafs, fmt.Sprintf("tls://127.0.0.1:%d", opts.LeafNode.Port))
		t.Cleanup(s.Shutdown)
	}
	await(t, "the servers to find each other", func() bool {
		for _, s := range b.servers {
			if s.NumRoutes() < 2 {
				return false
			}
		}
		return true
	})
	return b
}

// leaf starts the server of the region, which connects to the others as a user.
func (b *bus) leaf(user string) *server.Server {
	b.t.Helper()
	seed, err := b.nkey(user).Seed()
	if err != nil {
		b.t.Fatal(err)
	}
	env := b.environment("region-"+user, "127.0.0.1:-1")
	env["NATS_LEAF_SEED"] = string(seed)
	env["NATS_LEAF_1"], env["NATS_LEAF_2"] = b.leafs[0], b.leafs[0]
	s := b.start(b.parse(conf(b.t, 1), env))
	b.t.Cleanup(s.Shutdown)
	return s
}

// addUser adds a user who may do everything in an account, which is made if there is none.
func addUser(name, account string) func(*bus, *server.Options) {
	return func(b *bus, opts *server.Options) {
		var in *server.Account
		for _, a := range opts.Accounts {
			if a.Name == account {
				in = a
			}
		}
		if in == nil {
			in = server.NewAccount(account)
			opts.Accounts = append(opts.Accounts, in)
		}
		opts.Nkeys = append(opts.Nkeys, &server.NkeyUser{Nkey: b.public(name), Account: in})
	}
}

// connect connects a user to the n-th server.
func (b *bus) connect(user string, n int, more ...nats.Option) *nats.Conn {
	b.t.Helper()
	return b.connectTo(user, b.servers[n].ClientURL(), more...)
}

func (b *bus) connectTo(user, url string, more ...nats.Option) *nats.Conn {
	b.t.Helper()
	pair := b.nkey(user)
	how := append(Options(), nats.RootCAs(b.path("cert.pem")), nats.Nkey(b.public(user), pair.Sign),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	nc, err := nats.Connect(strings.Replace(url, "nats://", "tls://", 1), append(how, more...)...)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := nc.FlushTimeout(10 * time.Second); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	return nc
}

// inbox is the prefix that the configuration allows a tenant.
func inbox(name string) nats.Option { return nats.CustomInboxPrefix("_INBOX_" + name) }

// await waits for what other processes and goroutines do.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// A testRelay is a relay that is served over NATS.
type testRelay struct {
	*relay.Relay
	t      testing.TB
	source *abuse.Numbered
	list   string
	tokens map[string]string
	key    ed25519.PrivateKey
	log    *lockedBuffer
	web    *httptest.Server // for metric
	stop   func()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newRelay makes a relay that has a block, with clients whose tokens are by their names.
func newRelay(t testing.TB, cfg relay.Config, members ...clients.Client) *testRelay {
	t.Helper()
	o := startRelay(t, cfg, members...)
	await(t, "the first blocks", o.Ready)
	return o
}

func startRelay(t testing.TB, cfg relay.Config, members ...clients.Client) *testRelay {
	t.Helper()
	o := &testRelay{t: t, source: abuse.NewNumbered(), list: filepath.Join(t.TempDir(), "clients.json"), tokens: map[string]string{}, log: new(lockedBuffer)}
	for _, c := range members {
		token, err := clients.Add(o.list, c)
		if err != nil {
			t.Fatal(err)
		}
		o.tokens[c.Name] = token
	}
	var err error
	if cfg.Clients == nil {
		if cfg.Clients, err = clients.Open(o.list, ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, o.key, err = ed25519.GenerateKey(nil); err != nil {
		t.Fatal(err)
	}
	if cfg.Blocks == nil {
		cfg.Blocks = o.source
	}
	logger := slog.New(slog.NewTextHandler(o.log, nil))
	cfg.Logger, cfg.AccessLog = logger, logger
	if o.Relay, err = relay.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		a := o.Account()
		if a.Received != a.HandedOut+a.Lost+a.Expired || a.InFlight != 0 || a.Stock != 0 {
			t.Errorf("the account does not balance: %+v", a)
		}
	})
	return o
}

// metric is the value of a counter of the relay.
func (o *testRelay) metric(name string) (n int) {
	o.t.Helper()
	if o.web == nil {
		o.web = httptest.NewServer(o.Relay)
		o.t.Cleanup(o.web.Close)
	}
	resp, err := http.Get(o.web.URL + "/metrics")
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	if _, rest, ok := strings.Cut(string(text), "qrand_relay_"+name+" "); ok {
		fmt.Sscan(rest, &n)
	}
	return n
}

// serve serves the relay until the end of the test, and returns when it listens.
func (o *testRelay) serve(nc *nats.Conn) {
	o.t.Helper()
	before := nc.NumSubscriptions()
	o.serving(nc)
	await(o.t, "the relay to listen", func() bool { return nc.NumSubscriptions() >= before+2 })
	if err := nc.FlushTimeout(10 * time.Second); err != nil {
		o.t.Fatal(err)
	}
}

// serving begins to serve the relay.
func (o *testRelay) serving(nc *nats.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, nc, o.Relay, ServerConfig{Key: o.key}) }()
	o.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			o.t.Error(err)
		}
	})
	o.t.Cleanup(o.stop)
}

// newClient is a client of the relays.
func newClient(t testing.TB, nc *nats.Conn, token string, relays ...*testRelay) *Client {
	t.Helper()
	cfg := Config{Token: qrypt.StaticToken(token)}
	for _, o := range relays {
		cfg.Relays = append(cfg.Relays, o.key.Public().(ed25519.PublicKey))
	}
	c, err := New(nc, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var _ qrand.BlockSource = (*abuse.Numbered)(nil)
