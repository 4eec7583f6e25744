package provenance_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	mathrand "math/rand/v2"
	"os"
	"reflect"
	"slices"
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
	endpoint string        // "": https://blocks.example
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
	b, err := qrypt.NewBlock(p, qrypt.Origin{
		Endpoint: cmp.Or(s.now.endpoint, "https://blocks.example"), Emulated: s.now.emulated, Received: time.Now().Add(-s.now.age),
		CertificateSHA256: [32]byte{0xc0}, PublicKeySHA256: [32]byte{0xd0},
	})
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
			Version: 2, Algorithm: "ml-kem-768", PublicKey: provenance.Digest(public), Time: time.Now().UTC(), Bytes: 64, Entropy: "quantum",
			State: qrand.Seeded, Mix: qrand.MixXOR, Policy: qrand.RequireFresh, MaxAgeSeconds: 600,
			Blocks: 1, Fingerprints: st.Fingerprints, LastBlock: st.LastBlock.UTC(), LastReceived: st.LastReceived.UTC(), AgeSeconds: 61, Endpoint: "https://blocks.example",
			EndpointCertificate: "c0" + strings.Repeat("0", 62), EndpointPublicKey: "d0" + strings.Repeat("0", 62),
			Software: got.Software, GoVersion: got.GoVersion,
		}
		wantJSON(t, got, want)
		if !strings.HasPrefix(got.Software, "example.com/qrand ") || !strings.HasPrefix(got.GoVersion, "go1.") {
			t.Errorf("software %q, Go version %q", got.Software, got.GoVersion)
		}
		got.Certificate = &provenance.Certificate{Kind: "request", SHA256: provenance.Digest(nil), Bytes: 1}
		data, err := got.Encode()
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

