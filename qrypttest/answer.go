package qrypttest

import (
	"bytes"
	"compress/flate"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	typeJSON = "application/json"
	typeHTML = "text/html; charset=utf-8"
)

const page = "<!DOCTYPE html>\n<html><head><title>Moved</title></head>" +
	"<body><p>This is a page, and no entropy.</p></body></html>\n"

// nesting is ten times the depth at which encoding/json gives up.
const nesting = 100_000

// sendWithoutBlocks answers as a proxy or a broken server does, whatever the request
// is. It returns false if the fault is of another kind.
func (x *exchange) sendWithoutBlocks(f Fault) bool {
	if err := f.check(); err != nil {
		// Only a fault of SetFault's function has not been checked before.
		x.sendRefusal(refusal{status: http.StatusInternalServerError, text: "SetFault: " + err.Error()})
		return true
	}
	switch f.Kind {
	case Status:
		x.sendRefusal(refusal{status: f.Status, text: "a script answers " + strconv.Itoa(f.Status)})
	case Hang:
		x.e.pause(x.r.Context(), -1)
		x.abort()
	case Redirect:
		x.w.Header().Set("Location", RedirectPath)
		x.send(http.StatusMovedPermanently, typeHTML, []byte(page))
	case HTML:
		x.send(http.StatusOK, typeHTML, []byte(page))
	case DeepNesting:
		head, tail := x.order.envelope(1)
		nested := strings.Repeat("[", nesting) + strings.Repeat("]", nesting)
		x.send(http.StatusOK, typeJSON, []byte(head+nested+tail))
	case Empty:
		x.send(http.StatusOK, typeJSON, nil)
	case NoJSON:
		x.send(http.StatusOK, typeJSON, []byte("no healthy upstream\n"))
	case ExpiredCertificate:
		x.abort()
	default:
		return false
	}
	return true
}

// sendBlocks sends the blocks that the request asks for, spoiled as kind says.
func (x *exchange) sendBlocks(kind Kind) {
	o := x.order
	if kind == WrongSize && o.openAPI {
		kind = WrongCount
	}
	head, tail := o.envelope(o.count)
	contentType := typeJSON
	var list []byte
	switch kind {
	case Oversize, GzipBomb:
		// They make blocks of their own.
	case Repeat:
		list = encode(x.e.repeated(o.count, o.size))
	case Stuck:
		list = encode(x.e.stuck(o.count, o.size))
	case Biased:
		list = encode(x.e.biased(o.count, o.size))
	case WrongCount:
		n := o.count + 1
		if o.count%2 == 0 {
			n = o.count - 1
		}
		head, tail = o.envelope(n)
		list = encode(x.e.ordinary(n, o.size, false))
	default:
		blocks := x.e.ordinary(o.count, o.size, kind == OK)
		switch kind {
		case URLBase64:
			for _, b := range blocks {
				b[0] = 0xfb // its first six bits are "-", or "+" in the right alphabet
			}
		case BlockLength:
			blocks[o.count-1] = blocks[o.count-1][1:]
		}
		list = encode(blocks)
	}

	switch kind {
	case URLBase64:
		list = []byte(strings.NewReplacer("+", "-", "/", "_").Replace(string(list)))
	case BadBase64:
		list[len(list)-len(`*=="]`)] = '*' // no padding is longer than "=="
	case WrongSize:
		_, tail = o.envelope(o.count + 1)
	case WrongType:
		contentType = "text/plain; charset=utf-8"
	case Trailing:
		tail += "\n{\"more\":\"data\"}"
	case DuplicateKeys:
		// One object with the members of two.
		list = append(list, strings.TrimSuffix(tail, "}")+","+strings.TrimPrefix(head, "{")...)
		list = append(list, encode(x.e.ordinary(o.count, o.size, false))...)
	}
	body := append(append([]byte(head), list...), tail...)

	switch kind {
	case Oversize:
		x.oversize()
	case GzipBomb:
		x.gzipBomb()
	case Drip:
		x.drip(body)
	case Reset:
		x.reset(body)
	case Truncate:
		x.send(http.StatusOK, typeJSON, body[:len(body)/2])
	case ShortBody:
		x.writeHeader(http.StatusOK, typeJSON, len(body))
		x.w.Write(body[:len(body)/2])
		http.NewResponseController(x.w).Flush()
		x.abort()
	case OK:
		x.issues = int64(o.units())
		x.send(http.StatusOK, typeJSON, body)
	default:
		x.send(http.StatusOK, contentType, body)
	}
}

