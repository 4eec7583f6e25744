package relay

import (
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"example.com/qrand/internal/abuse"
)

// TestPathTricks: only the exact paths of the API give entropy, and only the exact
// paths of the operator's pages show these. None of the others does.
func TestPathTricks(t *testing.T) {
	b := serveAttacked(t, abuse.NewNumbered(), Config{Stock: 64}, ServerConfig{})
	raw := func(request string, want int) []int {
		t.Helper()
		got, err := b.worse.Raw(t.Context(), request, want)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	auth := "Host: relay.example\r\nAuthorization: Bearer " + b.worse.Token + "\r\n"
	for target, want := range map[string]int{
		"//api/v1/quantum-entropy":                      404,
		"/api//v1/quantum-entropy":                      404,
		"/api/v1/quantum-entropy/":                      404,
		"/api/v1/./quantum-entropy":                     404,
		"/api/v1/x/../quantum-entropy":                  404,
		"/../api/v1/quantum-entropy":                    404,
		"/api/v1/%71uantum-entropy":                     404,
		"/api/v1%2fquantum-entropy":                     404,
		"/%2e/api/v1/quantum-entropy":                   404,
		"/api/v1/quantum-entropy%00":                    404,
		"/api/v1/quantum-entropy%0d%0aX:a":              404,
		"/api/v1/quantum-entropy;size=1":                404,
		"/API/v1/quantum-entropy":                       404,
		`/api\v1\quantum-entropy`:                       404,
		"/api/v1/quantum-entropy\x00":                   400,
		"/api/v1/quantum-entropy%":                      400,
		"/api/v1/quantum-entropy%zz":                    400,
		"api/v1/quantum-entropy":                        400,
		"*":                                             404,
		"https://other.example/metrics":                 401,
		"https://localhost/x/../metrics":                404,
		"//localhost/metrics":                           404,
		"/metrics/":                                     404,
		"/%6detrics":                                    404,
		"/./metrics":                                    404,
		"/api/v1/quantum-entropy?size=1;size=2":         400,
		"/api/v1/quantum-entropy?size=1&size=2":         400,
		"/api/v1/quantum-entropy?size=%31%00":           400,
		"/api/v1/quantum-entropy?size=99999999999":      400,
		"/api/v1/quantum-entropy?size=-1":               400,
		"/api/v1/quantum-entropy?size=1%zz":             400,
		"/api/v1/quantum-entropy#?size=1":               404,
		"https:///api/v1/quantum-entropy/../../healthz": 404,
	} {
		if got := raw("GET "+target+" HTTP/1.1\r\n"+auth+"\r\n", 1); !slices.Equal(got, []int{want}) {
			t.Errorf("%q: %v, want %d", target, got, want)
		}
	}
	if a := b.Account(); a.HandedOut+a.Lost+a.InFlight != 0 {
		t.Errorf("entropy was handed out: %+v", a)
	}
}

// TestMethodTricks: each call has one method that gets entropy. A request that two
// servers could read in two ways is refused.
func TestMethodTricks(t *testing.T) {
	b := serveAttacked(t, abuse.NewNumbered(), Config{Stock: 64}, ServerConfig{})
	const quantum, open = " /api/v1/quantum-entropy?size=1 HTTP/1.1\r\n", " /api/v1/entropy HTTP/1.1\r\nContent-Type: application/json\r\n"
	auth := "Host: relay.example\r\nAuthorization: Bearer " + b.worse.Token + "\r\n"
	const body = `{"block_size":32,"block_count":1}` // 33 bytes
	for name, c := range map[string]struct {
		request string
		want    []int // 0: the connection is closed
		handed  int64
	}{
		"HEAD":                 {"HEAD" + quantum + auth + "\r\n", []int{405}, 0},
		"HEAD of the other":    {"HEAD" + open + auth + "\r\n", []int{405}, 0},
		"OPTIONS":              {"OPTIONS" + quantum + auth + "\r\n", []int{405}, 0},
		"OPTIONS *":            {"OPTIONS * HTTP/1.1\r\n" + auth + "\r\n", []int{404}, 0},
		"TRACE":                {"TRACE" + quantum + auth + "\r\n", []int{405}, 0},
		"CONNECT":              {"CONNECT relay.example:443 HTTP/1.1\r\n" + auth + "\r\n", []int{404}, 0},
		"CONNECT to a path":    {"CONNECT" + open + auth + "\r\n", []int{405}, 0},
		"get":                  {"get" + quantum + auth + "\r\n", []int{405}, 0},
		"override":             {"PUT" + open + auth + "X-Http-Method-Override: POST\r\nContent-Length: 33\r\n\r\n" + body, []int{405}, 0},
		"no host":              {"GET" + quantum + "Authorization: Bearer " + b.worse.Token + "\r\n\r\n", []int{400, 0}, 0},
		"two hosts":            {"GET" + quantum + auth + "Host: other.example\r\n\r\n", []int{400, 0}, 0},
		"two lengths":          {"POST" + open + auth + "Content-Length: 33\r\nContent-Length: 34\r\n\r\n" + body, []int{400, 0}, 0},
		"a length below zero":  {"POST" + open + auth + "Content-Length: -1\r\n\r\n", []int{400, 0}, 0},
		"two tokens":           {"GET" + quantum + auth + "Authorization: Bearer other\r\n\r\n", []int{401}, 0},
		"an unknown coding":    {"POST" + open + auth + "Transfer-Encoding: gzip\r\n\r\n", []int{501, 0}, 0},
		"two codings":          {"POST" + open + auth + "Transfer-Encoding: chunked, identity\r\n\r\n", []int{501, 0}, 0},
		"space before a colon": {"GET" + quantum + auth + "X : a\r\n\r\n", []int{400, 0}, 0},
		"a folded line":        {"GET" + quantum + auth + "X: a\r\n b\r\n\r\n", []int{200}, 1024},
		"HTTP/3.0":             {"GET /api/v1/quantum-entropy?size=1 HTTP/3.0\r\n" + auth + "\r\n", []int{505, 0}, 0},
		"HTTP/0.9":             {"GET /api/v1/quantum-entropy?size=1\r\n\r\n", []int{400, 0}, 0},
		"an HTTP/2 preface":    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{404, 0}, 0},
		"bad chunks":           {"POST" + open + auth + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", []int{422, 0}, 0},
		"an expectation":       {"POST" + open + auth + "Expect: the-spanish-inquisition\r\nContent-Length: 33\r\n\r\n" + body, []int{417, 0}, 0},

		// RFC 9112 section 6.3: of a length beside chunks the chunks hold, and the
		// connection is closed, so that what follows is no request.
		"smuggled behind chunks": {"POST" + open + auth + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET" + quantum + auth + "\r\n", []int{422, 0}, 0},

		// These get what they ask for, and what follows is read as it should be.
		"upgrade":               {"GET" + quantum + auth + "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", []int{200}, 1024},
		"websocket":             {"GET" + quantum + auth + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", []int{200}, 1024},
		"GET with a body":       {"GET" + quantum + auth + "Content-Length: 33\r\n\r\n" + body + "GET" + quantum + auth + "\r\n", []int{200, 200}, 2048},
		"a request as the body": {"GET /nothing HTTP/1.1\r\n" + auth + "Content-Length: 60\r\n\r\n" + pad("GET"+quantum, 60) + "GET /nothing HTTP/1.1\r\n" + auth + "\r\n", []int{404, 0}, 0},
		"continue":              {"POST" + open + auth + "Expect: 100-continue\r\nContent-Length: 33\r\n\r\n" + body, []int{200}, 32},
		"trailers":              {"POST" + open + auth + "Transfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n21\r\n" + body + "\r\n0\r\nAuthorization: Bearer other\r\n\r\n", []int{200}, 32},
		"a pipeline":            {strings.Repeat("GET"+quantum+auth+"\r\n", 20), slices.Repeat([]int{200}, 20), 20480},
		"a refused body":        {"POST" + open + "Host: relay\r\nContent-Length: 33\r\n\r\n" + body + "GET" + quantum + auth + "\r\n", []int{401, 0}, 0},
		"a body after all":      {"POST" + open + auth + "Content-Length: 33\r\n\r\n" + body + "GET" + quantum + auth + "\r\n", []int{200, 200}, 1056},
	} {
		before := b.Account().HandedOut
		got, err := b.worse.Raw(t.Context(), c.request, len(c.want))
		if err != nil {
			t.Fatal(err)
		}
		for b.Account().InFlight > 0 { // until the relay has noted what the client has
			runtime.Gosched()
		}
		if handed := b.Account().HandedOut - before; !slices.Equal(got, c.want) || handed != c.handed {
			t.Errorf("%s: %v and %d bytes, want %v and %d", name, got, handed, c.want, c.handed)
		}
	}
	if a := b.Account(); a.Lost+a.InFlight != 0 {
		t.Errorf("%+v", a)
	}
}

func pad(text string, n int) string { return text + strings.Repeat("\n", n-len(text)) }

// TestBadTokens: an attacker that tries tokens as fast as it can gets 401 each time,
// and the good client gets its bytes meanwhile.
func TestBadTokens(t *testing.T) {
	b := serveAttacked(t, abuse.NewNumbered(), Config{Stock: 64}, ServerConfig{})
	stop, done := make(chan struct{}), make(chan int)
	for range 8 {
		go func() {
			tries := 0
			defer func() { done <- tries }()
			client := b.worse.Client()
			defer client.CloseIdleConnections()
			bad := b.worse
			bad.Token = "qrelay_of_nobody"
			for {
				select {
				case <-stop:
					return
				default:
				}
				if status, _, err := bad.Ask(t.Context(), client, 1, 32); err != nil || status != http.StatusUnauthorized {
					t.Errorf("status %d, %v", status, err)
					return
				}
				tries++
			}
		}()
	}
	service := b.target.Serve(200, 0, now())
	close(stop)
	tries := 0
	for range 8 {
		tries += <-done
	}
	t.Logf("%d wrong tokens; the good client: %v", tries, service)
	if service.Failed > 0 || tries < 8 {
		t.Errorf("%d wrong tokens; the good client: %v", tries, service)
	}
	if a := b.Account(); a.HandedOut != int64(service.Served)*32 {
		t.Errorf("%d bytes were handed out for %d requests of 32", a.HandedOut, service.Served)
	}
}
