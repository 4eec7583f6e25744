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
	f.StringVar(&o.subject, "subject", "", "the owner of the certificate: `NAME` like \"CN=Root CA,O=Example,C=DE\"")
	f.StringSliceVar(&o.names, "san", nil, "more names in it: a host, an address, a mailbox or a URI (`NAME,...`)")
	f.BoolVar(&o.ca, "ca", false, "the certificate is for a CA")
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
	return o.addNames(new(x509.Certificate))
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
			// The request asks for it, and the signer may grant it: basicConstraints
			// with cA set (RFC 5280 section 4.2.1.9).
			request.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}}}
		}
		return keyfile.Request(key, request, r)
	}
	now := time.Now().UTC().Truncate(time.Second)
	t.NotBefore = now.Add(-maxClockSkew)
	t.NotAfter = now.AddDate(0, 0, o.days)
	if o.ca {
		t.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	} else {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	return keyfile.SelfSigned(key, t, r)
}

// hostPattern follows RFC 1123 section 2.1, with an asterisk allowed as the first
// label (RFC 9525 section 6.3). Other letters than ASCII need the xn-- form.
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

// attributes are the attributes of X.520 that a name may have.
var attributes = map[string]asn1.ObjectIdentifier{
	"CN": {2, 5, 4, 3}, "SERIALNUMBER": {2, 5, 4, 5}, "C": {2, 5, 4, 6}, "L": {2, 5, 4, 7}, "ST": {2, 5, 4, 8},
	"STREET": {2, 5, 4, 9}, "O": {2, 5, 4, 10}, "OU": {2, 5, 4, 11}, "POSTALCODE": {2, 5, 4, 17},
}

var countryPattern = regexp.MustCompile("^[A-Za-z]{2}$")

// parseSubject reads a distinguished name, and returns it in DER. Commas separate
// the attributes, which the certificate has in the same order. A backslash comes
// before a comma or a backslash in a value.
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
			return nil, fmt.Errorf("--subject: %s has control characters, or is not UTF-8", key)
		}
		name = append(name, pkix.RelativeDistinguishedNameSET{{Type: id, Value: value}})
	}
	return asn1.Marshal(name)
}

// splitSubject splits at the commas. An empty text has no parts.
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
		return nil, errors.New("--subject ends in a backslash: to mean a backslash, write two")
	}
	if text != "" {
		parts = append(parts, part.String())
	}
	return parts, nil
}
