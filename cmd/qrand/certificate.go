package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"example.com/qrand/internal/keyfile"
)

// certificateOptions are the flags about a certificate or a request for one.
type certificateOptions struct {
	selfSigned, csr bool
	subject         string
	names           []string
	ca              bool
	days            int
}

const defaultDays = 365

func (o *certificateOptions) addTo(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.selfSigned, "self-signed", false, "also make a certificate that the key signs itself, in FILE.crt")
	f.BoolVar(&o.csr, "csr", false, "also make a certificate request, in FILE.csr")
	f.StringVar(&o.subject, "subject", "", "whose certificate it is: `NAME` like \"CN=Root CA,O=Example,C=DE\"")
	f.StringSliceVar(&o.names, "san", nil, "further names in it: a host, an address, a mailbox or a URI (`NAME,...`)")
	f.BoolVar(&o.ca, "ca", false, "the certificate is a CA's")
	f.IntVar(&o.days, "days", defaultDays, "for how many `DAYS` the certificate is valid")
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

// check finds what is wrong with the options.
func (o *certificateOptions) check(a algorithm) error {
	switch {
	case o.selfSigned && o.csr:
		return errors.New("--self-signed and --csr: which?")
	case !o.wanted() && (o.subject != "" || len(o.names) > 0 || o.ca || o.days != defaultDays):
		return errors.New("--subject, --san, --ca and --days are about --self-signed or --csr")
	case !o.wanted():
		return nil
	case a.use != forSigning:
		return fmt.Errorf("a key for %s signs nothing, so %s keys have no --self-signed and no --csr: a CA's key has to sign for them", a.use, a.name)
	case o.csr && o.days != defaultDays:
		return errors.New("--days is about --self-signed: who signs a request says how long")
	case o.days < 1 || o.days > maxDays:
		return fmt.Errorf("--days is 1 to %d", maxDays)
	case o.subject == "" && len(o.names) == 0:
		return errors.New("whose certificate is it? Say --subject \"CN=...\", or --san HOST")
	case o.ca && o.subject == "":
		return errors.New("a CA's certificate has a name: say --subject \"CN=...\"")
	}
	if _, err := parseSubject(o.subject); err != nil {
		return err
	}
	return o.addNames(new(x509.Certificate))
}

// make makes the certificate or the request, in DER, with what randomness r gives.
func (o *certificateOptions) make(key *keyPair, r io.Reader) ([]byte, error) {
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
			// What is asked for, which the signer may grant: basicConstraints with
			// cA set (RFC 5280 section 4.2.1.9).
			request.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}}}
		}
		return keyfile.Request(key.private, request, r)
	}
	t.NotBefore = time.Now().UTC().Truncate(time.Second)
	t.NotAfter = t.NotBefore.AddDate(0, 0, o.days)
	if o.ca {
		t.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	} else {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	return keyfile.SelfSigned(key.private, t, r)
}

// hostPattern is RFC 1123's section 2.1, with an asterisk for the first label (RFC
// 9525 section 6.3). What is not ASCII is written in its xn-- form.
var hostPattern = regexp.MustCompile(`^(\*\.)?([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// addNames sorts the names into their kinds.
func (o *certificateOptions) addNames(t *x509.Certificate) error {
	for _, name := range o.names {
		if ip := net.ParseIP(name); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else if u, err := url.Parse(name); err == nil && u.Scheme != "" && strings.Contains(name, "://") {
			t.URIs = append(t.URIs, u)
		} else if a, err := mail.ParseAddress(name); err == nil && a.Address == name {
			t.EmailAddresses = append(t.EmailAddresses, name)
		} else if len(name) <= 253 && hostPattern.MatchString(name) {
			t.DNSNames = append(t.DNSNames, name)
		} else {
			return fmt.Errorf("--san: %q is no host, address, mailbox or URI", name)
		}
	}
	return nil
}

// attributes are those of X.520 that a name may have.
var attributes = map[string]asn1.ObjectIdentifier{
	"CN": {2, 5, 4, 3}, "SERIALNUMBER": {2, 5, 4, 5}, "C": {2, 5, 4, 6}, "L": {2, 5, 4, 7}, "ST": {2, 5, 4, 8},
	"STREET": {2, 5, 4, 9}, "O": {2, 5, 4, 10}, "OU": {2, 5, 4, 11}, "POSTALCODE": {2, 5, 4, 17},
}

var countryPattern = regexp.MustCompile("^[A-Za-z]{2}$")

// parseSubject reads a distinguished name: attributes with commas between, in the
// order in which the certificate has them, with a backslash before a comma or a
// backslash that is meant. It returns the name in DER.
func parseSubject(text string) ([]byte, error) {
	var name pkix.RDNSequence
	parts, err := splitSubject(text)
	if err != nil {
		return nil, err
	}
	for _, part := range parts {
		key, value, found := strings.Cut(part, "=")
		key = strings.ToUpper(strings.TrimSpace(key))
		value = strings.TrimSpace(value)
		id := attributes[key]
		switch {
		case !found || value == "":
			return nil, fmt.Errorf("--subject: %q: write it like \"CN=Root CA,O=Example,C=DE\"", text)
		case id == nil:
			return nil, fmt.Errorf("--subject: no attribute %q: use CN, O, OU, L, ST, STREET, POSTALCODE, C or SERIALNUMBER", key)
		case key == "C" && !countryPattern.MatchString(value):
			return nil, fmt.Errorf("--subject: C=%s: a country has two letters", value)
		case strings.ContainsFunc(value, unicode.IsControl) || !utf8.ValidString(value):
			return nil, fmt.Errorf("--subject: %s has characters that are none", key)
		}
		name = append(name, pkix.RelativeDistinguishedNameSET{{Type: id, Value: value}})
	}
	return asn1.Marshal(name)
}

// splitSubject splits at the commas; nothing has no parts.
func splitSubject(text string) (parts []string, err error) {
	var part strings.Builder
	escaped := false
	for _, r := range text {
		switch {
		case escaped:
			part.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped = true
		case r == ',':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteRune(r)
		}
	}
	if escaped {
		return nil, errors.New("--subject ends in a backslash: write two if one is meant")
	}
	if text != "" {
		parts = append(parts, part.String())
	}
	return parts, nil
}

func certificatePEM(kind string, der []byte) []byte {
	switch {
	case der == nil:
		return nil
	case kind == "request":
		return keyfile.PEM(keyfile.KindRequest, der)
	}
	return keyfile.PEM(keyfile.KindCertificate, der)
}
