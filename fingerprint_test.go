package qrand

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/qrypt"
)

// wantFingerprint computes the formula of SECURITY.md, written a second time.
func wantFingerprint(secret, block []byte) string {
	mac := func(message []byte) string {
		h := hmac.New(sha256.New, secret)
		h.Write(message)
		return hex.EncodeToString(h.Sum(nil))
	}
	return mac([]byte("qrand fingerprint key v1"))[:8] + ":" + mac(append([]byte("qrand block fingerprint v1"), block...))[:32]
}

// TestFingerprints: Status and Events name the blocks that went in, the newest
// last, at most 16, by the key that was given.
func TestFingerprints(t *testing.T) {
	bubble(t, func(t *testing.T) {
		secret := bytes.Repeat([]byte{7}, minFingerprintKey)
		key, err := NewFingerprintKey(secret)
		if err != nil {
			t.Fatal(err)
		}
		clear(secret) // the key is a copy
		secret = bytes.Repeat([]byte{7}, minFingerprintKey)

		var events []string
		s := newTestSource(t, Config{Blocks: &fakeBlocks{}, BatchBlocks: 1, FingerprintKey: key, OnEvent: func(e Event) {
			if e.Kind == BlockMixed {
				events = append(events, e.Fingerprint)
			} else if e.Fingerprint != "" {
				t.Errorf("%v has a fingerprint", e.Kind)
			}
		}}, 2)
		var want []string
		for n := range uint64(20) {
			waitSeeded(t, s)
			want = append(want, wantFingerprint(secret, newTestBlock(n+1).Bytes()))
			if got := key.Fingerprint(newTestBlock(n + 1).Bytes()); got != want[n] {
				t.Errorf("the key's own fingerprint is %s, want %s", got, want[n])
			}
			kept := want[max(0, len(want)-16):]
			if got := s.Status().Fingerprints; !slices.Equal(got, kept) {
				t.Fatalf("after %d blocks: %v, want %v", n+1, got, kept)
			}
			mustRead(t, s, 1)
			if err := s.Reseed(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if !slices.Equal(events[:20], want) {
			t.Errorf("events: %v, want %v", events, want)
		}
		s.Status().Fingerprints[0] = "" // a Status belongs to the caller
		if s.Status().Fingerprints[0] == "" {
			t.Error("a Status shares its fingerprints")
		}
	})
}

// TestFingerprintKeys: another key makes other fingerprints, and the zero key is a
// different one in each Source.
func TestFingerprintKeys(t *testing.T) {
	bubble(t, func(t *testing.T) {
		one, err1 := NewFingerprintKey(bytes.Repeat([]byte{1}, 32))
		two, err2 := NewFingerprintKey(bytes.Repeat([]byte{2}, 64))
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		seen := map[string]bool{}
		for _, key := range []FingerprintKey{one, two, {}, {}} {
			s := newTestSource(t, Config{Blocks: &fakeBlocks{}, FingerprintKey: key}, 1)
			waitSeeded(t, s)
			for _, part := range []string{s.Status().Fingerprints[0][:8], s.Status().Fingerprints[0][9:]} {
				if seen[part] {
					t.Errorf("%s comes twice", part)
				}
				seen[part] = true
			}
		}
	})
	if _, err := NewFingerprintKey(make([]byte, 31)); err == nil {
		t.Error("a key of 31 bytes was taken")
	}
	if got := (FingerprintKey{}).Fingerprint(make([]byte, qrypt.BlockSize)); got != "" {
		t.Errorf("the zero key makes the fingerprint %s", got)
	}
}

// A receipting source gives each block a receipt that names the key that it was asked with.
type receipting struct {
	fakeBlocks
	keys []string
}

func (r *receipting) BlocksWithReceipt(ctx context.Context, n int, key []byte) (blocks []qrypt.Block, err error) {
	plain, err := r.fakeBlocks.Blocks(ctx, n)
	r.keys = append(r.keys, string(key))
	for i, b := range plain {
		origin := b.Origin()
		if i > 0 || len(r.keys)%3 > 0 { // some come without
			origin.Receipt = fmt.Sprintf("receipt %d", len(r.keys))
		}
		b, _ = qrypt.NewBlock(b.Bytes(), origin)
		blocks = append(blocks, b)
	}
	return blocks, err
}

// TestReceipts: where Config.Receipts asks for them, Status has a receipt for each fingerprint,
// or that there is none, and the key that is sent is that of the fingerprints.
func TestReceipts(t *testing.T) {
	for _, given := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			cfg := Config{BatchBlocks: 1, Receipts: true}
			if given {
				cfg.FingerprintKey, _ = NewFingerprintKey(bytes.Repeat([]byte{7}, 32))
			}
			relay := &receipting{}
			cfg.Blocks = Prefer(relay, &fakeBlocks{})
			s := newTestSource(t, cfg, 1)
			var want []string
			for n := range 20 {
				waitSeeded(t, s)
				want = append(want, "")
				if (n+1)%3 > 0 {
					want[n] = fmt.Sprintf("receipt %d", n+1)
				}
				st := s.Status()
				kept := want[max(0, len(want)-16):]
				if !slices.Equal(st.Receipts, kept) || len(st.Fingerprints) != len(kept) {
					t.Fatalf("after %d blocks: %q, want %q", n+1, st.Receipts, kept)
				}
				if got := wantFingerprint([]byte(relay.keys[n]), newTestBlock(uint64(n+1)).Bytes()); got != st.Fingerprints[len(kept)-1] {
					t.Errorf("the relay was sent a key that makes the fingerprint %s, and Status has %s", got, st.Fingerprints[len(kept)-1])
				}
				mustRead(t, s, 1)
				if err := s.Reseed(t.Context()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			s.Status().Receipts[1] = "" // a Status belongs to the caller
			if s.Status().Receipts[1] == "" {
				t.Error("a Status shares its receipts")
			}
		})
	}
	bubble(t, func(t *testing.T) {
		relay := &receipting{}
		s := newTestSource(t, Config{Blocks: relay}, 1)
		waitSeeded(t, s)
		if st := s.Status(); relay.keys != nil || st.Receipts != nil {
			t.Errorf("a relay was asked for receipts that nobody wants: %v, %v", relay.keys, st.Receipts)
		}
	})
	key, _ := NewFingerprintKey(make([]byte, 33))
	if _, err := New(Config{Blocks: &fakeBlocks{}, FingerprintKey: key, Receipts: true}); err == nil || err.Error() != "qrand: FingerprintKey has 33 bytes: with Receipts it has 32" {
		t.Errorf("a key of 33 bytes: %v", err)
	}
}

// TestFingerprintKeyIsNotPrinted: no verb prints it, alone or in a Config.
func TestFingerprintKeyIsNotPrinted(t *testing.T) {
	secret := "fingerprint-key-of-the-tests-0123"
	key, err := NewFingerprintKey([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{FingerprintKey: key, MaxAge: time.Minute}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%q", "%d"} {
		if forms := leaks(fmt.Appendf(nil, verb+" "+verb+" "+verb, key, cfg, struct{ k FingerprintKey }{key}), secret); forms != nil {
			t.Errorf("%s prints it (%v)", verb, forms)
		}
	}
}
