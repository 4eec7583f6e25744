package relaynats

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"example.com/qrand"
	"example.com/qrand/internal/abuse"
	"example.com/qrand/qrypt"
	"example.com/qrand/relay"
	"example.com/qrand/relay/clients"
)

// TestSource: with the configuration of docs/fleet.md, a tenant's Source gets blocks of two
// relays. All three are connected to different servers.
func TestSource(t *testing.T) {
	b := newBus(t)
	source := abuse.NewNumbered()
	first := newRelay(t, relay.Config{Blocks: source, Stock: 64}, clients.Client{Name: "web", Rate: -1, Bandwidth: -1})
	list, err := clients.Open(first.list, filepath.Join(t.TempDir(), "usage"))
	if err != nil {
		t.Fatal(err)
	}
	second := newRelay(t, relay.Config{Blocks: source, Stock: 64, Clients: list})
	token := first.tokens["web"]
	first.serve(b.connect("RELAY_A", 0))
	second.serve(b.connect("RELAY_B", 1))
	ledger := abuse.NewLedger(source)
	c := newClient(t, b.connect("WEB_1", 2, inbox("web1")), token, first, second)
	src, err := qrand.New(qrand.Config{Blocks: recorded{c, ledger}})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if err := src.WaitSeeded(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := src.Status(); !st.Emulated || st.State != qrand.Seeded {
		t.Errorf("%v", st)
	}
	for range 100 {
		blocks, err := recorded{c, ledger}.Blocks(t.Context(), 3)
		if err != nil || len(blocks) != 3 || blocks[2].Origin().Endpoint != "nats:qrand.v1.blocks" || !blocks[0].Origin().Emulated {
			t.Fatalf("%v, %v", blocks, err)
		}
		await(t, "the stocks", func() bool { return first.Account().Stock > 4<<10 && second.Account().Stock > 4<<10 })
	}
	got, err := ledger.Check()
	a, z := first.Account().HandedOut, second.Account().HandedOut
	if err != nil || got != a+z || a == 0 || z == 0 {
		t.Errorf("%d bytes came, and %d and %d were handed out: %v", got, a, z, err)
	}
}

// recorded is a client whose blocks go into a ledger.
type recorded struct {
	*Client
	ledger *abuse.Ledger
}

func (r recorded) Blocks(ctx context.Context, n int) ([]qrypt.Block, error) {
	blocks, err := r.Client.Blocks(ctx, n)
	var all []byte
	for _, b := range blocks {
		all = append(all, b.Bytes()...)
	}
	r.ledger.Add(all)
	return blocks, err
}

// A gate is a source that gives nothing before it is open.
type gate struct {
	*abuse.Numbered
	open chan struct{}
}

func (g gate) Blocks(ctx context.Context, n int) ([]qrypt.Block, error) {
	select {
	case <-g.open:
		return g.Numbered.Blocks(ctx, n)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestNotReady: a relay that has no block yet is asked by nobody.
func TestNotReady(t *testing.T) {
	b := newBus(t)
	g := gate{abuse.NewNumbered(), make(chan struct{})}
	o := startRelay(t, relay.Config{Stock: 16, Blocks: g}, clients.Client{Name: "web", Rate: -1, Bandwidth: -1})
	nc := b.connect("RELAY_A", 0)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- Serve(ctx, nc, o.Relay, ServerConfig{Key: o.key}) }()
	c := newClient(t, b.connect("WEB_1", 0, inbox("web1")), o.tokens["web"], o)
	for range 100 {
		if _, err := c.Blocks(t.Context(), 1); !errors.Is(err, qrypt.ErrNetwork) {
			t.Fatalf("%v", err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	o.serving(nc)
	close(g.open)
	await(t, "a block", func() bool {
		_, err := c.Blocks(t.Context(), 1)
		return err == nil
	})
}

// TestAsOverHTTPS: the statuses and waits of a relay are the same over NATS and over HTTPS,
// and its clients use up the same rate and quota.
func TestAsOverHTTPS(t *testing.T) {
	b := newBus(t)
	day := clients.Quota{Bytes: 3 << 10, Period: 24 * time.Hour}
	tests := []struct {
		name   string
		client clients.Client
		first  int // blocks that it gets before
		n      int
		class  error
	}{
		{"good", clients.Client{Rate: -1}, 0, 2, nil},
		{"rate", clients.Client{Rate: 1}, 1, 1, qrypt.ErrRateLimited},
		{"bandwidth", clients.Client{Rate: -1, Bandwidth: 1}, 500, 13, qrypt.ErrRateLimited},
		{"quota", clients.Client{Rate: -1, Quota: day}, 2, 2, qrypt.ErrQuota},
		{"operator", clients.Client{Operator: true}, 0, 1, qrypt.ErrUnauthorized},
		{"expired", clients.Client{Expires: time.Now().Add(-time.Hour)}, 0, 1, qrypt.ErrUnauthorized},
		{"nobody", clients.Client{}, 0, 1, qrypt.ErrUnauthorized},
		{"all", clients.Client{Rate: -1, Bandwidth: -1}, 500, 512, qrypt.ErrNoSupply},
	}
	var members []clients.Client
	for _, test := range tests {
		if test.name != "nobody" {
			test.client.Name = test.name
			members = append(members, test.client)
		}
	}
	o := newRelay(t, relay.Config{Stock: 600, BatchBlocks: 100}, members...)
	o.tokens["nobody"] = "qrelay_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	o.serve(b.connect("RELAY_A", 0))
	web := httptest.NewServer(o.Relay)
	defer web.Close()
	nc := b.connect("WEB_1", 0, inbox("web1"))
	for _, test := range tests {
		name := test.name
		https, err := qrypt.New(qrypt.Config{Endpoints: []string{web.URL}, Token: qrypt.StaticToken(o.tokens[name])})
		if err != nil {
			t.Fatal(err)
		}
		overNATS := newClient(t, nc, o.tokens[name], o)
		await(t, "the stock", func() bool { return o.Account().Stock >= 501<<10 })
		if test.class == qrypt.ErrNoSupply {
			o.source.End()
		}
		if test.first > 0 {
			if _, err := https.Blocks(t.Context(), test.first); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		var got [2]qrypt.Error
		for i, c := range []qrand.BlockSource{https, overNATS} {
			blocks, err := c.Blocks(t.Context(), test.n)
			if test.class == nil && err == nil && len(blocks) == test.n {
				continue
			}
			var e *qrypt.Error
			if !errors.As(err, &e) || e.Class != test.class {
				t.Fatalf("%s, %T: %v, want %v", name, c, err, test.class)
			}
			got[i] = *e
		}
		if got[0].StatusCode != got[1].StatusCode || (got[0].RetryAfter-got[1].RetryAfter).Abs() > 2*time.Second || (got[0].RetryAfter > 0) != (got[1].RetryAfter > 0) {
			t.Errorf("%s: %+v over HTTPS, and %+v over NATS", name, got[0], got[1])
		}
	}
	if answers := o.metric(`requests_total{client="rate",status="429"}`); answers != 2 {
		t.Errorf("the metrics have %d answers with 429", answers)
	}
	if want := "remote=nats client=good call=qrand.v1.blocks status=200 bytes=2048"; !strings.Contains(o.log.String(), want) {
		t.Errorf("the log has no %q", want)
	}
}

// TestTokenChanged: a token that was refused is worth asking with again when it has changed.
func TestTokenChanged(t *testing.T) {
	b := newBus(t)
	o := newRelay(t, relay.Config{Stock: 16}, clients.Client{Name: "web"})
	good := o.tokens["web"]
	o.serve(b.connect("RELAY_A", 0))
	token, failure := "another", error(nil)
	c := newClient(t, b.connect("WEB_1", 0, inbox("web1")), "", o)
	c.cfg.Token = func(context.Context) (string, error) { return token, failure }
	if _, err := c.Blocks(t.Context(), 1); !errors.Is(err, qrypt.ErrUnauthorized) || c.TokenChanged(t.Context()) {
		t.Errorf("%v, and it has changed", err)
	}
	token = good
	if !c.TokenChanged(t.Context()) {
		t.Error("nobody notices that it has changed")
	}
	if _, err := c.Blocks(t.Context(), 1); err != nil {
		t.Error(err)
	}
	for i, change := range []func(){func() { token = "" }, func() { token, failure = good, errors.New("secret") }} {
		change()
		_, err := c.Blocks(t.Context(), 1)
		if !errors.Is(err, qrypt.ErrNoToken) || strings.Contains(err.Error(), "secret") || c.TokenChanged(t.Context()) {
			t.Errorf("%d: %v", i, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Blocks(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that is done: %v", err)
	}
}

// TestUnreachable: a tenant is told that nobody can answer. It is told at once if no relay
// listens, or if its account does not import the subject, and after the timeout if NATS is
// away.
func TestUnreachable(t *testing.T) {
	b := newBus(t, addUser("OUTSIDER", "OUTSIDE"))
	o := newRelay(t, relay.Config{Stock: 16}, clients.Client{Name: "web"})
	token := o.tokens["web"]
	web := b.connect("WEB_1", 0, inbox("web1"))
	timeout := defaultTimeout
	ask := func(nc *nats.Conn, detail string) {
		t.Helper()
		began := time.Now()
		c := newClient(t, nc, token, o)
		c.cfg.Timeout = timeout
		_, err := c.Blocks(t.Context(), 1)
		if !errors.Is(err, qrypt.ErrNetwork) || !strings.Contains(err.Error(), detail) {
			t.Errorf("%v, want %q", err, detail)
		}
		if took := time.Since(began); took > defaultTimeout-time.Second {
			t.Errorf("that took %v", took)
		}
	}
	ask(web, "no relay listens there")
	o.serve(b.connect("RELAY_A", 0))
	if _, err := newClient(t, web, token, o).Blocks(t.Context(), 1); err != nil {
		t.Error(err)
	}
	outside := b.connect("OUTSIDER", 0)
	ask(outside, "does not import the subject")
	src, err := qrand.New(qrand.Config{Blocks: newClient(t, outside, token, o)})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	await(t, "the Source to notice", func() bool { return src.Status().Reason == qrand.Unreachable })
	for user, detail := range map[string]string{"WEB_1": "read the inbox", "RELAY_B": "publish to the subject"} {
		c := newClient(t, b.connect(user, 0), token, o) // with an inbox that is not the user's
		c.cfg.Timeout = 100 * time.Millisecond
		await(t, "the client to know what "+user+" may not do", func() bool {
			_, err := c.Blocks(t.Context(), 1)
			return errors.Is(err, qrypt.ErrNetwork) && strings.Contains(err.Error(), detail)
		})
	}
	o.stop()
	ask(web, "no relay listens there")
	for _, s := range b.servers {
		s.Shutdown()
	}
	await(t, "the end of the connection", func() bool { return !web.IsConnected() })
	timeout = 100 * time.Millisecond
	ask(web, "not connected to NATS")
	web.Close()
	ask(web, "was closed")
}

// TestReconnect: a request that is made while NATS is away is sent when it is there again,
// within the timeout.
func TestReconnect(t *testing.T) {
	b := newBus(t)
	o := newRelay(t, relay.Config{Stock: 16}, clients.Client{Name: "web"})
	o.serve(b.connect("RELAY_A", 1))
	web := b.connect("WEB_1", 0, inbox("web1"))
	c := newClient(t, web, o.tokens["web"], o)
	c.cfg.Timeout = 30 * time.Second
	b.servers[0].Shutdown()
	await(t, "the end of the connection", func() bool { return !web.IsConnected() || web.Stats().Reconnects > 0 })
	if _, err := c.Blocks(t.Context(), 1); err != nil {
		t.Error(err)
	}
}

// TestTimeout: without an answer, or with one that was delayed, the client gives up after
// its timeout, or when its context is done.
func TestTimeout(t *testing.T) {
	b := newBus(t, addUser("SILENT", "RELAYS"))
	silent := b.connect("SILENT", 0)
	if _, err := silent.QueueSubscribe(DefaultSubject, queue, func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	if err := silent.FlushTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	_, relays := newSigner(t)
	c, err := New(b.connect("WEB_1", 0, inbox("web1")), Config{Relays: relays, Token: qrypt.StaticToken("token"), Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Blocks(t.Context(), 1); !errors.Is(err, qrypt.ErrTimeout) {
		t.Errorf("%v", err)
	}
	c.cfg.Timeout = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Blocks(ctx, 1); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, qrypt.ErrTimeout) {
		t.Errorf("%v", err)
	}
}

// TestHungServer: a server of NATS that reads nothing any more is left as soon as an answer would
// come too late.
func TestHungServer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			io.WriteString(c, "INFO {\"max_payload\":1048576}\r\n")
			bufio.NewReader(c).ReadString('G') // of PING
			io.WriteString(c, "PONG\r\n")
		}
	}()
	nc, err := nats.Connect("nats://"+l.Addr().String(), Options()...)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		for err == nil {
			err = nc.Publish("x", make([]byte, 1<<20))
		}
		nc.Close()
		done <- err
	}()
	select {
	case <-done:
	case <-time.After(4 * defaultTimeout):
		t.Error("it is not left")
	}
}

// TestLeafNode: a tenant in another region, whose server is a leaf node of the three, gets
// blocks. When the relays are gone it gets no answer: NATS does not tell it at once.
func TestLeafNode(t *testing.T) {
	b := newBus(t)
	leaf := b.leaf("REGION")
	await(t, "the leaf node", func() bool { return leaf.NumLeafNodes() > 0 })
	o := newRelay(t, relay.Config{Stock: 16}, clients.Client{Name: "web", Rate: -1, Bandwidth: -1})
	token := o.tokens["web"]
	o.serve(b.connect("RELAY_A", 2))
	c := newClient(t, b.connectTo("REGION_1", leaf.ClientURL(), inbox("region1")), token, o)
	await(t, "the leaf node to hear of the relay", func() bool {
		_, err := c.Blocks(t.Context(), 1)
		if err != nil && !errors.Is(err, qrypt.ErrNetwork) {
			t.Fatal(err)
		}
		return err == nil
	})
	o.stop()
	c.cfg.Timeout = 100 * time.Millisecond
	if _, err := c.Blocks(t.Context(), 1); !errors.Is(err, qrypt.ErrTimeout) {
		t.Errorf("without a relay: %v", err)
	}
}

// TestServeEnds: Serve answers what has come before the end. It returns an error if NATS does
// not let it listen, or if its connection is closed.
func TestServeEnds(t *testing.T) {
	b := newBus(t)
	o := newRelay(t, relay.Config{Stock: 512}, clients.Client{Name: "web", Rate: -1, Bandwidth: -1})
	token := o.tokens["web"]
	o.serve(b.connect("RELAY_A", 0))
	c := newClient(t, b.connect("WEB_1", 0, inbox("web1")), token, o)
	results := make(chan error)
	for range 50 {
		go func() {
			_, err := c.Blocks(t.Context(), 1)
			results <- err
		}()
	}
	if err := <-results; err != nil {
		t.Error(err)
	}
	o.stop()
	for range 49 {
		if err := <-results; err != nil && !errors.Is(err, qrypt.ErrNetwork) {
			t.Error(err)
		}
	}
	if err := Serve(t.Context(), b.connect("WEB_1", 0), o.Relay, ServerConfig{Key: o.key}); err == nil || !strings.Contains(err.Error(), "does not permit this user to listen at qrand.v1.blocks") {
		t.Errorf("a user who may not listen: %v", err)
	}
	nc := b.connect("RELAY_B", 0)
	ended := make(chan error)
	go func() { ended <- Serve(t.Context(), nc, o.Relay, ServerConfig{Key: o.key}) }()
	await(t, "the relay to listen", func() bool { return nc.NumSubscriptions() > 0 })
	nc.Close()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "was closed") {
		t.Errorf("the connection was closed: %v", err)
	}
	// Without NATS a relay waits, and ends when it is told to.
	away, err := nats.Connect("nats://"+freeAddresses(t, 1)[0], Options()...)
	if err != nil {
		t.Fatal(err)
	}
	defer away.Close()
	if away.Publish("x", nil) == nil {
		t.Error("what cannot be sent now is kept for later")
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- Serve(ctx, away, o.Relay, ServerConfig{Key: o.key}) }()
	await(t, "the relay to listen", func() bool { return away.NumSubscriptions() > 1 })
	began := time.Now()
	cancel()
	if err := <-ended; err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("without NATS it ended after %v: %v", time.Since(began), err)
	}
}

// TestPermissionLost: Serve also returns an error if NATS does not let it listen any more
// when the connection comes again.
func TestPermissionLost(t *testing.T) {
	t.Parallel()
	b := &bus{t: t}
	start := func(port int, subjects ...string) *server.Server {
		return b.start(&server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, Users: []*server.User{{
			Username: "relay", Permissions: &server.Permissions{Subscribe: &server.SubjectPermission{Allow: subjects}},
		}}})
	}
	s := start(-1, ">")
	nc, err := nats.Connect(s.ClientURL(), append(Options(), nats.UserInfo("relay", ""), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	o := newRelay(t, relay.Config{Stock: 16}, clients.Client{Name: "web"})
	ended := make(chan error, 1)
	go func() { ended <- Serve(t.Context(), nc, o.Relay, ServerConfig{Key: o.key}) }()
	await(t, "the relay to listen", func() bool { return s.NumSubscriptions() >= 2 })
	port := s.Addr().(*net.TCPAddr).Port
	s.Shutdown()
	defer start(port, "other").Shutdown()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "does not permit") {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it goes on")
	}
}

// TestUnanswerable: blocks in an answer that cannot be sent are lost. A request that does not
// say where to answer gets none.
func TestUnanswerable(t *testing.T) {
	t.Parallel()
	o := newRelay(t, relay.Config{Stock: 16}, clients.Client{Name: "web"})
	server := (&bus{t: t}).start(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true})
	defer server.Shutdown()
	nc, err := nats.Connect(server.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	sub, err := nc.SubscribeSync("x")
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	private, err := kem.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	s := &service{relay: o.Relay, cfg: ServerConfig{Key: o.key, Subject: DefaultSubject}, memory: newMemory(time.Now())}
	for reply, lost := range map[string]int64{"": 0, "inbox": qrypt.BlockSize} {
		before := o.Account()
		request := encodeRequest(1, time.Now(), clients.KeyOf(o.tokens["web"]), private.PublicKey().Bytes())
		s.answer(job{Msg: &nats.Msg{Subject: DefaultSubject, Reply: reply, Data: request, Sub: sub}})
		if now := o.Account(); now.Lost-before.Lost != lost || now.HandedOut != 0 || now.InFlight != 0 {
			t.Errorf("%q: %+v", reply, now)
		}
	}
	if !strings.Contains(o.log.String(), errNoReply.Error()) {
		t.Errorf("the log does not say that: %s", o.log)
	}
}

// TestConfig: what cannot work is refused at once.
func TestConfig(t *testing.T) {
	nc := new(nats.Conn)
	key, relays := newSigner(t)
	token := qrypt.StaticToken("token")
	for i, test := range []struct {
		nc  *nats.Conn
		cfg Config
	}{
		{nil, Config{Relays: relays, Token: token}},
		{nc, Config{Token: token}},
		{nc, Config{Relays: relays}},
		{nc, Config{Relays: append(relays, relays[0][:31]), Token: token}},
		{nc, Config{Relays: relays, Token: token, Timeout: -1}},
		{nc, Config{Relays: relays, Token: token, Subject: "a.*"}},
		{nc, Config{Relays: relays, Token: token, Subject: "a..b"}},
	} {
		if c, err := New(test.nc, test.cfg); err == nil || c != nil {
			t.Errorf("%d: %v, %v", i, c, err)
		}
	}
	c, err := New(nc, Config{Relays: relays, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(text, "0x") {
		t.Errorf("it prints %s", text)
	}
	for _, n := range []int{0, 513} {
		if _, err := c.Blocks(t.Context(), n); err == nil {
			t.Errorf("%d blocks may be asked for", n)
		}
	}
	for i, test := range []struct {
		nc  *nats.Conn
		r   *relay.Relay
		cfg ServerConfig
	}{
		{nil, new(relay.Relay), ServerConfig{Key: key}},
		{nc, nil, ServerConfig{Key: key}},
		{nc, new(relay.Relay), ServerConfig{}},
		{nc, new(relay.Relay), ServerConfig{Key: key, Subject: ">"}},
	} {
		if err := Serve(t.Context(), test.nc, test.r, test.cfg); err == nil {
			t.Errorf("%d: it serves", i)
		}
	}
}

// An agedSource gives blocks that the service made some time ago, and that are not emulated.
type agedSource struct {
	*abuse.Numbered
	age time.Duration
}

func (s agedSource) Blocks(ctx context.Context, n int) ([]qrypt.Block, error) {
	blocks, err := s.Numbered.Blocks(ctx, n)
	for i, b := range blocks {
		if blocks[i], err = qrypt.NewBlock(b.Bytes(), qrypt.Origin{Received: time.Now().Add(-s.age)}); err != nil {
			return nil, err
		}
	}
	return blocks, err
}

// TestAge: blocks are as old for the client as they are in the relay, and no less.
func TestAge(t *testing.T) {
	b := newBus(t)
	o := newRelay(t, relay.Config{Stock: 16, Blocks: agedSource{abuse.NewNumbered(), time.Hour}}, clients.Client{Name: "web"})
	o.serve(b.connect("RELAY_A", 0))
	began := time.Now()
	blocks, err := newClient(t, b.connect("WEB_1", 0, inbox("web1")), o.tokens["web"], o).Blocks(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	origin := blocks[0].Origin()
	if age := began.Sub(origin.Received); age < time.Hour || age > time.Hour+2*time.Minute || origin.Emulated {
		t.Errorf("the age is %v, emulated: %v", age, origin.Emulated)
	}
}

// BenchmarkBlocks: 16 clients ask one relay over three servers, all in this process. The
// stock is full at the beginning: run it with -benchtime 8000x.
func BenchmarkBlocks(b *testing.B) {
	bus := newBus(b)
	const stock = 8192
	o := newRelay(b, relay.Config{Stock: stock}, clients.Client{Name: "web", Rate: -1, Bandwidth: -1})
	if b.N > stock {
		b.Skipf("%d requests are more than a stock of %d blocks: use -benchtime 8000x", b.N, stock)
	}
	o.serve(bus.connect("RELAY_A", 0))
	await(b, "the stock", func() bool { return o.Account().Stock > (stock-512)<<10 })
	b.SetParallelism(8)
	var next atomic.Int64
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		c := newClient(b, bus.connect("WEB_1", int(next.Add(1))%3, inbox("web1")), o.tokens["web"], o)
		for pb.Next() {
			if _, err := c.Blocks(b.Context(), 1); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// BenchmarkAnswer: what a relay computes for a request, and what a client does for it.
func BenchmarkAnswer(b *testing.B) {
	key, relays := newSigner(b)
	for _, n := range []int{1, 8, 512} {
		p := newPair(b, n)
		blocks := make([]byte, n*qrypt.BlockSize)
		var text []byte
		b.Run(fmt.Sprintf("relay/%d", n), func(b *testing.B) {
			for b.Loop() {
				r, err := parseRequest(p.text)
				if err != nil || !r.madeWith(p.key) {
					b.Fatal(err)
				}
				public, err := kem.NewPublicKey(r.public)
				if err != nil {
					b.Fatal(err)
				}
				if text, err = encodeBlocks(&r, public, blocks, 0, false, key); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("client/%d", n), func(b *testing.B) {
			for b.Loop() {
				private, err := kem.GenerateKey()
				if err != nil {
					b.Fatal(err)
				}
				encodeRequest(n, made, p.key, private.PublicKey().Bytes())
				if _, err := parseAnswer(text, n, p.digest, p.private, relays); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