// envelope returns the JSON before and after the list of blocks.
func (o order) envelope(size int) (head, tail string) {
	if o.openAPI {
		return `{"entropy":`, `}`
	}
	return `{"random":`, `,"size":` + strconv.Itoa(size) + `}`
}

func encode(blocks [][]byte) []byte {
	list := []byte{'['}
	for i, b := range blocks {
		if i > 0 {
			list = append(list, ',')
		}
		list = append(list, '"')
		list = base64.StdEncoding.AppendEncode(list, b)
		list = append(list, '"')
	}
	return append(list, ']')
}

// osReader is captured here because a program under test may set rand.Reader, at any
// moment, to a reader that is seeded by this emulator.
//
//qrandvet:ignore is not to see what a program sets rand.Reader to
var osReader = rand.Reader

// random returns count fresh blocks, from Config.Seed or the operating system. e.mu is
// held.
func (e *Emulator) random(count, size int) [][]byte {
	random := osReader
	if e.stream != nil {
		random = e.stream
	}
	blocks := make([][]byte, count)
	for i := range blocks {
		blocks[i] = make([]byte, size)
		if _, err := io.ReadFull(random, blocks[i]); err != nil {
			panic("qrypttest: crypto/rand failed: " + err.Error()) // as crypto/rand itself does
		}
	}
	return blocks
}

// ordinary returns fresh blocks as the service would send them. If keep is set, Repeat
// sends them again.
func (e *Emulator) ordinary(count, size int, keep bool) [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	blocks := e.random(count, size)
	for _, b := range blocks {
		if size >= canaryOffset+len(e.canary) {
			copy(b[canaryOffset:], e.canary)
		}
	}
	if keep {
		e.last = blocks
	}
	return blocks
}

// repeated returns the blocks that were sent last. If there are none of that size, it
// makes one, which is repeated from then on.
func (e *Emulator) repeated(count, size int) [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.last) == 0 || len(e.last[0]) != size {
		e.last = e.random(1, size)
	}
	blocks := make([][]byte, count)
	for i := range blocks {
		blocks[i] = e.last[i%len(e.last)]
	}
	return blocks
}

// stuck returns blocks that each repeat one byte.
func (e *Emulator) stuck(count, size int) [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	blocks := e.random(count, 1)
	for i := range blocks {
		blocks[i] = bytes.Repeat(blocks[i], size)
	}
	return blocks
}

// biased returns blocks with one value at every eighth place and nowhere else. In a
// window of 512 of an adaptive proportion test that makes 64, where two are expected.
// It starts at the first byte, because that test counts the first sample of a window.
func (e *Emulator) biased(count, size int) [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	blocks := e.random(count, size)
	value := blocks[0][0]
	for _, b := range blocks {
		for i := range b {
			switch {
			case i%8 == 0:
				b[i] = value
			case b[i] == value:
				b[i] ^= 1
			}
		}
	}
	return blocks
}

const (
	// oversize is far more than the 700 kB of the longest valid answer.
	oversize = 32 << 20
	// bombSize is what a GzipBomb expands to, without the JSON around it.
	bombSize = 1 << 30
	// Drip takes dripTime, or dripPause for each byte if that is longer.
	dripTime  = 2 * time.Minute
	dripPause = 100 * time.Millisecond
	// resetAfter fits any socket buffer: what is sent before a reset should arrive,
	// and a reset throws away what still waits.
	resetAfter = 2 << 10
)

