package main

import (
	"bytes"
	"fmt"
	"time"

	"example.com/qrand"
)

// A view shows a sample: on a terminal one screen that is written over, else a
// line.
type view struct {
	cfg  config
	last sample
}

func (v *view) show(s sample, f *fleet, sources []qrand.Status, sc *scenario, rep *report) {
	seconds := max((s.at - v.last.at).Seconds(), 0.001)
	reads, bytesRead := float64(s.reads-v.last.reads)/seconds, float64(s.bytes-v.last.bytes)/1e6/seconds
	v.last = s
	failed, noted, failure, note := rep.problems()
	var b bytes.Buffer
	if !v.cfg.screen {
		fmt.Fprintf(&b, "%8v  %6.0f reads/s  %6.1f MB/s  resident %s  heap %s  %d goroutines  %d blocks used, %d in stock  %d seeded, %d degraded  %d failures, %d notes\n",
			s.at.Round(time.Second), reads, bytesRead, mib(s.rss), mib(s.heap), s.goroutines, s.used, s.stock,
			s.states[qrand.Seeded], s.states[qrand.Degraded]+s.states[qrand.Starting], failed, noted)
		v.cfg.out.Write(b.Bytes())
		return
	}
	faults, _ := sc.counts()
	b.WriteString("\x1b[H\x1b[2J") // to the corner, and clear
	fmt.Fprintf(&b, "qrand soak, %v of %v. All entropy is EMULATED. Ctrl-C ends it.\n\n", s.at.Round(time.Second), v.cfg.duration)
	fmt.Fprintf(&b, "  %-24s %-10s %-24s %8s %8s %6s %8s\n", "Source", "State", "Reason", "blocks", "without", "stock", "refused")
	for i, m := range f.members {
		st := sources[i]
		fmt.Fprintf(&b, "  %-24s %-10v %-24v %8d %8d %6d %8d\n", m.name, st.State, st.Reason, st.Blocks, st.OSReseeds, st.Stock, st.RefusedBlocks)
	}
	fmt.Fprintf(&b, "\n  %.0f Reads/s   %.1f MB/s   %d Reads in all\n", reads, bytesRead, s.reads)
	fmt.Fprintf(&b, "  resident %s   live heap %s   %d goroutines\n", mib(s.rss), mib(s.heap), s.goroutines)
	fmt.Fprintf(&b, "  service: %d blocks issued, %d faults, %d outages, %d tokens\n", sc.service.Issued(), faults, s.outages, s.rotations)
	fmt.Fprintf(&b, "  clocks: %d notes  %s\n  failures: %d  %s\n", noted, note, failed, failure)
	v.cfg.out.Write(b.Bytes())
}
