package relay

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand"
	"example.com/qrand/provenance"
	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// A countingSigner counts its signatures, and can fail.
type countingSigner struct {
	provenance.Signer
	n   int
	err error
}

func (s *countingSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if s.n++; s.err != nil {
		return nil, s.err
	}
	return s.Signer.Sign(ctx, message)
}

func receipts(t testing.TB) *Receipts {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := provenance.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return &Receipts{Signer: &countingSigner{Signer: signer}, Name: "relay-a"}
}

// withReceipt is quantum or keys with a key for a receipt.
func (o *testRelay) withReceipt(token string, openAPI bool, n int, keys ...string) *httptest.ResponseRecorder {
	o.t.Helper()
	body, _ := json.Marshal(map[string]int{"block_size": qrypt.BlockSize, "block_count": n})
	req := httptest.NewRequest("POST", openPath, bytes.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	if !openAPI {
		size, _ := json.Marshal(n)
		req = httptest.NewRequest("GET", quantumPath+"?size="+string(size), nil)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header[qrypt.ReceiptKeyHeader] = keys
	w := httptest.NewRecorder()
	o.ServeHTTP(w, req)
	return w
}

// takeReceipt takes the receipt out of an answer, and the rest is left as it is without one.
func takeReceipt(t *testing.T, w *httptest.ResponseRecorder) (provenance.Envelope, provenance.Receipt) {
	t.Helper()
	body := w.Body.String()
	rest, text, found := strings.Cut(body, `,"receipt":`)
	if w.Code != http.StatusOK || !found || !strings.HasSuffix(text, "}") || !json.Valid([]byte(body)) {
		t.Fatalf("status %d, no receipt in %.100s", w.Code, body)
	}
	w.Body = bytes.NewBufferString(rest + "}")
	e, err := provenance.ParseEnvelope([]byte(strings.TrimSuffix(text, "}") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Receipt()
	if err != nil {
		t.Fatal(err)
	}
	return e, r
}

// TestReceipts: a receipt names the blocks of its answer with the client's key, and says of
// them when they had come, from where, and if they were emulated. It names the client, and is
// signed with the relay's key. Without the receipt the answer is what others get.
func TestReceipts(t *testing.T) {
	secret := bytes.Repeat([]byte{7}, qrypt.ReceiptKeySize)
	asked := base64.StdEncoding.EncodeToString(secret)
	key, err := qrand.NewFingerprintKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	bubble(t, func(t *testing.T) {
		cfg := Config{Stock: 4, BatchBlocks: 2, Blocks: newFakeService(t), Receipts: receipts(t)}
		o := newTestRelay(t, cfg)
		service := cfg.Blocks.(*fakeService)
		for i, emulated := range []bool{false, true, true} { // what is in stock then
			calls := service.calls[2*i:]
			blocks := service.copies[4*i:]
			service.set(func() { service.emulated, service.age = true, time.Duration(i)*time.Hour })
			w := o.withReceipt(o.token, i == 1, 4, asked)
			handedOut := time.Now().Truncate(time.Millisecond)
			e, got := takeReceipt(t, w)
			want := provenance.Receipt{Relay: "relay-a", Client: "app", Time: handedOut}
			for n := range 2 {
				age := max(0, time.Duration(i-1)*time.Hour)
				want.Blocks = append(want.Blocks, provenance.RelayBlocks{
					Fingerprints: []string{key.Fingerprint(blocks[2*n]), key.Fingerprint(blocks[2*n+1])},
					Endpoint:     serviceURL, Received: calls[n].Add(-age).Truncate(time.Millisecond), Emulated: emulated,
				})
			}
			gotText, _ := json.Marshal(got)
			want.Time = want.Time.UTC()
			for i := range want.Blocks {
				want.Blocks[i].Received = want.Blocks[i].Received.UTC()
			}
			if wantText, _ := json.Marshal(want); !bytes.Equal(gotText, wantText) {
				t.Errorf("got  %s\nwant %s", gotText, wantText)
			}
			public, err := x509.ParsePKIXPublicKey(cfg.Receipts.Signer.PublicKey())
			if err != nil || len(e.Signatures) != 1 || !ed25519.Verify(public.(ed25519.PublicKey), provenance.PAE(e.PayloadType, e.Payload), e.Signatures[0].Sig) {
				t.Errorf("the signature is not the relay's: %+v, %v", e.Signatures, err)
			}
			if all := pieces(t, w); !bytes.Equal(bytes.Join(all, nil), bytes.Join(blocks[:4], nil)) {
				t.Error("the blocks are not those that came from the service")
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		if metrics := o.ask(o.client(clients.Client{Name: "operator", Operator: true}), "GET", "/metrics").Body.String(); !strings.Contains(metrics, "\nqrand_relay_receipts_total 3\n") {
			t.Errorf("3 receipts were signed, and the metrics say %s", metrics)
		}
		if strings.Contains(o.log.String(), asked) {
			t.Error("a key is in the log")
		}
	})
}

// TestNoReceipt: nothing is signed for who does not ask, nor before an answer is paid for and
// drawn. A request that asks in another form is refused, and costs nothing.
func TestNoReceipt(t *testing.T) {
	key := base64.StdEncoding.EncodeToString(make([]byte, qrypt.ReceiptKeySize))
	bubble(t, func(t *testing.T) {
		cfg := Config{Stock: 4, Receipts: receipts(t)}
		signer := cfg.Receipts.Signer.(*countingSigner)
		o := newTestRelay(t, cfg)
		begun := signer.n
		poor := o.client(clients.Client{Name: "poor", Rate: 1, Bandwidth: -1})
		if pieces(t, o.quantum(poor, 1)); o.withReceipt(poor, false, 1, key).Code != http.StatusTooManyRequests {
			t.Error("a client beyond its rate got an answer")
		}
		time.Sleep(time.Minute)
		before := o.Account()
		for _, test := range []struct {
			w      *httptest.ResponseRecorder
			status int
			text   string
		}{
			{o.withReceipt(o.token, false, 1, ""), 400, "Qrand-Receipt-Key must be the base64 of 32 bytes, once"},
			{o.withReceipt(o.token, true, 1, key[:40]), 422, "base64 of 32 bytes"},
			{o.withReceipt(o.token, false, 1, key[:43]+"!"), 400, "base64 of 32 bytes"},
			{o.withReceipt(o.token, false, 1, key, key), 400, "once"},
			{o.withReceipt("wrong", false, 1, key), 401, "nobody has this access token"},
			{o.withReceipt(o.token, false, 5, key), 400, "ask for no more"},
		} {
			if test.w.Code != test.status || !strings.Contains(test.w.Body.String(), test.text) {
				t.Errorf("status %d: %s, want %d %q", test.w.Code, test.w.Body, test.status, test.text)
			}
		}
		req := httptest.NewRequest("POST", openPath, strings.NewReader(`{"block_size":2048}`))
		req.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + o.token}, qrypt.ReceiptKeyHeader: {key}}
		w := httptest.NewRecorder()
		if o.ServeHTTP(w, req); w.Code != 422 || !strings.Contains(w.Body.String(), "a receipt names blocks of 1024 bytes") {
			t.Errorf("a block of 2,048 bytes: status %d: %s", w.Code, w.Body)
		}
		if got := o.Account(); got != before || signer.n != begun {
			t.Errorf("%d receipts were signed, and the account is %+v, want %+v", signer.n-begun, got, before)
		}
		o.service.set(func() { o.service.err = errors.New("no service") })
		if pieces(t, o.quantum(o.token, 3)); o.withReceipt(o.token, false, 3, key).Code != http.StatusServiceUnavailable || signer.n != begun {
			t.Errorf("without a stock %d receipts are signed", signer.n-begun)
		}
	})
	bubble(t, func(t *testing.T) { // a relay without a key is as one that knows nothing of receipts
		o := newTestRelay(t, Config{Stock: 4})
		pieces(t, o.withReceipt(o.token, false, 1, key))
		pieces(t, o.withReceipt(o.token, true, 1, "nonsense"))
	})
}

// TestReceiptFails: where the key does not sign, the client gets its blocks and no receipt, and
// the log says so.
func TestReceiptFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := Config{Stock: 4, Receipts: receipts(t)}
		o := newTestRelay(t, cfg)
		cfg.Receipts.Signer.(*countingSigner).err = errors.New("the device is away")
		if got := pieces(t, o.withReceipt(o.token, false, 2, base64.StdEncoding.EncodeToString(make([]byte, 32)))); len(got) != 2 {
			t.Errorf("%d blocks", len(got))
		}
		if log := o.log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "client=app") || !strings.Contains(log, "the device is away") {
			t.Error(log)
		}
	})
}

// TestReceiptsConfig: a key that does not sign is found when the relay is made.
func TestReceiptsConfig(t *testing.T) {
	list := openList(t, listFile(t, `{"clients":[]}`))
	away := receipts(t)
	away.Signer.(*countingSigner).err = errors.New("the device is away")
	odd := receipts(t)
	odd.Name = "two\nlines"
	for want, r := range map[string]*Receipts{"has no Signer": {}, "the device is away": away, `"two\nlines" is not text of one line`: odd} {
		if _, err := New(Config{Clients: list, Blocks: newFakeService(t), Receipts: r}); err == nil || !strings.HasPrefix(err.Error(), "relay: Receipts") || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	unnamed := receipts(t)
	unnamed.Name = ""
	host, err := os.Hostname()
	if got, err2 := unnamed.withDefaults(); err != nil || err2 != nil || got.Name != host || unnamed.Name != "" {
		t.Errorf("it calls itself %+v, %v, and the host is %q, %v", got, err2, host, err)
	}
}
