package qrand_test

import (
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
	src, err := qrand.New(qrand.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()

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
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	config.SetSessionTicketKeys([][32]byte{[32]byte(random[16:])}) // replace it regularly: put a new key before it

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{} // Serve, because ServeTLS would copy the config and its ticket keys
	go server.Serve(tls.NewListener(listener, config))
	defer server.Close()

	roots := x509.NewCertPool()
	roots.AddCert(cert)
	sessions := tls.NewLRUClientSessionCache(1)
	for range 2 {
		conn, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "localhost", ClientSessionCache: sessions})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
		io.Copy(io.Discard, conn)
		conn.Close()
		state := conn.ConnectionState()
		fmt.Printf("%s, %v, resumed: %t\n", tls.VersionName(state.Version), state.CurveID, state.DidResume)
	}
	// Output:
	// TLS 1.3, X25519MLKEM768, resumed: false
	// TLS 1.3, X25519MLKEM768, resumed: true
}
