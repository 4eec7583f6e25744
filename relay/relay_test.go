package relay

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand"
	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// fakeService is a BlockSource of noise.
type fakeService struct {
	t        testing.TB
	noise    noise
	emulated bool

	mu       sync.Mutex
	err      error
	calls    []time.Time
	asked    []int
	given    []qrypt.Block
	copies   [][]byte
	limit    int           // blocks it has; negative: no end
	repeat   bool          // its answers begin with its first block
	stuck    bool          // its generator is
	age      time.Duration // of its blocks, when they come
	hang     time.Duration // before it answers
	newToken bool
	check    time.Duration // how long a look at the token takes
	looking  bool          // such a look is under way
	beside   int           // requests made meanwhile
	flaps    bool          // every other request fails
	stubborn bool          // it does not end with its context
}

func newFakeService(t testing.TB) *fakeService {
	return &fakeService{t: t, noise: newNoise(9), limit: -1}
}

func (f *fakeService) Blocks(ctx context.Context, n int) ([]qrypt.Block, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, time.Now())
	f.asked = append(f.asked, n)
	if f.looking {
		f.beside++
	}
	if f.hang > 0 && f.stubborn {
		time.Sleep(f.hang)
	} else if f.hang > 0 {
		select {
		case <-time.After(f.hang):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if f.err != nil {
		return nil, f.err
	}
	if f.limit >= 0 && n > f.limit || f.flaps && len(f.calls)%2 == 0 {
		return nil, &qrypt.Error{Endpoint: "https://service.example", StatusCode: 503, Class: qrypt.ErrNoSupply}
	}
	f.limit -= n
	var blocks []qrypt.Block
	for i := range n {
		if i == 0 && f.repeat && len(f.copies) > 0 {
			b, _ := qrypt.NewBlock(f.copies[0], qrypt.Origin{Endpoint: "https://service.example"})
			blocks = append(blocks, b)
			continue
		}
		b := f.noise.block(f.t, qrypt.Origin{Endpoint: "https://service.example", Emulated: f.emulated, Received: time.Now().Add(-f.age)})
		if f.stuck {
			copy(b.Bytes()[100:110], make([]byte, 10))
		}
		blocks = append(blocks, b)
		f.copies = append(f.copies, bytes.Clone(b.Bytes()))
	}
	f.given = append(f.given, blocks...)
	return blocks, nil
}

func (f *fakeService) TokenChanged(context.Context) bool {
	f.set(func() { f.looking = true })
	time.Sleep(f.check)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looking = false
	return f.newToken
}

func (f *fakeService) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeService) all() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bytes.Join(f.copies, nil)
}

