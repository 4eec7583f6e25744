package relaynats

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"example.com/qrand/qrypt"
	"example.com/qrand/relay"
	"example.com/qrand/relay/clients"
)

// A listener has every message of an account: what an operator of NATS sees.
type listener struct {
	nc *nats.Conn

	mu       sync.Mutex
	messages []*nats.Msg
}

func listen(t testing.TB, nc *nats.Conn) *listener {
	t.Helper()
	l := &listener{nc: nc}
	if _, err := nc.Subscribe(">", func(m *nats.Msg) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.messages = append(l.messages, m)
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.FlushTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *listener) all() []*nats.Msg {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.messages)
}

// TestEavesdropper: who reads all messages of the relays' account finds no part of a block
// in them, in no usual encoding.
func TestEavesdropper(t *testing.T) {
	b := newBus(t, addUser("SPY", "RELAYS"))
	o := newRelay(t, relay.Config{Stock: 256}, clients.Client{Name: "web", Rate: -1, Bandwidth: -1})
	token := o.tokens["web"]
	spy := listen(t, b.connect("SPY", 0))
	o.serve(b.connect("RELAY_A", 0))
	c := newClient(t, b.connect("WEB_1", 0, inbox("web1")), token, o)
	var blocks []qrypt.Block
	for range 10 {
		got, err := c.Blocks(t.Context(), 4)
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, got...)
	}
	key := clients.KeyOf(token)
	requests, answers := 0, 0
	await(t, "the spy", func() bool {
		requests, answers = 0, 0
		for _, m := range spy.all() {
			if bytes.Contains(m.Data, key.ID[:]) {
				requests++
			}
			if len(m.Data) == answerSize(4) {
				answers++
			}
		}
		return requests == 10 && answers == 10
	})
	var traffic []byte
	for _, m := range spy.all() {
		traffic = append(traffic, m.Data...)
		for name, values := range m.Header {
			traffic = append(traffic, name...)
			for _, v := range values {
				traffic = append(traffic, v...)
			}
		}
	}
	finds := func(canary []byte) bool {
		return bytes.Contains(traffic, canary) || bytes.Contains(traffic, []byte(base64.StdEncoding.EncodeToString(canary))) || bytes.Contains(traffic, []byte(hex.EncodeToString(canary)))
	}
	if !finds(key.ID[:]) {
		t.Error("not even what is no secret is found: the search is no good")
	}
	for _, block := range blocks {
		for canary := range slices.Chunk(block.Bytes(), 12) { // base64 of 12 bytes ends with them
			if finds(canary) {
				t.Fatal("a part of a block is in the messages")
			}
		}
	}
	if finds([]byte(token)) || finds(key.MAC[:]) {
		t.Error("the token, or its key, is in the messages")
	}
}

// An attacker publishes what it likes to the relays' subject, and sees what is answered.
type attacker struct {
	t       testing.TB
	o       *testRelay
	nc      *nats.Conn // of the attacker
	relay   *nats.Conn
	answers *nats.Subscription
	asked   int
}

// none publishes a request that must get no answer at all.
func (a *attacker) none(what string, request []byte) {
	a.t.Helper()
	was, handed := a.refused(), a.o.Account().HandedOut+a.o.Account().Lost
	a.publish(request)
	await(a.t, "the relay to refuse "+what, func() bool { return a.refused() == was+1 })
	if m := a.next(); m != nil {
		a.t.Errorf("%s: it gets an answer of %d bytes", what, len(m.Data))
	}
	if now := a.o.Account().HandedOut + a.o.Account().Lost; now != handed {
		a.t.Errorf("%s: %d bytes left the stock", what, now-handed)
	}
}

func (a *attacker) publish(request []byte) {
	a.t.Helper()
	a.asked++ // NATS lets a relay answer once at each subject
	if err := a.nc.PublishRequest(DefaultSubject, fmt.Sprintf("attacker.%d", a.asked), request); err != nil {
		a.t.Fatal(err)
	}
}

