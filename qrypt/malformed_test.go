package qrypt

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

const rawToken = "J5QK2M7VXW4T6NAZ3RBJ5QK2M7VXW4T6"

// newRawServer answers each request with what answer writes, HTTP or not. It is
// on plain loopback: TLS adds nothing to what a server may say.
func newRawServer(t testing.TB, answer func(io.Writer)) *Client {
	t.Helper()
	address := listen(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			answer(c)
		}
	})
	return mustNew(t, Config{Endpoints: []string{"http://" + address}, Token: StaticToken(rawToken)})
}

// net/http quotes a malformed answer in its errors, and an answer can have the
// token in it, or entropy: a server, or a proxy before it, that sends back what
// it got. No error of ours shows any.
func TestErrorsQuoteNoAnswer(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	const asJSON = ok + "Content-Type: application/json\r\n"
	block := noise(3, 1)[0]
	for i, answer := range []string{
		"$",
		"$\r\n\r\n",
		"$ 200 OK\r\n\r\n",
		"HTTP/$ 200 OK\r\n\r\n",
		"HTTP/1.1 $ OK\r\n\r\n",
		"HTTP/1.1 $",
		"HTTP/1.1 200 $\r\n\r\n",
		"HTTP/1.1 503 $\r\n\r\n",
		"HTTP/1.1 99999 $\r\n\r\n",
		"HTTP/1.1 -12 $\r\n\r\n",
		ok + "$\r\n\r\n",
		ok + "$: x\r\nno colon here $\r\n\r\n",
		ok + " $: x\r\n\r\n",
		ok + "Content-Length: $\r\n\r\n",
		ok + "Content-Length: 5\r\nContent-Length: $\r\n\r\n",
		ok + "Transfer-Encoding: $\r\n\r\n",
		ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: $\r\n\r\n",
		ok + "Content-Type: $\r\n\r\n$",
		ok + "Content-Type: application/json; $=$; $\r\n\r\n$",
		asJSON + "Content-Encoding: $\r\n\r\n$",
		asJSON + "Transfer-Encoding: chunked\r\n\r\n$\r\n",
		asJSON + "Transfer-Encoding: chunked\r\n\r\n5;$\r\n{\"$\"\r\n$",
		asJSON + "Transfer-Encoding: chunked\r\nTrailer: $\r\n\r\n2\r\n{}\r\n0\r\n$\r\n$",
		asJSON + "Content-Length: 1000\r\n\r\n$",
		asJSON + "\r\n$",
		asJSON + "\r\n\"$\"",
		asJSON + "\r\n{\"$\":\"$\"}",
		asJSON + "\r\n{\"random\":\"$\",\"size\":\"$\"}",
		asJSON + "\r\n{\"random\":[\"$\"],\"size\":1}",
		asJSON + "\r\n{\"random\":[],\"$\":0,\"$\":0}",
		asJSON + "\r\n{\"\\u0020$\":0}",
		"HTTP/1.1 301 Moved $\r\nLocation: https://elsewhere.example/$\r\n\r\n",
		"HTTP/1.1 302 $\r\nLocation: http://[$\r\n\r\n",
		"HTTP/1.1 302 $\r\nLocation: %zz$\r\n\r\n",
		"HTTP/1.1 307 $\r\nLocation: $\r\n\r\n$",
		"HTTP/1.1 401 $\r\nWWW-Authenticate: Bearer $\r\nContent-Type: application/json\r\n\r\n{\"error\":\"$\"}",
		"HTTP/1.1 429 $\r\nRetry-After: $\r\nDate: $\r\n\r\n$",
		"HTTP/1.1 500 $\r\nServer: $\r\n\r\n$",
		"HTTP/1.1 101 $\r\nUpgrade: $\r\n\r\n",
		strings.Repeat("HTTP/1.1 103 $\r\nLink: $\r\n\r\n", 10),
	} {
		for what, secret := range map[string][]byte{
			rawToken: []byte(rawToken),
			base64.StdEncoding.EncodeToString(block[:48]): block[:48],
			string(block[:48]):                            block[:48],
		} {
			c := newRawServer(t, func(w io.Writer) { io.WriteString(w, strings.ReplaceAll(answer, "$", what)) })
			c.token = StaticToken(fmt.Sprint(rawToken, i)) // its own rate limit
			_, err := c.Blocks(t.Context(), 1)
			if _, typed := err.(*Error); !typed {
				t.Fatalf("answer %.60q: error %T %v", answer, err, err)
			}
			checkSilent(t, err, secret, []byte(rawToken))
		}
	}
}
