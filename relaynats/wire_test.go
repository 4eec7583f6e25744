package relaynats

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// A pair is a request and who made it.
type pair struct {
	key     clients.Key
	private hpke.PrivateKey
	text    []byte
	request
}

var made = time.Unix(1_800_000_000, 123_456_789)

func newPair(t testing.TB, n int) *pair {
	t.Helper()
	private, err := kem.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{key: clients.KeyOf("token"), private: private}
	p.text = encodeRequest(n, made, p.key, private.PublicKey().Bytes())
	if p.request, err = parseRequest(bytes.Clone(p.text)); err != nil {
		t.Fatal(err)
	}
	return p
}

func newSigner(t testing.TB) (ed25519.PrivateKey, []ed25519.PublicKey) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key, []ed25519.PublicKey{public}
}

// TestRequestForm writes a request as the comment in wire.go says, and with hex.
func TestRequestForm(t *testing.T) {
	p := newPair(t, 258)
	want, err := hex.DecodeString("01" + "0102" + "18fae2769b0fcd15" + hex.EncodeToString(p.key.ID[:]) + hex.EncodeToString(p.private.PublicKey().Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	h := hmac.New(sha256.New, p.key.MAC[:])
	h.Write(append([]byte("qrand relay nats v1 request"), want...))
	if want = h.Sum(want); !bytes.Equal(p.text, want) {
		t.Errorf("it begins with %x, want %x", p.text[:32], want[:32])
	}
	if p.blocks != 258 || !p.made.Equal(made) || p.id != p.key.ID || !p.madeWith(p.key) || p.madeWith(clients.KeyOf("another")) || p.digest != sha256.Sum256(want) {
		t.Error("it is not read as it was written")
	}
	public, err := kem.NewPublicKey(p.public)
	if err != nil || !bytes.Equal(public.Bytes(), p.private.PublicKey().Bytes()) {
		t.Errorf("the key: %v", err)
	}
}

// TestRequestRefused: a request of another length or version, or for too many blocks, is
// malformed. One with another byte changed was not made by the client.
func TestRequestRefused(t *testing.T) {
	p := newPair(t, 8)
	change := func(at int, to ...byte) []byte {
		text := bytes.Clone(p.text)
		copy(text[at:], to)
		return text
	}
	for name, text := range map[string][]byte{
		"empty": nil, "short": p.text[:len(p.text)-1], "long": append(bytes.Clone(p.text), 0),
		"version": change(0, 2), "no block": change(1, 0, 0), "too many blocks": change(1, 2, 1), "a time before 1970": change(3, 0x80),
	} {
		if _, err := parseRequest(text); err == nil {
			t.Errorf("%s: it is accepted", name)
		}
	}
	for at := range p.text {
		r, err := parseRequest(change(at, p.text[at]^1))
		if err == nil && r.madeWith(p.key) {
			t.Errorf("byte %d was changed, and nobody notices", at)
		}
	}
}

// TestAnswer: what the client reads is what the relay wrote.
func TestAnswer(t *testing.T) {
	key, relays := newSigner(t)
	p := newPair(t, 3)
	blocks := bytes.Repeat([]byte("entropy."), 3*qrypt.BlockSize/8)
	public, err := kem.NewPublicKey(p.public)
	if err != nil {
		t.Fatal(err)
	}
	text, err := encodeBlocks(&p.request, public, blocks, 1500*time.Millisecond, true, key)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("entropy.")) || len(text) != answerSize(3) {
		t.Error("it is not sealed")
	}
	a, err := parseAnswer(text, 3, p.digest, p.private, relays)
	if err != nil || a.status != 200 || a.age != 2*time.Second || !a.emulated || a.retryAfter != 0 || !bytes.Equal(a.blocks, blocks) {
		t.Errorf("%+v, %v", a, err)
	}
	bound := append([]byte("qrand relay nats v1 answer"), p.digest[:]...)
	signed, signature := text[:len(text)-64], text[len(text)-64:]
	if !ed25519.Verify(relays[0], append(bytes.Clone(bound), signed...), signature) {
		t.Error("it is not signed as the comment in wire.go says")
	}
	if _, err := hpke.Open(p.private, kdf, aead, bound, signed[39:]); err != nil {
		t.Errorf("it is not sealed as the comment in wire.go says: %v", err)
	}
	for status := range classes {
		text := encodeRefusal(&p.request, status, 1001*time.Millisecond, key)
		a, err := parseAnswer(text, 3, p.digest, p.private, relays)
		if err != nil || a.status != status || a.retryAfter != 2*time.Second || a.blocks != nil {
			t.Errorf("%d: %+v, %v", status, a, err)
		}
	}
	if text := encodeRefusal(&p.request, 403, 1<<62, key); !bytes.Equal(text[3:7], []byte{0x01, 0xe1, 0x33, 0x80}) {
		t.Errorf("the longest Retry-After is %x", text[3:7]) // 365 days
	}
}

// TestAnswerRefused: an answer that was altered, that belongs to another request, that
// another relay signed, or that a relay signed though it breaks a rule, is refused.
func TestAnswerRefused(t *testing.T) {
	key, relays := newSigner(t)
	stranger, _ := newSigner(t)
	p, other := newPair(t, 1), newPair(t, 1)
	blocks := make([]byte, qrypt.BlockSize)
	encode := func(to *pair, n int, key ed25519.PrivateKey) []byte {
		public, err := kem.NewPublicKey(to.public)
		if err != nil {
			t.Fatal(err)
		}
		text, err := encodeBlocks(&p.request, public, bytes.Repeat(blocks, n), time.Second, false, key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	good := encode(p, 1, key)
	if _, err := parseAnswer(good, 1, p.digest, p.private, relays); err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(good); at++ {
		if at > headSize+16 && at%7 > 0 && at < len(good)-100 {
			continue // it is slow
		}
		text := bytes.Clone(good)
		text[at] ^= 1
		if _, err := parseAnswer(text, 1, p.digest, p.private, relays); err == nil {
			t.Errorf("byte %d was changed, and nobody notices", at)
		}
	}
	signed := func(change func([]byte) []byte) []byte {
		return sign(change(bytes.Clone(good[:len(good)-ed25519.SignatureSize])), p.digest, key)
	}
	inside := func(head []byte, body []byte) []byte {
		sealed, err := hpke.Seal(p.private.PublicKey(), kdf, aead, info(p.digest), append(head, body...))
		if err != nil {
			t.Fatal(err)
		}
		return sign(append(encodeHead(200, 0, key, 0), sealed...), p.digest, key)
	}
	unbound, err := hpke.Seal(p.private.PublicKey(), kdf, aead, nil, append(make([]byte, insideSize), blocks...))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		text []byte
		want error
	}{
		"another relay":                        {encode(p, 1, stranger), errUnknownRelay},
		"another relay under a good name":      {append(bytes.Clone(good[:len(good)-64]), ed25519.Sign(stranger, append(info(p.digest), good[:len(good)-64]...))...), errSignature},
		"another request":                      {encodeRefusal(&other.request, 503, 0, key), errSignature},
		"another key":                          {encode(other, 1, key), errSealed},
		"sealed for any request":               {sign(append(encodeHead(200, 0, key, 0), unbound...), p.digest, key), errSealed},
		"more blocks":                          {encode(p, 2, key), errMalformedAnswer},
		"no block":                             {encode(p, 0, key), errMalformedAnswer},
		"empty":                                {nil, errMalformedAnswer},
		"short":                                {good[:headSize+63], errMalformedAnswer},
		"a status that no relay has":           {encodeRefusal(&p.request, 302, 0, key), errMalformedAnswer},
		"200 without blocks":                   {encodeRefusal(&p.request, 200, 0, key), errMalformedAnswer},
		"200 with Retry-After":                 {signed(func(p []byte) []byte { p[6] = 1; return p }), errMalformedAnswer},
		"503 with blocks":                      {signed(func(p []byte) []byte { p[1], p[2] = 503>>8, 503&0xff; return p }), errMalformedAnswer},
		"Retry-After of more than a year":      {encodeLongRefusal(&p.request, key), errMalformedAnswer},
		"an age of more than a year":           {inside([]byte{2, 0, 0, 0, 0}, blocks), errMalformedAnswer},
		"neither emulated nor not":             {inside([]byte{0, 0, 0, 0, 2}, blocks), errMalformedAnswer},
		"another version":                      {signed(func(p []byte) []byte { p[0] = 2; return p }), errMalformedAnswer},
		"something between seal and signature": {signed(func(p []byte) []byte { return append(p, 0) }), errMalformedAnswer},
	} {
		if a, err := parseAnswer(test.text, 1, p.digest, p.private, relays); !errors.Is(err, test.want) || a.blocks != nil {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func encodeLongRefusal(r *request, key ed25519.PrivateKey) []byte {
	p := encodeHead(http.StatusServiceUnavailable, 0, key, 0)
	copy(p[3:], []byte{0x01, 0xe1, 0x33, 0x81})
	return sign(p, r.digest, key)
}

// FuzzRequest: what is parsed is written again as it was, and nothing panics.
func FuzzRequest(f *testing.F) {
	f.Add(newPair(f, 1).text)
	f.Add(newPair(f, qrypt.MaxBlocks).text)
	f.Add([]byte{})
	key := clients.KeyOf("token")
	f.Fuzz(func(t *testing.T, p []byte) {
		r, err := parseRequest(bytes.Clone(p))
		if err != nil {
			return
		}
		again := encodeRequest(r.blocks, r.made, clients.Key{ID: r.id}, r.public)
		if !bytes.Equal(again[:len(again)-authSize], p[:len(p)-authSize]) {
			t.Errorf("%x is written again as %x", p, again)
		}
		if r.madeWith(key) && !slices.Equal(r.id[:], key.ID[:]) {
			t.Error("it was made by two clients")
		}
		if public, err := kem.NewPublicKey(r.public); err == nil {
			if _, err := encodeBlocks(&r, public, make([]byte, qrypt.BlockSize), 0, false, make([]byte, ed25519.PrivateKeySize)); err != nil {
				t.Error(err)
			}
		}
	})
}

// FuzzAnswer: an answer that a relay's key signed, whatever is in it, is read without a
// panic, and is written again as it was.
func FuzzAnswer(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	relays := []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}
	private, err := kem.DeriveKeyPair(make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	r, err := parseRequest(encodeRequest(1, made, clients.KeyOf("token"), private.PublicKey().Bytes()))
	if err != nil {
		f.Fatal(err)
	}
	good, err := encodeBlocks(&r, private.PublicKey(), make([]byte, qrypt.BlockSize), 0, true, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good[:len(good)-64], true)
	f.Add(good, false)
	f.Add(encodeRefusal(&r, 429, time.Second, key)[:headSize], true)
	f.Fuzz(func(t *testing.T, p []byte, signed bool) {
		if signed {
			p = sign(bytes.Clone(p), r.digest, key)
		}
		a, err := parseAnswer(p, 1, r.digest, private, relays)
		switch {
		case err != nil && a.blocks != nil:
			t.Error("blocks come with an error")
		case err == nil && a.status == 200 && (len(a.blocks) != qrypt.BlockSize || len(p) != answerSize(1)):
			t.Errorf("%d bytes of blocks", len(a.blocks))
		case err == nil && a.status != 200 && !bytes.Equal(p, encodeRefusal(&r, a.status, a.retryAfter, key)):
			t.Errorf("%x is written in another way, too", p)
		}
	})
}
