package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// BenchmarkRead has the same readers for benchstat.
func BenchmarkRead(b *testing.B) {
	readers, closeAll, err := openReaders()
	if err != nil {
		b.Fatal(err)
	}
	defer closeAll()
	for _, size := range sizes {
		for _, r := range readers {
			b.Run(fmt.Sprintf("%s/%d", r.name, size), func(b *testing.B) {
				p := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					r.Read(p)
				}
			})
		}
	}
}

// TestReaders: each fills what it is given, with other bytes each time. Our Sources have
// a block in their keys that is labelled Emulated.
func TestReaders(t *testing.T) {
	readers, closeAll, err := openReaders()
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll()
	ours := 0
	for _, r := range readers {
		a, b := make([]byte, 64), make([]byte, 64)
		for _, p := range [][]byte{a, b} {
			if n, err := r.Read(p); n != len(p) || err != nil {
				t.Errorf("%s: Read returned %d, %v", r.name, n, err)
			}
			if bytes.Equal(p[56:], make([]byte, 8)) {
				t.Errorf("%s: Read left the end as it was", r.name)
			}
		}
		if bytes.Equal(a, b) {
			t.Errorf("%s: two Reads are the same", r.name)
		}
		if !r.ours {
			continue
		}
		ours++
		s := r.Reader.(interface{ String() string }).String()
		if !strings.Contains(strings.ToLower(s), "emulat") {
			t.Errorf("%s: %s", r.name, s)
		}
	}
	if ours != 3 {
		t.Errorf("%d modes are measured", ours)
	}
}

// TestKeystreamRenews: a keystream takes a new key before the counter of blocks
// runs over, where x/crypto panics.
func TestKeystreamRenews(t *testing.T) {
	k := &keystream{open: openXCrypto}
	p := make([]byte, 64)
	k.Read(p)
	old := k.stream
	k.left = 63
	k.Read(p)
	if k.stream == old || k.left != 1<<37-64 {
		t.Errorf("%d bytes left", k.left)
	}
}

// TestTable: figures, units and ratios, by hand.
func TestTable(t *testing.T) {
	base, twice := newRow(baseline, false), newRow("twice", true)
	for i, size := range sizes {
		base.ns[i] = []float64{4 * float64(size), 2 * float64(size)}
		twice.ns[i] = []float64{float64(size) / 2, float64(size)}
	}
	got := table([]row{base, twice}, fastest)
	for _, want := range []string{
		"| Reader | 16 B | 32 B | 64 B | 256 B | 1 KiB | 16 KiB | 64 KiB | 1 MiB |\n",
		"| crypto/rand | 32 ns (1.00) | 64 ns (1.00) |",
		"| **twice** | 8 ns (4.00) |", " 2.00 GB/s (4.00) |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if m := median([]float64{9, 1, 5}); m != 5 {
		t.Errorf("the median of 9, 1, 5 is %v", m)
	}
}

// TestParseSpeed: the line that OpenSSL prints, and outputs without it.
func TestParseSpeed(t *testing.T) {
	if ns, err := parseSpeed("+H:64\n+F:25:ChaCha20:493625728.00\n", 64); err != nil || math.Abs(ns-129.65) > 0.01 {
		t.Errorf("%v ns, %v", ns, err)
	}
	for _, out := range []string{"", "+F:25:ChaCha20:\n", "+F:25:ChaCha20:0.00\n", "Usage: speed\n"} {
		if ns, err := parseSpeed(out, 64); err == nil {
			t.Errorf("%q: %v ns", out, ns)
		}
	}
}

// TestOpenSSL: the openssl of this machine takes the flags.
func TestOpenSSL(t *testing.T) {
	ssl, err := findOpenSSL()
	if err != nil {
		t.Skip("there is no openssl to measure: ", err)
	}
	if ns, err := ssl.speed(16 << 10); err != nil || ns < 100 || ns > 1e7 {
		t.Errorf("16 KiB take %v ns, %v", ns, err)
	}
}

// TestRun: the whole command, without openssl and in short: a table and a plot,
// with each reader and the machine named in both.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	if err := run(&out, nil, dir, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(filepath.Join(dir, "throughput.svg"))
	if err != nil {
		t.Fatal(err)
	}
	texts := svgText(t, svg)
	readers, closeAll, err := openReaders()
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll()
	for _, r := range readers {
		if !strings.Contains(texts, r.name+"\n") {
			t.Errorf("the plot does not name %s", r.name)
		}
		if strings.Count(out.String(), r.name) < 2 {
			t.Errorf("the tables do not name %s", r.name)
		}
	}
	if !strings.Contains(texts, machine()) || !strings.Contains(out.String(), machine()) {
		t.Errorf("plot or table does not name %s", machine())
	}
	if strings.Contains(out.String(), "openssl") {
		t.Error("openssl is in a table that it has no row in")
	}
}

// svgText is what an SVG says, one text a line.
func svgText(t *testing.T, svg []byte) string {
	var b strings.Builder
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if err == io.EOF {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := token.(xml.CharData); ok {
			b.WriteString(string(text) + "\n")
		}
	}
}
