package qrand_test

import (
	"context"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"time"

	"example.com/qrand"
	"example.com/qrand/keygen"
)

// The secrets of a TLS server that last come from a Source on every version of Go:
// the certificate's key through package keygen, and the ticket keys because they
// are set. Config.Rand adds nothing secret (Go 1.27 deprecates it), because
// ephemeral keys come from Go's own generator. The programs in examples are longer.
func Example_tlsServer() {
	defer onEmulator()()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	src, err := qrand.New(qrand.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()

	if err := src.WaitSeeded(ctx); err != nil { // the certificate's key is made once: with a block in it
		log.Fatal(err)
	}
	key, err := keygen.ECDSA(elliptic.P256(), src)
	if err != nil {
		log.Fatal(err)
	}
	var random [16 + 32]byte // a serial number and a ticket key
	if _, err := io.ReadFull(src, random[:]); err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(random[:16]),
		DNSNames:     []string{"localhost"},
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:   []string{"h2", "http/1.1"}, // only ServeTLS adds them: without them there is no HTTP/2
	}
	config.SetSessionTicketKeys([][32]byte{[32]byte(random[16:])}) // replace it regularly: put a new key before it

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{} // Serve, because ServeTLS would copy the config, and new ticket keys would not reach the copy
	go server.Serve(tls.NewListener(listener, config))
	defer server.Close()

	roots := x509.NewCertPool()
	roots.AddCert(cert)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(1)},
		ForceAttemptHTTP2: true, // without it a Transport with a TLSClientConfig speaks HTTP/1.1 only
		DisableKeepAlives: true, // so that the second request makes a connection of its own
	}}
	for range 2 {
		resp, err := client.Get("https://" + listener.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		fmt.Printf("%s, %s, %v, resumed: %t\n", resp.Proto, tls.VersionName(resp.TLS.Version), resp.TLS.CurveID, resp.TLS.DidResume)
	}
	// Output:
	// HTTP/2.0, TLS 1.3, X25519MLKEM768, resumed: false
	// HTTP/2.0, TLS 1.3, X25519MLKEM768, resumed: true
}