// clientOf is a client of f, an endpoint in memory.
func clientOf(f *fakeService, url string) *qrypt.Client {
	client, err := qrypt.New(qrypt.Config{
		Endpoints:  []string{url},
		Token:      qrypt.StaticToken("token-of-the-account-0123456789"),
		HTTPClient: &http.Client{Transport: roundTrip(f.serve)},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return client
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func (f *fakeService) serve(req *http.Request) (*http.Response, error) {
	n, err := strconv.Atoi(req.URL.Query().Get("size"))
	if err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	blocks, err := f.Blocks(req.Context(), n)
	var failure *qrypt.Error
	switch {
	case errors.As(err, &failure):
		w.WriteHeader(failure.StatusCode)
		return w.Result(), nil
	case err != nil:
		return nil, err
	}
	texts := make([]string, len(blocks))
	for i, b := range blocks {
		texts[i] = base64.StdEncoding.EncodeToString(b.Bytes())
	}
	w.Header().Set("Age", strconv.Itoa(int(f.age.Seconds())))
	err = json.NewEncoder(w).Encode(map[string]any{"random": texts, "size": n})
	return w.Result(), err
}

// A testRelay is a relay with clients, and what it logs.
type testRelay struct {
	*Relay
	t       testing.TB
	service *fakeService
	list    string // of clients
	token   string // of a client without limits
	log     *bytes.Buffer
}

// newTestRelay makes one in a bubble, with its stock filled.
func newTestRelay(t testing.TB, cfg Config) *testRelay {
	t.Helper()
	o := &testRelay{t: t, service: newFakeService(t), log: new(bytes.Buffer)}
	path := listFile(t, `{"clients":[]}`)
	o.list = path
	o.token = addClient(t, path, clients.Client{Name: "app", Rate: -1})
	cfg.Clients = openList(t, path)
	if cfg.Blocks == nil {
		cfg.Blocks = o.service
	}
	logger := slog.New(slog.NewTextHandler(o.log, nil))
	cfg.Logger, cfg.AccessLog = logger, logger
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	o.Relay = r
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if strings.Contains(o.log.String(), o.token) {
			t.Error("a token is in the log")
		}
	})
	time.Sleep(time.Minute)
	synctest.Wait()
	return o
}

// client adds a client and returns its token.
func (o *testRelay) client(c clients.Client) string {
	o.t.Helper()
	token := addClient(o.t, o.list, c)
	time.Sleep(5 * time.Second)
	synctest.Wait()
	return token
}

// ask makes a request: a method and a target, a body if there is one, a token.
func (o *testRelay) ask(token, method, target string, body ...string) *httptest.ResponseRecorder {
	o.t.Helper()
	req := httptest.NewRequest(method, target, strings.NewReader(strings.Join(body, "")))
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	o.ServeHTTP(w, req)
	synctest.Wait()
	return w
}

func (o *testRelay) quantum(token string, n int) *httptest.ResponseRecorder {
	return o.ask(token, "GET", quantumPath+"?size="+strconv.Itoa(n))
}

func (o *testRelay) keys(token string, size, count int) *httptest.ResponseRecorder {
	return o.ask(token, "POST", openPath, `{"block_size":`+strconv.Itoa(size)+`,"block_count":`+strconv.Itoa(count)+`}`)
}

// pieces decodes an answer, whatever its dialect, as strictly as can be.
func pieces(t testing.TB, w *httptest.ResponseRecorder) (all [][]byte) {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	var answer struct {
		Random, Entropy []string
		Size            *int
	}
	d := json.NewDecoder(w.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&answer); err != nil || d.More() {
		t.Fatalf("the body is not one object: %v", err)
	}
	if (answer.Size == nil) != (answer.Random == nil) || answer.Size != nil && *answer.Size != len(answer.Random) {
		t.Fatal("size is not that of random")
	}
	for _, text := range append(answer.Random, answer.Entropy...) {
		p, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// TestDialects: both calls give the service's own bytes in order, each once.
func TestDialects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 64})
		source := o.service.all()
		blocks := func(i, n int) []byte { return source[i*qrypt.BlockSize : (i+n)*qrypt.BlockSize] }
		for _, test := range []struct {
			w           *httptest.ResponseRecorder
			count, size int
			want        []byte
		}{
			{o.ask(o.token, "GET", quantumPath), 1, 1024, blocks(0, 1)}, // the default is one
			{o.quantum(o.token, 1), 1, 1024, blocks(1, 1)},
			{o.quantum(o.token, 3), 3, 1024, blocks(2, 3)},
			{o.ask(o.token, "POST", openPath, `{}`), 1, 32, blocks(5, 1)[:32]},
			{o.keys(o.token, 48, 21), 21, 48, append(bytes.Clone(blocks(5, 1)[32:]), blocks(6, 1)[:16]...)},
			{o.keys(o.token, 512, 2), 2, 512, blocks(7, 1)}, // whole blocks stay whole
			{o.keys(o.token, 1, 1), 1, 1, blocks(6, 1)[16:17]},
		} {
			got := pieces(t, test.w)
			if len(got) != test.count || !bytes.Equal(bytes.Join(got, nil), test.want) {
				t.Errorf("%d pieces, want %d; or they are not the service's next bytes", len(got), test.count)
			}
			for _, p := range got {
				if len(p) != test.size {
					t.Errorf("a piece of %d bytes, want %d", len(p), test.size)
				}
			}
			h := test.w.Result().Header
			if h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" || h.Get("Age") != "60" || len(h[qrypt.EmulatedHeader]) > 0 {
				t.Errorf("the header is %v", h)
			}
		}
		account := o.Account()
		if account.HandedOut != 5*1024+32+21*48+1024+1 || account.InFlight != 0 || account.Lost != 0 {
			t.Errorf("the account is %+v", account)
		}
	})
}

