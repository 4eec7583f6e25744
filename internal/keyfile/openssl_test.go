package keyfile_test

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/qrand/internal/keyfile"
)

// The algorithms that OpenSSL has known since 1.1.1.
var classical = []string{"ec", "x25519", "ed", "rsa"}

func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("there is no %s here", program)
	}
}

func file(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestOpenSSL: openssl checks each classical private key, finds the same public
// key, opens the encrypted one, and verifies certificates and requests.
func TestOpenSSL(t *testing.T) {
	need(t, "openssl")
	forEach(t, classical, func(t *testing.T, name string, key any) {
		der := must(keyfile.PrivateDER(key))(t)
		pem := keyfile.PEM(keyfile.KindPrivate, der)
		spki := must(keyfile.PublicDER(must(keyfile.Public(key))(t)))(t)
		if out := run(t, pem, "openssl", "pkey", "-check", "-noout"); !strings.Contains(string(out), "Key is valid") {
			t.Errorf("openssl pkey -check: %s", out)
		}
		if out := run(t, pem, "openssl", "pkey", "-pubout", "-outform", "DER"); !bytes.Equal(out, spki) {
			t.Error("another public key from the private one")
		}
		if out := run(t, keyfile.PEM(keyfile.KindPublic, spki), "openssl", "pkey", "-pubin", "-pubout", "-outform", "DER"); !bytes.Equal(out, spki) {
			t.Error("another public key from the public one")
		}
		if hasPrefix(name, encryptedPEM) {
			encrypted := must(keyfile.EncryptedPEM(der, passphrase, rand.Reader))(t)
			pass := "file:" + file(t, "pass", passphrase)
			if out := run(t, encrypted, "openssl", "pkey", "-passin", pass, "-pubout", "-outform", "DER"); !bytes.Equal(out, spki) {
				t.Error("another public key from the encrypted private one")
			}
			parameters := string(run(t, encrypted, "openssl", "asn1parse"))
			for _, want := range []string{"PBES2", "PBKDF2", "INTEGER           :0927C0", "hmacWithSHA256", "aes-256-cbc"} {
				if !strings.Contains(parameters, want) {
					t.Errorf("the encryption has no %s:\n%s", want, parameters)
				}
			}
			// What OpenSSL encrypts by default, and with other ciphers, is read here.
			for _, flags := range [][]string{nil, {"-v2", "aes-128-cbc"}, {"-v2", "aes-192-cbc"}, {"-v2", "aes-256-cbc", "-iter", "9999"}} {
				theirs := run(t, pem, "openssl", append([]string{"pkcs8", "-topk8", "-passout", pass}, flags...)...)
				if f := must(keyfile.Parse(theirs, passphrase))(t); !bytes.Equal(f.SPKI, spki) {
					t.Errorf("another public key from what openssl pkcs8 %v encrypted", flags)
				}
			}
		}
		if !hasPrefix(name, thatSign) {
			return
		}
		certificate := must(keyfile.SelfSigned(key, template, rand.Reader))(t)
		path := file(t, "cert.pem", keyfile.PEM(keyfile.KindCertificate, certificate))
		run(t, nil, "openssl", "verify", "-check_ss_sig", "-x509_strict", "-CAfile", path, path)
		request := must(keyfile.Request(key, requestTemplate, rand.Reader))(t)
		run(t, keyfile.PEM(keyfile.KindRequest, request), "openssl", "req", "-verify", "-noout")
	})
}

// TestOpenSSH: ssh-keygen reads each private key, with and without a passphrase,
// and prints the line that PublicSSH does, comment and all.
func TestOpenSSH(t *testing.T) {
	need(t, "ssh-keygen")
	forEach(t, withSSH, func(t *testing.T, _ string, key any) {
		const comment = "qrand@example.com"
		line := must(keyfile.PublicSSH(must(keyfile.Public(key))(t), comment))(t)
		for _, pass := range []string{"", string(passphrase)} {
			private := must(keyfile.PrivateSSH(key, comment, []byte(pass)))(t)
			out := run(t, nil, "ssh-keygen", "-y", "-P", pass, "-f", file(t, "id", private))
			if !bytes.Equal(out, line) {
				t.Errorf("with the passphrase %q ssh-keygen prints\n%swe\n%s", pass, out, line)
			}
		}
		run(t, line, "ssh-keygen", "-l", "-f", "-")
	})
	for _, comment := range []string{"two\nlines", "a\rreturn", "a\x00"} {
		if _, err := keyfile.PublicSSH(must(keyfile.Public(keyNamed(t, "ed25519")))(t), comment); err == nil {
			t.Errorf("the comment %q was taken", comment)
		}
		if _, err := keyfile.PrivateSSH(keyNamed(t, "ed25519"), comment, nil); err == nil {
			t.Errorf("the comment %q was taken", comment)
		}
	}
}

// TestOpenSSLOlderForms: what openssl writes on request is read: two PEM blocks, the
// forms before PKCS #8, compressed points, an old label.
func TestOpenSSLOlderForms(t *testing.T) {
	need(t, "openssl")
	for _, c := range []string{
		"ecparam -name prime256v1 -genkey", // with EC PARAMETERS
		"ecparam -name secp384r1 -genkey -conv_form compressed",
		"genrsa -traditional 2048",
	} {
		key := run(t, nil, "openssl", strings.Fields(c)...)
		toDER := []string{"pkey", "-pubout", "-outform", "DER"}
		if strings.HasPrefix(c, "ecparam") {
			toDER = append(toDER, "-ec_conv_form", "uncompressed")
		}
		spki := run(t, key, "openssl", toDER...)
		path := file(t, "key", key)
		for _, again := range []string{"", "pkey -traditional -outform DER", "pkcs8 -topk8 -nocrypt", "req -new -newhdr -subj /CN=a -key " + path} {
			data := key
			if again != "" {
				data = run(t, key, "openssl", strings.Fields(again)...)
			}
			if f, err := keyfile.Parse(data, nil); err != nil || !bytes.Equal(f.SPKI, spki) {
				t.Errorf("%s, %s: another key, or %v", c, again, err)
			}
		}
	}
	rsa := run(t, nil, "openssl", "genrsa", "2048")
	old := run(t, rsa, "openssl", "rsa", "-RSAPublicKey_out")
	spki := run(t, rsa, "openssl", "pkey", "-pubout", "-outform", "DER")
	if f, err := keyfile.Parse(old, nil); err != nil || !bytes.Equal(f.SPKI, spki) {
		t.Errorf("-RSAPublicKey_out: another key, or %v", err)
	}
}
