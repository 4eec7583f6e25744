package qrypttest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
)

// A Server is an emulator that listens with HTTPS, on an address for each region. It
// speaks HTTP/1.1 only. With Config.InMemory it does without sockets and TLS.
type Server struct {
	*Emulator
	URL string // of the first region: https://host:port

	network   network
	authority *authority
	mu        sync.Mutex // held while a region stops or starts
	closed    bool
	sites     []*site
}

// A site is one region's address, and the server there while it runs.
type site struct {
	region  string
	address string // the one bound first, which Start binds again
	url     string
	tls     *tls.Config
	running *running // nil: stopped
}

// running is the server of a site that is not stopped.
type running struct {
	server *http.Server
	cancel context.CancelFunc // ends all its requests
	served chan struct{}
	conns  sync.WaitGroup
}

// NewServer starts an emulator on loopback; end it with Close. It panics if it
// cannot.
func NewServer(cfg Config) *Server {
	s, err := Listen(cfg)
	if err != nil {
		panic(err)
	}
	return s
}

// Listen is NewServer, and returns an error instead of a panic.
func Listen(cfg Config) (*Server, error) {
	e, err := newEmulator(cfg)
	if err != nil {
		return nil, err
	}
	s := &Server{Emulator: e, network: network{listen: net.Listen, dial: new(net.Dialer).DialContext}}
	if cfg.InMemory {
		s.network = newMemory()
	}
	if s.authority, err = newAuthority(); err != nil {
		return nil, fmt.Errorf("qrypttest: certificate: %w", err)
	}
	for i, region := range e.regions {
		address := "127.0.0.1:0"
		if cfg.Listen != nil {
			address = cfg.Listen[i]
		}
		if err := s.add(region, address); err != nil {
			s.Close()
			return nil, err
		}
	}
	s.URL = s.sites[0].url
	return s, nil
}

func (s *Server) add(region, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("qrypttest: Config.Listen: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		// It listens on all addresses, and a URL needs one.
		host = "localhost"
	}
	listener, err := s.network.listen("tcp", address)
	if err != nil {
		return fmt.Errorf("qrypttest: %w", err)
	}
	t := &site{region: region, address: listener.Addr().String()}
	_, port, _ := net.SplitHostPort(t.address)
	t.url = "https://" + net.JoinHostPort(strings.Replace(host, "%", "%25", 1), port) // RFC 6874 section 2
	if s.network.plain {
		t.url = "http://" + t.address
	} else if t.tls, err = s.tlsConfig(region, host); err != nil {
		listener.Close()
		return fmt.Errorf("qrypttest: certificate: %w", err)
	}
	s.sites = append(s.sites, t)
	s.run(t, listener)
	return nil
}

func (s *Server) tlsConfig(region, host string) (*tls.Config, error) {
	names := []string{"localhost", "127.0.0.1", "::1", region + ".localhost", host}
	if address, _, zoned := strings.Cut(host, "%"); zoned {
		names = append(names, address) // crypto/tls compares the host with its IPv6 zone, curl without
	}
	now := time.Now()
	valid, err := s.authority.leaf(names, now.Add(-validBefore), now.Add(validAfter))
	if err != nil {
		return nil, err
	}
	expired, err := s.authority.leaf(names, now.Add(-validAfter), now.Add(-validBefore))
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		Rand:       osReader,
		// A resumed session shows no certificate, so ExpiredCertificate would do nothing.
		SessionTicketsDisabled: true,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			f, met := s.handshake(region)
			if !met {
				return valid, nil
			}
			if !s.pause(hello.Context(), f.Latency) {
				return nil, errors.New("qrypttest: closed")
			}
			return expired, nil
		},
	}, nil
}

// handshake reports whether the region's next fault is an ExpiredCertificate. It counts
// that as met, and records it.
func (e *Emulator) handshake(region string) (Fault, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	q := e.nextQueue(region)
	if q == nil || q.faults[0].Kind != ExpiredCertificate {
		return Fault{}, false
	}
	f := q.faults[0]
	q.advance()
	e.keep(&Request{Time: time.Now(), Region: region, Token: noToken, Fault: f})
	return f, true
}

func (s *Server) run(t *site, listener net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{cancel: cancel, served: make(chan struct{})}
	r.server = &http.Server{
		Handler:           &handler{e: s.Emulator, region: t.region, handshakes: t.tls != nil},
		TLSConfig:         t.tls,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		// net/http would answer OPTIONS * by itself, without EmulatedHeader.
		DisableGeneralOptionsHandler: true,
		// Failed handshakes are what the emulator is for: they are not logged.
		ErrorLog:    log.New(io.Discard, "", 0),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				r.conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				r.conns.Done()
			}
		},
		// Reset has to hijack the connection, which HTTP/2 does not allow.
		Protocols: new(http.Protocols),
	}
	r.server.Protocols.SetHTTP1(true)
	t.running = r
	go func() {
		defer close(r.served)
		if t.tls == nil {
			r.server.Serve(listener)
		} else {
			r.server.ServeTLS(listener, "", "")
		}
	}()
}

func (r *running) stop() {
	r.cancel()
	r.server.Close()
	<-r.served
	// A connection accepted while Close ran may have escaped it.
	r.server.Close()
	r.conns.Wait()
}

func (s *Server) site(region string) *site {
	s.mustKnow(region)
	return s.sites[slices.Index(s.regions, region)]
}

// Endpoints returns the URLs of the regions, in the order of Config.Regions.
func (s *Server) Endpoints() []string {
	urls := make([]string, len(s.sites))
	for i, t := range s.sites {
		urls[i] = t.url
	}
	return urls
}

// CAPEM returns the certificate of the CA that signed the server's, as PEM.
func (s *Server) CAPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.authority.cert.Raw})
}

// Client returns a client that trusts the server, and keeps no connection.
func (s *Server) Client() *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(s.authority.cert)
	return &http.Client{Transport: &http.Transport{
		DialContext:       s.network.dial,
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, Rand: osReader},
		DisableKeepAlives: true,
	}}
}

// Stop takes a region off the network. When it returns, the region's listener and
// connections are closed, and its requests have ended. It panics if there is no such
// region.
func (s *Server) Stop(region string) {
	t := s.site(region)
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.running != nil {
		t.running.stop()
		t.running = nil
	}
}

// Start brings a region back, on the address it had. It panics if there is no
// such region.
func (s *Server) Start(region string) error {
	t := s.site(region)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("qrypttest: the server is closed")
	}
	if t.running != nil {
		return nil
	}
	listener, err := s.network.listen("tcp", t.address)
	if err != nil {
		return fmt.Errorf("qrypttest: %w", err)
	}
	s.run(t, listener)
	return nil
}

// Close ends all requests at once, also those that hang. It returns when the last one
// has ended.
func (s *Server) Close() {
	s.Emulator.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, t := range s.sites {
		if t.running != nil {
			t.running.stop()
			t.running = nil
		}
	}
}

// Certificates are valid from an hour ago, because clocks differ, and for 30 days.
const (
	validBefore = time.Hour
	validAfter  = 30 * 24 * time.Hour
)

// An authority is the CA of one Server. Its key exists in memory only.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "qrypttest emulator CA"},
		NotBefore:             now.Add(-validBefore),
		NotAfter:              now.Add(validAfter),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{key: key, cert: cert}, err
}

// leaf returns a server certificate for host names and IP addresses.
func (a *authority) leaf(names []string, notBefore, notAfter time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "qrypttest emulator"},
		NotBefore:   notBefore,
		NotAfter:    notAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
