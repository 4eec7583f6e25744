package qrypttest

import (
	"bytes"
	"compress/flate"
	"crypto/tls"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// oversize is far more than the 700 kB of the longest valid answer.
	oversize = 32 << 20
	// bombSize is what a GzipBomb expands to, without the JSON around it.
	bombSize = 1 << 30
	// dripTime and dripPause bound how slow Drip is: whichever is slower.
	dripTime  = 2 * time.Minute
	dripPause = 100 * time.Millisecond
	// resetAfter fits any socket buffer: what is sent before a reset should
	// arrive, and a reset throws away what is still waiting.
	resetAfter = 2 << 10
)

// half announces the whole body and sends half of it.
func (v *visit) half(body []byte) {
	v.begin(http.StatusOK, typeJSON, len(body))
	v.w.Write(body[:len(body)/2])
	http.NewResponseController(v.w).Flush()
}

// reset closes the connection such that the kernel sends a RST: no FIN, and
// no TLS alert either, so it has to be done to the connection beneath.
func (v *visit) reset(body []byte) {
	v.begin(http.StatusOK, typeJSON, len(body))
	v.w.Write(body[:min(len(body)/2, resetAfter)])
	c := http.NewResponseController(v.w)
	c.Flush()
	conn, _, err := c.Hijack()
	if err != nil {
		v.drop()
	}
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	conn.Close()
}

func (v *visit) drip(body []byte) {
	v.begin(http.StatusOK, typeJSON, len(body))
	c := http.NewResponseController(v.w)
	pause := max(dripPause, dripTime/time.Duration(len(body)))
	for i := range body {
		if !v.e.pause(v.r.Context(), pause) {
			v.drop()
		}
		if i == len(body)-1 {
			v.done(http.StatusOK)
		}
		if _, err := v.w.Write(body[i : i+1]); err != nil {
			v.drop()
		}
		c.Flush()
	}
}

// oversize sends a few blocks over and over, and no length: a client only
// finds out by reading.
func (v *visit) oversize() {
	blocks := v.e.ordinary(max(1, 64<<10/v.order.size), v.order.size, false)
	part := encode(blocks)
	part[0] = ',' // parts follow one another: no brackets, a comma before each
	part = part[:len(part)-1]
	n := oversize/len(part) + 1
	head, tail := v.order.envelope(n * len(blocks))

	v.begin(http.StatusOK, typeJSON, -1)
	io.WriteString(v.w, head+"[")
	v.write(part[1:])
	for range n - 1 {
		v.write(part)
	}
	v.done(http.StatusOK)
	io.WriteString(v.w, "]"+tail)
}

// write is for long answers: it ends them once nobody reads.
func (v *visit) write(p []byte) {
	if _, err := v.w.Write(p); err != nil {
		v.drop()
	}
}

// bombPart is DEFLATE for a lot of the same character. It ends on a byte with
// no reference to what came before, so it can follow itself any number of times.
var bombPart = sync.OnceValues(func() (plain, packed []byte) {
	plain = bytes.Repeat([]byte{'A'}, 1<<20)
	var b bytes.Buffer
	z, _ := flate.NewWriter(&b, flate.BestCompression)
	z.Write(plain)
	z.Flush()
	return plain, b.Bytes()
})

// gzipBomb sends an answer with one block whose base64 has a billion letters.
// It writes the gzip format (RFC 1952) itself, to compress only a small part.
func (v *visit) gzipBomb() {
	head, tail := v.order.envelope(1)
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

	v.w.Header().Set("Content-Encoding", "gzip")
	v.begin(http.StatusOK, typeJSON, -1)
	v.write([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255})
	v.write(pack(head+`["`, false))
	for range bombSize / len(plain) {
		v.write(packed)
		count(plain)
	}
	v.write(pack(`"]`+tail, true))
	v.done(http.StatusOK)
	trailer := binary.LittleEndian.AppendUint32(nil, sum)
	v.write(binary.LittleEndian.AppendUint32(trailer, size))
}
