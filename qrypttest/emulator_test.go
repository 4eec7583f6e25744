package qrypttest_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/qrand/qrypttest"
)

func TestStatuses(t *testing.T) {
	s := newServer(t, qrypttest.Config{Rate: -1})
	strict := newServer(t, qrypttest.Config{Rate: -1, RequireToken: true})
	c := s.Client()
	token := s.Token()
	for _, test := range []struct {
		name                string
		method, path, token string
		body                string
		want                int
	}{
		{"default", "GET", quantum, token, "", 200},
		{"least", "GET", quantum + "?size=1", token, "", 200},
		{"most", "GET", quantum + "?size=512", token, "", 200},
		{"zero", "GET", quantum + "?size=0", token, "", 400},
		{"too many", "GET", quantum + "?size=513", token, "", 400},
		{"negative", "GET", quantum + "?size=-1", token, "", 400},
		{"signed", "GET", quantum + "?size=%2B1", token, "", 400},
		{"no number", "GET", quantum + "?size=", token, "", 400},
		{"huge", "GET", quantum + "?size=99999999999999999999", token, "", 400},
		{"twice", "GET", quantum + "?size=1&size=2", token, "", 400},
		{"malformed query", "GET", quantum + "?size=%zz", token, "", 400},
		{"no token", "GET", quantum, "", "", 401},
		{"wrong token", "GET", quantum, token + "x", "", 401},
		{"no token before bad size", "GET", quantum + "?size=0", "", "", 401},
		{"unknown path", "GET", "/", token, "", 404},
		{"longer path", "GET", quantum + "/", token, "", 404},
		{"wrong method", "POST", quantum, token, "", 405},
		{"head", "HEAD", quantum, token, "", 405},

		{"open", "POST", open, token, `{"block_size":1024,"block_count":2}`, 200},
		{"open, no token", "POST", open, "", `{}`, 200},
		{"open, wrong token", "POST", open, "x", `{}`, 401},
		{"open, null", "POST", open, token, `{"block_size":null,"block_count":null}`, 200},
		{"open, all", "POST", open, token, `{"block_size":1024,"block_count":512}`, 200},
		{"open, one large", "POST", open, token, `{"block_size":524288}`, 200},
		{"open, too large", "POST", open, token, `{"block_size":524289}`, 422},
		{"open, too much", "POST", open, token, `{"block_size":1025,"block_count":512}`, 422},
		{"open, overflow", "POST", open, token, `{"block_size":9223372036854775807,"block_count":2}`, 422},
		{"open, size 0", "POST", open, token, `{"block_size":0}`, 422},
		{"open, count 0", "POST", open, token, `{"block_count":0}`, 422},
		{"open, count 513", "POST", open, token, `{"block_size":1,"block_count":513}`, 422},
		{"open, fraction", "POST", open, token, `{"block_count":1.5}`, 422},
		{"open, text", "POST", open, token, `{"block_count":"1"}`, 422},
		{"open, no JSON", "POST", open, token, `block_count=1`, 422},
		{"open, no body", "POST", open, token, ``, 422},
		{"open, long body", "POST", open, token, `{}` + strings.Repeat(" ", 5000), 422},
		{"open, wrong method", "GET", open, token, "", 405},
	} {
		r := do(t, c, request(t, test.method, s.URL+test.path, test.token, test.body))
		if r.status != test.want || r.err != nil {
			t.Errorf("%s: status %d, error %v; want status %d", test.name, r.status, r.err, test.want)
		}
		var refusal struct{ Error string }
		if test.want != 200 && test.method != "HEAD" && (json.Unmarshal(r.body, &refusal) != nil || refusal.Error == "") {
			t.Errorf("%s: body %q, want an error in JSON", test.name, r.body)
		}
		if allow := r.header.Get("Allow"); (allow != "") != (test.want == 405) {
			t.Errorf("%s: Allow: %q", test.name, allow)
		}
		all := s.Requests()
		if last := all[len(all)-1]; last.Status != test.want {
			t.Errorf("%s: recorded status %d, want %d", test.name, last.Status, test.want)
		}
	}

	if r := post(t, strict.Client(), strict.URL, "", 1024, 1); r.status != 401 {
		t.Errorf("RequireToken: status %d, want 401", r.status)
	}
	post(t, strict.Client(), strict.URL, strict.Token(), 1024, 1).blocks(t, 1024, 1)

	typed := request(t, "POST", s.URL+open, token, `{}`)
	typed.Header.Set("Content-Type", "text/plain")
	if r := do(t, c, typed); r.status != 422 {
		t.Errorf("text/plain: status %d, want 422", r.status)
	}
	typed = request(t, "POST", s.URL+open, token, `{}`)
	typed.Header.Set("Content-Type", "Application/JSON; charset=utf-8")
	do(t, c, typed).blocks(t, 32, 1)
}

