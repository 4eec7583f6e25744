package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// mustRead reads the first bytes of a stream: more than the period of the one that has
// a short period.
func mustRead(t *testing.T, r io.Reader) []byte {
	t.Helper()
	p := make([]byte, 5<<20)
	if _, err := io.ReadFull(r, p); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestSound: each stream can be opened, and is another each time. The generator alone
// can be opened if the program was built with the overlay.
func TestSound(t *testing.T) {
	seen := map[[32]byte]string{}
	for _, name := range slices.Repeat(sound, 2) {
		s, err := openStream(t.Context(), name)
		if name == generatorAlone && err != nil && strings.Contains(err.Error(), "-overlay overlay.json") {
			t.Logf("%s: %v", name, err) // a plain go test
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p := mustRead(t, s)
		s.close()
		if first := [32]byte(p); seen[first] != "" || first == [32]byte{} {
			t.Errorf("%s begins as %q", name, seen[first])
		} else {
			seen[first] = name
		}
		if bytes.Contains(p, make([]byte, 32)) {
			t.Errorf("%s has 32 zeros in a row", name)
		}
	}
	if _, err := openStream(t.Context(), "MixNothing"); err == nil {
		t.Error("a stream of no mode was opened")
	}
}

// TestSpoiled: each spoiled stream differs from the good one of which it is made, and has
// its fault in every piece.
func TestSpoiled(t *testing.T) {
	good := mustRead(t, rand.NewChaCha8([32]byte{1}))
	for _, name := range spoiled {
		p := mustRead(t, spoilers[name](rand.NewChaCha8([32]byte{1})))
		if bytes.Equal(p, good) {
			t.Errorf("%s: nothing was spoiled", name)
		}
		wrong := func(at int) bool {
			switch name {
			case "spoiled: stuck bit":
				return at%1000 == 0 && p[at]&1 == 0
			case "spoiled: short period":
				return at >= 4<<20 && p[at] != p[at-(4<<20)]
			case "spoiled: linear words":
				return at%16 >= 12 && p[at] != p[at-4]^p[at-8]^p[at-12]
			case "spoiled: counter":
				return at%8 == 7 && p[at] != byte(at/8)
			case "spoiled: bias of 1 %":
				for bit := 8 * at; bit < 8*at+8; bit++ {
					if bit%50 == 0 && p[at]>>(bit%8)&1 == 0 {
						return true
					}
				}
			case "spoiled: LCG's low byte":
				return at > 0 && p[at] != byte(1664525*uint32(p[at-1])+1013904223%256)
			}
			return false
		}
		for at := range p {
			if wrong(at) {
				t.Errorf("%s: byte %d is not spoiled", name, at)
				break
			}
		}
	}
}

// TestNoStream: a stream that cannot be opened, or read, is an error that says so,
// whatever the tool prints.
func TestNoStream(t *testing.T) {
	onPath(t, nil)
	away := errors.New("the service is away")
	for name, open := range map[string]opener{
		"opened": func(context.Context, string) (stream, error) { return stream{}, away },
		"read":   func(context.Context, string) (stream, error) { return stream{iotest.ErrReader(away), func() {}}, nil },
	} {
		printed, err := open.feed(t.Context(), "MixXOR", 0, "ent")
		if want := "the stream MixXOR: the service is away"; printed != "" || fmt.Sprint(err) != want || !errors.Is(err, away) {
			t.Errorf("a stream that cannot be %s: %q, %v, want %s", name, printed, err, want)
		}
	}
}
