package qrypt

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

// mostMemory is what a hostile answer may cost: a little more than what the
// longest good one does, with TLS and net/http.
const mostMemory = 4 << 20

// newHijackedServer answers each request over real HTTPS with what answer
// writes: the status line and all.
func newHijackedServer(t testing.TB, answer func(io.Writer)) *httptest.Server {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		io.Copy(io.Discard, req.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		answer(conn)
	}))
	t.Cleanup(server.Close)
	return server
}

// checkCheap asks in both dialects, for one block and for all that a request can
// carry, and once through a client of the caller's that would unzip by itself;
// each time the answer is refused for little memory.
func checkCheap(t *testing.T, answer func(io.Writer)) {
	server := newHijackedServer(t, answer)
	zipping := NewHTTPClient()
	transport := zipping.Transport.(*http.Transport)
	transport.DisableCompression, transport.TLSClientConfig.RootCAs = false, trustIn(server.Certificate())
	clients := map[string]func(*Config){"default": func(*Config) {}, "unzipping": withHTTP(zipping)}
	for name, edit := range clients {
		for _, d := range bothDialects {
			for _, n := range []int{1, MaxBlocks} {
				freshLimiter()
				c := clientOf(t, server, withDialect(d), edit)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				blocks, err := c.Blocks(t.Context(), n)
				runtime.ReadMemStats(&after)
				if err == nil || blocks != nil {
					t.Fatalf("%s client, %v: accepted", name, d)
				}
				checkHostileError(t, blocks, err)
				if cost := after.TotalAlloc - before.TotalAlloc; cost > mostMemory {
					t.Errorf("%s client, %v, %d blocks: %d bytes allocated, more than %d: %v", name, d, n, cost, mostMemory, err)
				}
			}
		}
	}
}

// What a hostile server makes a client allocate is bounded by what was asked
// for, not by what is sent, however that is framed.
func TestHostileBodiesCostLittleMemory(t *testing.T) {
	const huge = 10 << 30
	// A MiB of zeros in gzip's format, once; a server may send it forever, as
	// many members of one stream.
	var member bytes.Buffer
	z, _ := gzip.NewWriterLevel(&member, gzip.BestCompression)
	z.Write(make([]byte, 1<<20))
	z.Close()
	zipped := func(w io.Writer) { repeat(w, "", member.String(), huge) }
	block := `"` + string(fill(firstText)) + `"`
	bodies := map[string]struct {
		header string
		write  func(w io.Writer) // until the client goes; no part is made anew
	}{
		"one block of 10 GiB": {"", func(w io.Writer) {
			repeat(w, `{"size":1,"random":["`, strings.Repeat("A", 32<<10), huge)
		}},
		"one block of 10 GiB in the other dialect": {"", func(w io.Writer) {
			repeat(w, `{"entropy":["`, strings.Repeat("A", 32<<10), huge)
		}},
		"10 GiB of space":  {"", func(w io.Writer) { repeat(w, "", strings.Repeat(" ", 32<<10), huge) }},
		"10 GiB of fields": {"", func(w io.Writer) { repeat(w, `{"a":0`, strings.Repeat(`,"a":0`, 5<<10), huge) }},
		"a million empty elements": {"", func(w io.Writer) {
			million(w, `""`)
		}},
		"a million elements": {"", func(w io.Writer) {
			million(w, block)
		}},
		"10 GiB of nesting": {"", func(w io.Writer) { repeat(w, `{"random":`, strings.Repeat("[", 32<<10), huge) }},
		"nesting of a depth that has room": {"", func(w io.Writer) {
			const depth = 100_000
			io.WriteString(w, `{"a":`+strings.Repeat("[", depth)+strings.Repeat("]", depth)+"}")
		}},
		"a gzip bomb":              {"Content-Encoding: gzip\r\n", zipped},
		"a gzip bomb, unlabelled":  {"", zipped},
		"a gzip bomb, twice named": {"Content-Encoding: identity\r\nContent-Encoding: gzip\r\n", zipped},
	}
	framings := map[string]struct {
		header string
		frame  func(io.Writer) io.Writer
	}{
		"chunked":                     {"Transfer-Encoding: chunked\r\n", func(w io.Writer) io.Writer { return &chunks{to: w} }},
		"ended by the connection":     {"", plain},
		"a Content-Length of 10 GiB":  {"Content-Length: 10737418240\r\n", plain},
		"a Content-Length too large":  {"Content-Length: 9000000000000000000\r\n", plain},
		"a Content-Length too small":  {"Content-Length: 10\r\n", plain},
		"a Content-Length of nothing": {"Content-Length: 0\r\n", plain},
	}
	for body, b := range bodies {
		for framing, f := range framings {
			t.Run(body+"/"+framing, func(t *testing.T) {
				checkCheap(t, func(w io.Writer) {
					io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"+b.header+f.header+"\r\n")
					// As a server would send it: not a record for each scrap.
					buffered := bufio.NewWriterSize(f.frame(w), 32<<10)
					b.write(buffered)
					buffered.Flush()
				})
			})
		}
	}
}

