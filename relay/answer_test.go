package relay

import (
	"bytes"
	"testing"
)

// TestBufferIsWiped: nothing of an answer stays in its buffer, and encoding makes
// no other copy by growing.
func TestBufferIsWiped(t *testing.T) {
	for _, o := range []order{{pieces: 1, size: 1024}, {pieces: 512, size: 1024}, {openAPI: true, pieces: 512, size: 1}, {openAPI: true, pieces: 1, size: maxBytes}} {
		b := &buffer{raw: bytes.Repeat([]byte{0xff}, o.bytes())}
		b.encode(o)
		before := cap(b.body)
		b.body = b.body[:0]
		b.encode(o)
		if cap(b.body) != before {
			t.Errorf("%+v: the body grew from %d to %d bytes", o, before, cap(b.body))
		}
		raw, body := b.raw, b.body
		b.release()
		if !bytes.Equal(raw, make([]byte, len(raw))) || !bytes.Equal(body, make([]byte, len(body))) {
			t.Errorf("%+v: an answer is still in its buffer", o)
		}
	}
}
