package keyfile

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// PrivateSSH is a private key as OpenSSH writes it. With a passphrase it is encrypted
// with AES-256-CTR and 16 rounds of bcrypt_pbkdf. The salt comes from crypto/rand.
func PrivateSSH(key any, comment string, passphrase []byte) ([]byte, error) {
	if err := checkSSH(key, comment); err != nil {
		return nil, err
	}
	var block *pem.Block
	var err error
	if len(passphrase) == 0 {
		block, err = ssh.MarshalPrivateKey(key, comment)
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, comment, passphrase)
	}
	if err != nil {
		return nil, wrap(err)
	}
	defer clear(block.Bytes)
	return pem.EncodeToMemory(block), nil
}

// PublicSSH is a public key as a line of authorized_keys.
func PublicSSH(public any, comment string) ([]byte, error) {
	if err := checkSSH(public, comment); err != nil {
		return nil, err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, wrap(err)
	}
	line := strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(key)), "\n")
	if comment != "" {
		line += " " + comment
	}
	return []byte(line + "\n"), nil
}

// checkSSH refuses keys that SSH has no form for (RFC 5656 section 10.1, RFC 8709, RFC
// 4253 section 6.6), and a comment that would end its line.
func checkSSH(key any, comment string) error {
	var curve elliptic.Curve
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		curve = k.Curve
	case *ecdsa.PublicKey:
		curve = k.Curve
	case ed25519.PrivateKey, ed25519.PublicKey, *rsa.PrivateKey, *rsa.PublicKey:
	default:
		return errNoSSH(key)
	}
	if curve == elliptic.P224() {
		return errNoSSH(key)
	}
	if strings.ContainsFunc(comment, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("keyfile: the comment of an SSH key must be one line of printable characters")
	}
	return nil
}

func errNoSSH(key any) error {
	if Name(key) == "" {
		return errType(key)
	}
	return fmt.Errorf("keyfile: SSH has no form for %s, only for ed25519, rsa, and ecdsa on p256, p384 and p521", Name(key))
}

// parsePrivateSSH reads an OpenSSH private key. The library does not check the public
// half of an Ed25519 key, so the key is made again from its seed. Nor does it look at the
// public key before the private one, which is not encrypted, and which ssh offers to servers
// before it asks for a passphrase.
func parsePrivateSSH(block *pem.Block, passphrase []byte) (public any, err error) {
	data := pem.EncodeToMemory(block)
	defer clear(data)
	var key any
	if len(passphrase) > 0 {
		key, err = ssh.ParseRawPrivateKeyWithPassphrase(data, passphrase)
		if err != nil && strings.Contains(err.Error(), "not password protected") {
			passphrase = nil
		}
	}
	if len(passphrase) == 0 {
		key, err = ssh.ParseRawPrivateKey(data)
	}
	var missing *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &missing):
		return nil, ErrEncrypted
	case errors.Is(err, x509.IncorrectPasswordError):
		return nil, ErrPassphrase
	case err != nil:
		return nil, wrap(err)
	}
	switch k := key.(type) {
	case *ed25519.PrivateKey:
		defer clear(*k)
		if made := ed25519.NewKeyFromSeed(k.Seed()); subtle.ConstantTimeCompare(made, *k) != 1 {
			return nil, errMismatch
		}
		public = k.Public()
	case *ecdsa.PrivateKey: // the library has compared its public half
		public = &k.PublicKey
	case *rsa.PrivateKey: // the library has compared its modulus with the primes
		public = &k.PublicKey
	default:
		return nil, errType(key)
	}
	want, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, wrap(err)
	}
	var file struct { // PROTOCOL.key of OpenSSH
		Cipher, KDF, Options string
		Keys                 uint32
		Public               []byte
		Rest                 []byte `ssh:"rest"`
	}
	if err := ssh.Unmarshal(bytes.TrimPrefix(block.Bytes, []byte("openssh-key-v1\x00")), &file); err != nil {
		return nil, wrap(err)
	}
	if !bytes.Equal(file.Public, want.Marshal()) {
		return nil, errMismatch
	}
	return public, nil
}

// parsePublicSSH reads a line of authorized_keys.
func parsePublicSSH(line []byte) (public any, err error) {
	key, _, _, rest, err := ssh.ParseAuthorizedKey(line)
	if err != nil { // the error of the library quotes the line, which may be long
		return nil, errors.New("keyfile: not an SSH public key: want the type, the key in base64 and perhaps a comment, as ssh-keygen writes them")
	}
	if len(strings.TrimSpace(string(rest))) > 0 {
		return nil, errors.New("keyfile: more than one SSH public key: give one line")
	}
	c, ok := key.(ssh.CryptoPublicKey)
	if !ok || strings.HasPrefix(key.Type(), "sk-") || Name(c.CryptoPublicKey()) == "" { // a security key signs more than the message
		return nil, fmt.Errorf("keyfile: an SSH key of type %s: ssh-ed25519, ssh-rsa and ecdsa-sha2-nistp256, 384 and 521 are read", key.Type())
	}
	public = c.CryptoPublicKey()
	if k, ok := public.(*rsa.PublicKey); ok && k.N.Sign() <= 0 { // the library accepts it
		return nil, errors.New("keyfile: the SSH key's RSA modulus is not a positive number: the line is damaged")
	}
	return public, nil
}
