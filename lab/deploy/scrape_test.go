package deploy

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/config"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// TestScrape: Prometheus takes scrape.yaml. Its jobs have the names that the alerts know. A
// token goes over TLS only.
func TestScrape(t *testing.T) {
	text, err := os.ReadFile("../../deploy/prometheus/scrape.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file, err := config.Load(string(text), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	jobs := map[string]bool{}
	for _, job := range file.ScrapeConfigs {
		jobs[job.JobName] = true
		if token := job.HTTPClientConfig.Authorization != nil; token != (job.Scheme == "https") || len(job.ServiceDiscoveryConfigs) != 1 {
			t.Errorf("%s: a token: %v, over %s", job.JobName, token, job.Scheme)
		}
	}
	if len(file.RuleFiles) != 1 || len(jobs) != 3 || !jobs["qrand-source"] || !jobs["qrand-relay"] || !jobs["qrand-feed"] {
		t.Errorf("rule files %q, jobs %v", file.RuleFiles, jobs)
	}
}

// TestServiceMonitor: the monitor of relays selects the Service of relay.yaml and one of its
// ports, over TLS and with a token, under the name of the job that the alerts know.
func TestServiceMonitor(t *testing.T) {
	text, err := os.ReadFile("../../deploy/prometheus/servicemonitor.yaml")
	if err != nil {
		t.Fatal(err)
	}
	monitors := map[string]monitoringv1.ServiceMonitor{}
	docs := utilyaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text)))
	defer docs.Close()
	for {
		doc := make([]byte, len(text))
		n, err := docs.Read(doc)
		if errors.Is(err, io.EOF) {
			break
		}
		var m monitoringv1.ServiceMonitor
		if err == nil {
			err = yaml.UnmarshalStrict(doc[:n], &m)
		}
		if err != nil {
			t.Fatal(err)
		}
		if m.APIVersion != "monitoring.coreos.com/v1" || m.Kind != "ServiceMonitor" || len(m.Spec.Endpoints) != 1 {
			t.Fatalf("%s %s with %d endpoints", m.APIVersion, m.Kind, len(m.Spec.Endpoints))
		}
		monitors[m.Name] = m
	}
	service := readManifest(t).service
	relay := monitors["qrand-relay"]
	for key, value := range relay.Spec.Selector.MatchLabels {
		if service.Labels[key] != value {
			t.Errorf("it selects %s: %s, and the Service has %v", key, value, service.Labels)
		}
	}
	e := relay.Spec.Endpoints[0]
	if e.Port != service.Spec.Ports[0].Name || e.Scheme == nil || *e.Scheme != "https" || e.Authorization == nil || e.TLSConfig == nil || e.TLSConfig.InsecureSkipVerify != nil {
		t.Errorf("it scrapes %+v", e)
	}
	if len(e.RelabelConfigs) != 1 || e.RelabelConfigs[0].TargetLabel != "job" || *e.RelabelConfigs[0].Replacement != "qrand-relay" {
		t.Errorf("the job has another name than in the alerts: %+v", e.RelabelConfigs)
	}
	if len(monitors) != 2 || len(monitors["qrand-source"].Spec.Selector.MatchLabels) != 1 {
		t.Errorf("%d monitors", len(monitors))
	}
}
