package ignoredreader

// none stands for no argument.
const none = -1

// A function ignores the reader that it is passed.
type function struct {
	reader int    // which argument is the reader
	signer int    // which argument must be a key of signers for the reader to be ignored; none: it always is
	into   string // what is made without the reader
	except string // for what the reader is read all the same
	never  bool   // it is not read under any setting

	advice string // what to do instead

	// Or, where package keygen certainly makes the same key, its function there. That has
	// one parameter before the reader: from says which argument goes there, or none for the
	// receiver.
	keygen string
	from   int
}

// curves are the functions whose results the functions of package keygen take.
var curves = map[string]string{
	"crypto/elliptic.P224": "ECDSA",
	"crypto/elliptic.P256": "ECDSA",
	"crypto/elliptic.P384": "ECDSA",
	"crypto/elliptic.P521": "ECDSA",
	"crypto/ecdh.P256":     "ECDH",
	"crypto/ecdh.P384":     "ECDH",
	"crypto/ecdh.P521":     "ECDH",
	"crypto/ecdh.X25519":   "ECDH",
}

// signers are the keys whose signatures ignore the reader: their names, and whether they do so
// under every setting.
var signers = map[string]struct {
	name  string
	never bool
}{
	"*crypto/ecdsa.PrivateKey": {"an ECDSA key", false},
	"*crypto/mldsa.PrivateKey": {"an ML-DSA key", true},
}

// What to do instead.
const (
	setDebug      = "to have it read, set godebug cryptocustomrand=1 in the go.mod of the main module"
	sayRandReader = "the generator of crypto/rand is used in any case, so pass rand.Reader"
	signWithNil   = sayRandReader + ", or nil to the key's Sign method for a signature without randomness (RFC 6979)"
)

// functions are all that call crypto/internal/rand.CustomReader in Go 1.26 and 1.27, the
// method Sign of *mldsa.PrivateKey (Go 1.27), which takes 32 bytes of Go's own generator,
// and those that call these. Not among them:
//
//   - ed25519.GenerateKey, elliptic.GenerateKey, dsa.GenerateKey and
//     GenerateParameters, rsa.SignPSS, rsa.EncryptOAEP, rand.Int and
//     x509.EncryptPEMBlock, which read the reader;
//   - rsa.SignPKCS1v15, rsa.DecryptPKCS1v15, rsa.DecryptOAEP and the Sign method of
//     Ed25519 keys, which ignore it under every setting, because their results need no
//     randomness;
//   - the methods of crypto.Signer, and all else that depends on a type which is known
//     only when the program runs.
var functions = map[string]function{
	"crypto/ecdsa.GenerateKey":         {reader: 1, signer: none, into: "the key", advice: setDebug, keygen: "ECDSA", from: 0},
	"(crypto/ecdh.Curve).GenerateKey":  {reader: 0, signer: none, into: "the key", advice: setDebug, keygen: "ECDH", from: none},
	"crypto/rsa.GenerateKey":           {reader: 0, signer: none, into: "the key", advice: setDebug, keygen: "RSA", from: 1},
	"crypto/rsa.GenerateMultiPrimeKey": {reader: 0, signer: none, into: "the key", advice: setDebug},
	"crypto/rand.Prime": {reader: 0, signer: none, into: "the prime",
		advice: "draw candidates with rand.Int, which reads its reader"},
	"crypto/rsa.EncryptPKCS1v15": {reader: 0, signer: none, into: "the padding",
		advice: "use rsa.EncryptOAEP, which reads its reader"},

	"crypto/ecdsa.Sign":               {reader: 0, signer: none, into: "the signature", advice: signWithNil},
	"crypto/ecdsa.SignASN1":           {reader: 0, signer: none, into: "the signature", advice: signWithNil},
	"(*crypto/ecdsa.PrivateKey).Sign": {reader: 0, signer: none, into: "the signature", advice: signWithNil},
	"crypto/dsa.Sign":                 {reader: 0, signer: none, into: "the signature", advice: sayRandReader},

	"(*crypto/mldsa.PrivateKey).Sign": {reader: 0, signer: none, into: "the signature", never: true,
		advice: sayRandReader + ", or call SignDeterministic for a signature without randomness"},

	// These sign with any kind of key.
	"crypto.SignMessage": {reader: 1, signer: 0, into: "the signature of ", advice: sayRandReader},
	"crypto/x509.CreateCertificate": {reader: 0, signer: 4, into: "the signature of ",
		except: ", except for a missing serial number", advice: sayRandReader},
	"crypto/x509.CreateCertificateRequest": {reader: 0, signer: 2, into: "the signature of ", advice: sayRandReader},
	"crypto/x509.CreateRevocationList":     {reader: 0, signer: 3, into: "the signature of ", advice: sayRandReader},
	"(*crypto/x509.Certificate).CreateCRL": {reader: 0, signer: 1, into: "the signature of ", advice: sayRandReader},
}

// tlsMessage says where crypto/tls still reads Config.Rand. With cryptocustomrand=1 it is
// also read for ECDHE, but never for the ML-KEM secret of a server, nor, since Go 1.27, for
// that of a client.
const tlsMessage = "tls.Config.Rand hardly reaches a key since Go 1.26: bytes of it go into nonces, session tickets and RSA key transport, " +
	"but none into an ECDHE key share, an ECDSA signature or an ML-KEM secret (except a client's in Go 1.26); Go 1.27 deprecates it: " +
	"leave it nil, and in tests call testing/cryptotest.SetGlobalRandom"
