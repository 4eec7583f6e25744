package relay

import (
	"maps"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/qrand/internal/supply"
	"example.com/qrand/internal/version"
	"example.com/qrand/qrypt"
)

// counts are of requests for entropy.
type counts struct {
	mu       sync.Mutex
	requests int64
	answers  map[string]map[int]int64 // by client (empty: not known) and HTTP status
	bytes    map[string]int64         // of entropy handed out, by client
}

func (c *counts) add(client string, status, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answers == nil {
		c.answers, c.bytes = map[string]map[int]int64{}, map[string]int64{}
	}
	if c.answers[client] == nil {
		c.answers[client] = map[int]int64{}
	}
	c.requests++
	c.answers[client][status]++
	if bytes > 0 {
		c.bytes[client] += int64(bytes)
	}
}

func (c *counts) total() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests
}

func (c *counts) list() (answers map[string]map[int]int64, bytes map[string]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	answers = map[string]map[int]int64{}
	for client, statuses := range c.answers {
		answers[client] = maps.Clone(statuses)
	}
	return answers, maps.Clone(c.bytes)
}

// metrics is what /metrics shows. Only the durations are kept here; all else is
// read from the relay when somebody looks.
type metrics struct {
	registry *prometheus.Registry
	handler  http.Handler
	seconds  prometheus.Histogram
}

const namespace = "qrand_relay"

func newMetrics(r *Relay) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "request_duration_seconds",
			Help:    "How long requests for entropy took.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10), // 100 us to 26 s
		}),
	}
	m.registry.MustRegister(m.seconds, collector{r},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	return m
}

// usualStatuses are shown of each client that has asked, with zero at first: Prometheus'
// rate() and increase() do not see the step of a counter that begins with one.
var usualStatuses = []int{http.StatusOK, http.StatusForbidden, http.StatusTooManyRequests, http.StatusServiceUnavailable}

// A collector is a prometheus.Collector of what the relay counts.
type collector struct{ r *Relay }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

var (
	descRequests    = desc("requests_total", "Requests for entropy, by client (empty: not known) and HTTP status.", "client", "status")
	descClientBytes = desc("client_bytes_total", "Bytes of entropy handed out, by client.", "client")
	descStock       = desc("stock_bytes", "Bytes of entropy that wait for a client.")
	descStockLimit  = desc("stock_limit_bytes", "Bytes of entropy that are kept ready at most.")
	descReceived    = desc("received_bytes_total", "Bytes of entropy accepted from the service.")
	descHanded      = desc("handed_out_bytes_total", "Bytes of entropy in answers that the network took.")
	descLost        = desc("lost_bytes_total", "Bytes of entropy in answers that the network did not take.")
	descExpired     = desc("expired_bytes_total", "Bytes of entropy wiped because they had waited too long.")
	descInFlight    = desc("in_flight_bytes", "Bytes of entropy in answers that are being written.")
	descRefused     = desc("refused_blocks_total", "Blocks from the service that failed a check.")
	descUp          = desc("upstream_up", "1 if an endpoint of the service gives good blocks.")
	descEmulated    = desc("upstream_emulated", "1 if blocks came from an emulator: not quantum entropy.")
	descLast        = desc("upstream_last_answer_timestamp_seconds", "When the service last gave good blocks.")
	descUpstream    = desc("upstream_requests_total", "Requests to the service, by result.", "result")
	descQuota       = desc("client_quota_bytes", "A client's quota for each period.", "client")
	descOldest      = desc("stock_oldest_age_seconds", "The age of the oldest block in stock, if there is one.")
	descExpires     = desc("client_expires_timestamp_seconds", "When a client's token or certificate is refused, if ever.", "client")
	descListError   = desc("client_list_error", "1 if the list of clients has an error, so that the one before it is in force.")
	descSaveErrors  = desc("usage_save_errors_total", "Saves of what clients have used that failed or took too long.")
	descSaved       = desc("usage_saved_timestamp_seconds", "When it was last saved what clients have used.")
	descCertificate = desc("certificate_expires_timestamp_seconds", "When the relay's certificate expires.")
	descConns       = desc("connections", "Connections of clients, by state: idle ones are between two requests.", "state")
	descConnsGone   = desc("connections_refused_total", "Connections that were closed because there were too many: new ones (limit), and others that made room for them (room).", "why")
	descBuild       = desc("build_info", "1; the labels say which program this is.", "version", "go")
	descReceipts    = desc("receipts_total", "Receipts that were signed.")
	descPeriod      = desc("client_period_bytes", "What a client with a quota has used of it in this period.", "client")
)

