// Package pemfile reads files with certificates and keys in PEM.
package pemfile

import (
	"bytes"
	"os"
)

// Text removes the byte order mark that editors put before text. Behind it, package
// encoding/pem overlooks the first block.
func Text(data []byte) []byte { return bytes.TrimPrefix(data, []byte{0xef, 0xbb, 0xbf}) }

// Read returns the Text of a file.
func Read(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	return Text(data), err
}

// IsPipe reports whether a file can be read once only, and would then keep us waiting.
func IsPipe(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.Mode().IsRegular()
}
