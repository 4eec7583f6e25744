package keyfile

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/cloudflare/circl/sign/ed448"
)

// A member of a JWK. Its value is base64url or a plain word, so it needs no
// escaping, and a secret one stays in bytes that can be wiped.
type member struct {
	name  string
	value []byte
}

func word(name, value string) member { return member{name, []byte(value)} }

func octets(name string, value []byte) member {
	return member{name, base64.RawURLEncoding.AppendEncode(nil, value)}
}

// secret is octets of a value that is wiped.
func secret(name string, value []byte) member {
	defer clear(value)
	return octets(name, value)
}

// encode writes a JSON object into one buffer that does not grow.
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
// 7638). It has "use" where the key has one, and "alg" where one algorithm only
// goes with it.
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
	var required, more []member // required: what the thumbprint is of
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

// errNoJWK is said of P-224, and of ML-KEM, SLH-DSA and X-Wing, for which there
// are drafts.
func errNoJWK(key any) error {
	return fmt.Errorf("keyfile: no JWK form is standardised for %s: use pem or der", Name(key))
}

// thumbprint is RFC 7638's, with SHA-256: of the required members in the order of
// their names.
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