// TestEmulated: what came from an emulator is handed on as that.
func TestEmulated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		service := newFakeService(t)
		service.emulated = true
		o := newTestRelay(t, Config{Stock: 8, Blocks: service})
		for _, w := range []*httptest.ResponseRecorder{o.quantum(o.token, 1), o.keys(o.token, 32, 1)} {
			if pieces(t, w); w.Header().Get(qrypt.EmulatedHeader) == "" {
				t.Error("emulated entropy passes for quantum")
			}
		}
		if !o.Upstream().Emulated || strings.Count(o.log.String(), "emulated, not quantum") != 1 {
			t.Errorf("it is not said once:\n%s", o.log)
		}
	})
}

// TestRefusals: each status has its documented meaning and a text, and costs
// nothing.
func TestRefusals(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 600, BatchBlocks: 100})
		operator := o.client(clients.Client{Name: "operator", Operator: true})
		before := o.Account()
		for _, test := range []struct {
			token, method, target, body string
			status                      int
			text                        string
		}{
			{"", "GET", quantumPath, "", 401, "no access token"},
			{"wrong", "GET", quantumPath, "", 401, "nobody has this access token"},
			{operator, "GET", quantumPath, "", 401, "operator's token"},
			{"", "POST", openPath, "{}", 401, "no access token"},
			{o.token, "GET", quantumPath + "?size=0", "", 400, "1 to 512"},
			{o.token, "GET", quantumPath + "?size=513", "", 400, "1 to 512"},
			{o.token, "GET", quantumPath + "?size=-1", "", 400, "1 to 512"},
			{o.token, "GET", quantumPath + "?size=+1", "", 400, "1 to 512"},
			{o.token, "GET", quantumPath + "?size=1.0", "", 400, "1 to 512"},
			{o.token, "GET", quantumPath + "?size=", "", 400, "1 to 512"},
			{o.token, "GET", quantumPath + "?size=1&size=1", "", 400, "1 to 512"},
			{o.token, "GET", quantumPath + "?size=99999999999999999999", "", 400, "1 to 512"},
			{o.token, "GET", quantumPath + "?size=1;", "", 400, "malformed"},
			{o.token, "POST", openPath, `{"block_size":0}`, 422, "at least 1"},
			{o.token, "POST", openPath, `{"block_size":-5}`, 422, "at least 1"},
			{o.token, "POST", openPath, `{"block_size":524289}`, 422, "at most 524288"},
			{o.token, "POST", openPath, `{"block_size":1025,"block_count":512}`, 422, "at most 524288"},
			{o.token, "POST", openPath, `{"block_count":0}`, 422, "1 to 512"},
			{o.token, "POST", openPath, `{"block_count":513}`, 422, "1 to 512"},
			{o.token, "POST", openPath, `{"block_size":null}`, 422, "integers"},
			{o.token, "POST", openPath, `{"block_size":9223372036854775807,"block_count":2}`, 422, "at most"},
			{o.token, "POST", openPath, `{"block_size":1e3}`, 422, "integers"},
			{o.token, "POST", openPath, `{"block_size":"32"}`, 422, "JSON object"},
			{o.token, "POST", openPath, `{} {}`, 422, "JSON object"},
			{o.token, "POST", openPath, `[32]`, 422, "JSON object"},
			{o.token, "POST", openPath, ` null`, 422, "JSON object"},
			{o.token, "POST", openPath, " ", 422, "JSON object"},
			{o.token, "POST", openPath, `{"x":"` + strings.Repeat("x", maxBody) + `"}`, 422, "more than"},
			{o.token, "POST", quantumPath, "{}", 405, "GET"},
			{o.token, "HEAD", quantumPath, "", 405, ""},
			{o.token, "GET", openPath, "", 405, "POST"},
			{o.token, "GET", "/api/v1/entropy/", "", 404, "nothing"},
			{o.token, "GET", "//api/v1/entropy", "", 404, "nothing"},
			{o.token, "GET", "/api/v1/../v1/quantum-entropy", "", 404, "nothing"},
			{o.token, "GET", "/api/v1/quantum%2Dentropy", "", 404, "nothing"},
			{o.token, "GET", "/api/v1/quantum-entropy%2f", "", 404, "nothing"},
		} {
			var body []string
			if test.body != "" {
				body = []string{test.body}
			}
			w := o.ask(test.token, test.method, test.target, body...)
			var said struct{ Error string }
			if w.Code != test.status || json.Unmarshal(w.Body.Bytes(), &said) != nil || !strings.Contains(said.Error, test.text) {
				t.Errorf("%s %s %.60s: %d %s, want %d with %q", test.method, test.target, test.body, w.Code, w.Body, test.status, test.text)
			}
			if (w.Code == 401) != (w.Header().Get("WWW-Authenticate") == "Bearer") || (w.Code == 405) != (w.Header().Get("Allow") != "") {
				t.Errorf("%s %s: the header is %v", test.method, test.target, w.Header())
			}
		}
		if got := o.Account(); got != before {
			t.Errorf("refusals cost entropy: %+v, before %+v", got, before)
		}
	})
}

