package keyfile_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"os/exec"
	"testing"

	"github.com/cloudflare/circl/kem/mlkem/mlkem768"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ssh"

	"example.com/qrand/internal/keyfile"
)

// TestOtherWriters: files in formats that this package does not write, and others do.
func TestOtherWriters(t *testing.T) {
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	sec1, pkcs1 := must(x509.MarshalECPrivateKey(ec))(t), x509.MarshalPKCS1PrivateKey(rsaKey)
	pkcs1Public := x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)
	block := func(name string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: name, Bytes: der}) }
	request := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, ec))(t)
	curve := must(asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}))(t)
	for what, test := range map[string]struct {
		data   []byte
		kind   keyfile.Kind
		public any
	}{
		"SEC 1":                        {sec1, keyfile.KindPrivate, &ec.PublicKey},
		"SEC 1 in PEM":                 {block("EC PRIVATE KEY", sec1), keyfile.KindPrivate, &ec.PublicKey},
		"openssl ecparam -genkey":      {append(block("EC PARAMETERS", curve), block("EC PRIVATE KEY", sec1)...), keyfile.KindPrivate, &ec.PublicKey},
		"PKCS #1":                      {pkcs1, keyfile.KindPrivate, &rsaKey.PublicKey},
		"PKCS #1 in PEM":               {block("RSA PRIVATE KEY", pkcs1), keyfile.KindPrivate, &rsaKey.PublicKey},
		"a public key in PKCS #1":      {pkcs1Public, keyfile.KindPublic, &rsaKey.PublicKey},
		"the same in PEM":              {block("RSA PUBLIC KEY", pkcs1Public), keyfile.KindPublic, &rsaKey.PublicKey},
		"a request of Netscape's name": {block("NEW CERTIFICATE REQUEST", request), keyfile.KindRequest, &ec.PublicKey},
		"a BOM before PEM":             {append([]byte("\ufeff"), block("RSA PRIVATE KEY", pkcs1)...), keyfile.KindPrivate, &rsaKey.PublicKey},
	} {
		file, err := keyfile.Parse(test.data, nil)
		if err != nil || file.Kind != test.kind || !bytes.Equal(file.SPKI, must(keyfile.PublicDER(test.public))(t)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, test := range map[string]struct {
		data []byte
		want string
	}{
		"UTF-16":                          {[]byte{0xff, 0xfe, '-', 0}, "UTF-16"},
		"encrypted by RFC 1423":           {pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: make([]byte, 32)}), "RFC 1423"},
		"parameters alone":                {block("EC PARAMETERS", curve), "is not read"},
		"SEC 1, cut":                      {sec1[:len(sec1)-1], "not a key"},
		"a public key said to be private": {block("RSA PRIVATE KEY", pkcs1Public), "has a public key in it"},
		"a request said to be a key":      {block("EC PRIVATE KEY", request), "has a certificate request in it"},
		"two keys":                        {append(block("EC PRIVATE KEY", sec1), block("EC PRIVATE KEY", sec1)...), "more than one"},
	} {
		refused(t, what, test.data, test.want)
	}
}

// TestExpandedMLKEM: an expanded private key of ML-KEM has its public key in it (FIPS 203
// section 7.1).
func TestExpandedMLKEM(t *testing.T) {
	key := must(mlkem.GenerateKey768())(t)
	_, private := mlkem768.NewKeyFromSeed(key.Bytes())
	expanded := must(private.MarshalBinary())(t)
	oid := asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 2}
	file, err := keyfile.Parse(oneAsymmetricKey(t, 0, oid, nil, must(asn1.Marshal(expanded))(t), nil), nil)
	if err != nil || !bytes.Equal(file.SPKI, must(keyfile.PublicDER(key.EncapsulationKey()))(t)) {
		t.Errorf("%v", err)
	}
	for _, at := range []int{1152, 2300, len(expanded) - 64} { // in ek, at its end, in its hash
		bad := bytes.Clone(expanded)
		bad[at] ^= 1
		refused(t, "changed", oneAsymmetricKey(t, 0, oid, nil, must(asn1.Marshal(bad))(t), nil), "hash of another public key")
	}
	// The decryption key of one pair, and all else of another.
	_, other := mlkem768.NewKeyFromSeed(make([]byte, mlkem768.KeySeedSize))
	mixed := append(bytes.Clone(expanded[:1152]), must(other.MarshalBinary())(t)[1152:]...)
	refused(t, "two pairs", oneAsymmetricKey(t, 0, oid, nil, must(asn1.Marshal(mixed))(t), nil), "does not belong to the private key")
}

