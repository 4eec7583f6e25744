//go:build unix

package transparency

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"example.com/qrand"
	"example.com/qrand/provenance"
	"example.com/qrand/transparency/internal/statementtest"
)

// TestVerifyStatements: of each two entries, the later one says what is wrong with it.
func TestVerifyStatements(t *testing.T) {
	_, alice := statementtest.Person(t, "alice")
	trust := provenance.Trust{Signers: []provenance.TrustedKey{alice}, Threshold: 1}
	sign := func(about string, change func(*provenance.Statement), signers ...string) []byte {
		return statementtest.Sign(t, about, change, signers...)
	}
	blocks := statementtest.Blocks
	const fresh, any = qrand.RequireFresh, qrand.Augment
	const shared = "is that of another key, in entry 0: RequireFresh means one for each key"
	for name, test := range map[string]struct {
		entries [2][]byte
		want    [2]string
	}{
		"two keys":              {[2][]byte{sign("1", nil), sign("2", nil)}, [2]string{}},
		"one key twice":         {[2][]byte{sign("1", nil), sign("1", blocks(fresh, 7))}, [2]string{"", "it is about the key of entry 0, whose SHA-256 is "}},
		"a second signature":    {[2][]byte{sign("1", nil), sign("1", func(s *provenance.Statement) { s.SelfSigned = true }, "1")}, [2]string{"", "it is about the key of entry 0"}},
		"one fresh block":       {[2][]byte{sign("1", blocks(fresh, 7)), sign("2", blocks(fresh, 7))}, [2]string{"", "its newest block, 89abcdef:" + strings.Repeat("0", 31) + "7, " + shared}},
		"fresh first":           {[2][]byte{sign("1", blocks(fresh, 7)), sign("2", blocks(any, 7))}, [2]string{"", shared}},
		"fresh second":          {[2][]byte{sign("1", blocks(any, 7)), sign("2", blocks(fresh, 6, 7))}, [2]string{"", shared}},
		"a block for several":   {[2][]byte{sign("1", blocks(any, 7)), sign("2", blocks(any, 7))}, [2]string{}},
		"one after another":     {[2][]byte{sign("1", blocks(fresh, 7)), sign("2", blocks(fresh, 7, 8))}, [2]string{}},
		"an unknown signer":     {[2][]byte{sign("1", nil, "mallory"), sign("2", nil)}, [2]string{"an unknown key signed it"}},
		"no statement":          {[2][]byte{envelope(0, ""), sign("2", nil)}, [2]string{"not an envelope"}},
		"no envelope":           {[2][]byte{nil, sign("2", nil)}, [2]string{"not an envelope"}},
		"refused, then written": {[2][]byte{sign("1", blocks(fresh, 7), "mallory"), sign("1", blocks(fresh, 7))}, [2]string{"an unknown key signed it"}},
	} {
		verify := VerifyStatements(trust)
		for i, entry := range test.entries {
			if err := verify(int64(i), entry); (err == nil) != (test.want[i] == "") || err != nil && !strings.Contains(err.Error(), test.want[i]) {
				t.Errorf("%s: entry %d: %v, want %q", name, i, err, test.want[i])
			}
		}
	}
}

// BenchmarkVerifyStatements: how long an entry takes, and how much memory stays.
func BenchmarkVerifyStatements(b *testing.B) {
	_, alice := statementtest.Person(b, "alice")
	verify := VerifyStatements(provenance.Trust{Signers: []provenance.TrustedKey{alice}, Threshold: 1})
	entries := make([][]byte, b.N)
	for i := range entries {
		entries[i] = statementtest.Sign(b, fmt.Sprint(i), nil)
	}
	allocated := func() (m runtime.MemStats) {
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m
	}
	before := allocated()
	b.ResetTimer()
	for i := range b.N {
		if err := verify(int64(i), entries[i]); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(allocated().HeapAlloc-before.HeapAlloc)/float64(b.N), "bytes-kept/op")
	runtime.KeepAlive(verify)
	runtime.KeepAlive(entries)
}