func TestAuthorization(t *testing.T) {
	s := newServer(t, qrypttest.Config{Rate: -1, Tokens: []string{"one", "two"}})
	for _, test := range []struct {
		values []string
		status int
		token  int
	}{
		{nil, 401, -1},
		{[]string{"Bearer one"}, 200, 0},
		{[]string{"bearer two"}, 200, 1},
		{[]string{"BEARER  two"}, 200, 1},
		{[]string{"Bearer three"}, 401, -2},
		{[]string{"Bearer "}, 401, -2},
		{[]string{"Basic one"}, 401, -2},
		{[]string{"one"}, 401, -2},
		{[]string{"Bearer one", "Bearer one"}, 401, -2},
	} {
		req := request(t, "GET", s.URL+quantum, "", "")
		for _, v := range test.values {
			req.Header.Add("Authorization", v)
		}
		r := do(t, s.Client(), req)
		all := s.Requests()
		if got := all[len(all)-1].Token; r.status != test.status || got != test.token {
			t.Errorf("%q: status %d, token %d; want %d, %d", test.values, r.status, got, test.status, test.token)
		}
		if r.status == 401 && r.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%q: no challenge", test.values)
		}
	}
}

func TestSetTokens(t *testing.T) {
	s := newServer(t, qrypttest.Config{Quota: 1})
	old := s.Token()
	if len(old) < 32 {
		t.Errorf("a token of %d characters", len(old))
	}
	get(t, s.Client(), s.URL, old, 1).blocks(t, 1024, 1)
	s.SetTokens("new")
	if got := get(t, s.Client(), s.URL, old, 1).status; got != 401 {
		t.Errorf("old token: status %d, want 401", got)
	}
	get(t, s.Client(), s.URL, s.Token(), 1).blocks(t, 1024, 1)
	s.SetTokens("new", old)
	if got := get(t, s.Client(), s.URL, old, 1).status; got != 403 {
		t.Errorf("old token again: status %d, want 403: its quota was used", got)
	}
	s.SetTokens()
	if got := s.Token(); got != "" {
		t.Error("there is a token although none is accepted")
	}
	if got := get(t, s.Client(), s.URL, old, 1).status; got != 401 {
		t.Errorf("no token accepted: status %d, want 401", got)
	}
}

func TestBlocks(t *testing.T) {
	seed := [32]byte{1, 2, 3}
	canary := []byte("canary of this test")
	take := func(cfg qrypttest.Config) (all [][]byte) {
		e := newServer(t, cfg)
		all = append(all, get(t, e.Client(), e.URL, e.Token(), 3).blocks(t, 1024, 3)...)
		all = append(all, post(t, e.Client(), e.URL, e.Token(), 1024, 2).blocks(t, 1024, 2)...)
		post(t, e.Client(), e.URL, e.Token(), 100, 1).blocks(t, 100, 1)
		if got := e.Issued(); got != 6 {
			t.Errorf("issued %d, want 6", got)
		}
		return all
	}
	first, second := take(qrypttest.Config{Seed: &seed}), take(qrypttest.Config{Seed: &seed})
	if !slices.EqualFunc(first, second, bytes.Equal) {
		t.Error("one seed, two streams")
	}
	seen := make(map[string]bool)
	for _, b := range slices.Concat(first, take(qrypttest.Config{}), take(qrypttest.Config{})) {
		if seen[string(b)] {
			t.Error("a block came twice")
		}
		seen[string(b)] = true
		if bytes.Contains(b, canary) {
			t.Error("a canary nobody asked for")
		}
	}
	for _, b := range take(qrypttest.Config{Canary: canary}) {
		if !bytes.HasPrefix(b[100:], canary) {
			t.Error("no canary at offset 100")
		}
	}
}

