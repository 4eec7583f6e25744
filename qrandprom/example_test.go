package qrandprom_test

import (
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/qrand"
	"example.com/qrand/qrandprom"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

func Example() {
	service := qrypttest.NewServer(qrypttest.Config{}) // EMULATED: with an account, leave out Config.Blocks
	defer service.Close()
	blocks, err := qrypt.New(qrypt.Config{Endpoints: service.Endpoints(), Token: qrypt.StaticToken(service.Token()), HTTPClient: service.Client()})
	if err != nil {
		log.Fatal(err)
	}
	src, err := qrand.New(qrand.Config{Blocks: blocks, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()

	registry := prometheus.NewRegistry() // or prometheus.DefaultRegisterer, which all of a program share
	registry.MustRegister(qrandprom.NewCollector(src, "keys"))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	src.Read(make([]byte, 32)) // no key, so it does not wait for a block
	server := httptest.NewServer(mux)
	defer server.Close()
	resp, err := http.Get(server.URL + "/metrics")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "qrand_source_read_bytes_total") {
			fmt.Print(line)
		}
	}
	// Output: qrand_source_read_bytes_total{source="keys"} 32
}
