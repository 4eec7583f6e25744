// Package qrandprom has a collector for Prometheus that shows the Status of a
// [qrand.Source]. Programs that do not use Prometheus do not need this package: Status is
// served as JSON in one line, as docs/monitoring.md shows.
//
// Start with [NewCollector]. Alerts and a dashboard for its metrics are in deploy/, and
// docs/monitoring.md has a table of them.
package qrandprom

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/qrand"
	"example.com/qrand/internal/supply"
	"example.com/qrand/internal/version"
)

// NewCollector returns a Collector of src. Each series has the label source with this name.
// A program with several Sources registers one Collector for each, under names of their
// own; a registry refuses a name that it has with a [prometheus.AlreadyRegisteredError].
//
// All labels except the name come from lists in this module, so a Source has about 60
// series. What can be any text is in Status alone: endpoints, errors and fingerprints. A
// closed Source keeps its metrics, with the state Closed, until they are unregistered.
//
// NewCollector panics if src is nil, so that this is noticed at the start of a program and
// not when somebody scrapes it.
func NewCollector(src *qrand.Source, name string) *Collector {
	if src == nil {
		panic("qrandprom: the Source is nil: make one with qrand.New")
	}
	return newCollector(src.Status, name)
}

// A Collector is a [prometheus.Collector] of one Source. Each scrape takes one Status, makes
// no request and reads no random bytes.
type Collector struct {
	status func() qrand.Status
	descs  [numMetrics]*prometheus.Desc
}

var _ prometheus.Collector = (*Collector)(nil)

// The metrics of a Source.
const (
	info = iota
	state
	stateSince
	reason
	seeded
	emulated
	stale
	maxAge
	lastBlock
	lastReceived
	lastAnswer
	nextRequest
	requests
	accepted
	refusedBlocks
	stock
	reseeds
	reads
	readBytes
	readsBefore
	bytesBefore
	refusedReads
	numMetrics
)

var metrics = [numMetrics]struct {
	name, help string
	labels     []string
}{
	info:          {"info", "1; the labels say how the Source is configured, and with which version of qrand and Go.", []string{"mix", "policy", "version", "go"}},
	state:         {"state", "1 for the state that the Source is in, 0 for the others.", []string{"state"}},
	stateSince:    {"state_since_timestamp_seconds", "When the present state began.", nil},
	reason:        {"degraded_reason", "1 for the reason why the Source is degraded, 0 for the others.", []string{"reason"}},
	seeded:        {"seeded", "1 if a block is in the generator.", nil},
	emulated:      {"emulated", "1 if a block from an emulator went in: do not claim quantum entropy.", nil},
	stale:         {"stale", "1 if a Read fails because the newest block is older than the age limit. An idle Source is stale, too.", nil},
	maxAge:        {"max_age_seconds", "The age limit of the newest block, under RequireFresh only.", nil},
	lastBlock:     {"last_block_timestamp_seconds", "When a block last went into the generator, if one has.", nil},
	lastReceived:  {"last_block_received_timestamp_seconds", "When the block that last went in came from the service.", nil},
	lastAnswer:    {"last_answer_timestamp_seconds", "When the service last gave good blocks, if it has.", nil},
	nextRequest:   {"next_request_timestamp_seconds", "When the next request to the service is due, if one is planned.", nil},
	requests:      {"requests_total", "Requests to the service, by result: ok or a reason. For no_token no request was made.", []string{"result"}},
	accepted:      {"accepted_blocks_total", "Blocks of 1,024 bytes from the service that passed every check.", nil},
	refusedBlocks: {"refused_blocks_total", "Blocks from the service that failed a check, and were wiped.", nil},
	stock:         {"stock_blocks", "Blocks that wait to be used.", nil},
	reseeds:       {"reseeds_total", "Reseeds of the generator: with a block, which is then used up, or with crypto/rand alone because there was none.", []string{"with"}},
	reads:         {"reads_total", "Reads that returned bytes.", nil},
	readBytes:     {"read_bytes_total", "Bytes that Reads returned.", nil},
	readsBefore:   {"reads_before_block_total", "Reads that returned bytes before the first block was in the generator.", nil},
	bytesBefore:   {"read_bytes_before_block_total", "Bytes that Reads returned before the first block was in the generator.", nil},
	refusedReads:  {"refused_reads_total", "Reads that failed, because the policy refused them or the Source was closed.", nil},
}

func newCollector(status func() qrand.Status, name string) *Collector {
	c := &Collector{status: status}
	for i, m := range metrics {
		c.descs[i] = prometheus.NewDesc("qrand_source_"+m.name, m.help, m.labels, prometheus.Labels{"source": name})
	}
	return c
}

// Describe sends the descriptions of all metrics.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// Collect sends the metrics of one Status.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	st := c.status()
	send := func(metric int, kind prometheus.ValueType, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(c.descs[metric], kind, v, labels...)
	}
	gauge := func(metric int, v float64, labels ...string) { send(metric, prometheus.GaugeValue, v, labels...) }
	truth := func(metric int, b bool, labels ...string) {
		v := 0.0
		if b {
			v = 1
		}
		gauge(metric, v, labels...)
	}
	at := func(metric int, when time.Time) {
		if !when.IsZero() {
			gauge(metric, float64(when.UnixMilli())/1000)
		}
	}
	count := func(metric int, n int64, labels ...string) {
		send(metric, prometheus.CounterValue, float64(n), labels...)
	}

	gauge(info, 1, st.Mix.String(), st.Policy.String(), version.Get(), runtime.Version())
	for s := qrand.Starting; s <= qrand.Closed; s++ {
		truth(state, st.State == s, s.String())
	}
	at(stateSince, st.Since)
	truth(seeded, st.Blocks > 0 && st.State != qrand.Closed)
	truth(emulated, st.Emulated)
	truth(stale, st.Stale)
	if st.MaxAgeSeconds > 0 {
		gauge(maxAge, st.MaxAgeSeconds)
	}
	at(lastBlock, st.LastBlock)
	at(lastReceived, st.LastReceived)
	at(lastAnswer, st.LastAnswer)
	at(nextRequest, st.NextRequest)
	ok := st.Requests
	for _, r := range supply.Reasons() { // those that did not happen, too: rate() does not see a counter's first step
		truth(reason, string(st.Reason) == r, r)
		n := st.Failures[qrand.Reason(r)]
		count(requests, n, r)
		if r != supply.NoToken {
			ok -= n
		}
	}
	count(requests, ok, "ok")
	count(accepted, st.Accepted)
	count(refusedBlocks, st.RefusedBlocks)
	gauge(stock, float64(st.Stock))
	count(reseeds, st.Blocks, "block")
	count(reseeds, st.OSReseeds, "crypto_rand")
	count(reads, st.Reads)
	count(readBytes, st.Bytes)
	count(readsBefore, st.ReadsBeforeBlock)
	count(bytesBefore, st.BytesBeforeBlock)
	count(refusedReads, st.RefusedReads)
}
