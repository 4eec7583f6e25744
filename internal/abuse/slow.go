package abuse

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// tick is between the bytes of one who is slow.
const tick = 100 * time.Millisecond

// untilClosed reads until the relay ends the connection.
func untilClosed(ctx context.Context, c net.Conn) error {
	defer context.AfterFunc(ctx, func() { c.Close() })()
	io.Copy(io.Discard, c)
	return nil
}

// trickle sends text a byte at a time, and then waits for the end.
func trickle(ctx context.Context, c net.Conn, a *attacker, text []byte) error {
	gone := make(chan struct{})
	go func() { untilClosed(ctx, c); close(gone) }()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for i := range text {
		if _, err := c.Write(text[i : i+1]); err != nil {
			break
		}
		a.sent(1)
		a.inPlace()
		select {
		case <-gone:
			return nil
		case <-ticker.C:
		}
	}
	<-gone
	return nil
}

func idleTCP(ctx context.Context, t Target, a *attacker) error {
	c, err := t.dialTCP(ctx)
	if err != nil {
		return errRefused
	}
	defer c.Close()
	a.inPlace()
	return untilClosed(ctx, c)
}

func idleTLS(ctx context.Context, t Target, a *attacker) error {
	c, err := t.dial(ctx)
	if err != nil {
		return errRefused
	}
	defer c.Close()
	a.inPlace()
	return untilClosed(ctx, c)
}

