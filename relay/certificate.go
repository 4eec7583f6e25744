package relay

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync/atomic"
	"time"

	"example.com/qrand/internal/hang"
	"example.com/qrand/internal/pemfile"
)

// A Certificate is a server's certificate and its key from two PEM files. They are read
// again when they change, so that a renewal needs no restart. One that is not valid now
// does not replace one that is.
type Certificate struct {
	certFile, keyFile string
	sum               [sha256.Size]byte // of both, as in use
	current           atomic.Pointer[tls.Certificate]
}

// LoadCertificate reads the files.
func LoadCertificate(certFile, keyFile string) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile}
	if _, err := c.reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Get is for tls.Config.GetCertificate.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// Expires returns when the certificate in use expires.
func (c *Certificate) Expires() time.Time { return c.current.Load().Leaf.NotAfter }

// Check returns an error if the certificate in use is not valid now.
func (c *Certificate) Check() error {
	if err := validity(c.current.Load().Leaf, time.Now()); err != nil {
		return fmt.Errorf("relay: %s %w", c.certFile, err)
	}
	return nil
}

// validity says why a certificate is not valid.
func validity(cert *x509.Certificate, now time.Time) error {
	switch {
	case now.After(cert.NotAfter):
		return fmt.Errorf("expired at %s", cert.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(cert.NotBefore):
		return fmt.Errorf("is not valid before %s: is the clock right?", cert.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// certificateInterval is how often a Watch looks at the files.
const certificateInterval = 30 * time.Second

// readLimit is how long the disk may take to give a file, before Watch reports it.
const readLimit = 10 * time.Second

var errLate = fmt.Errorf("relay: the file cannot be read: its disk has not answered for %v", readLimit)

// Watch puts changes of the files in use until ctx is done. After each change it calls
// report: with nil when the new certificate is in use, or with the reason why the old
// one still is.
func (c *Certificate) Watch(ctx context.Context, report func(error)) { watch(ctx, c.reload, report) }

func watch(ctx context.Context, reload func() (bool, error), report func(error)) {
	tick := time.NewTicker(certificateInterval)
	defer tick.Stop()
	var last error
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var changed bool
		var err error
		late := func() { report(errLate) }
		if !hang.Call(ctx, readLimit, func() { changed, err = reload() }, late) {
			return
		}
		if changed || err != nil && (last == nil || err.Error() != last.Error()) {
			report(err)
		}
		last = err
	}
}

func (c *Certificate) reload() (changed bool, err error) {
	if c.current.Load() != nil && (pemfile.IsPipe(c.certFile) || pemfile.IsPipe(c.keyFile)) {
		return false, nil
	}
	cert, err := pemfile.Read(c.certFile)
	if err != nil {
		return false, fmt.Errorf("relay: certificate: %w", err)
	}
	key, err := pemfile.Read(c.keyFile)
	if err != nil {
		return false, fmt.Errorf("relay: key of the certificate: %w", err)
	}
	defer clear(key)
	h := sha256.New()
	fmt.Fprintf(h, "%d\n", len(cert))
	h.Write(cert)
	h.Write(key)
	sum := [sha256.Size]byte(h.Sum(nil))
	if sum == c.sum {
		return false, nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return false, fmt.Errorf("relay: %s and %s: %w", c.certFile, c.keyFile, err)
	}
	now := time.Now()
	if old := c.current.Load(); old != nil && validity(old.Leaf, now) == nil {
		if err := validity(pair.Leaf, now); err != nil {
			return false, fmt.Errorf("relay: %s %w", c.certFile, err)
		}
	}
	c.sum = sum
	c.current.Store(&pair)
	return true, nil
}

// ClientCAs are the CAs of clients' certificates, from a PEM file. It is read again when it
// changes.
type ClientCAs struct {
	file    string
	pem     []byte // in use
	current atomic.Pointer[x509.CertPool]
}

// LoadClientCAs reads the file.
func LoadClientCAs(file string) (*ClientCAs, error) {
	c := &ClientCAs{file: file}
	if _, err := c.reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Watch puts changes of the file in use, and reports them, as Certificate.Watch does.
func (c *ClientCAs) Watch(ctx context.Context, report func(error)) { watch(ctx, c.reload, report) }

func (c *ClientCAs) reload() (changed bool, err error) {
	if c.pem != nil && pemfile.IsPipe(c.file) {
		return false, nil
	}
	pem, err := pemfile.Read(c.file)
	if err != nil {
		return false, fmt.Errorf("relay: CAs of clients: %w", err)
	}
	if c.pem != nil && bytes.Equal(pem, c.pem) {
		return false, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return false, fmt.Errorf("relay: %s has no certificate in PEM", c.file)
	}
	c.pem = pem
	c.current.Store(pool)
	return true, nil
}

// verify makes config ask clients for a certificate of these CAs, without insisting.
func (c *ClientCAs) verify(config *tls.Config) {
	config.ClientAuth = tls.VerifyClientCertIfGiven
	base := config.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := base.Clone()
		now.ClientCAs = c.current.Load()
		return now, nil
	}
}