// encode returns the text of a Record, which Parse reads as the same one.
func encode(t *testing.T, r provenance.Record) string {
	t.Helper()
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := provenance.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	wantJSON(t, back, r)
	return string(data)
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
				encode(t, got)
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

// good returns a Record of RequireFresh, and its text.
func good(t *testing.T) (r provenance.Record, text string) {
	bubble(t, &fakeBlocks{now: conditions{age: 5 * time.Second}}, qrand.RequireFresh, func(t *testing.T, src *qrand.Source) {
		time.Sleep(time.Second)
		rec := provenance.NewRecorder(src)
		read(t, rec, 32)
		r = record(t, rec)
		text = encode(t, r)
	})
	return r, text
}

// version1 is a Record as version 1 of this package wrote it.
const version1 = `{
  "version": 1,
  "algorithm": "ed25519",
  "public_key_sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  "time": "2026-11-28T09:58:13.123456789Z",
  "bytes": 32,
  "entropy": "quantum",
  "state": "Seeded",
  "mix": "MixXOR",
  "policy": "RequireFresh",
  "blocks": 1,
  "fingerprints": [
    "01234567:0123456789abcdef0123456789abcdef"
  ],
  "last_block": "2026-11-28T09:58:13.1Z",
  "last_received": "2026-11-28T09:58:13Z",
  "age_seconds": 0.123456789,
  "endpoint": "https://api-eus.qrypt.com",
  "software": "example.com/qrand v0.1.0",
  "go_version": "go1.26.8"
}
`

// TestVersion1: records of version 1 are read, and are written as they were.
func TestVersion1(t *testing.T) {
	r, err := provenance.Parse([]byte(version1))
	if err != nil {
		t.Fatal(err)
	}
	if r.Version != 1 || r.Algorithm != "ed25519" || r.AgeSeconds != 0.123456789 || encode(t, r) != version1 {
		t.Errorf("%+v", r)
	}
}

// TestOneEncoding: one record has one encoding. Every other one is refused, and the error
// names the cause.
func TestOneEncoding(t *testing.T) {
	_, text := good(t)
	compact := new(bytes.Buffer)
	if err := json.Compact(compact, []byte(text)); err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		t.Fatal(err)
	}
	sorted, err := json.MarshalIndent(members, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	change := func(old, new string) string {
		if strings.Count(text, old) != 1 {
			t.Fatalf("%q is not once in %s", old, text)
		}
		return strings.Replace(text, old, new, 1)
	}
	const entropy = `  "entropy": "quantum",` + "\n"
	for name, test := range map[string]struct{ text, want string }{
		"a member twice":                 {change(entropy, entropy+entropy), `the member "entropy" is there twice`},
		"a member twice, with two words": {change(entropy, strings.Replace(entropy, "quantum", "emulated", 1)+entropy), `the member "entropy" is there twice`},
		"a member again in other case":   {change(entropy, entropy+strings.Replace(entropy, "entropy", "ENTROPY", 1)), `the member "ENTROPY" is there twice`},
		"a member in other case":         {change(`"entropy"`, `"Entropy"`), `the member "Entropy" is not in lower case`},
		"a member with a long s":         {change(`"version"`, `"ver`+"\u017f"+`ion"`), `the member "verſion" is not in lower case`},
		"an escape in a member":          {change(`"entropy"`, `"\u0065ntropy"`), `line 7 is "\"\\u0065ntropy\"`},
		"an escape in a value":           {change(`"quantum"`, `"\u0071uantum"`), `line 7 is "\"entropy\": \"\\u0071uantum\"`},
		"an unknown member":              {change(entropy, entropy+`  "quantum": true,`+"\n"), `unknown field "quantum"`},
		"a byte after it":                {text + "x", "invalid character 'x' after top-level value"},
		"another record after it":        {text + text, "invalid character '{' after top-level value"},
		"an empty line after it":         {text + "\n", `other white space in line 25, `},
		"a space before it":              {" " + text, `other white space in line 1, `},
		"no newline at the end":          {strings.TrimSuffix(text, "\n"), `other white space in line 24, `},
		"lines of Windows":               {strings.ReplaceAll(text, "\n", "\r\n"), `other white space in line 1, `},
		"a byte order mark":              {"\ufeff" + text, "invalid character"},
		"no spaces":                      {compact.String() + "\n", "line 1 is"},
		"sorted members":                 {string(sorted) + "\n", "line 2 is"},
		"another number":                 {change(`"bytes": 32`, `"bytes": 32.0`), `the member "bytes" cannot be a JSON number 32.0`},
		"another fraction":               {change(`"age_seconds": 6`, `"age_seconds": 6.0`), `line 18 is "\"age_seconds\": 6.0,", not "\"age_seconds\": 6,"`},
		"another name of UTC":            {change(`T00:00:01Z",`+"\n"+`  "bytes"`, `T00:00:01+00:00",`+"\n"+`  "bytes"`), "line 5 is"},
		"another time zone":              {change(`T00:00:01Z",`+"\n"+`  "bytes"`, `T01:00:01+01:00",`+"\n"+`  "bytes"`), `not "\"time\": \"2000-01-01T00:00:01Z\"`},
		"an invalid byte":                {change("an-algorithm", "an-algo\xff"), "line 3 is"},
		"null":                           {change(entropy, entropy+`  "reason": null,`+"\n"), "null: leave"},
		"an empty member":                {change(entropy, entropy+`  "certificate": null,`+"\n"), "null: leave"},
	} {
		if r, err := provenance.Parse([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) || !reflect.ValueOf(r).IsZero() {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	for i := range text { // a byte less
		if _, err := provenance.Parse([]byte(text[:i])); err == nil {
			t.Errorf("%q is accepted", text[:i])
		}
	}
}

// TestDocs: docs/records.md describes every member, in the order in which they are written.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../docs/records.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "## Members")
	for i := range reflect.TypeFor[provenance.Record]().NumField() {
		tag := reflect.TypeFor[provenance.Record]().Field(i).Tag.Get("json")
		name, _, _ := strings.Cut(tag, ",")
		_, after, found := strings.Cut(rest, "`"+name+"`")
		if !found {
			t.Fatalf("no %s, or not in this order", name)
		}
		rest = after
	}
}

// FuzzParse: what Parse accepts is what Encode writes, and no error is long.
func FuzzParse(f *testing.F) {
	f.Add([]byte(version1))
	f.Add([]byte(strings.Replace(version1, `"version": 1`, `"version": 2`, 1)))
	f.Add([]byte(strings.NewReplacer(`"version": 1`, `"version": 2`, "RequireFresh", "Augment").Replace(version1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := provenance.Parse(data)
		if err != nil {
			if len(err.Error()) > 5000 || !reflect.ValueOf(r).IsZero() {
				t.Errorf("%+v, %v", r, err)
			}
			return
		}
		if text, err := r.Encode(); err != nil || !bytes.Equal(text, data) {
			t.Errorf("%v: %s", err, text)
		}
		r.CheckTime(time.Now())
		r.CheckEndpoint(nil)
	})
}

// TestContradictions: a Record that contradicts itself is refused with a reason, by Encode
// and, where another program has written it, by Parse.
func TestContradictions(t *testing.T) {
	fresh, _ := good(t)
	at := fresh.Time
	for _, test := range []struct {
		want   string
		change func(*provenance.Record)
	}{
		{"unknown version 0", func(r *provenance.Record) { r.Version = 0 }},
		{"unknown version 3", func(r *provenance.Record) { r.Version = 3 }},
		{"public_key_sha256", func(r *provenance.Record) { r.PublicKey = "abcd" }},
		{"no algorithm", func(r *provenance.Record) { r.Algorithm = "" }},
		{"0 bytes", func(r *provenance.Record) { r.Bytes = 0 }},
		{`unknown entropy "certain"`, func(r *provenance.Record) { r.Entropy = "certain" }},
		{"1 blocks were in the key", func(r *provenance.Record) { r.Entropy = provenance.OSOnly }},
		{"no block was in the key, and entropy", func(r *provenance.Record) { r.Blocks = 0 }},
		{"does not fit the number of blocks, 1", func(r *provenance.Record) { r.LastBlock = time.Time{} }},
		{"does not fit the number of blocks, 1", func(r *provenance.Record) { r.LastReceived = time.Time{} }},
		{"does not fit the number of blocks, 1", func(r *provenance.Record) { r.Fingerprints = nil }},
		{"does not fit the number of blocks, 1", func(r *provenance.Record) { r.Fingerprints = twoBlocks(r.Fingerprints[0]) }},
		{"is there twice", func(r *provenance.Record) { r.Blocks, r.Fingerprints = 2, slices.Repeat(r.Fingerprints, 2) }},
		{"does not fit the number of blocks, 0", func(r *provenance.Record) { noBlock(r); r.Endpoint = "https://blocks.example" }},
		{"does not fit the number of blocks, 0", func(r *provenance.Record) { noBlock(r); r.AgeSeconds = 1 }},
		{"of blocks, -1", func(r *provenance.Record) { r.Entropy, r.Blocks = provenance.Emulated, -1 }},
		{"17 fingerprints, more than 16", func(r *provenance.Record) { r.Blocks, r.Fingerprints = 17, slices.Repeat(r.Fingerprints, 17) }},
		{"is not a fingerprint", func(r *provenance.Record) { r.Fingerprints = []string{"\x1b[2K"} }},
		{"is not text of one line", func(r *provenance.Record) { r.Endpoint = "e\n  entropy  quantum" }},
		{"is not text of one line", func(r *provenance.Record) { r.Software = "\x1b[1A" }},
		{"is not text of one line", func(r *provenance.Record) { r.GoVersion = strings.Repeat("a", 1025) }},
		{"of a Source that was Closed", func(r *provenance.Record) { r.State = qrand.Closed }},
		{"of a Source that was Starting", func(r *provenance.Record) { r.State = qrand.Starting }},
		{"unknown state", func(r *provenance.Record) { r.State = 9 }},
		{"unknown mix", func(r *provenance.Record) { r.Mix = 9 }},
		{"unknown policy", func(r *provenance.Record) { r.Policy, r.MaxAgeSeconds = 9, 0 }},
		{"it has no time", func(r *provenance.Record) { r.Time = time.Time{} }},
		{"outside of range", func(r *provenance.Record) {
			r.Time = time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)
			r.AgeSeconds, r.MaxAgeSeconds = 9.5e9, 9.5e9
		}},
		{"no block is 1e+300 seconds old", func(r *provenance.Record) { r.AgeSeconds = 1e300 }},
		{"no block is -1 seconds old", func(r *provenance.Record) { r.AgeSeconds = -1 }},
		{"no block is NaN seconds old", func(r *provenance.Record) { r.AgeSeconds = math.NaN() }},
		{"unknown kind of certificate", func(r *provenance.Record) { r.Certificate = &provenance.Certificate{Kind: "x"} }},
		{"its certificate has a malformed", func(r *provenance.Record) { r.Certificate = &provenance.Certificate{Kind: "request"} }},
		{"no block was in the key, and RequireFresh makes none", noBlock},

		// Times that do not fit each other.
		{"after the key was made", func(r *provenance.Record) { r.LastBlock = at.Add(1) }},
		{"after the key was made", func(r *provenance.Record) { r.Time = at.AddDate(-20, 0, 0) }},
		{"before that", func(r *provenance.Record) { r.LastReceived = r.LastBlock.Add(1) }},
		{"older than 5.99 seconds", func(r *provenance.Record) { r.AgeSeconds -= 0.01 }},
		{"older than 6 seconds", func(r *provenance.Record) { r.LastReceived = at.AddDate(-6, 0, 0) }},

		// RequireFresh with a block that was not.
		{"was 1.577e+08 seconds old, and RequireFresh allowed 600", func(r *provenance.Record) { r.LastReceived, r.AgeSeconds = at.Add(-157700000*time.Second), 157700000 }},
		{"was 600.5 seconds old, and RequireFresh allowed 600", func(r *provenance.Record) { r.AgeSeconds = 600.5 }},
		{"max_age_seconds, 0, does not fit the policy, RequireFresh", func(r *provenance.Record) { r.MaxAgeSeconds = 0 }},
		{"max_age_seconds, 600, does not fit the policy, Augment", func(r *provenance.Record) { r.Policy = qrand.Augment }},
		{"max_age_seconds, -1, does not", func(r *provenance.Record) { r.MaxAgeSeconds = -1 }},
		{"max_age_seconds, NaN, does not", func(r *provenance.Record) { r.MaxAgeSeconds = math.NaN() }},
		{"max_age_seconds, 1e+10, does not", func(r *provenance.Record) { r.MaxAgeSeconds = 1e10 }},

		// Certificates of no connection.
		{"is not a SHA-256 in hex", func(r *provenance.Record) { r.EndpointCertificate = "abcd" }},
		{"is not a SHA-256 in hex", func(r *provenance.Record) { r.EndpointPublicKey = strings.Repeat("F", 64) }},
		{"do not fit the endpoint", func(r *provenance.Record) { r.EndpointPublicKey = "" }},
		{`do not fit the endpoint "http://127.0.0.1"`, func(r *provenance.Record) { r.Endpoint = "http://127.0.0.1" }},
		{"members that version 1 does not have", func(r *provenance.Record) { r.Version = 1 }},
	} {
		r := fresh
		test.change(&r)
		if data, err := r.Encode(); err == nil || !strings.Contains(err.Error(), test.want) || data != nil {
			t.Errorf("Encode returned %v, want %q", err, test.want)
		}
		data, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			continue // NaN
		}
		want := test.want
		if strings.HasPrefix(want, "unknown version") {
			want = "version is " + strings.TrimPrefix(want, "unknown version ") + ", and this qrand reads 1 to 2"
		}
		if got, err := provenance.Parse(append(data, '\n')); err == nil || !strings.Contains(err.Error(), want) || !reflect.ValueOf(got).IsZero() {
			t.Errorf("Parse returned %v, want %q", err, want)
		}
	}
	for want, text := range map[string]string{
		"not a record: unexpected end": "",
		"not a record: invalid":        "-----BEGIN PRIVATE KEY-----",
		"version is 0":                 "{}",
		"too many":                     strings.Repeat(" ", 64<<10) + version1,
		"it is a JSON array":           "[]",
	} {
		if r, err := provenance.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || !reflect.ValueOf(r).IsZero() {
			t.Errorf("%.100s: %v, want %q", text, err, want)
		}
	}
}

// twoBlocks are the fingerprints of another block and this one.
func twoBlocks(last string) []string {
	return []string{"01234567:ffffffffffffffffffffffffffffffff", last}
}

// noBlock makes of r the Record of a key without quantum entropy.
func noBlock(r *provenance.Record) {
	r.Entropy, r.Blocks, r.Fingerprints, r.AgeSeconds = provenance.OSOnly, 0, nil, 0
	r.LastBlock, r.LastReceived = time.Time{}, time.Time{}
	r.Endpoint, r.EndpointCertificate, r.EndpointPublicKey = "", "", ""
}

// TestCheckTime: no Record is from the future, nor older than qrand.
func TestCheckTime(t *testing.T) {
	now := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	for made, want := range map[time.Time]string{
		now:                        "",
		now.Add(5 * time.Minute):   "",
		now.Add(5*time.Minute + 1): "now it is 2027-01-02T03:04:05Z",
		now.AddDate(19, 0, 0):      "the record's time is 2046-01-02T03:04:05Z",
		time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC): "",
		time.Date(2006, 1, 2, 0, 0, 0, 0, time.UTC): "the record's time is 2006-01-02T00:00:00Z, before the first version",
	} {
		err := provenance.Record{Time: made}.CheckTime(now)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", made, err, want)
		}
	}
}

