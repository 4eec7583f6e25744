package main

import (
	"slices"
	"time"
)

const (
	burst  = time.Millisecond // how long one reader is measured until the next one's turn
	sweeps = 3                // how often openssl speed measures each size, for a second
)

// A row is what was measured of one reader: for each of the sizes, the
// nanoseconds of a Read in each burst.
type row struct {
	name string
	ours bool
	ns   [][]float64
}

func newRow(name string, ours bool) row { return row{name, ours, make([][]float64, len(sizes))} }

// median and fastest are the two ways to make one figure of many bursts. The
// median is what a program sees; the fastest is what it sees on a quiet machine.
func median(ns []float64) float64 {
	ns = slices.Sorted(slices.Values(ns))
	return ns[len(ns)/2]
}

func fastest(ns []float64) float64 { return slices.Min(ns) }

// measure reads for the time given, in rounds of one burst for each size and
// reader, so that whatever else the machine does hits all readers alike. Runs of
// openssl speed, if there is one, come at even intervals, and take their own
// time.
func measure(readers []reader, ssl *openSSL, d time.Duration) ([]row, error) {
	var rows []row
	for _, r := range readers {
		rows = append(rows, newRow(r.name, r.ours))
	}
	sslRow, parts := row{}, 1
	if ssl != nil {
		sslRow, parts = newRow(ssl.name, false), sweeps*len(sizes)
	}

	reads := calibrate(readers)
	for part := range parts {
		for start := time.Now(); ; {
			for i, size := range sizes {
				p := make([]byte, size)
				for j, r := range readers {
					r.Read(p) // brings code and key back into the caches
					took := readFor(r, p, reads[i][j])
					rows[j].ns[i] = append(rows[j].ns[i], float64(took.Nanoseconds())/float64(reads[i][j]))
				}
			}
			if time.Since(start) >= d/time.Duration(parts) {
				break
			}
		}
		if ssl != nil {
			i := part % len(sizes)
			ns, err := ssl.speed(sizes[i])
			if err != nil {
				return nil, err
			}
			sslRow.ns[i] = append(sslRow.ns[i], ns)
		}
	}
	if ssl != nil {
		rows = append(rows, sslRow)
	}
	return rows, nil
}

// calibrate returns how many Reads make a burst, by size and reader.
func calibrate(readers []reader) [][]int {
	reads := make([][]int, len(sizes))
	for i, size := range sizes {
		p := make([]byte, size)
		for _, r := range readers {
			n := 1
			for readFor(r, p, n) < burst {
				n *= 2
			}
			reads[i] = append(reads[i], n)
		}
	}
	return reads
}

func readFor(r reader, p []byte, n int) time.Duration {
	start := time.Now()
	for range n {
		r.Read(p)
	}
	return time.Since(start)
}
