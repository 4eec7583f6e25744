package qrypt

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/qrypttest"
)

// exchange makes one request of a client over a connection in memory, answers
// it with what serve writes, and returns once every goroutine of it has ended;
// in a synctest bubble, so that a timeout takes no time and a goroutine left
// behind fails the test. There is no TLS: it adds nothing to what may be said
// inside.
func exchange(t *testing.T, d Dialect, n int, serve func(net.Conn)) (blocks []Block, took time.Duration, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		freshLimiter() // in each bubble it is the year 2000 again
		var served sync.WaitGroup
		dials := 0
		h := NewHTTPClient()
		transport := h.Transport.(*http.Transport)
		transport.Proxy = nil
		transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			dials++
			served.Go(func() {
				defer there.Close()
				req, err := http.ReadRequest(bufio.NewReader(there))
				if err != nil {
					t.Errorf("the request: %v", err)
					return
				}
				io.Copy(io.Discard, req.Body)
				serve(there)
			})
			return here, nil
		}
		c := mustNew(t, Config{Endpoints: []string{"http://127.0.0.1"}, Dialect: d, Token: StaticToken(rawToken), HTTPClient: h})
		begin := time.Now()
		blocks, err = c.Blocks(t.Context(), n)
		took = time.Since(begin)
		served.Wait()
		if dials != 1 {
			t.Errorf("%d connections for one call", dials)
		}
	})
	return blocks, took, err
}

// wireMost is how long a fuzzed answer may be on the wire: room for more than a
// hundred blocks.
const wireMost = 256 << 10

// FuzzWire answers a request with the fuzzer's bytes, through the real transport of
// net/http. The client does not panic, ends by its timeout and leaves no goroutine
// behind. It accepts blocks only if the oracle does, which reads the response by
// http.ReadResponse and its body by itself. piece is how many bytes arrive at a time,
// zero for all; with open, the connection stays open after the last of them.
func FuzzWire(f *testing.F) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	const body = `{"random":["<1>"],"entropy":["<1>"],"size":1}`
	length := len(body) + 2*(encodedLen-len(firstText))
	for _, raw := range []string{
		"",
		ok + "\r\n" + body,
		ok + fmt.Sprintf("Content-Length: %d\r\n\r\n", length) + body,
		ok + fmt.Sprintf("Content-Length: %d\r\nContent-Length: %[1]d\r\n\r\n", length) + body,
		ok + fmt.Sprintf("Content-Length: %d\r\nContent-Length: 7\r\n\r\n", length) + body,
		ok + "Content-Length: 10737418240\r\n\r\n" + body,
		ok + "Content-Length: 10\r\n\r\n" + body,
		ok + "Content-Length: -1\r\n\r\n" + body,
		ok + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n", length) + body + "\r\n0\r\n\r\n",
		ok + "Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n" + fmt.Sprintf("%x;a=b\r\n", length) + body + "\r\n0\r\nX: y\r\n\r\n",
		ok + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n" + fmt.Sprintf("%x\r\n", length) + body + "\r\n0\r\n\r\n",
		ok + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + body,
		ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		ok + "Transfer-Encoding: identity\r\n\r\n" + body,
		ok + "Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00",
		ok + "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n\r\n" + body,
		ok + "Content-Type: text/html\r\n\r\n" + body,
		ok + "X: " + strings.Repeat("x", 70<<10) + "\r\n\r\n" + body,
		ok + strings.Repeat("X: y\r\n", 3000) + "\r\n" + body,
		ok + " folded: x\r\n\r\n" + body,
		ok + "Retry-After: 99999999999999999999\r\nDate: " + sent + "\r\n\r\n" + body,
		"HTTP/1.0 200 OK\nContent-Type: application/json; charset=utf-8\n\n" + body,
		strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 3) + ok + "\r\n" + body,
		strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 4000) + ok + "\r\n" + body,
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n" + ok + "\r\n" + body,
		"HTTP/1.1 204 No Content\r\n\r\n" + body,
		"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2/\r\n\r\n",
		"HTTP/1.1 307 Again\r\nLocation: %zz\r\n\r\n",
		"HTTP/1.1 429 Slow " + rawToken + "\r\nRetry-After: -1\r\n\r\n",
		"HTTP/1.1 503 Out\r\nRetry-After: " + sent + "\r\nDate: yesterday\r\n\r\n",
		"HTTP/2.0 200 OK\r\n\r\n",
		"HTTP/1.1 000 \r\n\r\n",
		rawToken + "\r\n\r\n",
	} {
		f.Add([]byte(raw), false, uint16(0), uint16(0), false)
		f.Add([]byte(raw), true, uint16(0), uint16(7), true)
	}
	for _, s := range faultSeeds(f) {
		f.Add(s.raw, s.d == DialectOpenAPI, uint16(0), uint16(0), false)
		f.Add(s.raw, s.d == DialectOpenAPI, uint16(0), uint16(100), true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, openAPI bool, n, piece uint16, open bool) {
		raw, ok := expand(raw, wireMost)
		if !ok {
			return
		}
		d, count := dialectOf(openAPI), int(n)%MaxBlocks+1
		blocks, took, err := exchange(t, d, count, func(conn net.Conn) {
			size := max(int(piece), len(raw)/4000, 1)
			if piece == 0 {
				size = wireMost
			}
			for part := range slices.Chunk(raw, size) {
				if _, err := conn.Write(part); err != nil {
					return
				}
			}
			if open {
				io.Copy(io.Discard, conn) // until the client goes
			}
		})
		if took > defaultTimeout || took != 0 && !open {
			t.Errorf("it took %v", took)
		}
		want, certain, refusal := oracleWire(raw, d, count)
		if err != nil {
			checkHostileError(t, blocks, err)
			if refusal == nil && (open || !certain) {
				return
			}
		}
		sameBlocks(t, blocks, err, want, refusal)
	})
}

