// Command tls-client connects twice to the server of ../tls-server, with the
// post-quantum key exchange X25519MLKEM768, and resumes its session the second time.
//
//	go run ./examples/tls-server
//	go run ./examples/tls-client      # in another shell
//
// Config.Rand reaches the randoms and session IDs of its hellos, which are public, and on
// Go 1.26 the seed of its ML-KEM key, which is secret. It does not reach the X25519 key,
// nor, since Go 1.27, the ML-KEM key: ../tls-server says what does.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"example.com/qrand/examples/internal/entropy"
)

func main() {
	log.SetFlags(0)
	url := flag.String("url", "https://127.0.0.1:8443/", "what to get")
	caFile := flag.String("ca-file", "qrand-tls-ca.pem", "trust the CA in this `file` and no other")
	flag.Parse()
	if err := run(*url, *caFile); err != nil {
		log.Fatal("tls-client: ", err)
	}
}

func run(url, caFile string) error {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return fmt.Errorf("%s has no PEM certificate: run tls-server first, which writes it", caFile)
	}
	src, stop, err := entropy.Source(context.Background())
	if err != nil {
		return err
	}
	defer stop()

	client := &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			ForceAttemptHTTP2: true, // without it a Transport with a TLSClientConfig speaks HTTP/1.1 only
			DisableKeepAlives: true, // so that the second request makes a connection of its own
			TLSClientConfig: &tls.Config{
				//qrandvet:ignore for what little it reaches; deprecated in Go 1.27, where that is nothing secret
				Rand:               src,
				RootCAs:            roots,
				MinVersion:         tls.VersionTLS13,
				CurvePreferences:   []tls.CurveID{tls.X25519MLKEM768},
				ClientSessionCache: tls.NewLRUClientSessionCache(1),
			},
		},
	}
	for range 2 {
		resp, err := client.Get(url)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		resp.Body.Close()
		if err != nil {
			return err
		}
		fmt.Printf("%s, %s, %v, resumed: %t\n", resp.Proto, tls.VersionName(resp.TLS.Version), resp.TLS.CurveID, resp.TLS.DidResume)
		fmt.Printf("the server says: %s", body)
	}
	fmt.Printf("the client's Source: %v\n", src.Status())
	return nil
}
