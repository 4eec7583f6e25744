package keyfile

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
)

// PrivateWG is an X25519 key as wg genkey writes it: base64 of the clamped scalar (RFC 7748
// section 5), in one line.
func PrivateWG(key any) ([]byte, error) {
	if Name(key) != "x25519" {
		return nil, errNoWG(key)
	}
	private, err := PrivateRaw(key)
	if err != nil {
		return nil, err
	}
	defer clear(private)
	private[0] &= 248
	private[31] = private[31]&127 | 64
	return wgLine(private), nil
}

// PublicWG is an X25519 public key as wg pubkey writes it: base64, in one line.
func PublicWG(public any) ([]byte, error) {
	if Name(public) != "x25519" {
		return nil, errNoWG(public)
	}
	raw, err := PublicRaw(public)
	if err != nil {
		return nil, err
	}
	return wgLine(raw), nil
}

func wgLine(raw []byte) []byte {
	line := make([]byte, 0, base64.StdEncoding.EncodedLen(len(raw))+1)
	return append(base64.StdEncoding.AppendEncode(line, raw), '\n')
}

func errNoWG(key any) error {
	if Name(key) == "" {
		return errType(key)
	}
	return fmt.Errorf("keyfile: WireGuard has no form for %s, only for x25519", Name(key))
}

// ParseWG reads what PrivateWG or PublicWG wrote. The text does not tell which of the two.
func ParseWG(kind Kind, data []byte) (*File, error) {
	raw, err := base64.StdEncoding.Strict().AppendDecode(make([]byte, 0, len(data)), bytes.TrimSpace(data))
	defer clear(raw)
	if err != nil {
		return nil, errors.New("keyfile: not a key of WireGuard, which is 32 bytes in base64")
	}
	return ParseRaw("x25519", kind, raw)
}
