package qrand

import (
	"crypto/sha256"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/internal/supply"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// TestStorm puts a Source through 10,000 faults of every kind in random order,
// while others read from it. QRAND_STORM_SEED repeats a run.
func TestStorm(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("QRAND_STORM_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("to repeat: QRAND_STORM_SEED=%d", seed)
	for i, dialect := range []qrypt.Dialect{qrypt.DialectQuantumEntropy, qrypt.DialectOpenAPI} {
		t.Run(dialect.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) { storm(t, seed+uint64(i), 5000, dialect) })
		})
	}
}

func storm(t *testing.T, seed uint64, faults int, dialect qrypt.Dialect) {
	used := map[[32]byte]bool{}
	extract := func(os *[32]byte, shard byte, block []byte) [32]byte {
		if sum := sha256.Sum256(block); shard == 0 { // by the reseeder alone
			if used[sum] {
				t.Error("a block was used twice")
			}
			used[sum] = true
		}
		return hmacExtract(os, shard, block)
	}

	w := newWorld(t, qrypttest.Config{Rate: -1}, dialect) // so that our own limit is what keeps requests apart
	w.Script(qrypttest.Fault{Kind: qrypttest.OK})         // so that a Repeat has something to repeat
	w.Script(qrypttest.RandomScript(seed, faults)...)
	s := w.source(t, Config{ReseedBytes: 10_000}, parts{extract: extract})

	var readers sync.WaitGroup
	stop := make(chan struct{})
	for reader := range 3 {
		readers.Go(func() {
			var reads int64
			for p := make([]byte, 2048); ; reads++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(1+reads%7) * time.Duration(4+reader*60) * time.Second):
				}
				n := int(reads*613) % len(p)
				clear(p)
				if m, err := s.Read(p[:n]); m != n || err != nil {
					t.Errorf("Read of %d bytes returned %d, %v", n, m, err)
				}
				if n >= 16 && allZero(p[:n]) {
					t.Errorf("%d zeros", n)
				}
			}
		})
	}
	for w.Pending() > 0 {
		time.Sleep(time.Hour)
	}
	time.Sleep(6*time.Hour + time.Minute) // as long as any row waits
	close(stop)
	readers.Wait()
	wantState(t, s, Seeded, "")

	st := s.Status()
	if got := int64(len(used)); got != st.Blocks || got == 0 {
		t.Errorf("%d blocks used, status has %d", got, st.Blocks)
	}
	if st.Blocks+int64(st.Stock) > w.Issued() {
		t.Errorf("%d blocks used and in stock of %d issued", st.Blocks+int64(st.Stock), w.Issued())
	}
	times := w.times()
	for i := limit; i < len(times); i++ {
		if times[i]-times[i-limit] <= supply.RateWindow {
			t.Fatalf("%d requests in %v", limit+1, times[i]-times[i-limit])
		}
	}
	if int64(len(times)) != st.Requests {
		t.Errorf("%d requests, status has %d", len(times), st.Requests)
	}
	failed := int64(0)
	for _, n := range st.Failures {
		failed += n
	}
	t.Logf("seed %d: %d requests (%d failed) in %v, %d reads, %d blocks used, %d refused",
		seed, st.Requests, failed, time.Since(w.begin).Round(time.Hour), st.Reads, st.Blocks, st.RefusedBlocks)
	s.Close()
	synctest.Wait()
}