// TestMediaType: the Open API's body is JSON and says so.
func TestMediaType(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 8})
		for media, status := range map[string]int{
			"application/json": 200, "Application/JSON; charset=utf-8": 200, "": 422, "text/plain": 422, "application/json/x": 422,
			"application/x-www-form-urlencoded": 422,
		} {
			req := httptest.NewRequest("POST", openPath, strings.NewReader(`{}`))
			req.Header.Set("Authorization", "Bearer "+o.token)
			req.Header.Set("Content-Type", media)
			w := httptest.NewRecorder()
			if o.ServeHTTP(w, req); w.Code != status {
				t.Errorf("%q: %d, want %d", media, w.Code, status)
			}
		}
	})
}

// TestLimits: a client that asks too often gets 429, one whose quota is used up
// 403, each with when to come back, and others are served meanwhile.
func TestLimits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 64})
		slow := o.client(clients.Client{Name: "slow", Rate: 3})
		small := o.client(clients.Client{Name: "small", Rate: -1, Quota: clients.Quota{Bytes: 1500, Period: time.Hour}})
		for range 3 {
			pieces(t, o.quantum(slow, 1))
		}
		w := o.quantum(slow, 1)
		if w.Code != 429 || w.Header().Get("Retry-After") != "4" { // a third of 10 s, rounded up
			t.Errorf("%d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
		}
		pieces(t, o.quantum(o.token, 1))
		time.Sleep(4 * time.Second)
		pieces(t, o.quantum(slow, 1))

		pieces(t, o.quantum(small, 1))
		if w := o.quantum(small, 1); w.Code != 403 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		pieces(t, o.keys(small, 476, 1)) // what is left
		if w := o.keys(small, 1, 1); w.Code != 403 {
			t.Errorf("%d", w.Code)
		}
		time.Sleep(time.Hour)
		pieces(t, o.keys(small, 1, 1))
	})
}

// TestNoSupply: without stock the answer is 503, and costs the client nothing.
func TestNoSupply(t *testing.T) {
	bubble(t, func(t *testing.T) {
		service := newFakeService(t)
		service.limit = 4
		o := newTestRelay(t, Config{Stock: 8, BatchBlocks: 4, Blocks: service})
		small := o.client(clients.Client{Name: "small", Rate: -1, Quota: clients.Quota{Bytes: 5200, Period: time.Hour}})
		for range 5 {
			w := o.quantum(small, 5)
			var said struct{ Error string }
			if w.Code != 503 || json.Unmarshal(w.Body.Bytes(), &said) != nil || said.Error == "" {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if s, err := strconv.Atoi(w.Header().Get("Retry-After")); err != nil || s < 1 || s > 60 {
				t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
			}
		}
		pieces(t, o.quantum(small, 4)) // its quota is untouched, and so is the stock
		if !strings.Contains(o.log.String(), "status=503") || o.Ready() {
			t.Error("not logged, or ready without stock")
		}
		service.set(func() { service.limit = 1 })
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		if !o.Ready() {
			t.Errorf("not ready with %d bytes", o.Account().Stock)
		}
		pieces(t, o.keys(o.token, 24, 1))
		if o.Ready() {
			t.Error("ready without a whole block")
		}
		if o.ask("", "GET", "/readyz").Code != 503 || o.ask("", "GET", "/healthz").Code != 200 {
			t.Error("the probes are wrong")
		}
	})
}

// A lameWriter fails after so many bytes, as a connection that was cut.
type lameWriter struct {
	http.ResponseWriter
	left int
}

func (w *lameWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		return w.left, errors.New("connection reset")
	}
	w.left -= len(p)
	return w.ResponseWriter.Write(p)
}

