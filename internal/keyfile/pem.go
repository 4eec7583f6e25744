package keyfile

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"go.step.sm/crypto/pemutil"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// pemTypes are the labels of RFC 7468.
var pemTypes = map[Kind]string{
	KindPrivate:     "PRIVATE KEY",
	KindPublic:      "PUBLIC KEY",
	KindCertificate: "CERTIFICATE",
	KindRequest:     "CERTIFICATE REQUEST",
}

const encryptedType = "ENCRYPTED PRIVATE KEY"

// PEM is DER in PEM (RFC 7468).
func PEM(kind Kind, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemTypes[kind], Bytes: der})
}

// EncryptedPEM is a private key's PKCS #8 encrypted with a passphrase, in PEM:
// PBES2 (RFC 8018 section 6.2) with PBKDF2-HMAC-SHA-256, 600,000 iterations, and
// AES-256-CBC. Salt and IV, 16 bytes each, are read from rand.
func EncryptedPEM(pkcs8, passphrase []byte, rand io.Reader) ([]byte, error) {
	if len(passphrase) == 0 {
		return nil, errNoPassphrase
	}
	if rand == nil {
		return nil, errNilReader
	}
	block, err := pemutil.EncryptPKCS8PrivateKey(rand, pkcs8, passphrase, x509.PEMCipherAES256)
	if err != nil {
		return nil, wrap(err)
	}
	return pem.EncodeToMemory(block), nil
}

var (
	errNoPassphrase = errors.New("keyfile: the passphrase is empty, and would protect nothing")
	errNilReader    = errors.New("keyfile: the reader is nil: pass a qrand.Source, or crypto/rand.Reader")
)

// decrypt opens an EncryptedPrivateKeyInfo (RFC 5958 section 3). The caller wipes
// the result.
func decrypt(der, passphrase []byte) ([]byte, error) {
	if err := checkEncrypted(der); err != nil {
		return nil, err
	}
	if len(passphrase) == 0 {
		return nil, ErrEncrypted
	}
	pkcs8, err := pemutil.DecryptPKCS8PrivateKey(der, passphrase)
	if errors.Is(err, x509.IncorrectPasswordError) {
		err = ErrPassphrase
	}
	if err != nil {
		clear(pkcs8)
		return nil, err
	}
	return pkcs8, nil
}

// What PBES2 is made of (RFC 8018 appendices A and B).
var (
	oidPBES2      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidHMACSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	oidAES128CBC  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}
	oidAES192CBC  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 22}
	oidAES256CBC  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
)

// maxIterations of PBKDF2 take some seconds; a file may ask for years.
const maxIterations = 10_000_000

// aesBlock is the size of AES-CBC's IV, and what the ciphertext is a multiple of.
const aesBlock = 16

// checkEncrypted refuses what pemutil does not decrypt as it should: it panics on
// an IV or a ciphertext of a wrong length, takes any PRF it does not know for
// HMAC-SHA-1, and counts as far as the file tells it.
func checkEncrypted(der []byte) error {
	var algorithm, pbes2, kdf, kdfParams, prf, cipher, salt, iv, ciphertext cryptobyte.String
	var algorithmOID, kdfOID, prfOID, cipherOID asn1.ObjectIdentifier
	var iterations int64
	input, whole := sequence(der)
	if !whole || !input.ReadASN1(&algorithm, cbasn1.SEQUENCE) ||
		!input.ReadASN1(&ciphertext, cbasn1.OCTET_STRING) || !input.Empty() || !algorithm.ReadASN1ObjectIdentifier(&algorithmOID) {
		return errors.New("keyfile: malformed encrypted private key")
	}
	ok := algorithmOID.Equal(oidPBES2) && algorithm.ReadASN1(&pbes2, cbasn1.SEQUENCE) &&
		pbes2.ReadASN1(&kdf, cbasn1.SEQUENCE) && pbes2.ReadASN1(&cipher, cbasn1.SEQUENCE) &&
		kdf.ReadASN1ObjectIdentifier(&kdfOID) && kdfOID.Equal(oidPBKDF2) && kdf.ReadASN1(&kdfParams, cbasn1.SEQUENCE) &&
		kdfParams.ReadASN1(&salt, cbasn1.OCTET_STRING) && kdfParams.ReadASN1Integer(&iterations) &&
		kdfParams.ReadASN1(&prf, cbasn1.SEQUENCE) && prf.ReadASN1ObjectIdentifier(&prfOID) && prfOID.Equal(oidHMACSHA256) &&
		cipher.ReadASN1ObjectIdentifier(&cipherOID) && cipher.ReadASN1(&iv, cbasn1.OCTET_STRING) &&
		(cipherOID.Equal(oidAES128CBC) || cipherOID.Equal(oidAES192CBC) || cipherOID.Equal(oidAES256CBC)) && len(iv) == aesBlock
	switch {
	case !ok:
		return errors.New("keyfile: the private key is encrypted in a way that is not read here (only PBES2 with PBKDF2-HMAC-SHA-256 and AES-CBC is): convert it with openssl pkcs8 -topk8, or give the public key's file")
	case iterations < 1 || iterations > maxIterations:
		return fmt.Errorf("keyfile: the encrypted private key asks for %d iterations of PBKDF2: at most %d are done", iterations, maxIterations)
	case len(ciphertext) == 0 || len(ciphertext)%aesBlock != 0 || len(ciphertext) > maxPrivate:
		return errors.New("keyfile: malformed encrypted private key")
	}
	return nil
}