func idleKept(ctx context.Context, t Target, a *attacker) error {
	c, err := t.dial(ctx)
	if err != nil {
		return errRefused
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: %s\r\n\r\n", t.Addr)
	r := bufio.NewReader(c)
	if resp, err := http.ReadResponse(r, nil); err == nil {
		io.Copy(io.Discard, resp.Body)
		a.sent(1)
	}
	a.inPlace()
	return untilClosed(ctx, c)
}

// idleKnown shows a good client's token, and then asks no more.
func idleKnown(ctx context.Context, t Target, a *attacker) error {
	c, err := t.dial(ctx)
	if err != nil {
		return errRefused
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /api/v1/quantum-entropy?size=0 HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", t.Addr, t.Token)
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
		io.Copy(io.Discard, resp.Body)
		a.sent(1)
	}
	a.inPlace()
	return untilClosed(ctx, c)
}

func slowHandshake(ctx context.Context, t Target, a *attacker) error {
	hello := clientHello(t.config())
	c, err := t.dialTCP(ctx)
	if err != nil {
		return errRefused
	}
	defer c.Close()
	return trickle(ctx, c, a, hello)
}

// clientHello is what a client sends first.
func clientHello(config *tls.Config) []byte {
	here, there := net.Pipe()
	defer there.Close()
	go tls.Client(here, config).Handshake()
	hello := make([]byte, 16<<10)
	n, _ := there.Read(hello)
	return hello[:n]
}

func slowHeader(ctx context.Context, t Target, a *attacker) error {
	return slowRequest(ctx, t, a, fmt.Sprintf("GET /api/v1/quantum-entropy?size=1 HTTP/1.1\r\nHost: %s\r\n", t.Addr), strings.Repeat("Accept: text/html\r\n", 1000))
}

// slowBody has a good client's token: others are refused before their body is
// read.
func slowBody(ctx context.Context, t Target, a *attacker) error {
	return slowRequest(ctx, t, a, fmt.Sprintf("POST /api/v1/entropy HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n{", t.Addr, t.Token), strings.Repeat(" ", 4000))
}

func slowRequest(ctx context.Context, t Target, a *attacker, begin, rest string) error {
	c, err := t.dial(ctx)
	if err != nil {
		return errRefused
	}
	defer c.Close()
	io.WriteString(c, begin)
	return trickle(ctx, c, a, []byte(rest))
}

// shortFields sends a header of many short fields, which take much memory for their
// length, but not its end.
func shortFields(ctx context.Context, t Target, a *attacker) error {
	c, err := t.dial(ctx)
	if err != nil {
		return errRefused
	}
	defer c.Close()
	header := fmt.Appendf(nil, "GET /nothing HTTP/1.1\r\nHost: %s\r\n", t.Addr)
	for i := range 1150 { // less than 6 KiB, of which the relay reads no more
		header = fmt.Appendf(header, "%c%c:\r\n", 'A'+i%26, 'a'+i/26%26)
	}
	c.Write(header)
	a.sent(1)
	a.inPlace()
	return untilClosed(ctx, c)
}

// wrongTokens asks again and again with a token that belongs to nobody, as fast as it is
// let: each time on a connection of its own, because the relay ends it.
func wrongTokens(ctx context.Context, t Target, a *attacker) error {
	c, err := t.dial(ctx)
	if err != nil {
		return errRefused
	}
	defer c.Close()
	a.inPlace()
	fmt.Fprintf(c, "GET /api/v1/quantum-entropy HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", t.Addr, wrongToken)
	a.sent(1)
	return untilClosed(ctx, c)
}

// deafPipeline sends a client's requests one after another and reads no answer. They are
// malformed, so that no entropy is spent.
func deafPipeline(ctx context.Context, t Target, a *attacker) error {
	c, err := t.dial(ctx)
	if err != nil {
		return errRefused
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	c.NetConn().(*net.TCPConn).SetReadBuffer(1)
	const batch = 50
	requests := strings.Repeat(fmt.Sprintf("GET /api/v1/quantum-entropy?size=0 HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", t.Addr, t.Token), batch)
	stuck := time.AfterFunc(time.Second, a.inPlace) // when neither side reads
	defer stuck.Stop()
	for {
		if _, err := io.WriteString(c, requests); err != nil {
			return nil
		}
		a.sent(batch)
		stuck.Reset(time.Second)
	}
}

func largeHello(ctx context.Context, t Target, a *attacker) error { return hello(ctx, t, a, 1) }

func halfHello(ctx context.Context, t Target, a *attacker) error { return hello(ctx, t, a, 2) }

// hello sends all but the end of a ClientHello as long as TLS libraries take, or a part of that.
func hello(ctx context.Context, t Target, a *attacker, part int) error {
	const most = 1<<16 - 1 // of a handshake message, in crypto/tls
	c, err := t.dialTCP(ctx)
	if err != nil {
		return errRefused
	}
	defer c.Close()
	message := append([]byte{1, 0, most >> 8, most & 0xff}, make([]byte, most-1)...) // RFC 8446 section 4
	for part := range slices.Chunk(message[:len(message)/part], 16<<10) {            // in records: section 5.1
		if _, err := c.Write(append([]byte{22, 3, 1, byte(len(part) >> 8), byte(len(part))}, part...)); err != nil {
			break
		}
		a.sent(len(part))
	}
	a.inPlace()
	return untilClosed(ctx, c)
}

// largeCertificate sends all but the end of a chain of certificates as long as TLS libraries
// take, to a relay that asks for certificates.
func largeCertificate(ctx context.Context, t Target, a *attacker) error {
	tcp, err := t.dialTCP(ctx)
	if err != nil {
		return errRefused
	}
	defer tcp.Close()
	cut := &cutConn{Conn: tcp, left: 250 << 10, a: a}
	config := t.config()
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		return &tls.Certificate{Certificate: slices.Repeat([][]byte{make([]byte, 50<<10)}, 5), PrivateKey: key}, err
	}
	conn := tls.Client(cut, config)
	if err := conn.HandshakeContext(ctx); err == nil { // as it seems to the client
		a.inPlace()
		untilClosed(ctx, conn)
	}
	return nil
}

// A cutConn says that it sent all, and sends no more than left.
type cutConn struct {
	net.Conn
	left int
	a    *attacker
}

func (c *cutConn) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.left -= n
	m, err := c.Conn.Write(p[:n])
	c.a.sent(m)
	if err == nil && m < len(p) {
		return len(p), nil
	}
	return m, err
}