func plain(w io.Writer) io.Writer { return w }

// chunks frames what is written as RFC 9112 section 7.1 has it.
type chunks struct{ to io.Writer }

func (c *chunks) Write(p []byte) (int, error) {
	if _, err := fmt.Fprintf(c.to, "%x\r\n", len(p)); err != nil {
		return 0, err
	}
	n, err := c.to.Write(p)
	if err == nil {
		_, err = io.WriteString(c.to, "\r\n")
	}
	return n, err
}

// repeat writes first, and then part over and over, to about most bytes or until
// nobody reads.
func repeat(w io.Writer, first, part string, most int64) {
	again := []byte(part) // once: what the server allocates would be counted too
	_, err := io.WriteString(w, first)
	for sent := int64(0); err == nil && sent < most; sent += int64(len(again)) {
		_, err = w.Write(again)
	}
}

// million writes an answer, good in both dialects except for its million elements.
func million(w io.Writer, element string) {
	another := []byte("," + element)
	for i, name := range []string{`{"random":[`, `],"entropy":[`} {
		_, err := io.WriteString(w, name+element)
		for j := 1; err == nil && j < 1_000_000; j++ {
			_, err = w.Write(another)
		}
		if err != nil {
			return
		}
		if i == 1 {
			io.WriteString(w, `],"size":1000000}`)
		}
	}
}

// What comes before and around a body has no end either, and is cut.
func TestHostileFramingCostsLittleMemory(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	const chunked = ok + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
	line := strings.Repeat("x", 1000)
	for _, c := range []struct{ name, first, part string }{
		{"a status line", "HTTP/1.1 200 ", line},
		{"one header line", ok + "X: ", line},
		{"header lines", ok, "X: " + line + "\r\n"},
		{"short header lines", ok, "X:\r\n"},
		{"a folded header line", ok + "X: x\r\n", " " + line + "\r\n"},
		{"interim answers", "", "HTTP/1.1 103 Early Hints\r\nLink: <" + line + ">\r\n\r\n"},
		{"short interim answers", "", "HTTP/1.1 100 Continue\r\n\r\n"},
		{"a chunk", chunked + "7fffffffffffffff\r\n", line},
		{"a chunk's size", chunked, "0"},
		{"a chunk's extension", chunked + "1;", line},
		{"chunks of one byte", chunked, "1\r\n \r\n"},
		{"trailers", chunked + "0\r\n", "X: " + line + "\r\n"},
		{"one trailer", chunked + "0\r\nX: ", line},
	} {
		t.Run(c.name, func(t *testing.T) {
			part := strings.Repeat(c.part, 1+(32<<10)/len(c.part))
			checkCheap(t, func(w io.Writer) { repeat(w, c.first, part, 10<<30) })
		})
	}
}