// TestCheckEndpoint: only HTTPS, and only an endpoint that is trusted.
func TestCheckEndpoint(t *testing.T) {
	trusted := []string{"https://a.example", "http://127.0.0.1:80"}
	for endpoint, want := range map[string]string{
		"https://a.example":      "",
		"https://b.example":      "is not trusted: only https://a.example",
		"https://a.example.b":    "is not trusted",
		"https://a.example/":     "is not trusted",
		"http://127.0.0.1:80":    "not over HTTPS",
		"http://a.example":       "not over HTTPS",
		"":                       "not over HTTPS",
		"a card in this machine": "not over HTTPS",
	} {
		err := provenance.Record{Blocks: 1, Endpoint: endpoint}.CheckEndpoint(trusted)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", endpoint, err, want)
		}
	}
	if err := (provenance.Record{Blocks: 1, Endpoint: "https://a.example"}).CheckEndpoint([]string{}); err == nil || !strings.Contains(err.Error(), "no endpoint is trusted") {
		t.Errorf("with none trusted: %v", err)
	}
	if err := (provenance.Record{}).CheckEndpoint(trusted); err == nil || !strings.Contains(err.Error(), "no block") {
		t.Errorf("without a block: %v", err)
	}
}

// TestOlderBlockLast: the last block may be too old while one before it is not. Then there
// is no key, because its Record would say that the Policy was broken.
func TestOlderBlockLast(t *testing.T) {
	blocks := &fakeBlocks{}
	bubble(t, blocks, qrand.RequireFresh, func(t *testing.T, src *qrand.Source) {
		blocks.set(conditions{age: 8 * time.Minute})
		if err := src.Reseed(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2*time.Minute + 1)
		blocks.set(conditions{err: errDown})
		if _, err := src.Read(make([]byte, 1)); err != nil {
			t.Fatalf("the Source itself refuses: %v", err)
		}
		rec := provenance.NewRecorder(src)
		p := make([]byte, 32)
		if n, err := rec.Read(p); n != 0 || !errors.Is(err, qrand.ErrStale) || !bytes.Equal(p, make([]byte, 32)) || rec.Bytes() != 0 {
			t.Errorf("Read returned %d, %v", n, err)
		}
		blocks.set(conditions{})
		time.Sleep(time.Hour)
		src.Reseed(t.Context())
		read(t, rec, 32)
		encode(t, record(t, rec))
	})
}