func TestRequests(t *testing.T) {
	s := newServer(t, qrypttest.Config{Regions: []string{"api-eus", "api-weu"}})
	req := request(t, "GET", s.Endpoints()[1]+quantum+"?size=7", s.Token(), "")
	req.Header.Set("X-Test", "value")
	req.Header.Set("Proxy-Authorization", "Basic unknown")
	do(t, s.Client(), req).blocks(t, 1024, 7)
	post(t, s.Client(), s.Endpoints()[0], "", 16, 5).blocks(t, 16, 5)

	all := s.Requests()
	if len(all) != 2 {
		t.Fatalf("%d requests, want 2", len(all))
	}
	r := all[0]
	if r.Region != "api-weu" || r.Method != "GET" || r.Path != quantum || r.Query.Get("size") != "7" ||
		r.Blocks != 7 || r.Token != 0 || r.Header.Get("X-Test") != "value" || r.Status != 200 ||
		r.Fault != (qrypttest.Fault{}) || r.Time.IsZero() {
		t.Errorf("recorded %+v", r)
	}
	if r := all[1]; r.Region != "api-eus" || r.Method != "POST" || r.Path != open || r.Blocks != 5 || r.Token != -1 {
		t.Errorf("recorded %+v", r)
	}
	for _, name := range []string{"Authorization", "Proxy-Authorization"} {
		if _, found := r.Header[name]; found {
			t.Errorf("%s is recorded", name)
		}
	}
	r.Header.Set("X-Test", "changed")
	r.Query.Set("size", "changed")
	if r := s.Requests()[0]; r.Header.Get("X-Test") != "value" || r.Query.Get("size") != "7" {
		t.Error("the record shares memory with its copy")
	}
}

// A token must not be found in anything a test or a log would print.
func TestTokensAreNotShown(t *testing.T) {
	tokens := []string{"token-nobody-may-read", "second-token-nobody-may-read"}
	cfg := qrypttest.Config{Tokens: tokens}
	s := newServer(t, cfg)
	for _, token := range tokens {
		req := request(t, "GET", s.URL+"/path/"+token+"/more?key="+token+"&"+token+"=1", token, "")
		req.Header.Set("X-Api-Key", token)
		req.Header.Set("Cookie", "a=b; session="+token)
		req.Header.Set("Proxy-Authorization", "Bearer "+token)
		do(t, s.Client(), req)
		get(t, s.Client(), s.URL, token, 1).blocks(t, 1024, 1)
	}
	requests := s.Requests()
	if got := requests[0].Query.Get("key"); got != "[token]" {
		t.Errorf("a token in the query became %q", got)
	}

	var shown strings.Builder
	for _, v := range []any{cfg, &cfg, []any{cfg}, struct{ C qrypttest.Config }{cfg}, s, struct{ S *qrypttest.Server }{s}, s.Emulator, requests, requests[0]} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&shown, verb+"\n", v)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%T: %v", v, err)
		}
		shown.Write(text)
		slog.New(slog.NewJSONHandler(&shown, nil)).Info("test", "v", v)
		slog.New(slog.NewTextHandler(&shown, nil)).Info("test", "v", v)
	}
	for _, token := range tokens {
		for _, form := range []string{token, hex.EncodeToString([]byte(token)), strings.ToUpper(hex.EncodeToString([]byte(token))),
			strings.Trim(fmt.Sprint([]byte(token)), "[]")} {
			if i := strings.Index(shown.String(), form); i >= 0 {
				t.Errorf("a token is shown: %.200q", shown.String()[max(0, i-100):])
			}
		}
	}
}