// TestECPrivateKey: the public key in an ECPrivateKey (RFC 5915 section 3) may be
// uncompressed, compressed, hybrid or absent, but not another one.
func TestECPrivateKey(t *testing.T) {
	key := keyNamed(t, "ecdsa-p256").(*ecdsa.PrivateKey)
	point := must(keyfile.PublicRaw(&key.PublicKey))(t)
	sec1 := must(x509.MarshalECPrivateKey(key))(t)
	front := sec1[2 : len(sec1)-len(point)-5]
	with := func(form byte, rest []byte) []byte {
		return tlv(cbasn1.SEQUENCE, front, tlv(0xa1, tlv(cbasn1.BIT_STRING, []byte{0, form}, rest)))
	}
	odd := point[len(point)-1] & 1
	other := bytes.Clone(point)
	other[40] ^= 1
	curve := []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}
	pkcs8 := func(sec1 []byte) []byte {
		return oneAsymmetricKey(t, 0, asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}, curve, sec1, nil)
	}
	spki := must(keyfile.PublicDER(&key.PublicKey))(t)
	secp256k1 := tlv(0xa0, []byte{6, 5, 0x2b, 0x81, 4, 0, 10}) // OpenSSL reads the key as one of that curve
	refused(t, "another curve in PKCS #8", pkcs8(tlv(cbasn1.SEQUENCE, sec1[2:39], secp256k1)), "two curves")
	refused(t, "no curve", tlv(cbasn1.SEQUENCE, sec1[2:39]), "unknown elliptic curve")
	if f, err := keyfile.Parse(pkcs8(tlv(cbasn1.SEQUENCE, sec1[2:39])), nil); err != nil || !bytes.Equal(f.SPKI, spki) {
		t.Errorf("no curve in PKCS #8: another key, or %v", err)
	}
	for what, der := range map[string][]byte{
		"uncompressed": with(4, point[1:]),
		"compressed":   with(2|odd, point[1:33]),
		"hybrid":       with(6|odd, point[1:]),
		"absent":       tlv(cbasn1.SEQUENCE, front),
	} {
		for _, data := range [][]byte{der, pkcs8(der)} {
			if f, err := keyfile.Parse(data, nil); err != nil || f.Kind != keyfile.KindPrivate || !bytes.Equal(f.SPKI, spki) {
				t.Errorf("%s: another key, or %v", what, err)
			}
		}
	}
	for _, c := range []struct {
		what string
		der  []byte
		want string
	}{
		{"another point", with(4, other[1:]), "does not belong to the private key"},
		{"another compressed point", with(3^odd, point[1:33]), "does not belong to the private key"},
		{"no BIT STRING", tlv(cbasn1.SEQUENCE, front, tlv(0xa1)), "EC private key"},
		{"more after it", tlv(cbasn1.SEQUENCE, sec1[2:], []byte{5, 0}), "malformed"},
	} {
		refused(t, c.what, c.der, c.want)
		refused(t, c.what+" in PKCS #8", pkcs8(c.der), c.want)
	}
}

// TestKeyLength: PBKDF2's parameters may say how long the key is (RFC 8018 appendix A.2), as
// Java writes it. OpenSSL is the witness that such a file is right.
func TestKeyLength(t *testing.T) {
	type withLength struct {
		Algorithm struct {
			OID    asn1.ObjectIdentifier
			Params struct {
				KDF struct {
					OID    asn1.ObjectIdentifier
					Params struct {
						Salt       []byte
						Iterations int64
						KeyLength  int `asn1:"optional"`
						PRF        asn1.RawValue
					}
				}
				Cipher asn1.RawValue
			}
		}
		Ciphertext []byte
	}
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	pkcs8 := must(keyfile.PrivateDER(ec))(t)
	block, _ := pem.Decode(must(keyfile.EncryptedPEM(pkcs8, passphrase, rand.Reader))(t))
	for _, length := range []int{32, 16, 31, -32} {
		var info withLength
		if _, err := asn1.Unmarshal(block.Bytes, &info); err != nil {
			t.Fatal(err)
		}
		info.Algorithm.Params.KDF.Params.KeyLength = length
		der := must(asn1.Marshal(info))(t)
		file, err := keyfile.Parse(der, passphrase)
		if length != 32 {
			if err == nil || file != nil {
				t.Errorf("a key of %d bytes for AES-256: %v", length, err)
			}
			continue
		}
		if err != nil || !bytes.Equal(file.SPKI, must(keyfile.PublicDER(&ec.PublicKey))(t)) {
			t.Errorf("%v", err)
		}
		if openssl, err := exec.LookPath("openssl"); err == nil {
			cmd := exec.Command(openssl, "pkey", "-inform", "DER", "-passin", "pass:"+string(passphrase), "-noout")
			cmd.Stdin = bytes.NewReader(der)
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("openssl: %v, %s", err, text)
			}
		}
	}
}

// TestPublicKeyOfOpenSSH: a private key of OpenSSH has a public key before it that is not
// encrypted, and that must be the private key's. ssh-keygen is the witness that it is refused.
func TestPublicKeyOfOpenSSH(t *testing.T) {
	ed, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]any{
		"ed25519":    ed,
		"ecdsa-p256": must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t).Public(),
		"ecdsa-p521": must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))(t).Public(),
		"rsa-2048":   must(rsa.GenerateKey(rand.Reader, 2048))(t).Public(),
	} {
		for _, secret := range [][]byte{nil, passphrase} {
			key := keyNamed(t, name)
			spki := must(keyfile.PublicDER(must(keyfile.Public(key))(t)))(t)
			right := must(keyfile.PrivateSSH(key, "a comment", secret))(t)
			if f, err := keyfile.Parse(right, passphrase); err != nil || !bytes.Equal(f.SPKI, spki) {
				t.Errorf("%s: another key, or %v", name, err)
			}
			block, _ := pem.Decode(right)
			const magic = "openssh-key-v1\x00"
			var content struct {
				Cipher, KDF, Options string
				Keys                 uint32
				Public               []byte
				Rest                 []byte `ssh:"rest"`
			}
			if err := ssh.Unmarshal(bytes.TrimPrefix(block.Bytes, []byte(magic)), &content); err != nil {
				t.Fatal(err)
			}
			content.Public = must(ssh.NewPublicKey(other))(t).Marshal()
			block.Bytes = append([]byte(magic), ssh.Marshal(content)...)
			wrong := pem.EncodeToMemory(block)
			refused(t, name+" with another public key", wrong, "does not belong to the private key")
			if keygen, err := exec.LookPath("ssh-keygen"); err == nil && exec.Command(keygen, "-y", "-P", string(secret), "-f", file(t, "id", wrong)).Run() == nil {
				t.Errorf("%s: ssh-keygen reads it", name)
			}
		}
	}
}
