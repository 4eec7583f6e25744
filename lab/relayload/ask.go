package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/qrand/qrypt"
)

// workers is how many ask at a time, as wrk does in the script run.
const workers = 64

// ask asks a relay for 32 bytes again and again, as Sources do: each time on a new
// connection. With resume it has the TLS sessions that Sources keep.
func ask(w io.Writer, url, caFile, token string, resume bool, duration time.Duration) error {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := qrypt.NewHTTPClient()
	config := client.Transport.(*http.Transport).TLSClientConfig
	config.RootCAs = roots
	config.ClientSessionCache = nil
	if resume {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(workers)
	}
	one := func() error {
		req, err := http.NewRequest(http.MethodPost, url+"/api/v1/entropy", strings.NewReader(`{"block_size":32,"block_count":1}`))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s, %v", resp.Status, err)
		}
		return nil
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	var failed error
	began := time.Now()
	for range workers {
		all.Go(func() {
			for time.Since(began) < duration {
				start := time.Now()
				err := one()
				mu.Lock()
				took, failed = append(took, time.Since(start)), errors.Join(failed, err)
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	all.Wait()
	slices.Sort(took)
	n := len(took)
	fmt.Fprintf(w, "new connections, resumed %v: %.0f requests/s, p50 %.2f ms, p99 %.2f ms\n", resume,
		float64(n)/time.Since(began).Seconds(), float64(took[n/2].Microseconds())/1e3, float64(took[n*99/100].Microseconds())/1e3)
	return failed
}
