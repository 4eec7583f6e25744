package keygen_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// A making is what an algorithm made of stream 1.
type making struct {
	Key   string // a digest of it
	Err   string
	Taken int
}

// TestGODEBUG: the same bytes give the same key, which works, under each GODEBUG
// that changes what Go's own functions do with a reader. What fips140=only
// forbids is refused, before a byte is taken.
func TestGODEBUG(t *testing.T) {
	if path := os.Getenv("QRAND_MAKINGS"); path != "" {
		makings := map[string]making{}
		for _, a := range algorithms() {
			if !a.slow {
				makings[a.name] = makeOne(t, a)
			}
		}
		writeJSON(t, path, makings)
		return
	}
	byDefault := elsewhere[making](t, "^TestGODEBUG$", "", "QRAND_MAKINGS")
	for _, godebug := range []string{"cryptocustomrand=1", "fips140=on", "fips140=only"} {
		t.Run(godebug, func(t *testing.T) {
			t.Parallel()
			makings := elsewhere[making](t, "^(TestGODEBUG|TestKeysWork)$", godebug, "QRAND_MAKINGS")
			for _, a := range algorithms() {
				got, want := makings[a.name], byDefault[a.name]
				switch {
				case a.slow:
				case want.Key == "" || want.Err != "" || want.Taken != a.size:
					t.Errorf("%s: by default %+v", a.name, want)
				case a.forbidden && godebug == "fips140=only":
					if got.Key != "" || got.Taken != 0 || !strings.HasPrefix(got.Err, "keygen: "+a.name+": not allowed") {
						t.Errorf("%s: %+v, want an error that says so, and no byte taken", a.name, got)
					}
				case got != want:
					t.Errorf("%s: %+v, by default %+v", a.name, got, want)
				}
			}
		})
	}
}

func makeOne(t *testing.T, a algorithm) making {
	s := newStream(1)
	key, err := a.make(s)
	m := making{Taken: s.taken}
	if err != nil {
		m.Err = err.Error()
	}
	if key != nil {
		digest := sha256.Sum256(encode(t, key))
		m.Key = hex.EncodeToString(digest[:])
	}
	return m
}
