// Package entropy gives the examples a Source without an account. A program of your own
// calls qrand.New(qrand.Config{}) instead.
package entropy

import (
	"context"
	"crypto/x509"
	"log"
	"net/http"
	"os"
	"time"

	"example.com/qrand"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// Source returns a Source of Qrypt's service if QRYPT_TOKEN or QRYPT_TOKEN_FILE is set, and
// of an emulator in this process otherwise. It waits some seconds for the first block, so
// that the keys made next have it in them.
func Source(ctx context.Context) (src *qrand.Source, stop func(), err error) {
	var cfg qrand.Config
	stopService := func() {}
	if os.Getenv(qrypt.EnvToken) == "" && os.Getenv(qrypt.EnvTokenFile) == "" {
		log.Printf("The entropy is EMULATED, not quantum: neither %s nor %s is set.", qrypt.EnvToken, qrypt.EnvTokenFile)
		if cfg.Blocks, stopService, err = emulator(); err != nil {
			return nil, nil, err
		}
	}
	if src, err = qrand.New(cfg); err != nil {
		stopService()
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := src.WaitSeeded(ctx); err != nil {
		log.Printf("%v: until a block comes, keys are made from crypto/rand alone", err)
	}
	return src, func() {
		src.Close()
		stopService()
	}, nil
}

func emulator() (*qrypt.Client, func(), error) {
	server, err := qrypttest.Listen(qrypttest.Config{})
	if err != nil {
		return nil, nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(server.CAPEM())
	httpClient := qrypt.NewHTTPClient()
	httpClient.Transport.(*http.Transport).TLSClientConfig.RootCAs = roots
	httpClient.Transport.(*http.Transport).Proxy = nil // the emulator is in this process
	client, err := qrypt.New(qrypt.Config{
		Endpoints:  server.Endpoints(),
		Token:      qrypt.StaticToken(server.Token()),
		HTTPClient: httpClient,
	})
	if err != nil {
		server.Close()
		return nil, nil, err
	}
	return client, server.Close, nil
}
