package main

import (
	"bytes"
	"context"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"time"

	"example.com/qrand"
)

// A sample is what was measured at one moment.
type sample struct {
	at         time.Duration // since the start
	rss, heap  int64         // bytes; an rss of -1 is not known on this system
	goroutines int
	reads      int64
	bytes      int64
	used       int64 // blocks
	stock      int64
	spoiled    int64
	states     map[qrand.State]int
	rotations  int64
	outages    int64
}

// The clocks are reported if they differ by jumpLeast, a sample if it is late by
// lateLeast.
const (
	jumpLeast = 100 * time.Millisecond
	lateLeast = 2 * time.Second
)

// watch takes samples and shows them until ctx is done.
func watch(ctx context.Context, cfg config, f *fleet, sc *scenario, rep *report) {
	v := view{cfg: cfg}
	last := make([]qrand.Status, len(f.members))
	prev := time.Now()
	for pause(ctx, cfg.interval) {
		now := time.Now()
		rep.noteClock(now.Sub(prev), now.Round(0).Sub(prev.Round(0)), cfg.interval)
		prev = now
		s := sample{
			at: now.Sub(rep.began), rss: readRSS(), heap: liveHeap(), goroutines: runtime.NumGoroutine(),
			states: map[qrand.State]int{}, rotations: sc.rotations.Load(), outages: sc.outages.Load(),
		}
		for i, m := range f.members {
			st := m.src.Status()
			if old := last[i]; st.Reads < old.Reads || st.Bytes < old.Bytes || st.Blocks < old.Blocks ||
				st.OSReseeds < old.OSReseeds || st.Requests < old.Requests || st.RefusedBlocks < old.RefusedBlocks {
				rep.fail("%s: a counter went back: %v, after %v", m.name, st, old)
			}
			last[i] = st
			s.reads += st.Reads
			s.bytes += st.Bytes
			s.used += st.Blocks
			s.stock += int64(st.Stock)
			s.states[st.State]++
		}
		_, s.spoiled = sc.counts()
		rep.samples = append(rep.samples, s)
		v.show(s, f, last, sc, rep)
		if cfg.watch != nil {
			cfg.watch(s)
		}
	}
}

// noteClock compares how long an interval was by the monotonic clock and by the wall
// clock, which people and time servers set.
func (rep *report) noteClock(ran, wall, interval time.Duration) {
	if jump := wall - ran; jump.Abs() >= jumpLeast {
		rep.note("the wall clock jumped by %v", jump.Round(time.Millisecond))
	}
	if late := ran - interval; late >= lateLeast {
		rep.note("a sample was %v late: is the machine busy, or was it asleep?", late.Round(time.Millisecond))
	}
}

// liveHeap is what the last garbage collection found in use: the heap without
// its saw-tooth.
func liveHeap() int64 {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if live[0].Value.Kind() != metrics.KindUint64 {
		return -1
	}
	return int64(live[0].Value.Uint64())
}

// readRSS is the memory that the process has in RAM; -1 where there is no /proc.
func readRSS() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return -1
	}
	for line := range bytes.Lines(status) {
		if value, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			fields := bytes.Fields(value)
			if len(fields) == 2 && string(fields[1]) == "kB" {
				if n, err := strconv.ParseInt(string(fields[0]), 10, 64); err == nil {
					return n << 10
				}
			}
		}
	}
	return -1
}
