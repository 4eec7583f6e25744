package keyfile

import (
	"crypto/ecdh"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// A jwkReader reads members of a JWK and keeps the first error.
type jwkReader struct {
	members map[string]any
	err     error
}

func (r *jwkReader) has(name string) bool { _, ok := r.members[name]; return ok }

func (r *jwkReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *jwkReader) word(name string) string {
	s, ok := r.members[name].(string)
	if !ok {
		r.fail(fmt.Errorf("keyfile: JWK without a string %q", name))
	}
	return s
}

func (r *jwkReader) octets(name string) []byte {
	b, err := base64.RawURLEncoding.Strict().DecodeString(r.word(name))
	if err != nil {
		r.fail(fmt.Errorf("keyfile: %q of the JWK is not base64url without padding", name))
	}
	return b
}

// maxRSA is the longest RSA modulus read, in bits, which is OpenSSL's limit, too.
const maxRSA = 16384

func (r *jwkReader) integer(name string) *big.Int {
	b := r.octets(name)
	if len(b) > maxRSA/8 {
		r.fail(fmt.Errorf("keyfile: %q of the JWK has %d bytes: at most %d are read", name, len(b), maxRSA/8))
		return new(big.Int)
	}
	return new(big.Int).SetBytes(b)
}

// parseJWK reads a JSON Web Key, and of a private one computes the public key.
func parseJWK(data []byte) (*File, error) {
	r := &jwkReader{}
	if err := json.Unmarshal(data, &r.members); err != nil {
		return nil, errors.New("keyfile: malformed JSON") // the error could quote a secret
	}
	var public, computed any
	kind := KindPublic
	switch r.word("kty") {
	case "EC":
		public, computed = r.ec()
	case "OKP":
		public, computed = r.okp()
	case "RSA":
		public, computed = r.rsa()
	case "AKP":
		public, computed = r.akp()
	default:
		r.fail(errors.New("keyfile: the JWK's kty is none of EC, OKP, RSA, AKP"))
	}
	if r.err != nil {
		return nil, r.err
	}
	if computed != nil {
		kind = KindPrivate
		a, err := PublicDER(public)
		if err != nil {
			return nil, err
		}
		b, err := PublicDER(computed)
		if err != nil {
			return nil, err
		}
		if string(a) != string(b) {
			return nil, errMismatch
		}
	}
	return newFile(kind, public)
}

// Each of these returns the public key that is there, and the one computed from
// the private part, if there is one.

func (r *jwkReader) ec() (public, computed any) {
	c := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[r.word("crv")]
	if c == nil {
		r.fail(errors.New("keyfile: the JWK's crv is none of P-256, P-384, P-521"))
		return nil, nil
	}
	x, y := r.octets("x"), r.octets("y")
	if size := (c.Params().BitSize + 7) / 8; len(x) != size || len(y) != size {
		r.fail(fmt.Errorf("keyfile: the JWK's x and y are not of %d bytes", size))
		return nil, nil
	}
	point := append(append([]byte{4}, x...), y...)
	return r.parse(func(private bool, b []byte) (any, error) { return parseECDSA(c, private, b) }, point, "d")
}

func (r *jwkReader) okp() (public, computed any) {
	x := r.octets("x")
	switch r.word("crv") {
	case "Ed25519":
		return r.parse(parseEd25519, x, "d")
	case "X25519":
		return r.parse(func(private bool, b []byte) (any, error) { return parseECDH(ecdh.X25519(), private, b) }, x, "d")
	case "Ed448":
		return r.parse(schemeNamed("ed448").parse, x, "d")
	default:
		r.fail(errors.New("keyfile: the JWK's crv is none of Ed25519, Ed448, X25519"))
		return nil, nil
	}
}

func (r *jwkReader) akp() (public, computed any) {
	s := schemeNamed(strings.ToLower(r.word("alg")))
	if s == nil || !s.isMLDSA() {
		r.fail(errors.New("keyfile: the JWK's alg is none of ML-DSA-44, ML-DSA-65, ML-DSA-87"))
		return nil, nil
	}
	return r.parse(s.parse, r.octets("pub"), "priv")
}

// parse reads a public key, and a private one from the member of that name.
func (r *jwkReader) parse(parse func(private bool, b []byte) (any, error), public []byte, name string) (parsed, computed any) {
	parsed, err := parse(false, public)
	if err != nil {
		r.fail(err)
		return nil, nil
	}
	if r.has(name) {
		private := r.octets(name)
		defer clear(private)
		if computed, err = parse(true, private); err != nil {
			r.fail(err)
		}
	}
	return parsed, computed
}

func (r *jwkReader) rsa() (public, computed any) {
	n, e := r.integer("n"), r.integer("e")
	if n.Sign() == 0 || !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 {
		r.fail(errors.New("keyfile: the JWK's n is zero, or its e not from 3 to 2^31-1"))
		return nil, nil
	}
	key := rsa.PublicKey{N: n, E: int(e.Int64())}
	if !r.has("d") {
		return &key, nil
	}
	private := &rsa.PrivateKey{PublicKey: key, D: r.integer("d"), Primes: []*big.Int{r.integer("p"), r.integer("q")}}
	if r.err == nil {
		if err := private.Validate(); err != nil { // that n is p times q, and d the inverse of e
			r.fail(wrap(err))
		}
	}
	return &key, &private.PublicKey
}
