package keyfile_test

import (
	"bytes"
	"crypto/rand"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/cloudflare/circl/sign"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"example.com/qrand/internal/keyfile"
)

// refused checks that Parse returns an error of the package with want in it.
func refused(t *testing.T, what string, data []byte, want string) {
	t.Helper()
	file, err := keyfile.Parse(data, passphrase)
	if err == nil {
		t.Errorf("%s: read as a %v of %s", what, file.Kind, keyfile.Name(file.Public))
	} else if !strings.HasPrefix(err.Error(), "keyfile: ") || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want %q", what, err, want)
	}
}

// oneAsymmetricKey builds a OneAsymmetricKey (RFC 5958).
func oneAsymmetricKey(t *testing.T, version int64, oid asn1.ObjectIdentifier, parameters, private, rest []byte) []byte {
	t.Helper()
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(version)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oid)
			b.AddBytes(parameters)
		})
		b.AddASN1OctetString(private)
		b.AddBytes(rest)
	})
	return must(b.Bytes())(t)
}

// tlv is one ASN.1 value.
func tlv(tag cbasn1.Tag, parts ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(parts, nil)) })
	return b.BytesOrPanic()
}

// TestPrivateForms: two forms of RFC 9881 are read: the seed, and the seed with its
// expanded key. The expanded key alone is refused, and so are the expanded key of
// another seed and malformed files.
func TestPrivateForms(t *testing.T) {
	key := keyNamed(t, "ml-dsa-44").(sign.PrivateKey)
	spki := must(keyfile.PublicDER(key.Public()))(t)
	public := must(keyfile.PublicRaw(key.Public()))(t)
	seed := must(keyfile.PrivateRaw(key))(t)
	expanded := must(key.MarshalBinary())(t)
	other := bytes.Clone(expanded)
	other[len(other)-1] ^= 1
	otherHash := bytes.Clone(expanded)
	otherHash[100] ^= 1
	oid := asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 17}
	const seedTag = cbasn1.Tag(0x80)
	seedForm := tlv(seedTag, seed)
	octets := func(b []byte) []byte { return tlv(cbasn1.OCTET_STRING, b) }
	attributes := tlv(0xa0, tlv(cbasn1.SEQUENCE))
	copied := func(b []byte) []byte { return tlv(0x81, []byte{0}, b) }

	for what, der := range map[string][]byte{
		"seed":                       oneAsymmetricKey(t, 0, oid, nil, seedForm, nil),
		"both":                       oneAsymmetricKey(t, 0, oid, nil, tlv(cbasn1.SEQUENCE, octets(seed), octets(expanded)), nil),
		"expanded":                   oneAsymmetricKey(t, 0, oid, nil, octets(expanded), nil),
		"attributes, the public key": oneAsymmetricKey(t, 1, oid, nil, seedForm, append(attributes, copied(public)...)),
	} {
		file, err := keyfile.Parse(der, nil)
		if err != nil || file.Kind != keyfile.KindPrivate || !bytes.Equal(file.SPKI, spki) {
			t.Errorf("%s: %v", what, err)
		}
	}
	const malformed = "malformed PKCS #8"
	for _, c := range []struct {
		what string
		der  []byte
		want string
	}{
		{"expanded, with another hash", oneAsymmetricKey(t, 0, oid, nil, octets(otherHash), nil), "hash of another public key"},
		{"expanded, too short", oneAsymmetricKey(t, 0, oid, nil, octets(expanded[1:]), nil), "2559 bytes, want 2560"},
		{"a nested seed", oneAsymmetricKey(t, 0, oid, nil, octets(seed), nil), "an OCTET STRING within the OCTET STRING"},
		{"both, that differ", oneAsymmetricKey(t, 0, oid, nil, tlv(cbasn1.SEQUENCE, octets(seed), octets(other)), nil), "do not belong together"},
		{"both, and more", oneAsymmetricKey(t, 0, oid, nil, tlv(cbasn1.SEQUENCE, octets(seed), octets(expanded), octets(nil)), nil), malformed},
		{"a short seed", oneAsymmetricKey(t, 0, oid, nil, tlv(seedTag, seed[1:]), nil), "31 bytes"},
		{"a bare seed", oneAsymmetricKey(t, 0, oid, nil, seed, nil), malformed + " private key: ml-dsa-44: it has the bare bytes"},
		{"bare and expanded", oneAsymmetricKey(t, 0, oid, nil, expanded, nil), "it has the bare bytes"},
		{"bare, of another size", oneAsymmetricKey(t, 0, oid, nil, seed[1:], nil), malformed},
		{"more after the seed", oneAsymmetricKey(t, 0, oid, nil, append(seedForm, 0), nil), malformed},
		{"parameters", oneAsymmetricKey(t, 0, oid, []byte{5, 0}, seedForm, nil), "has parameters"},
		{"version 2", oneAsymmetricKey(t, 2, oid, nil, seedForm, nil), malformed},
		{"a version of 9 bytes", tlv(cbasn1.SEQUENCE, tlv(cbasn1.INTEGER, make([]byte, 9))), malformed},
		{"another public key", oneAsymmetricKey(t, 1, oid, nil, seedForm, copied(public[1:])), "does not belong to the private key"},
		{"more at the end", oneAsymmetricKey(t, 1, oid, nil, seedForm, append(copied(public), 5, 0)), malformed},
		{"another algorithm", oneAsymmetricKey(t, 0, asn1.ObjectIdentifier{1, 2, 3}, nil, seedForm, nil), "unknown algorithm"},
		{"17 kB", oneAsymmetricKey(t, 0, oid, nil, seedForm, tlv(0xa0, make([]byte, 17000))), "at most"},
		{"more after it", append(oneAsymmetricKey(t, 0, oid, nil, seedForm, nil), 0), "not a key"},
		{"more after it, in PEM", keyfile.PEM(keyfile.KindPrivate, append(oneAsymmetricKey(t, 0, oid, nil, seedForm, nil), 0)), malformed},
		{"no end", oneAsymmetricKey(t, 0, oid, nil, seedForm, nil)[:20], "not a key"},
	} {
		refused(t, c.what, c.der, c.want)
	}

	// The root in an SLH-DSA private key is a copy from the public key.
	slh := must(keyfile.PrivateDER(keyNamed(t, "slh-dsa-sha2-128f")))(t)
	slh[len(slh)-1] ^= 1
	refused(t, "SLH-DSA with another root", slh, "does not belong to the private key")
	// A seed of 32 bytes is right for X-Wing, but too short for ML-KEM.
	refused(t, "a seed for another algorithm", oneAsymmetricKey(t, 0, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 2}, nil, seedForm, nil), "want 64")
	// The coefficients of an ML-KEM public key are below 3329 (FIPS 203 section 7.2).
	kem := must(keyfile.PublicDER(must(keyfile.Public(keyNamed(t, "ml-kem-768")))(t)))(t)
	copy(kem[len(kem)-1184:], []byte{0xff, 0xff, 0xff})
	refused(t, "ML-KEM with a coefficient of 4095", kem, "ml-kem-768")
	// For Ed25519, the format of OpenSSH has two more copies of the public key.
	ssh, _ := pem.Decode(must(keyfile.PrivateSSH(keyNamed(t, "ed25519"), "", nil))(t))
	raw := must(keyfile.PublicRaw(must(keyfile.Public(keyNamed(t, "ed25519")))(t)))(t)
	last := bytes.LastIndex(ssh.Bytes, raw)
	ssh.Bytes[last] ^= 1
	refused(t, "OpenSSH Ed25519 with another public half", pem.EncodeToMemory(ssh), "does not belong to the private key")
}