// A plainWriter cannot flush, as the writers of some middlewares.
type plainWriter struct {
	header http.Header
	bytes.Buffer
}

func (w *plainWriter) Header() http.Header { return w.header }
func (w *plainWriter) WriteHeader(int)     {}

// TestNoFlush: an answer that cannot be flushed is not lost for that.
func TestNoFlush(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 8})
		req := httptest.NewRequest("GET", quantumPath, nil)
		req.Header.Set("Authorization", "Bearer "+o.token)
		w := &plainWriter{header: http.Header{}}
		o.ServeHTTP(w, req)
		if got := o.Account(); got.HandedOut != 1024 || got.Lost != 0 || w.Len() == 0 {
			t.Errorf("the account is %+v", got)
		}
	})
}

// TestMoreThanStock: what can never be served is not "for now".
func TestMoreThanStock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 8})
		if w := o.quantum(o.token, 9); w.Code != 400 || !strings.Contains(w.Body.String(), "8192 bytes") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if w := o.keys(o.token, 8193, 1); w.Code != 422 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		pieces(t, o.quantum(o.token, 8))
	})
}

// TestAgeIsNotYounger: a part of a second counts as one.
func TestAgeIsNotYounger(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 8, BatchBlocks: 4})
		time.Sleep(time.Millisecond)
		if age := o.quantum(o.token, 1).Header().Get("Age"); age != "61" {
			t.Errorf("Age %s after 60.001 s", age)
		}
	})
}

func (w *lameWriter) FlushError() error {
	if w.left < 100 {
		return errors.New("connection reset")
	}
	return nil
}

// TestLost: what the network did not take is lost, for nobody gets it twice; the
// client is charged for it, since it may have arrived.
func TestLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 64})
		for _, left := range []int{10, 1450} { // in Write, at the end of it
			before := o.Account()
			req := httptest.NewRequest("GET", quantumPath, nil)
			req.Header.Set("Authorization", "Bearer "+o.token)
			o.ServeHTTP(&lameWriter{httptest.NewRecorder(), left}, req)
			if got := o.Account(); got.Lost != before.Lost+1024 || got.HandedOut != before.HandedOut || got.InFlight != 0 {
				t.Errorf("after %d bytes the account is %+v", left, got)
			}
		}
		w := o.quantum(o.token, 1)
		if got := pieces(t, w)[0]; !bytes.Equal(got, o.service.all()[2048:3072]) {
			t.Error("a lost block was handed out again")
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		before := o.Account()
		req := httptest.NewRequestWithContext(gone, "GET", quantumPath, nil)
		req.Header.Set("Authorization", "Bearer "+o.token)
		o.ServeHTTP(httptest.NewRecorder(), req)
		if o.Account() != before {
			t.Error("a client that is gone costs entropy")
		}
	})
}

// TestConfig: what makes no sense is refused with what to do.
func TestConfig(t *testing.T) {
	list := openList(t, listFile(t, `{"clients":[]}`))
	for _, test := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "clients.Open"},
		{Config{Clients: list, Stock: 1}, "from 2 to"},
		{Config{Clients: list, Stock: -1}, "from 2 to"},
		{Config{Clients: list, Stock: maxStock + 1}, "from 2 to"},
		{Config{Clients: list, BatchBlocks: 513}, "1 to 512"},
		{Config{Clients: list, BatchBlocks: -1}, "1 to 512"},
		{Config{Clients: list, Stock: 8, BatchBlocks: 5}, "more than half"},
		{Config{Clients: list, MaxAge: -1}, "MaxAge"},
	} {
		test.cfg.Blocks = newFakeService(t)
		if r, err := New(test.cfg); r != nil || err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "relay: ") {
			t.Errorf("%+v: %v, want %q", test.cfg, err, test.want)
		}
	}
}

var _ qrand.BlockSource = (*fakeService)(nil)
