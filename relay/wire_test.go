package relay

import (
	"bytes"
	"net/http/httptest"
	"strings"
	"testing"

	"example.com/qrand/qrypt"
)

// TestBufferIsWiped: nothing of an answer stays in its buffer, and encoding leaves no
// other copy behind by growing.
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
		b = &buffer{raw: raw}
		encodings := func() float64 {
			return testing.AllocsPerRun(5, func() {
				b.body = nil
				b.encode(o)
			})
		}
		plain := encodings()
		if b.receipt = make([]byte, 10_000); encodings() != plain {
			t.Errorf("%+v: the body grows with a receipt", o)
		}
	}
}

// TestDialects: both calls give the service's own bytes in order, each once.
func TestDialects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 64})
		source := o.service.all()
		blocks := func(i, n int) []byte { return source[i*qrypt.BlockSize : (i+n)*qrypt.BlockSize] }
		for _, test := range []struct {
			w           *httptest.ResponseRecorder
			count, size int
			want        []byte
		}{
			{o.ask(o.token, "GET", quantumPath), 1, 1024, blocks(0, 1)}, // the default is one
			{o.quantum(o.token, 1), 1, 1024, blocks(1, 1)},
			{o.quantum(o.token, 3), 3, 1024, blocks(2, 3)},
			{o.ask(o.token, "POST", openPath, `{}`), 1, 32, blocks(5, 1)[:32]},
			{o.keys(o.token, 48, 21), 21, 48, append(bytes.Clone(blocks(5, 1)[32:]), blocks(6, 1)[:16]...)},
			{o.keys(o.token, 512, 2), 2, 512, blocks(7, 1)}, // whole blocks stay whole
			{o.keys(o.token, 1, 1), 1, 1, blocks(6, 1)[16:17]},
		} {
			got := pieces(t, test.w)
			if len(got) != test.count || !bytes.Equal(bytes.Join(got, nil), test.want) {
				t.Errorf("%d pieces, want %d; or they are not the service's next bytes", len(got), test.count)
			}
			for _, p := range got {
				if len(p) != test.size {
					t.Errorf("a piece of %d bytes, want %d", len(p), test.size)
				}
			}
			h := test.w.Result().Header
			if h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" || h.Get("Age") != "60" || len(h[qrypt.EmulatedHeader]) > 0 {
				t.Errorf("the header is %v", h)
			}
		}
		account := o.Account()
		if account.HandedOut != 5*1024+32+21*48+1024+1 || account.InFlight != 0 || account.Lost != 0 {
			t.Errorf("the account is %+v", account)
		}
	})
}

// TestMediaType: the Open API's body is JSON and says so.
func TestMediaType(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 8})
		for media, status := range map[string]int{
			"application/json": 200, "Application/JSON; charset=utf-8": 200, "": 422, "text/plain": 422, "application/json/x": 422,
			"application/x-www-form-urlencoded": 422,
		} {
			req := httptest.NewRequest("POST", openPath, strings.NewReader(`{}`))
			req.Header.Set("Authorization", "Bearer "+o.token)
			req.Header.Set("Content-Type", media)
			w := httptest.NewRecorder()
			if o.ServeHTTP(w, req); w.Code != status {
				t.Errorf("%q: %d, want %d", media, w.Code, status)
			}
		}
	})
}

// TestMoreThanStock: an order that can never be served is not refused "for now".
func TestMoreThanStock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newTestRelay(t, Config{Stock: 8})
		if w := o.quantum(o.token, 9); w.Code != 400 || !strings.Contains(w.Body.String(), "8192 bytes") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if w := o.keys(o.token, 8193, 1); w.Code != 422 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		pieces(t, o.quantum(o.token, 8))
	})
}