// refused is how many requests got 401 whose client is not known.
func (a *attacker) refused() int { return a.o.metric(`requests_total{client="",status="401"}`) }

// next is an answer that has come; nil if there is none. Both are at one server, which has
// delivered what the relay sent when both have seen its PONG.
func (a *attacker) next() *nats.Msg {
	a.t.Helper()
	for _, nc := range []*nats.Conn{a.relay, a.nc} {
		if err := nc.FlushTimeout(10 * time.Second); err != nil {
			a.t.Fatal(err)
		}
	}
	m, err := a.answers.NextMsg(time.Millisecond)
	if err != nil && !errors.Is(err, nats.ErrTimeout) {
		a.t.Fatal(err)
	}
	return m
}

// TestHostileRequests: requests that are replayed, altered, stale or early get nothing, no
// block and no answer, also after the relay has been started again.
func TestHostileRequests(t *testing.T) {
	b := newBus(t, addUser("SPY", "RELAYS"))
	o := newRelay(t, relay.Config{Stock: 64}, clients.Client{Name: "web", Rate: -1, Bandwidth: -1}, clients.Client{Name: "other", Rate: -1})
	token, other := o.tokens["web"], clients.KeyOf(o.tokens["other"])
	a := &attacker{t: t, o: o, nc: b.connect("SPY", 0), relay: b.connect("RELAY_A", 0)}
	o.serve(a.relay)
	spy := listen(t, b.connect("SPY", 0))
	var err error
	if a.answers, err = a.nc.SubscribeSync("attacker.*"); err != nil {
		t.Fatal(err)
	}
	if _, err := newClient(t, b.connect("WEB_1", 0, inbox("web1")), token, o).Blocks(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	await(t, "the spy", func() bool { return len(spy.all()) > 1 })
	seen := bytes.Clone(spy.all()[0].Data)
	a.none("a replayed request", seen)
	a.none("a replayed request, again", seen)

	private, err := kem.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	public := private.PublicKey().Bytes()
	key := clients.KeyOf(token)
	put := func(at int, p []byte) []byte {
		text := encodeRequest(2, time.Now(), key, public)
		copy(text[at:], p)
		return text
	}
	another, err := kem.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	a.none("a request with another key put in", put(1+2+8+16, another.PublicKey().Bytes()))
	a.none("a request for more", put(1, []byte{0, 3}))
	a.none("a request with a later time", put(3, encodeRequest(2, time.Now().Add(time.Second), key, public)[3:11]))
	a.none("a request in the name of another client", put(1+2+8, other.ID[:]))
	a.none("a request without a HMAC", put(requestSize-authSize, make([]byte, authSize)))
	a.none("a stale request", encodeRequest(2, time.Now().Add(-acceptedAge-time.Second), key, public))
	a.none("a stale request of nobody", encodeRequest(2, time.Now().Add(-acceptedAge-time.Second), clients.KeyOf("nobody's"), public))
	a.none("an early request", encodeRequest(2, time.Now().Add(acceptedAge+time.Second), key, public))
	a.none("a request with a key that is none", encodeRequest(2, time.Now(), key, bytes.Repeat([]byte{0xff}, publicSize)))
	a.none("a short request", seen[:100])
	a.none("a long request", make([]byte, 500_000))
	a.none("nothing", nil)

	for _, why := range []string{"web: the request was answered before", "web: the request is more than 30s old or early"} {
		if !strings.Contains(o.log.String(), why) {
			t.Errorf("the log has no %q", why)
		}
	}

	// The control: a good request gets an answer, and so does one with an unknown token.
	good := encodeRequest(2, time.Now(), key, public)
	a.publish(good)
	var answer *nats.Msg
	await(t, "an answer", func() bool { answer = a.next(); return answer != nil })
	if len(answer.Data) != answerSize(2) {
		t.Errorf("an answer of %d bytes", len(answer.Data))
	}
	a.publish(encodeRequest(2, time.Now(), clients.KeyOf("nobody's"), public))
	await(t, "an answer", func() bool { answer = a.next(); return answer != nil })
	if len(answer.Data) != answerSize(0)-sealSize-insideSize {
		t.Errorf("a refusal of %d bytes", len(answer.Data))
	}

	// A relay that is started again does not know what it has answered.
	o.stop()
	a.relay = b.connect("RELAY_B", 0)
	o.serve(a.relay)
	a.none("a request that was answered before the relay started again", good)
}

// TestReplayToOtherRelay: a request that one relay has answered gets nothing from another
// one either.
func TestReplayToOtherRelay(t *testing.T) {
	b := newBus(t, addUser("SPY", "RELAYS"))
	first := newRelay(t, relay.Config{Stock: 64}, clients.Client{Name: "web", Rate: -1, Bandwidth: -1})
	list, err := clients.Open(first.list, first.list+".second")
	if err != nil {
		t.Fatal(err)
	}
	second := newRelay(t, relay.Config{Stock: 64, Clients: list})
	first.serve(b.connect("RELAY_A", 0))
	second.serve(b.connect("RELAY_B", 1))
	spy := listen(t, b.connect("SPY", 0))
	c := newClient(t, b.connect("WEB_1", 0, inbox("web1")), first.tokens["web"], first, second)
	handed := func() int64 { return first.Account().HandedOut + second.Account().HandedOut }
	refused := func() int {
		const name = `requests_total{client="",status="401"}`
		return first.metric(name) + second.metric(name)
	}
	for asked := range int64(5) {
		before := len(spy.all())
		await(t, "a block", func() bool { // a relay may not be known yet
			_, err := c.Blocks(t.Context(), 1)
			return err == nil
		})
		await(t, "the spy", func() bool { return len(spy.all()) == before+2 }) // request and answer
		request := spy.all()[before].Data
		was := refused()
		for i := range 10 {
			if err := spy.nc.PublishRequest(DefaultSubject, fmt.Sprintf("attacker.%d", i), request); err != nil {
				t.Fatal(err)
			}
		}
		await(t, "the relays to refuse all", func() bool { return refused() == was+10 })
		if got := handed(); got != (asked+1)*qrypt.BlockSize {
			t.Errorf("%d bytes were handed out for %d requests", got, asked+1)
		}
		before = len(spy.all())
	}
	if first.metric(`requests_total{client="",status="401"}`) == 0 || second.metric(`requests_total{client="",status="401"}`) == 0 {
		t.Error("one relay was never asked")
	}
}

// TestForgedAnswer: a client takes no block from who answers in place of a relay.
func TestForgedAnswer(t *testing.T) {
	b := newBus(t, addUser("FORGER", "RELAYS"))
	forger := b.connect("FORGER", 0)
	key, _ := newSigner(t)
	stranger, relays := newSigner(t)
	var mu sync.Mutex
	var old []byte
	if _, err := forger.QueueSubscribe(DefaultSubject, queue, func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		r, err := parseRequest(m.Data)
		if err != nil {
			t.Error(err)
			return
		}
		public, err := kem.NewPublicKey(r.public)
		if err != nil {
			t.Error(err)
			return
		}
		if old == nil { // a good answer, to be used again
			if old, err = encodeBlocks(&r, public, make([]byte, qrypt.BlockSize), 0, false, stranger); err != nil {
				t.Error(err)
			}
			m.Respond(old)
			return
		}
		p, err := encodeBlocks(&r, public, make([]byte, qrypt.BlockSize), 0, false, key)
		if err != nil {
			t.Error(err)
		}
		if r.blocks == 2 {
			p = old
		}
		m.Respond(p)
	}); err != nil {
		t.Fatal(err)
	}
	if err := forger.FlushTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	c, err := New(b.connect("WEB_1", 0, inbox("web1")), Config{Relays: relays, Token: qrypt.StaticToken("token")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Blocks(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]error{1: errUnknownRelay, 2: errSignature} {
		_, err := c.Blocks(t.Context(), n)
		var e *qrypt.Error
		if !errors.As(err, &e) || e.Class != qrypt.ErrMalformed || e.Detail != want.Error() {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

// TestPermissions: with the configuration of docs/fleet.md, a relay may do nothing but listen
// in its group and answer, and a tenant nothing but ask and read its own inbox.
func TestPermissions(t *testing.T) {
	b := newBus(t)
	try := func(user string, allowed bool, what string, do func(*nats.Conn) error) {
		t.Helper()
		nc := b.connect(user, 0, nats.CustomInboxPrefix("_INBOX_web1"))
		defer nc.Close()
		if err := do(nc); err != nil {
			t.Fatal(err)
		}
		if err := nc.FlushTimeout(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		if refused := errors.Is(nc.LastError(), nats.ErrPermissionViolation); refused == allowed {
			t.Errorf("%s: %s: allowed is %v, want %v (%v)", user, what, !refused, allowed, nc.LastError())
		}
	}
	subscribe := func(subject string) func(*nats.Conn) error {
		return func(nc *nats.Conn) error {
			_, err := nc.SubscribeSync(subject)
			return err
		}
	}
	group := func(subject, queue string) func(*nats.Conn) error {
		return func(nc *nats.Conn) error {
			_, err := nc.QueueSubscribeSync(subject, queue)
			return err
		}
	}
	publish := func(subject string) func(*nats.Conn) error {
		return func(nc *nats.Conn) error { return nc.Publish(subject, nil) }
	}
	for _, user := range []string{"RELAY_A", "RELAY_B"} {
		try(user, true, "listen in the group", group(DefaultSubject, queue))
		try(user, true, "hear all requests", subscribe(DefaultSubject))
		for _, subject := range []string{">", "qrand.>", "_R_.>", "_INBOX.>", "$SYS.>"} {
			try(user, false, "listen to "+subject, subscribe(subject))
		}
		try(user, false, "listen in another group", group(DefaultSubject, "spies"))
		for _, subject := range []string{DefaultSubject, "_INBOX_web1.x", "_R_.x", "$JS.API.INFO"} {
			try(user, false, "publish to "+subject, publish(subject))
		}
	}
	try("WEB_1", true, "ask", publish(DefaultSubject))
	try("WEB_1", true, "read its inbox", subscribe("_INBOX_web1.>"))
	for _, subject := range []string{">", DefaultSubject, "_INBOX_web2.>", "_INBOX.>", "*.>", "$SYS.>"} {
		try("WEB_1", false, "listen to "+subject, subscribe(subject))
	}
	try("WEB_1", false, "answer for a relay", group(DefaultSubject, queue))
	for _, subject := range []string{"_INBOX_web2.x", "_INBOX_web1.x", "qrand.v1.other", "$SYS.REQ.SERVER.PING", "$JS.API.INFO"} {
		try("WEB_1", false, "publish to "+subject, publish(subject))
	}
}

// TestNoLeafNodes: only the user of a region connects as a leaf node, because NATS does not hold the
// permissions of a user against all that comes through one: a relay could listen at ">".
func TestNoLeafNodes(t *testing.T) {
	b := newBus(t)
	for _, user := range []string{"RELAY_A", "WEB_1"} {
		leaf := b.leaf(user)
		await(t, "the servers to refuse "+user+" as a leaf node", func() bool {
			if leaf.NumLeafNodes() > 0 {
				t.Fatalf("%s connects as a leaf node", user)
			}
			closed, err := b.servers[0].Connz(&server.ConnzOptions{State: server.ConnClosed})
			if err != nil {
				t.Fatal(err)
			}
			return slices.ContainsFunc(closed.Conns, func(c *server.ConnInfo) bool {
				return c.Name == leaf.Name() && c.Reason == server.AuthenticationViolation.String()
			})
		})
		leaf.Shutdown()
	}
}