// TestFiles: which files are read, and which are refused.
func TestFiles(t *testing.T) {
	key := keyNamed(t, "ed25519")
	spki := must(keyfile.PublicDER(must(keyfile.Public(key))(t)))(t)
	private := keyfile.PEM(keyfile.KindPrivate, must(keyfile.PrivateDER(key))(t))
	public := keyfile.PEM(keyfile.KindPublic, spki)
	certificate := keyfile.PEM(keyfile.KindCertificate, must(keyfile.SelfSigned(key, template, rand.Reader))(t))
	line := must(keyfile.PublicSSH(must(keyfile.Public(key))(t), "a comment"))(t)
	dsaOID, small := []byte{0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1}, []byte{2, 1, 7} // 1.2.840.10040.4.1
	mlDSA44 := []byte{0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 17}                    // 2.16.840.1.101.3.4.3.17
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	text := func(s string) []byte { return append([]byte{0, 0, 0, byte(len(s))}, s...) } // RFC 4251 section 5
	sk := join(text("sk-ssh-ed25519@openssh.com"), text(string(make([]byte, 32))), text("ssh:"))

	for what, data := range map[string][]byte{
		"text before and after": join([]byte("0: a key\n\n"), public, []byte("\nthat was it\n")),
		"CRLF":                  bytes.ReplaceAll(private, []byte("\n"), []byte("\r\n")),
		"a chain":               join(certificate, keyfile.PEM(keyfile.KindCertificate, []byte("not looked at"))),
		"space around a line":   join([]byte("\n\n"), line, []byte("\n")),
	} {
		if file, err := keyfile.Parse(data, nil); err != nil || !bytes.Equal(file.SPKI, spki) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, c := range []struct {
		what string
		data []byte
		want string
	}{
		{"nothing", nil, "not a key"},
		{"text", []byte("hello"), "not a key"},
		{"too much", make([]byte, keyfile.MaxSize+1), "more than"},
		{"a private and a public key", join(private, public), "more than one key"},
		{"two private keys", join(private, private), "more than one key"},
		{"a certificate and a private key", join(certificate, private), "more than one key"},
		{"PKCS #12", tlv(cbasn1.SEQUENCE, []byte{2, 1, 3}, tlv(cbasn1.SEQUENCE, dsaOID), tlv(cbasn1.SEQUENCE)), "PKCS #12 is not read"},
		{"two lines", join(line, line), "more than one SSH"},
		{"half a PEM", private[:60], "malformed PEM"},
		{"another PEM", pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{1}}), `"EC PARAMETERS" is not read`},
		{"a public key said to be a certificate", keyfile.PEM(keyfile.KindCertificate, spki), "x509"},
		{"a certificate said to be a private key", bytes.ReplaceAll(certificate, []byte("CERTIFICATE"), []byte("PRIVATE KEY")), "malformed"},
		{"a DSA key", tlv(cbasn1.SEQUENCE, tlv(cbasn1.SEQUENCE, dsaOID, tlv(cbasn1.SEQUENCE, small, small, small)), tlv(cbasn1.BIT_STRING, []byte{0}, small)), "*dsa.PublicKey"},
		{"an SSH key of another type", []byte("ssh-dss AAAAB3NzaC1kc3M="), "ssh"},
		{"no public key", keyfile.PEM(keyfile.KindPublic, []byte{5, 0}), "malformed"},
		{"a public key without an algorithm", keyfile.PEM(keyfile.KindPublic, tlv(cbasn1.SEQUENCE, tlv(cbasn1.SEQUENCE, small), tlv(cbasn1.BIT_STRING, []byte{0}, small))), "malformed"},
		{"ML-DSA with parameters", keyfile.PEM(keyfile.KindPublic, tlv(cbasn1.SEQUENCE, tlv(cbasn1.SEQUENCE, mlDSA44, []byte{5, 0}), tlv(cbasn1.BIT_STRING, []byte{0}, small))), "must have none"},
		{"no encrypted private key", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{0x30, 0}}), "malformed"},
		{"a security key of OpenSSH", []byte("sk-ssh-ed25519@openssh.com " + base64.StdEncoding.EncodeToString(sk)), "of type sk-ssh-ed25519"},
	} {
		refused(t, c.what, c.data, c.want)
	}
}

