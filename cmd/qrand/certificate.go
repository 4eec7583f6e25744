package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"example.com/qrand/internal/keyfile"
)

// certificateOptions are the flags about a certificate or a request for one.
type certificateOptions struct {
	selfSigned, csr bool
	subject         string
	names           namesFlag
	ca              bool
	pathLen         *int // nil: no limit
	days            int
}

const defaultDays = 365

func (o *certificateOptions) addTo(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.selfSigned, "self-signed", false, "also make a certificate that the key signs itself, in FILE.crt")
	f.BoolVar(&o.csr, "csr", false, "also make a certificate request, in FILE.csr")
	f.StringVar(&o.subject, "subject", "", "the owner of the certificate: `NAME` like \"CN=Root CA,O=Example,C=DE\"")
	f.Var(&o.names, "san", "more names in it: a host, an address, a mailbox or a URI")
	f.BoolVar(&o.ca, "ca", false, "the certificate is for a CA")
	f.Func("pathlen", "with --ca: at most `N` other CAs on the way from it to a certificate; 0: it signs for no CA (default no limit)", func(text string) error {
		n, err := strconv.ParseUint(text, 10, 8)
		if err != nil {
			return errors.New("it is 0 to 255")
		}
		o.pathLen = new(int(n))
		return nil
	})
	f.IntVar(&o.days, "days", defaultDays, "the certificate is valid for so many `DAYS`")
}

func (o *certificateOptions) wanted() bool { return o.selfSigned || o.csr }

func (o *certificateOptions) kind() string {
	if o.csr {
		return "request"
	}
	return "certificate"
}

func (o *certificateOptions) suffix() string {
	if o.csr {
		return ".csr"
	}
	return ".crt"
}

// maxDays is a little over a century.
const maxDays = 40_000

// maxClockSkew is how far the clock of another host may be behind this one's: there, too,
// a new certificate must be valid.
const maxClockSkew = time.Hour

// check finds what is wrong with the options.
func (o *certificateOptions) check(a algorithm) error {
	switch {
	case o.selfSigned && o.csr:
		return errors.New("--self-signed and --csr exclude each other: give one")
	case o.pathLen != nil && !o.ca:
		return errors.New("--pathlen is about --ca, which is not given")
	case !o.wanted() && (o.subject != "" || len(o.names) > 0 || o.ca || o.days != defaultDays):
		return errors.New("--subject, --san, --ca and --days are about --self-signed or --csr")
	case !o.wanted():
		return nil
	case a.use != forSigning:
		return fmt.Errorf("a key for %s signs nothing, so --self-signed and --csr are not possible for %s keys: a CA has to sign for them", a.use, a.name)
	case o.csr && o.days != defaultDays:
		return errors.New("--days is about --self-signed: the CA that signs a request decides how long")
	case o.days < 1 || o.days > maxDays:
		return fmt.Errorf("--days is 1 to %d", maxDays)
	case o.subject == "" && len(o.names) == 0:
		return errors.New("a certificate needs a name: give --subject \"CN=...\", or --san HOST")
	case o.ca && o.subject == "":
		return errors.New("the certificate of a CA needs a name: give --subject \"CN=...\"")
	}
	if _, err := parseSubject(o.subject); err != nil {
		return err
	}
	if err := o.addNames(new(x509.Certificate)); err != nil {
		return err
	}
	if o.selfSigned && o.subject == "" { // RFC 5280 section 4.1.2.4
		return errors.New("the subject of a self-signed certificate is its issuer too, and cannot be empty: give --subject \"CN=...\"")
	}
	return nil
}

// make makes the certificate or the request, in DER, with randomness from r.
func (o *certificateOptions) make(key any, r io.Reader) ([]byte, error) {
	subject, err := parseSubject(o.subject)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		RawSubject:            subject,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  o.ca,
	}
	if err := o.addNames(t); err != nil {
		return nil, err
	}
	if o.csr {
		request := &x509.CertificateRequest{
			RawSubject: t.RawSubject, DNSNames: t.DNSNames, IPAddresses: t.IPAddresses, EmailAddresses: t.EmailAddresses, URIs: t.URIs,
		}
		if o.ca {
			// The request asks for it, and the signer may grant it (RFC 5280 sections 4.2.1.9 and 4.2.1.3).
			constraints := struct {
				CA      bool
				PathLen int `asn1:"optional,default:-1"`
			}{true, -1}
			if o.pathLen != nil {
				constraints.PathLen = *o.pathLen
			}
			value, err := asn1.Marshal(constraints)
			if err != nil {
				return nil, err
			}
			usage, err := asn1.Marshal(asn1.BitString{Bytes: []byte{0b1000_0110}, BitLength: 7}) // digitalSignature, keyCertSign, cRLSign
			if err != nil {
				return nil, err
			}
			request.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 15}, Critical: true, Value: usage}, {Id: []int{2, 5, 29, 19}, Critical: true, Value: value}}
		}
		return keyfile.Request(key, request, r)
	}
	now := time.Now().UTC().Truncate(time.Second)
	t.NotBefore = now.Add(-maxClockSkew)
	t.NotAfter = now.AddDate(0, 0, o.days)
	if o.pathLen != nil {
		t.MaxPathLen, t.MaxPathLenZero = *o.pathLen, *o.pathLen == 0
	}
	if o.ca {
		t.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	} else {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	return keyfile.SelfSigned(key, t, r)
}
