// Spire-upstream-ca tries a key and a certificate as a SPIRE server does that has them in
// UpstreamAuthority "disk": it signs a CA of SPIRE's with them, and with that an X509-SVID.
// Then go-spiffe verifies the SVID as a workload does. SPIRE itself is no dependency, because
// it is the size of a server.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: spire-upstream-ca KEY CERTIFICATE SPIFFE-ID")
		os.Exit(2)
	}
	if err := try(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "spire-upstream-ca:", err)
		os.Exit(1)
	}
	fmt.Println(os.Args[3], "verified")
}

func try(keyFile, certFile, name string) error {
	id, err := spiffeid.FromString(name)
	if err != nil {
		return err
	}
	domain := id.TrustDomain()

	// The checks of the plugin: one certificate, of this ECDSA or RSA key, that verifies itself.
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return err
	}
	switch pair.PrivateKey.(type) {
	case *ecdsa.PrivateKey, *rsa.PrivateKey:
	default:
		return fmt.Errorf("SPIRE does not take a %T", pair.PrivateKey)
	}
	root := pair.Leaf
	roots := x509.NewCertPool()
	roots.AddCert(root)
	if len(pair.Certificate) != 1 {
		return errors.New("the file has more than one certificate")
	}
	if _, err := root.Verify(x509.VerifyOptions{Roots: roots}); err != nil {
		return err
	}
	// X509-SVID, sections 2 and 4: a certificate that signs has an ID without a path, if any.
	switch {
	case !root.IsCA || root.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("the certificate is not one of a CA")
	case len(root.URIs) > 1 || len(root.URIs) == 1 && root.URIs[0].String() != domain.IDString():
		return fmt.Errorf("its URIs are %v, and not %v alone", root.URIs, domain.IDString())
	}

	ca := &x509.Certificate{
		URIs: []*url.URL{domain.ID().URL()}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	caKey, err := sign(ca, root, pair.PrivateKey)
	if err != nil {
		return err
	}
	leaf := &x509.Certificate{URIs: []*url.URL{id.URL()}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	if _, err := sign(leaf, ca, caKey); err != nil {
		return err
	}
	bundle := x509bundle.FromX509Authorities(domain, []*x509.Certificate{root})
	got, _, err := x509svid.ParseAndVerify([][]byte{leaf.Raw, ca.Raw}, bundle)
	if err == nil && got != id {
		err = fmt.Errorf("the SVID is of %v", got)
	}
	return err
}

// sign makes a key and its certificate, which takes the place of the template.
func sign(template, issuer *x509.Certificate, issuerKey any) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-10*time.Second), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), issuerKey)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err == nil {
		*template = *parsed
	}
	return key, err
}
