package keyfile

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// What PBES2 is made of (RFC 8018 appendices A and B).
var (
	oidPBES2      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidHMACSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}

	// AES-CBC, by the size of its key in bytes.
	oidAESCBC = map[int]asn1.ObjectIdentifier{
		16: {2, 16, 840, 1, 101, 3, 4, 1, 2},
		24: {2, 16, 840, 1, 101, 3, 4, 1, 22},
		32: {2, 16, 840, 1, 101, 3, 4, 1, 42},
	}
)

const (
	iterations = 600_000 // of PBKDF2-HMAC-SHA-256, as in OWASP's Password Storage Cheat Sheet
	saltSize   = 16      // SP 800-132 section 5.1

	// maxIterations take some seconds; a file may ask for years.
	maxIterations = 10_000_000
)

var (
	errNoPassphrase = errors.New("keyfile: the passphrase is empty, and would protect nothing")
	errNilReader    = errors.New("keyfile: the reader is nil: pass a qrand.Source, or crypto/rand.Reader")
	errEncrypted    = errors.New("keyfile: malformed encrypted private key")
)

// pbes2 is the content of an EncryptedPrivateKeyInfo (RFC 5958 section 3): a key
// from a passphrase by PBKDF2-HMAC-SHA-256, and AES-CBC under it.
type pbes2 struct {
	salt       []byte
	iterations int64
	keySize    int
	keyLength  int // keySize, or 0 if the file does not say it
	iv         []byte
	ciphertext []byte
}

// EncryptedPEM encrypts a private key in PKCS #8 with a passphrase, and returns it
// in PEM: PBES2 (RFC 8018 section 6.2) with PBKDF2-HMAC-SHA-256, 600,000
// iterations, and AES-256-CBC. Salt and IV, 16 bytes each, are read from rand.
func EncryptedPEM(pkcs8, passphrase []byte, rand io.Reader) ([]byte, error) {
	if len(passphrase) == 0 {
		return nil, errNoPassphrase
	}
	if rand == nil {
		return nil, errNilReader
	}
	e := pbes2{salt: make([]byte, saltSize), iterations: iterations, keySize: 32, iv: make([]byte, aes.BlockSize)}
	for _, b := range [][]byte{e.salt, e.iv} {
		if _, err := io.ReadFull(rand, b); err != nil {
			return nil, wrap(err)
		}
	}
	block, err := e.cipher(passphrase)
	if err != nil {
		return nil, err
	}
	// The padding has 1 to 16 bytes, each of them its length (RFC 8018 appendix
	// B.2.5). All is encrypted in place, so that no copy of the key is left.
	padding := aes.BlockSize - len(pkcs8)%aes.BlockSize
	e.ciphertext = make([]byte, len(pkcs8)+padding)
	for i := range e.ciphertext[copy(e.ciphertext, pkcs8):] {
		e.ciphertext[len(pkcs8)+i] = byte(padding)
	}
	cipher.NewCBCEncrypter(block, e.iv).CryptBlocks(e.ciphertext, e.ciphertext)
	der, err := e.marshal()
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: encryptedType, Bytes: der}), nil
}

// decrypt opens an EncryptedPrivateKeyInfo. The caller wipes the result.
func decrypt(der, passphrase []byte) ([]byte, error) {
	e, err := parsePBES2(der)
	if err != nil {
		return nil, err
	}
	if len(passphrase) == 0 {
		return nil, ErrEncrypted
	}
	block, err := e.cipher(passphrase)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(e.ciphertext))
	cipher.NewCBCDecrypter(block, e.iv).CryptBlocks(plain, e.ciphertext)
	// Nobody can try ciphertexts on us and time the answers, so the padding is
	// not checked in constant time.
	padding := int(plain[len(plain)-1])
	ok := padding >= 1 && padding <= aes.BlockSize
	for i := 1; ok && i <= padding; i++ {
		ok = int(plain[len(plain)-i]) == padding
	}
	if !ok {
		clear(plain)
		return nil, ErrPassphrase
	}
	return plain[:len(plain)-padding], nil
}

