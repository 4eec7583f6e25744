package qrand

import (
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"example.com/qrand/qrypt"
)

// benchReaders are crypto/rand and the modes.
var benchReaders = []struct {
	name string
	open func(b *testing.B) io.Reader
}{
	{"crypto", func(b *testing.B) io.Reader { return rand.Reader }},
	{"MixXOR", func(b *testing.B) io.Reader { return benchSource(b, MixXOR) }},
	{"MixRekey", func(b *testing.B) io.Reader { return benchSource(b, MixRekey) }},
	{"MixRefill", func(b *testing.B) io.Reader { return benchSource(b, MixRefill) }},
}

// BenchmarkRead compares the modes with crypto/rand, by the size of a Read.
func BenchmarkRead(b *testing.B) {
	for _, size := range []int{16, 32, 64, 256, 1 << 10, 16 << 10, 1 << 20} {
		for _, reader := range benchReaders {
			b.Run(fmt.Sprintf("%s/%d", reader.name, size), func(b *testing.B) {
				r := reader.open(b)
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

// benchSource is seeded, and reseeds by time alone.
func benchSource(b *testing.B, mix Mix) *Source {
	s, err := New(Config{Blocks: &fakeBlocks{}, Mix: mix, ReseedBytes: 1 << 62})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	waitSeeded(b, s)
	return s
}

// BenchmarkNew is the time until the first byte can be read, with a service
// that cannot be reached.
func BenchmarkNew(b *testing.B) {
	client, err := qrypt.New(qrypt.Config{Endpoints: []string{"http://127.0.0.1:1"}, Token: qrypt.StaticToken(testToken)})
	if err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 32)
	for b.Loop() {
		s, err := New(Config{Blocks: client})
		if err != nil {
			b.Fatal(err)
		}
		s.Read(p)
		b.StopTimer()
		s.Close()
		b.StartTimer()
	}
}

// BenchmarkReseed is one block into the keys of every shard.
func BenchmarkReseed(b *testing.B) {
	s := benchSource(b, MixXOR)
	block := newTestBlock(1).Bytes()
	for b.Loop() {
		s.rekeyAll(block)
	}
}

// BenchmarkParallel is as many goroutines as -cpu says, each reading for itself.
func BenchmarkParallel(b *testing.B) {
	for _, reader := range benchReaders {
		for _, size := range []int{32, 1 << 10, 64 << 10} {
			b.Run(fmt.Sprintf("%s/%d", reader.name, size), func(b *testing.B) {
				r := reader.open(b)
				b.SetBytes(int64(size))
				b.RunParallel(func(pb *testing.PB) {
					p := make([]byte, size)
					for pb.Next() {
						r.Read(p)
					}
				})
			})
		}
	}
}

// BenchmarkLatency is how long the slowest of Reads of 32 bytes take, with every
// shard reseeded each millisecond ("storm") and without.
func BenchmarkLatency(b *testing.B) {
	for _, reader := range benchReaders {
		for _, load := range []string{"quiet", "storm"} {
			b.Run(reader.name+"/"+load, func(b *testing.B) {
				r := reader.open(b)
				if s, ok := r.(*Source); ok && load == "storm" {
					block := newTestBlock(1).Bytes()
					stop, done := make(chan struct{}), make(chan struct{})
					defer func() { close(stop); <-done }()
					go func() {
						defer close(done)
						tick := time.NewTicker(time.Millisecond)
						defer tick.Stop()
						for {
							select {
							case <-stop:
								return
							case <-tick.C:
								s.rekeyAll(block)
							}
						}
					}()
				}
				took := make([]time.Duration, 0, 1<<20)
				p := make([]byte, 32)
				for b.Loop() {
					start := time.Now()
					r.Read(p)
					if len(took) < cap(took) {
						took = append(took, time.Since(start))
					}
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)*999/1000]), "p99.9-ns")
			})
		}
	}
}
