// Command tls-server is an HTTPS server whose lasting secrets come from a
// qrand.Source: the keys of its CA, of its certificate and of its session tickets.
//
//	go run ./examples/tls-server
//	go run ./examples/tls-client                                  # in another shell
//	curl --cacert qrand-tls-ca.pem https://127.0.0.1:8443/
//
// What a program makes with package keygen, or sets itself, comes from the Source on every
// version of Go. What crypto/tls makes for each connection is different. Config.Rand
// reaches only this, and so does crypto/rand.Reader if it is set to the Source:
//
//   - the randoms and session IDs of hellos, the IVs of tickets and of CBC records,
//     the salts of RSA-PSS signatures: none of them a secret;
//   - ticket keys, if nobody sets them;
//   - up to Go 1.26, the ML-KEM seed of a client that offers X25519MLKEM768.
//
// It does not reach the ephemeral keys of X25519 and P-256, the randomness of ECDSA and ML-DSA
// signatures, or the server's side of ML-KEM; since Go 1.27 it does not reach the client's
// side either. Those come from the generator of the operating system. With
// GODEBUG=cryptocustomrand=1 (or //go:debug cryptocustomrand=1 in package main) the elliptic
// curves read from the Source again, as long as Go has that setting; ML-KEM and ML-DSA do
// not. To have quantum entropy in all of them, feed the kernel's pool.
//
// TestReach, beside this file, shows what is reached and what is not.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"example.com/qrand"
	"example.com/qrand/examples/internal/entropy"
)

func main() {
	log.SetFlags(0)
	listen := flag.String("listen", "127.0.0.1:8443", "loopback `address` to listen on: the certificate is for no other")
	caFile := flag.String("ca-file", "qrand-tls-ca.pem", "write the CA's certificate to this `file`")
	kind := flag.String("key", "ecdsa", "the certificate's `kind` of key: ecdsa, ed25519, rsa or (since Go 1.27) ml-dsa")
	rotate := flag.Duration("rotate", time.Hour, "make a new ticket key so often")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *listen, *caFile, *kind, *rotate); err != nil {
		log.Fatal("tls-server: ", err)
	}
}

func run(ctx context.Context, listen, caFile, kind string, rotate time.Duration) error {
	if rotate <= 0 {
		return fmt.Errorf("-rotate %v: use a duration above zero", rotate)
	}
	src, stop, err := entropy.Source(ctx)
	if err != nil {
		return err
	}
	defer stop()

	ca, err := newAuthority(src)
	if err != nil {
		return err
	}
	cert, err := ca.issue(src, kind)
	if err != nil {
		return err
	}
	config := newConfig(src, cert)
	tickets := ticketKeys{src: src, config: config}
	if err := tickets.rotate(); err != nil {
		return err
	}
	go tickets.rotateEvery(ctx, rotate)

	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	if err := os.WriteFile(caFile, ca.pem(), 0o644); err != nil {
		listener.Close()
		return err
	}
	fmt.Printf("listening on https://%v/, the CA is in %s\n", listener.Addr(), caFile)

	server := &http.Server{Handler: handler(src), ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := serve(server, listener, config); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// serve replaces ServeTLS, which works on a copy of the config: new ticket keys would not
// reach that. The other thing that ServeTLS does, newConfig does: it offers HTTP/2.
func serve(server *http.Server, listener net.Listener, config *tls.Config) error {
	return server.Serve(tls.NewListener(listener, config))
}

// newConfig sets Rand to the Source, though that reaches little: see above. Go 1.27
// deprecates the field, and wants it nil in production. A server that makes its keys as
// this one does can leave it nil, and loses nothing that is secret.
func newConfig(src io.Reader, cert tls.Certificate) *tls.Config {
	return &tls.Config{
		Rand:         src, //qrandvet:ignore for what little it reaches
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"}, // ALPN (RFC 7301): without it there is no HTTP/2
	}
}

// handler tells the client what it has connected to.
func handler(src *qrand.Source) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := r.TLS
		fmt.Fprintf(w, "%s, %s, %s, %v, resumed: %t\n", r.Proto, tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite), s.CurveID, s.DidResume)
		fmt.Fprintf(w, "the server's Source: %v\n", src.Status())
	})
}
