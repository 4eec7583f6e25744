package relay

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// A Certificate is a server's certificate and its key from two PEM files. They are read
// again when they change, so that a renewal needs no restart.
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

// certificateInterval is how often Watch looks at the files.
const certificateInterval = 30 * time.Second

// Watch puts changes of the files in use until ctx is done. After each change it calls
// report: with nil when the new certificate is in use, or with the reason why the old
// one still is.
func (c *Certificate) Watch(ctx context.Context, report func(error)) {
	tick := time.NewTicker(certificateInterval)
	defer tick.Stop()
	var last error
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		changed, err := c.reload()
		if changed || err != nil && (last == nil || err.Error() != last.Error()) {
			report(err)
		}
		last = err
	}
}

func (c *Certificate) reload() (changed bool, err error) {
	cert, err := os.ReadFile(c.certFile)
	if err != nil {
		return false, fmt.Errorf("relay: certificate: %w", err)
	}
	key, err := os.ReadFile(c.keyFile)
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
	c.sum = sum
	c.current.Store(&pair)
	return true, nil
}