// TestOddEndpoint: whatever a BlockSource calls itself, Parse accepts the Record.
func TestOddEndpoint(t *testing.T) {
	for endpoint, want := range map[string]string{
		"a\ncard\x1b[2K":               "a\ufffdcard\ufffd[2K",
		"\xff":                         "\ufffd",
		strings.Repeat("\u20ac", 1024): strings.Repeat("\u20ac", 341),
		"http://127.0.0.1":             "http://127.0.0.1",
	} {
		bubble(t, &fakeBlocks{now: conditions{endpoint: endpoint}}, qrand.Augment, func(t *testing.T, src *qrand.Source) {
			rec := provenance.NewRecorder(src)
			read(t, rec, 1)
			got := record(t, rec)
			encode(t, got)
			if got.Endpoint != want || got.EndpointCertificate != "" || got.EndpointPublicKey != "" {
				t.Errorf("%q: %+v", endpoint, got)
			}
			if r, err := rec.Record("an\nalgorithm", nil); err == nil || !reflect.ValueOf(r).IsZero() {
				t.Errorf("an algorithm of two lines: %+v, %v", r, err)
			}
		})
	}
}

// TestDigest: it is the SHA-256 that other tools print of a DER file.
func TestDigest(t *testing.T) {
	// The example of FIPS 180-4 with one block: "abc".
	if got := provenance.Digest([]byte("abc")); got != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Error(got)
	}
}
