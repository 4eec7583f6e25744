package qrypt

import (
	"bytes"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/qrypttest"
)

func TestNewBlock(t *testing.T) {
	p := noise(1, 1)[0]
	at := time.Date(2026, 3, 3, 10, 0, 0, 0, time.UTC)
	origin := Origin{Endpoint: "a card in this machine", Received: at, Emulated: true}
	b, err := NewBlock(p, origin)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), p) || b.Origin() != origin {
		t.Errorf("another block, or from %v", b.Origin())
	}
	p[0]++
	if b.Bytes()[0] == p[0] {
		t.Error("the block is not a copy")
	}
	for _, size := range []int{0, 1, BlockSize - 1, BlockSize + 1} {
		if b, err := NewBlock(make([]byte, size), origin); err == nil || b != (Block{}) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestWipe(t *testing.T) {
	b, err := NewBlock(noise(1, 1)[0], Origin{Endpoint: "there"})
	if err != nil {
		t.Fatal(err)
	}
	duplicate, list, bytesOf := b, []Block{b}, b.Bytes()
	list[0].Wipe()
	for i, p := range [][]byte{b.Bytes(), duplicate.Bytes(), bytesOf} {
		if !bytes.Equal(p, make([]byte, BlockSize)) {
			t.Errorf("copy %d was not wiped", i)
		}
	}
	if b.Origin().Endpoint != "there" {
		t.Error("a wiped block has forgotten its origin")
	}

	var zero Block
	zero.Wipe()
	if zero.Bytes() != nil || zero.Origin() != (Origin{}) {
		t.Error("the zero Block is not empty")
	}
}

func TestWipeAll(t *testing.T) {
	list := []Block{{}}
	for _, p := range noise(1, 3) {
		b, err := NewBlock(p, Origin{})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, b)
	}
	Wipe(list)
	for i, b := range list[1:] {
		if !bytes.Equal(b.Bytes(), make([]byte, BlockSize)) {
			t.Errorf("block %d of %d was not wiped", i+1, len(list)-1)
		}
	}
}

func TestReceived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := NewBlock(make([]byte, BlockSize), Origin{})
		if err != nil || !b.Origin().Received.Equal(time.Now()) {
			t.Errorf("received %v, %v", b.Origin().Received, err)
		}
		freshLimiter()
		var answered time.Time
		h := roundTrip(func(*http.Request) (*http.Response, error) {
			time.Sleep(3 * time.Second)
			answered = time.Now()
			return reply(http.StatusOK, answerWith(DialectQuantumEntropy, noise(1, 2)...)), nil
		}).client()
		for _, b := range mustBlocks(t, mustNew(t, Config{Token: StaticToken("token"), HTTPClient: h}), 2) {
			if want := (Origin{Endpoint: EndpointEUS, Received: answered}); b.Origin() != want {
				t.Errorf("from %v, want %v", b.Origin(), want)
			}
		}
	})
}

// TestAge: for how long relays kept a block counts, and the worst of what they say.
func TestAge(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, test := range []struct {
		age  []string
		want time.Duration
	}{
		{nil, 0},
		{[]string{"0"}, 0},
		{[]string{"90"}, 90 * time.Second},
		{[]string{"99999999999999999999"}, year},
		{[]string{"90", "0"}, 90 * time.Second},
		{[]string{"0, 90"}, 90 * time.Second},
		{[]string{"-90"}, year},
		{[]string{"+90"}, year},
		{[]string{"9.5"}, year},
		{[]string{""}, year},
		{[]string{"90,"}, year},
	} {
		synctest.Test(t, func(t *testing.T) {
			freshLimiter()
			h := roundTrip(func(*http.Request) (*http.Response, error) {
				res := reply(http.StatusOK, answerWith(DialectQuantumEntropy, noise(1, 1)...))
				res.Header["Age"] = test.age
				time.Sleep(3 * time.Second) // it was that old when it was sent, perhaps long ago
				return res, nil
			}).client()
			b := mustBlocks(t, mustNew(t, Config{Token: StaticToken("token"), HTTPClient: h}), 1)[0]
			want := test.want
			if want > 0 {
				want += 3 * time.Second
			}
			if got := time.Since(b.Origin().Received); got != want {
				t.Errorf("Age %q: received %v ago, want %v", test.age, got, want)
			}
		})
	}
}

// An emulator says of itself what it is, and each of its blocks too.
func TestEmulated(t *testing.T) {
	if EmulatedHeader != qrypttest.EmulatedHeader {
		t.Fatalf("the emulator's header is %s", qrypttest.EmulatedHeader)
	}
	for _, d := range bothDialects {
		s := newService(t)
		for _, b := range mustBlocks(t, newClient(t, s, withDialect(d)), 3) {
			if o := b.Origin(); !o.Emulated || o.Endpoint != s.URL || o.Received.IsZero() {
				t.Errorf("%v: from %v", d, o)
			}
		}
	}
	requests := 0
	c := mustNew(t, Config{Token: StaticToken("token"), HTTPClient: countingClient(&requests)})
	if mustBlocks(t, c, 1)[0].Origin().Emulated {
		t.Error("emulated by no one's word")
	}
}