// TestJWKs: for each type, members are refused that are missing, too short, not
// base64url, or from another key.
func TestJWKs(t *testing.T) {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for _, name := range []string{"ecdsa-p256", "ecdh-p521", "x25519", "ed25519", "ed448", "rsa-2048", "ml-dsa-65"} {
		jwk := must(keyfile.PrivateJWK(keyNamed(t, name)))(t)
		var members map[string]string
		if err := json.Unmarshal(jwk, &members); err != nil {
			t.Fatal(err)
		}
		for member, value := range members {
			if bytes.Count(jwk, []byte(`"`+value+`"`)) != 1 {
				t.Errorf("%s: the value of %s is there more than once", name, member)
			}
			change := func(to any) []byte {
				changed := map[string]any{}
				for k, v := range members {
					changed[k] = v
				}
				if changed[member] = to; to == nil {
					delete(changed, member)
				}
				return must(json.Marshal(changed))(t)
			}
			switch member {
			case "kid", "use", "dp", "dq", "qi": // not looked at
				continue
			case "alg":
				if name != "ml-dsa-65" {
					continue
				}
			case "d", "priv": // without it the key is a public one
			default:
				refused(t, name+" without "+member, change(nil), "keyfile: ")
			}
			for _, to := range []any{7, "", value + "=", value[:len(value)-2], value + "AA", "$", []string{value}} {
				refused(t, name+", another "+member, change(to), "keyfile: ")
			}
			if len(value) > 20 { // bytes, not a word
				b := must(base64.RawURLEncoding.DecodeString(value))(t)
				b[len(b)/2] ^= 1
				refused(t, name+", another "+member, change(base64.RawURLEncoding.EncodeToString(b)), "keyfile: ")
				if last := value[len(value)-1]; len(b)%3 != 0 { // some of its bits are none of a byte's
					refused(t, name+", loose bits in "+member, change(value[:len(value)-1]+string(digits[strings.IndexByte(digits, last)+1])), "base64url")
				}
			}
		}
	}
	// If the lengths of x and y were not checked one by one, it would be the same point.
	point := must(keyfile.PublicRaw(must(keyfile.Public(keyNamed(t, "ecdsa-p256")))(t)))(t)
	encode := base64.RawURLEncoding.EncodeToString
	refused(t, "x of 31 bytes and y of 33", []byte(`{"kty":"EC","crv":"P-256","x":"`+encode(point[1:32])+`","y":"`+encode(point[32:])+`"}`), "32 bytes")
	huge := `{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("_", 20000) + `"}`
	refused(t, "a huge modulus", []byte(huge), "at most")
	for what, jwk := range map[string]string{
		"P-224":       `{"kty":"EC","crv":"P-224","x":"AA","y":"AA"}`,
		"ML-KEM":      `{"kty":"AKP","alg":"ML-KEM-768","pub":"AA"}`,
		"a symmetric": `{"kty":"oct","k":"AA"}`,
		"a set":       `{"keys":[]}`,
		"e of one":    `{"kty":"RSA","n":"-w","e":"AQ"}`,
		"n of zero":   `{"kty":"RSA","n":"","e":"AQAB"}`,
		"not JSON":    `{"kty":"OKP","d":"secret`,
	} {
		refused(t, what, []byte(jwk), "keyfile: ")
	}
}

