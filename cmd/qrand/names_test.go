package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"example.com/qrand/qrypttest"
)

// TestParseSubject: which subjects a certificate may have. The parts keep their order.
func TestParseSubject(t *testing.T) {
	for text, want := range map[string]string{
		"CN=Root CA,O=Example,C=DE":       "CN=Root CA|O=Example|C=DE",
		" cn = a , ou=x,ou=y":             "CN=a|OU=x|OU=y",
		`CN=Comma\, Inc.\\`:               `CN=Comma, Inc.\`,
		"CN=a=b,serialNumber=7,L=x,ST=y":  "CN=a=b|SERIALNUMBER=7|L=x|ST=y",
		"CN=a+OU=b,O=c":                   "CN=a+OU=b|O=c",
		"OU=b+CN=a":                       "CN=a+OU=b", // a set: DER sorts it
		`CN=a\2Cb\C3\BC\+c`:               "CN=a,bü+c",
		`O=\ spaces\ ,CN=\#1\;\"\<\>\=`:   `O= spaces |CN=#1;"<>=`,
		"CN=" + strings.Repeat("ü", 64):   "CN=" + strings.Repeat("ü", 64),
		"SERIALNUMBER=ABC-1 (2):/=?'+O=x": "O=x+SERIALNUMBER=ABC-1 (2):/=?'",
		"":                                "",
	} {
		der, err := parseSubject(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var name pkix.RDNSequence
		if rest, err := asn1.Unmarshal(der, &name); err != nil || len(rest) > 0 {
			t.Fatal(err)
		}
		var got []string
		for _, rdn := range name {
			var part []string
			for _, one := range rdn {
				for key, a := range attributes {
					if a.id.Equal(one.Type) {
						part = append(part, fmt.Sprint(key, "=", one.Value))
					}
				}
			}
			slices.Sort(part)
			got = append(got, strings.Join(part, "+"))
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%s: %q, want %s", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"Root CA": "write it like", "CN=": "write it like", "CN=a,": "write it like", "CN=C++": `\+ for`, "CN=a+": "write it like", ",": "write it like", "CN= ": "write it like",
		"X=y": "no attribute", "C=Germany": "two letters", "C=ü": "two letters",
		`CN=a\`: "after a backslash", `CN=\x`: "after a backslash", "CN=a\x00b": "control characters", `CN=\FF`: "not UTF-8",
		"CN=a;b": `write \;`, "CN=#04": `write \#`, `CN="a"`: `write \"`,
		"CN=" + strings.Repeat("n", 65): "CN has 65 characters, and may have 64", "O=" + strings.Repeat("n", 65): "may have 64", "L=" + strings.Repeat("n", 129): "may have 128",
		"SERIALNUMBER=ABC_123": "PrintableString", "SERIALNUMBER=a*": "PrintableString", "CN=a+CN=b": "CN twice",
	} {
		if _, err := parseSubject(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestNames: which names a certificate may have, of which kind they are, and how they are
// written in it.
func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"db.example": "DNS", "*.example": "DNS", "localhost": "DNS", "xn--bcher-kva.example": "DNS", "a1": "DNS", "1.example": "DNS",
		"bücher.example": "DNS xn--bcher-kva.example", "*.bücher.example": "DNS *.xn--bcher-kva.example", "Straße.example": "DNS xn--strae-oqa.example",
		"10.0.0.1": "IP", "::1": "IP", "::ffff:10.0.0.1": "IP",
		"me@example.com": "email", "me@bücher.example": "email me@xn--bcher-kva.example", "a+b@example.com": "email",
		"https://example.com/x": "URI", "spiffe://example/db": "URI", "https://[::1]:8443/": "URI", "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6": "URI",
		"https://bücher.example:8443/ü": "URI https://xn--bcher-kva.example:8443/%C3%BC", "mailto:me@example.com": "URI",
		"https://b%C3%BCcher.example/": "URI https://xn--bcher-kva.example/", "https://example.com/a%2Fü?q=ü#ü": "URI https://example.com/a%2F%C3%BC?q=%C3%BC#%C3%BC",
		"urn:example:ü": "URI urn:example:%C3%BC", "spiffe://trust_domain/x": "URI", "aaa://example.com:3868": "URI", "tel:+1-201-555-0123": "URI",

		// RFC 1123 section 2.1: these look like addresses.
		"10.0.0.256": "", "010.0.0.1": "", "127.1": "", "1.2.3": "", "1": "", "0x7f.1": "", "a.0x7f": "", "a.1": "",
		// RFC 3986 section 3, RFC 5280 section 4.2.1.6.
		"x://": "", "https://": "", "https:///path": "", "https://a_b/": "", "https://1.2.3/": "", "urn:": "", "https://%zz/": "", "https://*.example/": "",
		"https:/example.com": "", "https:example.com": "", "urn:#a": "", "https://[fe80::1%25eth0]/": "", "https://[v1.x]/": "", "urn:example:a b": "",
		"https://example.com/a b": "", "https://example.com/?%zz": "", "urn:example:\xff": "", "https://example.com/\u0085": "",
		// SPIFFE-ID sections 2.1 and 2.2.
		"spiffe://td": "URI", "spiffe://1.2.3/a_b/c-D": "URI",
		"spiffe://TD/x": "", "spiffe://td:8443/x": "", "spiffe://me@td/x": "", "spiffe://td/x?y": "", "spiffe://td/x#y": "", "spiffe://td/x/": "", "spiffe://td/": "",
		"spiffe://td/a//b": "", "spiffe://td/a/../b": "", "spiffe://td/.": "", "spiffe://td/%41": "", "spiffe://td/ü": "", "spiffe://td/" + strings.Repeat("a", 2048): "",
		// These have the form of a URI, and are other names that are written wrongly.
		"DNS:db.example": "", "ip:10.0.0.1": "", "email:me@example.com": "", "URI:urn:example:a": "", "otherName:1.2.3;UTF8:a": "",
		"fe80::zz": "", "fe80::1::2": "", "dead:beef": "", "localhost:8080/x": "",
		"jürgen@example.com": "", "@example.com": "", "me@": "", "me@a_b": "", "me@1.2.3": "", "Me <me@example.com>": "", "me@*.example": "",
		"https://a.example/#": "", "https://a!b@a.example/": "",
		"https://a.example:/b": "URI", "https://a.example:8443/b?": "URI",
		"db.example:443": "", "fe80::1%eth0": "",
		"foo!bar#": "", "CN=evil": "", "a..b": "", "-a": "", "a-": "", "a.*": "", "*": "", "": "", "a b": "", "a.": "", strings.Repeat("a.", 130) + "a": "", "a\u200bb.example": "", "-ü.example": "",
	} {
		var cert x509.Certificate
		err := (&certificateOptions{names: []string{name}}).addNames(&cert)
		kind, written := "", ""
		switch {
		case len(cert.DNSNames) > 0:
			kind, written = "DNS", cert.DNSNames[0]
		case len(cert.IPAddresses) > 0:
			kind, written = "IP", name
		case len(cert.EmailAddresses) > 0:
			kind, written = "email", cert.EmailAddresses[0]
		case len(cert.URIs) > 0:
			kind, written = "URI", cert.URIs[0].String()
		}
		if written != name {
			kind += " " + written
		}
		if strings.TrimSpace(kind) != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v, want %q", name, kind, err, want)
		}
	}
}

// TestOpenSSLReadsNames: OpenSSL and Go read the names of a certificate as they were meant, and
// find each of them.
func TestOpenSSLReadsNames(t *testing.T) {
	openssl := tool(t, "openssl")
	serve(t, qrypttest.Config{Rate: -1})
	dir := keygenIn(t, "ecdsa-p256", "-o", "DIR/key", "--self-signed", "--subject", `C=DE,O=b\2C \C3\BC,CN=a+OU=c,SERIALNUMBER=ABC-123`,
		"--san", "*.bücher.example,10.0.0.1,::1,me@bücher.example,https://bücher.example/ü,urn:example:a")
	text := openssl("x509", "-in", dir+"/key.crt", "-noout", "-text", "-nameopt", "RFC2253,show_type")
	for _, want := range []string{
		// RFC 2253 writes the parts from the last to the first, and OpenSSL also what is in them.
		`Subject: serialNumber=PRINTABLESTRING:ABC-123,OU=PRINTABLESTRING:c+CN=PRINTABLESTRING:a,O=UTF8STRING:b\, \C3\BC,C=PRINTABLESTRING:DE`,
		"DNS:*.xn--bcher-kva.example, email:me@xn--bcher-kva.example, IP Address:10.0.0.1, IP Address:0:0:0:0:0:0:0:1, URI:https://xn--bcher-kva.example/%C3%BC, URI:urn:example:a",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	data, err := os.ReadFile(dir + "/key.crt")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	for name, option := range map[string]string{
		"www.xn--bcher-kva.example": "-verify_hostname", "10.0.0.1": "-verify_ip", "::1": "-verify_ip", "me@xn--bcher-kva.example": "-verify_email",
	} {
		if out := openssl("verify", "-x509_strict", "-CAfile", dir+"/key.crt", option, name, dir+"/key.crt"); !strings.HasSuffix(out, ": OK\n") {
			t.Errorf("%s: %s", name, out)
		}
		if option == "-verify_email" {
			continue
		}
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzCertificateNames: what is taken before a block is spent can be written when the key is
// made, and is read as it was written.
func FuzzCertificateNames(f *testing.F) {
	for _, san := range []string{"*.bücher.example", "10.0.0.1", "::1", "me@bücher.example", "https://bücher.example:8443/ü?q=ü#ü", "urn:example:ü", "x:?ü"} {
		f.Add(`CN=a\2C\C3\BC+OU=b,SERIALNUMBER=1`, san)
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	f.Fuzz(func(t *testing.T, subject, san string) {
		o := certificateOptions{csr: true, subject: subject, names: []string{san}, days: defaultDays}
		var taken x509.Certificate
		if o.check(algorithm{use: forSigning}) != nil {
			return
		}
		if err := o.addNames(&taken); err != nil {
			t.Fatal(err)
		}
		der, err := o.make(key, rand.Reader)
		if err != nil {
			t.Fatalf("%q, %q: %v", subject, san, err)
		}
		read, err := x509.ParseCertificateRequest(der)
		if err != nil {
			t.Fatalf("%q, %q: %v", subject, san, err)
		}
		got := fmt.Sprint(read.DNSNames, read.IPAddresses, read.EmailAddresses, read.URIs)
		if want := fmt.Sprint(taken.DNSNames, taken.IPAddresses, taken.EmailAddresses, taken.URIs); got != want {
			t.Errorf("%q: read as %s, want %s", san, got, want)
		}
	})
}
