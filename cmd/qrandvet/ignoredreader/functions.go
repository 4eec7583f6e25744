package ignoredreader

import (
	"go/types"
	"strings"
)

// none stands for no argument.
const none = -1

// A function ignores the reader that it is passed.
type function struct {
	reader int    // which argument that is
	signer int    // which argument must be an ECDSA key for it to be ignored, or none
	into   string // what nothing of the reader goes into
	except string // where the reader is read all the same

	advice string // what to do instead

	// Or, where package keygen makes the same key: the function, and what that
	// takes before the reader, an argument or (none) the receiver.
	keygen string
	from   int
	param  string
}

// What can be done about a signature, and where there is nothing to do.
const (
	sayRandReader = "crypto/rand's generator is used whatever is passed, so pass rand.Reader"
	signWithNil   = sayRandReader + ", or nil to the key's Sign method for a signature without randomness (RFC 6979)"
)

// functions are all that call crypto/internal/rand.CustomReader in Go 1.26 and
// 1.27, or that call these. Not among them:
//
//   - ed25519.GenerateKey, elliptic.GenerateKey, dsa.GenerateKey and
//     GenerateParameters, rsa.SignPSS, rsa.EncryptOAEP, rand.Int and
//     x509.EncryptPEMBlock, which read the reader;
//   - rsa.SignPKCS1v15, rsa.DecryptPKCS1v15, rsa.DecryptOAEP and the Sign methods
//     of Ed25519 and ML-DSA keys, which ignore it under every setting, since
//     what they compute needs no randomness: nothing is lost there;
//   - the methods of crypto.Signer and whatever else depends on a type that only
//     shows when the program runs.
var functions = map[string]function{
	"crypto/ecdsa.GenerateKey":        {reader: 1, signer: none, into: "the key", keygen: "ECDSA", from: 0, param: "curve"},
	"(crypto/ecdh.Curve).GenerateKey": {reader: 0, signer: none, into: "the key", keygen: "ECDH", from: none, param: "curve"},
	"crypto/rsa.GenerateKey":          {reader: 0, signer: none, into: "the key", keygen: "RSA", from: 1, param: "bits"},
	"crypto/rsa.GenerateMultiPrimeKey": {reader: 0, signer: none, into: "the key",
		advice: "for a key of two primes use keygen.RSA"},
	"crypto/rand.Prime": {reader: 0, signer: none, into: "the prime",
		advice: "for an RSA key use keygen.RSA, for another prime draw candidates with rand.Int, which reads its reader"},
	"crypto/rsa.EncryptPKCS1v15": {reader: 0, signer: none, into: "the padding",
		advice: "use rsa.EncryptOAEP, which reads its reader"},

	"crypto/ecdsa.Sign":               {reader: 0, signer: none, into: "the signature", advice: signWithNil},
	"crypto/ecdsa.SignASN1":           {reader: 0, signer: none, into: "the signature", advice: signWithNil},
	"(*crypto/ecdsa.PrivateKey).Sign": {reader: 0, signer: none, into: "the signature", advice: signWithNil},
	"crypto/dsa.Sign":                 {reader: 0, signer: none, into: "the signature", advice: sayRandReader},

	// These sign with whatever key they get.
	"crypto.SignMessage": {reader: 1, signer: 0, into: "the signature of an ECDSA key", advice: signWithNil},
	"crypto/x509.CreateCertificate": {reader: 0, signer: 4, into: "the signature of an ECDSA key",
		except: ", but for a missing serial number", advice: sayRandReader},
	"crypto/x509.CreateCertificateRequest": {reader: 0, signer: 2, into: "the signature of an ECDSA key", advice: sayRandReader},
	"crypto/x509.CreateRevocationList":     {reader: 0, signer: 3, into: "the signature of an ECDSA key", advice: sayRandReader},
	"(*crypto/x509.Certificate).CreateCRL": {reader: 0, signer: 1, into: "the signature of an ECDSA key", advice: sayRandReader},
}

func (f function) message(fn *types.Func, reader, advice string) string {
	name := strings.ReplaceAll(fn.FullName(), "crypto/", "")
	return name + " ignores its reader since Go 1.26" + f.except + ": no byte of " + reader + " goes into " + f.into + "; " + advice
}