// TestJWKMembers: each type of key has the members that its RFC names (RFC 7518
// sections 6.2 and 6.3, RFC 8037 section 2, RFC 9964 section 3). It has alg if the key
// is for one algorithm (RFC 7518 section 3.4, RFC 9964 section 4). A public key has no
// secret member.
func TestJWKMembers(t *testing.T) {
	for name, want := range map[string]string{
		"ecdsa-p256": `crv="P-256" kty="EC" use="sig" alg="ES256" kid x y | d`,
		"ecdsa-p384": `crv="P-384" kty="EC" use="sig" alg="ES384" kid x y | d`,
		"ecdsa-p521": `crv="P-521" kty="EC" use="sig" alg="ES512" kid x y | d`,
		"ecdh-p384":  `crv="P-384" kty="EC" use="enc" kid x y | d`,
		"x25519":     `crv="X25519" kty="OKP" use="enc" kid x | d`,
		"ed25519":    `crv="Ed25519" kty="OKP" use="sig" kid x | d`,
		"ed448":      `crv="Ed448" kty="OKP" use="sig" kid x | d`,
		"rsa-2048":   `kty="RSA" kid n e | d p q dp dq qi`,
		"ml-dsa-44":  `kty="AKP" alg="ML-DSA-44" use="sig" kid pub | priv`,
		"ml-dsa-65":  `kty="AKP" alg="ML-DSA-65" use="sig" kid pub | priv`,
		"ml-dsa-87":  `kty="AKP" alg="ML-DSA-87" use="sig" kid pub | priv`,
	} {
		key := keyNamed(t, name)
		inPublic, inPrivate, _ := strings.Cut(want, " | ")
		for _, c := range []struct {
			jwk  []byte
			want string
		}{
			{must(keyfile.PublicJWK(must(keyfile.Public(key))(t)))(t), inPublic},
			{must(keyfile.PrivateJWK(key))(t), inPublic + " " + inPrivate},
		} {
			var members map[string]string
			if err := json.Unmarshal(c.jwk, &members); err != nil {
				t.Fatal(err)
			}
			fields := strings.Fields(c.want)
			for _, field := range fields {
				member, value, fixed := strings.Cut(field, "=")
				if got := members[member]; got == "" || fixed && value != `"`+got+`"` {
					t.Errorf("%s: %s is %q", name, field, got)
				}
			}
			if len(members) != len(fields) {
				t.Errorf("%s: %d members, want %d", name, len(members), len(fields))
			}
		}
	}
}