func (collector) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descRequests, descClientBytes, descStock, descStockLimit, descReceived, descHanded, descLost, descExpired,
		descInFlight, descRefused, descUp, descEmulated, descLast, descUpstream, descQuota, descPeriod,
		descReceipts, descOldest, descExpires, descListError, descSaveErrors, descSaved, descCertificate, descConns, descConnsGone, descBuild} {
		c <- d
	}
}

func (col collector) Collect(c chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	truth := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	answers, bytes := col.r.counts.list()
	for client, statuses := range answers {
		for _, status := range usualStatuses {
			statuses[status] += 0
		}
		for status, n := range statuses {
			send(descRequests, counter, float64(n), client, strconv.Itoa(status))
		}
	}
	for client, n := range bytes {
		send(descClientBytes, counter, float64(n), client)
	}
	account, up := col.r.Account(), col.r.Upstream()
	send(descStock, gauge, float64(account.Stock))
	send(descStockLimit, gauge, float64(col.r.cfg.Stock*qrypt.BlockSize))
	send(descReceived, counter, float64(account.Received))
	send(descHanded, counter, float64(account.HandedOut))
	send(descLost, counter, float64(account.Lost))
	send(descExpired, counter, float64(account.Expired))
	send(descInFlight, gauge, float64(account.InFlight))
	send(descReceipts, counter, float64(col.r.receipts.Load()))
	send(descRefused, counter, float64(up.RefusedBlocks))
	send(descUp, gauge, truth(up.Up))
	send(descEmulated, gauge, truth(up.Emulated))
	if !up.LastAnswer.IsZero() {
		send(descLast, gauge, float64(up.LastAnswer.UnixMilli())/1000)
	}
	send(descUpstream, counter, float64(up.Answered), "ok")
	failed := map[string]int64{}
	for _, reason := range supply.Reasons() {
		failed[reason] = 0
	}
	for reason, n := range up.Failed {
		failed[string(reason)] = n
	}
	for reason, n := range failed {
		send(descUpstream, counter, float64(n), reason)
	}
	if age, any := col.r.stock.oldest(time.Now()); any {
		send(descOldest, gauge, age.Seconds())
	}
	send(descListError, gauge, truth(col.r.cfg.Clients.Err() != nil))
	unsaved, saved := col.r.usage.count()
	send(descSaveErrors, counter, float64(unsaved))
	if !saved.IsZero() {
		send(descSaved, gauge, float64(saved.Unix()))
	}
	if cert := col.r.cfg.Certificate; cert != nil {
		send(descCertificate, gauge, float64(cert.Expires().Unix()))
	}
	if conns := col.r.conns.Load(); conns != nil {
		open, idle, refused, evicted := conns.count()
		send(descConns, gauge, float64(open-idle), "active")
		send(descConns, gauge, float64(idle), "idle")
		send(descConnsGone, counter, float64(refused), "limit")
		send(descConnsGone, counter, float64(evicted), "room")
	}
	send(descBuild, gauge, 1, version.Get(), runtime.Version())
	for _, cl := range col.r.cfg.Clients.Status() {
		if !cl.Expires.IsZero() {
			send(descExpires, gauge, float64(cl.Expires.Unix()), cl.Name)
		}
		if cl.Quota.Bytes > 0 {
			send(descQuota, gauge, float64(cl.Quota.Bytes), cl.Name)
			send(descPeriod, gauge, float64(cl.PeriodBytes), cl.Name)
		}
	}
}
