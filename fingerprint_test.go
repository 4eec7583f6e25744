package qrand

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
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