// TestConfigIsShown: a Config that is logged shows that any of its fields was set.
func TestConfigIsShown(t *testing.T) {
	values := map[string]any{
		"Tokens": []string{"t"}, "Regions": []string{"a"}, "Listen": []string{"l"}, "InMemory": true, "Rate": 1, "Window": time.Second,
		"FixedWindow": true, "FreeRefusals": true, "NoRetryAfter": true, "Quota": 1, "Seed": new([32]byte),
		"Canary": []byte("c"), "RequireToken": true, "Record": 1,
	}
	plain := fmt.Sprint(qrypttest.Config{})
	for _, field := range reflect.VisibleFields(reflect.TypeFor[qrypttest.Config]()) {
		var cfg qrypttest.Config
		if value, known := values[field.Name]; known {
			reflect.ValueOf(&cfg).Elem().FieldByIndex(field.Index).Set(reflect.ValueOf(value))
		}
		if got := fmt.Sprint(cfg); got == plain {
			t.Errorf("%s: not shown, or not among this test's values", field.Name)
		}
	}
}

func TestInvalidUse(t *testing.T) {
	e := qrypttest.New(qrypttest.Config{})
	for name, f := range map[string]func(){
		"same region":     func() { qrypttest.New(qrypttest.Config{Regions: []string{"a", "a"}}) },
		"no region":       func() { qrypttest.New(qrypttest.Config{Regions: []string{}}) },
		"unnamed region":  func() { qrypttest.New(qrypttest.Config{Regions: []string{""}}) },
		"empty token":     func() { qrypttest.New(qrypttest.Config{Tokens: []string{""}}) },
		"long canary":     func() { qrypttest.New(qrypttest.Config{Canary: make([]byte, 65)}) },
		"addresses":       func() { qrypttest.NewServer(qrypttest.Config{Listen: []string{"127.0.0.1:0", "127.0.0.1:0"}}) },
		"two networks":    func() { qrypttest.NewServer(qrypttest.Config{InMemory: true, Listen: []string{"127.0.0.1:0"}}) },
		"no address":      func() { qrypttest.NewServer(qrypttest.Config{Listen: []string{"nonsense"}}) },
		"negative window": func() { qrypttest.New(qrypttest.Config{Window: -1}) },
		"negative quota":  func() { e.SetQuota(-1) },
		"set empty token": func() { e.SetTokens("") },
		"handler":         func() { e.Handler("elsewhere") },
		"script region":   func() { e.ScriptRegion("elsewhere") },
		"kind":            func() { e.Script(qrypttest.Fault{Kind: 1000}) },
		"status":          func() { e.Script(qrypttest.Fault{Kind: qrypttest.Status, Status: 100}) },
		"status of hang":  func() { e.Script(qrypttest.Fault{Kind: qrypttest.Hang, Status: 503}) },
		"latency":         func() { e.Script(qrypttest.Fault{Latency: -1}) },
		"date of nothing": func() { e.Script(qrypttest.Fault{RetryAfterDate: true}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

// Requests, scripts and settings at the same time: mostly for the race detector.
func TestConcurrency(t *testing.T) {
	const clients, each = 8, 10
	s := newServer(t, qrypttest.Config{Rate: -1})
	s.Script(mustScript(t, "503 x40; ok x40")...)
	statuses := make(chan int, clients*each)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range each {
				statuses <- get(t, s.Client(), s.URL, s.Token(), 1).status
				s.Requests()
				s.Pending()
				_ = s.String()
			}
		})
	}
	all.Wait()
	close(statuses)
	count := make(map[int]int)
	for status := range statuses {
		count[status]++
	}
	if count[503] != 40 || count[http.StatusOK] != 40 || s.Pending() != 0 || s.Issued() != 40 {
		t.Errorf("statuses %v, pending %d, issued %d", count, s.Pending(), s.Issued())
	}
}
