package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"time"
)

// devCAName is the subject of the CA of qrand relay --dev.
const devCAName = "qrand relay --dev CA"

// devFiles are whose files qrand relay --dev may replace.
const devFiles = "a relay's --dev"

func isDevCA(data []byte) bool {
	certs := certificates(data)
	return len(certs) == 1 && certs[0].Subject.CommonName == devCAName
}

// devCertificate makes a CA and a server's certificate for this host, and for
// the name that it listens on. Both hold for a month; the CA's key is forgotten.
func devCertificate(host string) (ca []byte, leaf tls.Certificate, err error) {
	from, to := time.Now().Add(-time.Hour), time.Now().AddDate(0, 1, 0)
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, leaf, err
	}
	issuer := &x509.Certificate{
		Subject:   pkix.Name{CommonName: devCAName},
		NotBefore: from, NotAfter: to,
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, issuer, issuer, caKey.Public(), caKey)
	if err != nil {
		return nil, leaf, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, leaf, err
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "qrand relay --dev"},
		NotBefore: from, NotAfter: to,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
		template.IPAddresses = append(template.IPAddresses, ip)
	} else if ip == nil && host != "" && host != "localhost" {
		template.DNSNames = append(template.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), caKey)
	if err != nil {
		return nil, leaf, err
	}
	leaf = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), leaf, nil
}
