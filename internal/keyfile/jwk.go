package keyfile

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/cloudflare/circl/sign/ed448"
)

// A member of a JWK. JWKs are written by hand, because encoding/json would leave
// copies of secrets that cannot be wiped. A value is base64url or a plain word, so it
// needs no escaping.
type member struct {
	name  string
	value []byte
}

func word(name, value string) member { return member{name, []byte(value)} }

func octets(name string, value []byte) member {
	return member{name, base64.RawURLEncoding.AppendEncode(nil, value)}
}

// secret makes a member like octets, and wipes the value.
func secret(name string, value []byte) member {
	defer clear(value)
	return octets(name, value)
}

// encode writes a JSON object into a buffer that does not grow.
func encode(members []member) []byte {
	size := 2
	for _, m := range members {
		size += len(m.name) + len(m.value) + len(`"":"",`)
	}
	b := append(make([]byte, 0, size), '{')
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, m.name...)
		b = append(b, `":"`...)
		b = append(b, m.value...)
		b = append(b, '"')
	}
	return append(b, '}')
}

// PublicJWK is a public key as a JSON Web Key (RFC 7517): EC and RSA (RFC 7518),
// OKP (RFC 8037) and, for ML-DSA, AKP (RFC 9964). Its kid is its thumbprint (RFC
// 7638). It has "use" if the key has one, and "alg" if the key is for one algorithm
// only.
func PublicJWK(public any) ([]byte, error) {
	members, err := publicMembers(public)
	if err != nil {
		return nil, err
	}
	return encode(members), nil
}

// PrivateJWK is PublicJWK with the private part.
func PrivateJWK(key any) ([]byte, error) {
	public, err := Public(key)
	if err != nil {
		return nil, err
	}
	members, err := publicMembers(public)
	if err != nil {
		return nil, err
	}
	private, err := privateMembers(key)
	if err != nil {
		return nil, err
	}
	jwk := encode(append(members, private...))
	for _, m := range private {
		clear(m.value)
	}
	return jwk, nil
}

func publicMembers(public any) ([]member, error) {
	var required, more []member // the thumbprint is computed over required
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		alg := map[string]string{"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[k.Params().Name]
		if alg == "" { // RFC 7518 section 6.2.1.1 has no P-224
			return nil, errNoJWK(public)
		}
		point, err := k.Bytes()
		if err != nil {
			return nil, wrap(err)
		}
		required, more = ecMembers(k.Params().Name, point), []member{word("use", "sig"), word("alg", alg)}
	case *ecdh.PublicKey:
		if k.Curve() == ecdh.X25519() {
			required = okpMembers("X25519", k.Bytes())
		} else {
			required = ecMembers(fmt.Sprint(k.Curve()), k.Bytes())
		}
		more = []member{word("use", "enc")}
	case ed25519.PublicKey: // alg is EdDSA, or Ed25519 since RFC 9864
		required, more = okpMembers("Ed25519", k), []member{word("use", "sig")}
	case ed448.PublicKey:
		required, more = okpMembers("Ed448", k), []member{word("use", "sig")}
	case *rsa.PublicKey:
		e := big.NewInt(int64(k.E)).Bytes()
		required = []member{word("kty", "RSA"), octets("n", k.N.Bytes()), octets("e", e)}
	default:
		s, b, err := publicBytes(public)
		if err != nil {
			return nil, err
		}
		if s == nil {
			return nil, errType(public)
		}
		if !s.isMLDSA() {
			return nil, errNoJWK(public)
		}
		required = []member{word("kty", "AKP"), word("alg", strings.ToUpper(s.name)), octets("pub", b)}
		more = []member{word("use", "sig")}
	}
	return slices.Concat(required, []member{word("kid", thumbprint(required))}, more), nil
}

func ecMembers(curve string, point []byte) []member {
	half := len(point) / 2 // after the byte 4, which says that both coordinates follow
	return []member{word("kty", "EC"), word("crv", curve), octets("x", point[1:1+half]), octets("y", point[1+half:])}
}

func okpMembers(curve string, x []byte) []member {
	return []member{word("kty", "OKP"), word("crv", curve), octets("x", x)}
}

func (s *scheme) isMLDSA() bool { return strings.HasPrefix(s.name, "ml-dsa-") }

// errNoJWK is the error for P-224, and for ML-KEM, SLH-DSA and X-Wing, for which there
// are only drafts.
func errNoJWK(key any) error {
	return fmt.Errorf("keyfile: no JWK form is standardised for %s: use pem or der", Name(key))
}

// thumbprint is that of RFC 7638, with SHA-256, over the required members in the order
// of their names.
func thumbprint(required []member) string {
	sorted := slices.SortedFunc(slices.Values(required), func(a, b member) int { return strings.Compare(a.name, b.name) })
	sum := sha256.Sum256(encode(sorted))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func privateMembers(key any) ([]member, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if len(k.Primes) != 2 || k.Precomputed.Dp == nil {
			return nil, fmt.Errorf("keyfile: an RSA key of %d primes, or without its CRT values", len(k.Primes))
		}
		return []member{
			secret("d", k.D.Bytes()), secret("p", k.Primes[0].Bytes()), secret("q", k.Primes[1].Bytes()),
			secret("dp", k.Precomputed.Dp.Bytes()), secret("dq", k.Precomputed.Dq.Bytes()), secret("qi", k.Precomputed.Qinv.Bytes()),
		}, nil
	}
	private, err := PrivateRaw(key)
	if err != nil {
		return nil, err
	}
	if s := schemeOf(key); s != nil && s.isMLDSA() {
		return []member{secret("priv", private)}, nil
	}
	return []member{secret("d", private)}, nil
}

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

// maxRSA is the longest RSA modulus that is read, in bits. OpenSSL has the same limit.
const maxRSA = 16384

func (r *jwkReader) integer(name string) *big.Int {
	b := r.octets(name)
	if len(b) > maxRSA/8 {
		r.fail(fmt.Errorf("keyfile: %q of the JWK has %d bytes: at most %d are read", name, len(b), maxRSA/8))
		return new(big.Int)
	}
	return new(big.Int).SetBytes(b)
}

// parseJWK reads a JSON Web Key. For a private key it computes the public one.
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

// Each of the next functions returns the public key in the JWK, and the one computed
// from the private part, if there is one.

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

// parse reads a public key, and a private one from the named member.
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
		r.fail(errors.New("keyfile: the JWK's n is zero, or its e is not from 3 to 2^31-1"))
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