// reset makes the kernel send a RST, with no FIN and no TLS alert before. So it closes
// the TCP connection below TLS.
func (x *exchange) reset(body []byte) {
	x.writeHeader(http.StatusOK, typeJSON, len(body))
	x.w.Write(body[:min(len(body)/2, resetAfter)])
	c := http.NewResponseController(x.w)
	c.Flush()
	conn, _, err := c.Hijack()
	if err != nil {
		x.abort()
	}
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	conn.Close()
}

// drip sends the body slowly, a byte at a time.
func (x *exchange) drip(body []byte) {
	x.writeHeader(http.StatusOK, typeJSON, len(body))
	c := http.NewResponseController(x.w)
	pause := max(dripPause, dripTime/time.Duration(len(body)))
	for i := range body {
		if !x.e.pause(x.r.Context(), pause) {
			x.abort()
		}
		if i == len(body)-1 {
			x.recordStatus(http.StatusOK)
		}
		if _, err := x.w.Write(body[i : i+1]); err != nil {
			x.abort()
		}
		c.Flush()
	}
}

// oversize sends a few blocks again and again, and announces no length: a client finds
// out only by reading.
func (x *exchange) oversize() {
	blocks := x.e.ordinary(max(1, 64<<10/x.order.size), x.order.size, false)
	part := encode(blocks)
	part[0] = ',' // parts follow one another: no brackets, a comma before each
	part = part[:len(part)-1]
	n := oversize/len(part) + 1
	head, tail := x.order.envelope(n * len(blocks))

	x.writeHeader(http.StatusOK, typeJSON, -1)
	io.WriteString(x.w, head+"[")
	x.writeOrAbort(part[1:])
	for range n - 1 {
		x.writeOrAbort(part)
	}
	x.recordStatus(http.StatusOK)
	io.WriteString(x.w, "]"+tail)
}

// writeOrAbort is for long answers: it ends them when nobody reads any more.
func (x *exchange) writeOrAbort(p []byte) {
	if _, err := x.w.Write(p); err != nil {
		x.abort()
	}
}

// bombPart returns many equal characters, plain and as DEFLATE. The DEFLATE ends at the
// end of a byte and refers to nothing before it, so it can be sent many times in a row.
var bombPart = sync.OnceValues(func() (plain, packed []byte) {
	plain = bytes.Repeat([]byte{'A'}, 1<<20)
	var b bytes.Buffer
	z, _ := flate.NewWriter(&b, flate.BestCompression)
	z.Write(plain)
	z.Flush()
	return plain, b.Bytes()
})

// gzipBomb sends an answer with one block whose base64 has a billion letters. It writes
// the gzip format (RFC 1952) itself, so that only a small part must be compressed.
func (x *exchange) gzipBomb() {
	head, tail := x.order.envelope(1)
	plain, packed := bombPart()
	var sum, size uint32
	count := func(p []byte) {
		sum = crc32.Update(sum, crc32.IEEETable, p)
		size += uint32(len(p)) // modulo 2^32, as section 2.3.1 has it
	}
	pack := func(text string, last bool) []byte {
		var b bytes.Buffer
		z, _ := flate.NewWriter(&b, flate.BestCompression)
		io.WriteString(z, text)
		if last {
			z.Close()
		} else {
			z.Flush()
		}
		count([]byte(text))
		return b.Bytes()
	}

	x.w.Header().Set("Content-Encoding", "gzip")
	x.writeHeader(http.StatusOK, typeJSON, -1)
	x.writeOrAbort([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255})
	x.writeOrAbort(pack(head+`["`, false))
	for range bombSize / len(plain) {
		x.writeOrAbort(packed)
		count(plain)
	}
	x.writeOrAbort(pack(`"]`+tail, true))
	x.recordStatus(http.StatusOK)
	trailer := binary.LittleEndian.AppendUint32(nil, sum)
	x.writeOrAbort(binary.LittleEndian.AppendUint32(trailer, size))
}
