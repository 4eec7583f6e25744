// Command caissuer signs a certificate as cert-manager's CA issuer does, with that issuer's own
// code: caissuer SECRET.yaml ISSUER.yaml. It fails where cert-manager would.
package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/cert-manager/cert-manager/pkg/apis/certmanager"
	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: caissuer SECRET.yaml ISSUER.yaml")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "caissuer:", err)
		os.Exit(1)
	}
}

func read(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func run(secretFile, issuerFile string) error {
	var secret corev1.Secret
	var issuer certmanagerv1.Issuer
	if err := errors.Join(read(secretFile, &secret), read(issuerFile, &issuer)); err != nil {
		return err
	}
	switch {
	case secret.APIVersion != "v1" || secret.Kind != "Secret" || secret.Type != corev1.SecretTypeTLS:
		return fmt.Errorf("%s is no Secret of type %s", secretFile, corev1.SecretTypeTLS)
	case issuer.APIVersion != certmanagerv1.SchemeGroupVersion.String() || issuer.Kind != certmanagerv1.IssuerKind || issuer.Spec.CA == nil:
		return fmt.Errorf("%s is no CA Issuer of %s", issuerFile, certmanager.GroupName)
	case issuer.Namespace != secret.Namespace || issuer.Spec.CA.SecretName != secret.Name:
		return fmt.Errorf("the Issuer wants the Secret %s/%s, not %s/%s", issuer.Namespace, issuer.Spec.CA.SecretName, secret.Namespace, secret.Name)
	}
	key, err := pki.DecodePrivateKeyBytes(secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return err
	}
	chain, err := pki.DecodeX509CertificateChainBytes(secret.Data[corev1.TLSCertKey])
	if err != nil {
		return err
	}
	if !chain[0].IsCA { // as pkg/issuer/ca
		return errors.New("the certificate is not a CA's")
	}
	if same, err := pki.PublicKeyMatchesCertificate(key.Public(), chain[0]); err != nil || !same {
		return fmt.Errorf("the key is not the certificate's: %w", err)
	}

	// What a Certificate asks for, and the controller turns into a CertificateRequest.
	leaf := &certmanagerv1.Certificate{Spec: certmanagerv1.CertificateSpec{DNSNames: []string{"service.example"},
		PrivateKey: &certmanagerv1.CertificatePrivateKey{Algorithm: certmanagerv1.ECDSAKeyAlgorithm}}}
	leafKey, err := pki.GeneratePrivateKeyForCertificate(leaf)
	if err != nil {
		return err
	}
	csr, err := pki.GenerateCSR(leaf)
	if err != nil {
		return err
	}
	der, err := pki.EncodeCSR(csr, leafKey)
	if err != nil {
		return err
	}
	request := &certmanagerv1.CertificateRequest{Spec: certmanagerv1.CertificateRequestSpec{Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), Usages: leaf.Spec.Usages}}
	template, err := pki.CertificateTemplateFromCertificateRequest(request)
	if err != nil {
		return err
	}
	bundle, err := pki.SignCSRTemplate(chain, key, template)
	if err != nil {
		return err
	}

	signed, err := pki.DecodeX509CertificateChainBytes(bundle.ChainPEM)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(chain[0])
	if _, err := signed[0].Verify(x509.VerifyOptions{DNSName: "service.example", Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return err
	}
	fmt.Printf("the Issuer %s signs for %s by %s\n", issuer.Name, signed[0].DNSNames[0], signed[0].SignatureAlgorithm)
	return nil
}
