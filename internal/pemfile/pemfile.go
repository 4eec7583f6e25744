// Package pemfile reads files with certificates and keys in PEM.
package pemfile

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"io"
	"os"
)

// Text removes the byte order mark that editors put before text. Behind it, package
// encoding/pem overlooks the first block.
func Text(data []byte) []byte { return bytes.TrimPrefix(data, []byte{0xef, 0xbb, 0xbf}) }

// maxSize bounds what is read of a file that is not regular, in bytes: some ten times the CAs of
// a system.
const maxSize = 4 << 20

// Read returns the Text of a file. A device that never ends is an error: it would fill the memory.
func Read(path string) ([]byte, error) {
	if !IsPipe(path) {
		data, err := os.ReadFile(path)
		return Text(data), err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if len(data) > maxSize {
		clear(data)
		return nil, fmt.Errorf("%s has more than %d bytes: no file of certificates or keys is that large", path, maxSize)
	}
	return Text(data), err
}

// CAs returns the Text of a file, and a pool of the certificates in it. There must be one.
func CAs(path string) (text []byte, roots *x509.CertPool, err error) {
	if text, err = Read(path); err != nil {
		return nil, nil, err
	}
	roots = x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, nil, fmt.Errorf("%s holds no PEM certificate", path)
	}
	return text, roots, nil
}

// IsPipe reports whether a file can be read once only, and would then keep us waiting.
func IsPipe(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.Mode().IsRegular()
}
