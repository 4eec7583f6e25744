package provenance_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand"
	"example.com/qrand/keygen"
	"example.com/qrand/provenance"
	"example.com/qrand/qrypt"
)

// fakeBlocks is a BlockSource in memory.
type fakeBlocks struct {
	mu    sync.Mutex
	given byte
	now   conditions
}

// conditions say how a fakeBlocks answers.
type conditions struct {
	err      error
	emulated bool
	age      time.Duration // of the blocks, when they come
}

func (s *fakeBlocks) Blocks(context.Context, int) ([]qrypt.Block, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.err != nil {
		return nil, s.now.err
	}
	s.given++
	p := make([]byte, qrypt.BlockSize)
	mathrand.NewChaCha8([32]byte{s.given}).Read(p)
	b, err := qrypt.NewBlock(p, qrypt.Origin{Endpoint: "https://blocks.example", Emulated: s.now.emulated, Received: time.Now().Add(-s.now.age)})
	return []qrypt.Block{b}, err
}

func (s *fakeBlocks) set(c conditions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = c
}

var errDown = errors.New("down")

// bubble runs a test in fake time, with a Source on the supply.
func bubble(t *testing.T, blocks *fakeBlocks, policy qrand.Policy, f func(t *testing.T, src *qrand.Source)) {
	synctest.Test(t, func(t *testing.T) {
		src, err := qrand.New(qrand.Config{Blocks: blocks, Policy: policy, BatchBlocks: 1, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		synctest.Wait()
		f(t, src)
	})
}

func read(t *testing.T, r *provenance.Recorder, n int) {
	t.Helper()
	if _, err := r.Read(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
}

func record(t *testing.T, r *provenance.Recorder) provenance.Record {
	t.Helper()
	rec, err := r.Record("an-algorithm", []byte("a public key"))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// TestRecord: a Record says what was true of the Source when the bytes were
// read, and is the same after a trip through JSON.
func TestRecord(t *testing.T) {
	bubble(t, &fakeBlocks{now: conditions{age: time.Second}}, qrand.RequireFresh, func(t *testing.T, src *qrand.Source) {
		time.Sleep(time.Minute) // of age
		st := src.Status()      // the first byte after a minute brings a reseed
		rec := provenance.NewRecorder(src)
		key, err := keygen.MLKEM768(rec)
		if err != nil {
			t.Fatal(err)
		}
		public := key.EncapsulationKey().Bytes() // stands for the DER here
		got, err := rec.Record("ml-kem-768", public)
		if err != nil {
			t.Fatal(err)
		}
		want := provenance.Record{
			Version: 1, Algorithm: "ml-kem-768", PublicKey: provenance.Digest(public), Time: time.Now().UTC(), Bytes: 64, Entropy: "quantum",
			State: qrand.Seeded, Mix: qrand.MixXOR, Policy: qrand.RequireFresh,
			Blocks: 1, Fingerprints: st.Fingerprints, LastBlock: st.LastBlock.UTC(), LastReceived: st.LastReceived.UTC(), AgeSeconds: 61, Endpoint: "https://blocks.example",
			Software: got.Software, GoVersion: got.GoVersion,
		}
		wantJSON(t, got, want)
		if !strings.HasPrefix(got.Software, "example.com/qrand ") || !strings.HasPrefix(got.GoVersion, "go1.") {
			t.Errorf("software %q, Go version %q", got.Software, got.GoVersion)
		}
		got.Certificate = &provenance.Certificate{Kind: "request", SHA256: provenance.Digest(nil), Bytes: 1}
		data, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		back, err := provenance.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		wantJSON(t, back, got)
		if err := back.Check(public); err != nil {
			t.Error(err)
		}
		if err := back.Check(public[1:]); !errors.Is(err, provenance.ErrMismatch) {
			t.Errorf("another key: %v", err)
		}
	})
}

func wantJSON(t *testing.T, got, want provenance.Record) {
	t.Helper()
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if string(a) != string(b) {
		t.Errorf("got  %s\nwant %s", a, b)
	}
}

// TestEntropy: no block counts that was not in the key before the first byte,
// and no emulated one passes for quantum.
func TestEntropy(t *testing.T) {
	for _, test := range []struct {
		name          string
		before, after conditions
		want          provenance.Entropy
		state         qrand.State
		blocks        int64
	}{
		{"a block", conditions{}, conditions{}, provenance.Quantum, qrand.Seeded, 1},
		{"no block", conditions{err: errDown}, conditions{err: errDown}, provenance.OSOnly, qrand.Degraded, 0},
		{"a block too late", conditions{err: errDown}, conditions{}, provenance.OSOnly, qrand.Degraded, 0},
		{"no block any more", conditions{}, conditions{err: errDown}, provenance.Quantum, qrand.Degraded, 1},
		{"an emulated block", conditions{emulated: true}, conditions{}, provenance.Emulated, qrand.Seeded, 1},
		{"an emulated block in between", conditions{}, conditions{emulated: true}, provenance.Emulated, qrand.Seeded, 1},
		{"an emulated block too late", conditions{err: errDown}, conditions{emulated: true}, provenance.Emulated, qrand.Degraded, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			blocks := &fakeBlocks{now: test.before}
			bubble(t, blocks, qrand.Augment, func(t *testing.T, src *qrand.Source) {
				rec := provenance.NewRecorder(src)
				read(t, rec, 1)
				blocks.set(test.after)
				time.Sleep(time.Hour)
				src.Reseed(t.Context()) // may fail
				synctest.Wait()
				read(t, rec, 2)
				got := record(t, rec)
				if got.Entropy != test.want || got.State != test.state || got.Blocks != test.blocks || got.Bytes != 3 || rec.Bytes() != 3 {
					t.Errorf("%+v", got)
				}
				if (got.Reason != "") != (got.State == qrand.Degraded) {
					t.Errorf("reason %q of %v", got.Reason, got.State)
				}
				data, _ := json.Marshal(got)
				if _, err := provenance.Parse(data); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestClosed: bytes of a closed Source come from crypto/rand alone, and no block counts.
func TestClosed(t *testing.T) {
	bubble(t, &fakeBlocks{}, qrand.Augment, func(t *testing.T, src *qrand.Source) {
		rec := provenance.NewRecorder(src)
		read(t, rec, 1)
		src.Close()
		read(t, rec, 1)
		if got := record(t, rec); got.State != qrand.Closed || got.Entropy != provenance.OSOnly || got.Blocks != 0 {
			t.Errorf("closed in between: %+v", got)
		}
		rec = provenance.NewRecorder(src)
		read(t, rec, 1)
		if got := record(t, rec); got.State != qrand.Closed || got.Entropy != provenance.OSOnly || got.Blocks != 0 {
			t.Errorf("closed before: %+v", got)
		}
	})
}

// TestNothingRead: a key that is not made of the Source's bytes gets no Record.
func TestNothingRead(t *testing.T) {
	bubble(t, &fakeBlocks{now: conditions{err: errDown}}, qrand.RequireInitial, func(t *testing.T, src *qrand.Source) {
		rec := provenance.NewRecorder(src)
		for range 2 {
			if r, err := rec.Record("ecdsa-p256", nil); err == nil || !strings.Contains(err.Error(), "package keygen") || !reflect.ValueOf(r).IsZero() {
				t.Errorf("a record of nothing: %+v, %v", r, err)
			}
			if _, err := rec.Read(make([]byte, 1)); !errors.Is(err, qrand.ErrNotSeeded) {
				t.Errorf("Read returned %v", err)
			}
		}
	})
}

// TestParse: a file that is not a Record, or contradicts itself, is refused with a reason.
func TestParse(t *testing.T) {
	var good string
	bubble(t, &fakeBlocks{}, qrand.Augment, func(t *testing.T, src *qrand.Source) {
		rec := provenance.NewRecorder(src)
		read(t, rec, 32)
		data, _ := json.Marshal(record(t, rec))
		good = string(data)
	})
	if _, err := provenance.Parse([]byte(good + "\n")); err != nil {
		t.Fatal(err)
	}
	replaced := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %s in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	for want, text := range map[string]string{
		"not a record: unexpected end":         "",
		"not a record: invalid":                "-----BEGIN PRIVATE KEY-----",
		"version is 0":                         "{}",
		"version is 2, not 1":                  replaced(`"version":1`, `"version":2`),
		"unknown field":                        replaced(`"version":1`, `"version":1,"quantum":true`),
		"after top-level":                      good + "{}",
		"too many":                             strings.Repeat(" ", 1<<20) + good,
		"public_key_sha256":                    replaced(provenance.Digest([]byte("a public key")), "abc"),
		"not a SHA-256":                        replaced(provenance.Digest([]byte("a public key")), "abcd"),
		"no algorithm":                         replaced("an-algorithm", ""),
		"0 bytes":                              replaced(`"bytes":32`, `"bytes":0`),
		`unknown entropy "certain"`:            replaced(`"quantum"`, `"certain"`),
		"1 blocks were in the key":             replaced(`"quantum"`, `"crypto/rand"`),
		"no block was in the key, and entropy": replaced(`"blocks":1`, `"blocks":0`),
		"does not fit the number of blocks, 1": replaced(`"last_block":`, `"last_block":"0001-01-01T00:00:00Z","endpoint":`),
		"does not fit the number of blocks, 3": replaced(`"blocks":1,"fingerprints":["`, `"blocks":3,"fingerprints":["`+strings.Repeat("01234567:0123456789abcdef0123456789abcdef\",\"", 3)),
		"does not fit the number of blocks":    regexp.MustCompile(`"fingerprints":\[[^]]*\],`).ReplaceAllString(good, ""),
		"of blocks, -1":                        strings.Replace(replaced(`"quantum"`, `"emulated"`), `"blocks":1`, `"blocks":-1`, 1),
		"is not a fingerprint":                 replaced(`"fingerprints":["`, `"fingerprints":["\u001b[2K`),
		"is not text of one line":              replaced(`"endpoint":"`, `"endpoint":"e\n  entropy  quantum`),
		"not text of one":                      replaced(`"software":"`, `"software":"\u001b[1A`),
		"of a Source that was Closed":          replaced(`"Seeded"`, `"Closed"`),
		"of a Source that was Starting":        replaced(`"Seeded"`, `"Starting"`),
		"it has no time":                       regexp.MustCompile(`"time":"[^"]*"`).ReplaceAllString(good, `"time":"0001-01-01T00:00:00Z"`),
		"no block is 1e+300 seconds old":       replaced(`"blocks":1`, `"age_seconds":1e300,"blocks":1`),
		"no block is -1 seconds old":           replaced(`"blocks":1`, `"age_seconds":-1,"blocks":1`),
		"unknown kind of certificate":          replaced(`"software"`, `"certificate":{"kind":"x","sha256":"","bytes":0},"software"`),
		"its certificate has a malformed":      replaced(`"software"`, `"certificate":{"kind":"request","sha256":"","bytes":0},"software"`),
		"fit the number of blocks, 1":          regexp.MustCompile(`"last_received":"[^"]*",`).ReplaceAllString(good, ""),
		"unknown state":                        replaced(`"Seeded"`, `"Fine"`),
	} {
		if r, err := provenance.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || !reflect.ValueOf(r).IsZero() {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// TestDigest: it is the SHA-256 that other tools print of a DER file.
func TestDigest(t *testing.T) {
	// The example of FIPS 180-4 with one block: "abc".
	if got := provenance.Digest([]byte("abc")); got != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Error(got)
	}
}
