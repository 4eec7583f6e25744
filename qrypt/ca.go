package qrypt

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"sync"

	"example.com/qrand/internal/pemfile"
)

// readCAs reads the certificates of a PEM file.
func readCAs(path string) (pem []byte, roots *x509.CertPool, err error) {
	pem, roots, err = pemfile.CAs(path)
	if named := (*fs.PathError)(nil); errors.As(err, &named) {
		err = fmt.Errorf("it cannot be read: %w", withoutPath(err))
	}
	return pem, roots, err
}

// trust makes the client trust the CAs in a file, and none besides.
func (c *Client) trust(path string, logger *slog.Logger) error {
	inner := c.http.Transport.(direct).RoundTripper
	transport, ok := inner.(*http.Transport)
	if !ok {
		return fmt.Errorf("qrypt: CAFile is set, and HTTPClient has a Transport of type %T: only an *http.Transport can be told whom to trust", inner)
	}
	pem, roots, err := readCAs(path)
	if err != nil {
		return fmt.Errorf("qrypt: the file of trusted CAs (%s): %w", EnvCAFile, err)
	}
	if logger == nil {
		logger = slog.Default()
	}
	transport.TLSClientConfig.RootCAs = roots
	c.http.Transport = direct{&caTransport{path: path, logger: logger, pem: pem, transport: transport}}
	return nil
}

// A caTransport reads the CAs that it trusts again for each request, so that a private CA
// can be renewed without a restart.
type caTransport struct {
	path   string
	logger *slog.Logger

	mu        sync.Mutex
	pem       []byte // as read last
	transport *http.Transport
	failing   bool // the file could not be read last time
}

func (c *caTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	return c.current().RoundTrip(req)
}

// current returns a transport that trusts what is in the file now.
func (c *caTransport) current() *http.Transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	if pemfile.IsPipe(c.path) {
		return c.transport
	}
	pem, roots, err := readCAs(c.path)
	switch {
	case err != nil && !c.failing:
		c.logger.Warn("qrypt: the file of trusted CAs cannot be used: those that were read before are trusted", "error", err.Error())
	case err == nil && c.failing:
		c.logger.Info("qrypt: the file of trusted CAs can be used again")
	}
	c.failing = err != nil
	if err == nil && !bytes.Equal(pem, c.pem) {
		next := c.transport.Clone() // requests under way go on with the old one
		next.TLSClientConfig.RootCAs = roots
		if next.TLSClientConfig.ClientSessionCache != nil { // a session that is resumed shows no certificate
			next.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(maxSessions)
		}
		onlyHTTP1(next)
		c.pem, c.transport = pem, next
	}
	return c.transport
}

var _ http.RoundTripper = (*caTransport)(nil)