// oracleWire says what a response on the wire has in it. It is not certain, and
// the client may refuse what it accepts, where the transport has a limit of its
// own (64 KiB for all headers, buffered 4 KiB at a time) or a content type has
// odd parameters.
func oracleWire(raw []byte, d Dialect, n int) (blocks [][]byte, certain bool, err error) {
	rest := bytes.NewReader(raw)
	r := bufio.NewReader(rest)
	method := http.MethodGet
	if d == DialectOpenAPI {
		method = http.MethodPost
	}
	for {
		res, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return nil, true, err
		}
		if res.StatusCode/100 == 1 && res.StatusCode != http.StatusSwitchingProtocols {
			continue // RFC 9110 section 15.2: any number may come before the answer
		}
		ok, certain := oracleHeader(res.StatusCode, res.Header["Content-Type"], res.Header["Content-Encoding"])
		if !ok {
			return nil, certain, errors.New("no header for blocks")
		}
		certain = certain && len(raw)-rest.Len()-r.Buffered() < 60<<10
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return nil, certain, err
		}
		// The base64 of n blocks, half as much again for white space and escapes,
		// and 4 KiB for the rest.
		if len(body) > 4096+2048*n {
			return nil, certain, errors.New("too long")
		}
		blocks, err = oracleAnswer(body, d, n)
		return blocks, certain, err
	}
}

// A faultSeed is how the emulator answers with a fault, for one block.
type faultSeed struct {
	d         Dialect
	raw, body []byte
}

// faultSeeds are the answers to every kind of fault of the emulator but three:
// Hang sends none, Drip an ordinary one slowly, and an ExpiredCertificate comes
// before HTTP. Those that are very long are cut.
func faultSeeds(t testing.TB) (all []faultSeed) {
	const most = 8 << 10
	emulator := qrypttest.New(qrypttest.Config{Rate: -1, Seed: &[32]byte{1}, Tokens: []string{rawToken}})
	server := httptest.NewServer(emulator.Handler("api-eus"))
	defer server.Close()
	for kind := qrypttest.OK; !strings.HasPrefix(kind.String(), "kind("); kind++ {
		fault := qrypttest.Fault{Kind: kind}
		switch kind {
		case qrypttest.Hang, qrypttest.Drip, qrypttest.ExpiredCertificate:
			continue
		case qrypttest.Status:
			fault.Status, fault.RetryAfter, fault.RetryAfterDate = 429, 7*time.Second, true
		}
		for _, d := range bothDialects {
			emulator.Script(fault)
			req, err := newRequest(t.Context(), d, server.URL, 1)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+rawToken)
			req.Close = true
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			req.Write(conn)
			raw, _ := io.ReadAll(io.LimitReader(conn, most)) // a Reset is an error, after its answer
			conn.Close()
			_, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
			all = append(all, faultSeed{d, raw, body})
		}
	}
	return all
}

// TestFaultSeeds: the seeds are answers, and two of them good ones, which the
// fuzz targets' oracles accept.
func TestFaultSeeds(t *testing.T) {
	accepted := map[Dialect]int{}
	for _, s := range faultSeeds(t) {
		if !bytes.HasPrefix(s.raw, []byte("HTTP/1.1 ")) {
			t.Errorf("%v: %q", s.d, s.raw)
		}
		if _, certain, err := oracleWire(s.raw, s.d, 1); certain && err == nil {
			accepted[s.d]++
		}
	}
	// Ordinary, repeated, stuck and biased ones: the last three are for a health
	// test to refuse.
	for _, d := range bothDialects {
		if accepted[d] != 4 {
			t.Errorf("%v: %d seeds accepted, want 4", d, accepted[d])
		}
	}
}

// TestDrip: an answer that comes slowly and never ends is given up at the timeout. Each
// part of an answer is tried.
func TestDrip(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	const headerTimeout = 20 * time.Second // NewHTTPClient's
	for _, c := range []struct {
		name, first, drop string
		most              time.Duration
	}{
		{"nothing", "", "", headerTimeout},
		{"status line", "HTTP/1.1 200 ", "x", headerTimeout},
		{"one header line", ok + "X: ", "x", headerTimeout},
		{"header lines", ok, "X: y\r\n", headerTimeout},
		{"interim answers", "", "HTTP/1.1 103 Early Hints\r\n\r\n", headerTimeout},
		{"body", ok + "\r\n", " ", defaultTimeout},
		{"body with a length", ok + "Content-Length: 1000\r\n\r\n", " ", defaultTimeout},
		{"chunks", ok + "Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n", defaultTimeout},
		{"chunk extension", ok + "Transfer-Encoding: chunked\r\n\r\n1;", "x", defaultTimeout},
		{"trailers", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n", "X: y\r\n", defaultTimeout},
		{"block", ok + "\r\n" + `{"entropy":["`, "A", defaultTimeout},
		{"after the answer", ok + "\r\n" + string(oneBlock[DialectOpenAPI]), "\n", defaultTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, d := range bothDialects {
				blocks, took, err := exchange(t, d, 1, func(conn net.Conn) {
					if _, err := io.WriteString(conn, c.first); err != nil {
						return
					}
					go io.Copy(io.Discard, conn)
					for {
						time.Sleep(time.Second)
						if _, err := io.WriteString(conn, c.drop); err != nil {
							return
						}
					}
				})
				if e := checkHostileError(t, blocks, err); e.Class != ErrTimeout {
					t.Errorf("%v: %v", d, err)
				}
				if took != c.most {
					t.Errorf("%v: given up after %v, want %v", d, took, c.most)
				}
			}
		})
	}
}