// cipher derives the key. The standard library copies the passphrase into a
// string, and keeps the key's schedule: neither can be wiped.
func (e *pbes2) cipher(passphrase []byte) (cipher.Block, error) {
	key, err := pbkdf2.Key(sha256.New, string(passphrase), e.salt, int(e.iterations), e.keySize)
	if err != nil {
		return nil, fmt.Errorf("%w: encrypt it again with a salt of 16 bytes, or give the file of the public key", wrap(err))
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	return block, wrap(err)
}

func (e *pbes2) marshal() ([]byte, error) {
	// algorithm adds an AlgorithmIdentifier.
	algorithm := func(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, parameters func(*cryptobyte.Builder)) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oid)
			parameters(b)
		})
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		algorithm(b, oidPBES2, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				algorithm(b, oidPBKDF2, func(b *cryptobyte.Builder) {
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1OctetString(e.salt)
						b.AddASN1Int64(e.iterations)
						if e.keyLength > 0 {
							b.AddASN1Int64(int64(e.keyLength))
						}
						algorithm(b, oidHMACSHA256, func(b *cryptobyte.Builder) { b.AddASN1NULL() })
					})
				})
				algorithm(b, oidAESCBC[e.keySize], func(b *cryptobyte.Builder) { b.AddASN1OctetString(e.iv) })
			})
		})
		b.AddASN1OctetString(e.ciphertext)
	})
	der, err := b.Bytes()
	return der, wrap(err)
}

// parsePBES2 reads what marshal writes, with any salt, AES of any key size, iterations
// within bounds, and the length of the key, which is optional (RFC 8018 appendix A.2).
// OpenSSL writes the same by default, since 1.1.0, and Java 17 with the length.
func parsePBES2(der []byte) (*pbes2, error) {
	var e pbes2
	var algorithm, params, kdf, kdfParams, prf, null, cipher, salt, iv, ciphertext cryptobyte.String
	var algorithmOID, kdfOID, prfOID, cipherOID asn1.ObjectIdentifier
	input, whole := sequence(der)
	if !whole || !input.ReadASN1(&algorithm, cbasn1.SEQUENCE) || !input.ReadASN1(&ciphertext, cbasn1.OCTET_STRING) || !input.Empty() ||
		!algorithm.ReadASN1ObjectIdentifier(&algorithmOID) {
		return nil, errEncrypted
	}
	ok := algorithmOID.Equal(oidPBES2) && algorithm.ReadASN1(&params, cbasn1.SEQUENCE) && algorithm.Empty() &&
		params.ReadASN1(&kdf, cbasn1.SEQUENCE) && params.ReadASN1(&cipher, cbasn1.SEQUENCE) && params.Empty() &&
		kdf.ReadASN1ObjectIdentifier(&kdfOID) && kdfOID.Equal(oidPBKDF2) && kdf.ReadASN1(&kdfParams, cbasn1.SEQUENCE) && kdf.Empty() &&
		kdfParams.ReadASN1(&salt, cbasn1.OCTET_STRING) && kdfParams.ReadASN1Integer(&e.iterations) &&
		(!kdfParams.PeekASN1Tag(cbasn1.INTEGER) || kdfParams.ReadASN1Integer(&e.keyLength) && e.keyLength > 0) &&
		kdfParams.ReadASN1(&prf, cbasn1.SEQUENCE) && kdfParams.Empty() &&
		prf.ReadASN1ObjectIdentifier(&prfOID) && prfOID.Equal(oidHMACSHA256) && prf.ReadASN1(&null, cbasn1.NULL) && prf.Empty() &&
		cipher.ReadASN1ObjectIdentifier(&cipherOID) && cipher.ReadASN1(&iv, cbasn1.OCTET_STRING) && cipher.Empty() && len(iv) == aes.BlockSize
	for size, oid := range oidAESCBC {
		if cipherOID.Equal(oid) {
			e.keySize = size
		}
	}
	switch {
	case !ok || e.keySize == 0:
		return nil, errors.New("keyfile: the private key is encrypted in a way that is not read here (only PBES2 with PBKDF2-HMAC-SHA-256 and AES-CBC is): convert it with openssl pkcs8 -topk8, or give the file of the public key")
	case e.keyLength != 0 && e.keyLength != e.keySize:
		return nil, fmt.Errorf("keyfile: the encrypted private key asks for a key of %d bytes for a cipher that takes %d: the file is damaged", e.keyLength, e.keySize)
	case e.iterations < 1 || e.iterations > maxIterations:
		return nil, fmt.Errorf("keyfile: the encrypted private key asks for %d iterations of PBKDF2: at most %d are done", e.iterations, maxIterations)
	case len(ciphertext) == 0 || len(ciphertext)%aes.BlockSize != 0 || len(ciphertext) > maxPrivate:
		return nil, errEncrypted
	}
	e.salt, e.iv, e.ciphertext = salt, iv, ciphertext
	return &e, nil
}
