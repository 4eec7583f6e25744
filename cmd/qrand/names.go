package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// hostPattern follows RFC 1123 section 2.1, with an asterisk allowed as the first label
// (RFC 9525 section 6.3).
var hostPattern = regexp.MustCompile(`^(\*\.)?([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// numberPattern is a last label that no host has: there, programs read the whole as an
// address (RFC 1123 section 2.1).
var numberPattern = regexp.MustCompile(`(^|\.)([0-9]+|0[xX][0-9A-Fa-f]*)$`)

// schemePattern is the beginning of a URI (RFC 3986 section 3.1).
var schemePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)

// addNames sorts the names into their kinds.
func (o *certificateOptions) addNames(t *x509.Certificate) error {
	for _, name := range o.names {
		if err := addName(t, name); err != nil {
			return fmt.Errorf("--san: %q %w", name, err)
		}
	}
	return nil
}

func addName(t *x509.Certificate, name string) error {
	if ip, err := netip.ParseAddr(name); err == nil {
		if ip.Zone() != "" {
			return errors.New("has a zone, which a certificate cannot have: leave out what follows the %")
		}
		t.IPAddresses = append(t.IPAddresses, net.IP(ip.AsSlice()))
		return nil
	}
	switch {
	case schemePattern.MatchString(name):
		u, err := parseURI(name)
		if err != nil {
			return err
		}
		t.URIs = append(t.URIs, u)
	case strings.Contains(name, "@"):
		mailbox, err := parseMailbox(name)
		if err != nil {
			return err
		}
		t.EmailAddresses = append(t.EmailAddresses, mailbox)
	default:
		host, err := parseHost(name)
		if err != nil {
			return err
		}
		t.DNSNames = append(t.DNSNames, host)
	}
	return nil
}

// parseHost checks the name of a host, and returns it with A-labels, as RFC 5280 section 7.2
// wants it.
func parseHost(name string) (string, error) {
	host := name
	if strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) {
		rest, wildcard := strings.CutPrefix(name, "*.")
		ascii, err := idna.Lookup.ToASCII(rest)
		invisible := func(r rune) bool { return unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d' } // it would be left out
		if err != nil || strings.ContainsFunc(rest, invisible) {
			return "", errors.New("is no name of a host: IDNA 2008 (RFC 5891) does not allow it")
		}
		if host = ascii; wildcard {
			host = "*." + ascii
		}
	}
	switch {
	case len(host) > 253 || !hostPattern.MatchString(host):
		return "", errors.New("is no host, address, mailbox or URI")
	case numberPattern.MatchString(host):
		return "", errors.New("ends in a number, as an address does, and is no address: an IPv4 address is four numbers from 0 to 255, without zeros before them")
	}
	return host, nil
}

// parseMailbox checks a mailbox: its local part is in ASCII (RFC 5280 section 4.2.1.6), and its
// host gets A-labels (section 7.5).
func parseMailbox(name string) (string, error) {
	at := strings.LastIndexByte(name, '@')
	local, host := name[:at], name[at+1:]
	if strings.ContainsFunc(local, func(r rune) bool { return r > unicode.MaxASCII }) {
		return "", errors.New("has other letters than ASCII before the @, which a mailbox in a certificate cannot have (RFC 5280 section 4.2.1.6)")
	}
	host, err := parseHost(host)
	if err != nil || strings.HasPrefix(host, "*") {
		return "", errors.New("is no mailbox: what follows the @ is no host")
	}
	mailbox := local + "@" + host
	if a, err := mail.ParseAddress(mailbox); err != nil || a.Address != mailbox {
		return "", errors.New("is no mailbox: write it like me@example.com")
	}
	return mailbox, nil
}

// uriPattern is a URI of the characters of RFC 3986 section 2, or of other letters than ASCII,
// which are percent-encoded (RFC 3987 section 3.1).
var uriPattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2}|[^\x00-\x{9f}])+$`)

// These have the form of a URI, and somebody meant another name.
var (
	openSSLPattern = regexp.MustCompile(`^(?i:DNS|IP|email|URI|RID|dirName|otherName):`)
	groupPattern   = regexp.MustCompile(`^[0-9A-Fa-f]{1,4}:($|[^/]|/[^/])`) // of an IPv6 address
	portPattern    = regexp.MustCompile(`^[^:]+:[0-9]+(/|$)`)
)

// hostedPattern is a URI whose scheme needs a host: RFC 9110 section 4.2, RFC 6455 section 3,
// SPIFFE-ID section 2.
var hostedPattern = regexp.MustCompile(`^(?i:https?|wss?|spiffe):`)

// spiffePattern is a trust domain and a path, without user, port, query and fragment (SPIFFE-ID
// sections 2.1 and 2.2).
var spiffePattern = regexp.MustCompile(`^(?i:spiffe)://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)*$`)

// parseURI checks a URI (RFC 3986 section 3): it has a scheme and something after it, and its
// authority, if there is one, a host (RFC 5280 section 4.2.1.6), with A-labels (section 7.4).
func parseURI(name string) (*url.URL, error) {
	switch {
	case openSSLPattern.MatchString(name):
		return nil, errors.New("is written as for OpenSSL: leave out what stands before the name, and the colon")
	case groupPattern.MatchString(name):
		return nil, errors.New("looks like an IPv6 address, and is none")
	case portPattern.MatchString(name):
		return nil, errors.New("has a port, which a certificate cannot have: leave it out")
	}
	var ascii strings.Builder
	for _, b := range []byte(name) {
		if b < utf8.RuneSelf {
			ascii.WriteByte(b)
		} else {
			fmt.Fprintf(&ascii, "%%%02X", b)
		}
	}
	u, err := url.Parse(ascii.String())
	if err != nil || !utf8.ValidString(name) || !uriPattern.MatchString(name) || u.Opaque+u.Host+u.Path+u.RawQuery == "" {
		return nil, errors.New("is no URI: write it like https://example.com/path, or like urn:uuid: with a UUID, and %20 for a space")
	}
	if written := u.String(); written[len(u.Scheme):] != ascii.String()[len(u.Scheme):] { // an empty fragment would be left out
		return nil, fmt.Errorf("would be written as %q: write it like that", written)
	}
	authority := strings.HasPrefix(name[len(u.Scheme)+1:], "//")
	host := u.Hostname()
	switch {
	case host == "" && (authority || hostedPattern.MatchString(name)):
		return nil, errors.New("is a URI without a host: write it like https://example.com/path")
	case u.Scheme == "spiffe" && (len(name) > 2048 || !spiffePattern.MatchString(name) || u.Path != "" && path.Clean(u.Path) != u.Path):
		return nil, errors.New("is no SPIFFE ID: write it like spiffe://example.org/db/1, with a trust domain in small letters and a path of letters, digits, dots, - and _")
	case host == "" || u.Scheme == "spiffe":
		return u, nil
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Zone() == "" {
		return u, nil
	}
	if host, err = parseHost(host); err != nil || strings.HasPrefix(host, "*") {
		return nil, fmt.Errorf("is a URI with %q for a host, which is none", u.Hostname())
	}
	u.Host = host + strings.TrimPrefix(u.Host, u.Hostname()) // which leaves the port
	return u, nil
}

// An attribute is one of X.520 that a name may have. Its length is that of RFC 5280, Appendix A,
// or of X.520 where that has none, in characters.
type attribute struct {
	id        asn1.ObjectIdentifier
	most      int
	printable bool // it is a PrintableString
}

var attributes = map[string]attribute{
	"CN":           {asn1.ObjectIdentifier{2, 5, 4, 3}, 64, false},
	"SERIALNUMBER": {asn1.ObjectIdentifier{2, 5, 4, 5}, 64, true},
	"C":            {asn1.ObjectIdentifier{2, 5, 4, 6}, 2, true},
	"L":            {asn1.ObjectIdentifier{2, 5, 4, 7}, 128, false},
	"ST":           {asn1.ObjectIdentifier{2, 5, 4, 8}, 128, false},
	"STREET":       {asn1.ObjectIdentifier{2, 5, 4, 9}, 128, false},
	"O":            {asn1.ObjectIdentifier{2, 5, 4, 10}, 64, false},
	"OU":           {asn1.ObjectIdentifier{2, 5, 4, 11}, 64, false},
	"POSTALCODE":   {asn1.ObjectIdentifier{2, 5, 4, 17}, 40, false},
}

var (
	countryPattern   = regexp.MustCompile("^[A-Za-z]{2}$")
	printablePattern = regexp.MustCompile(`^[A-Za-z0-9 '()+,./:=?-]*$`) // X.680 section 41.4
)

// parseSubject reads a distinguished name as RFC 4514 section 3 writes it, and returns it in
// DER. Commas separate its parts, which the certificate has in the same order. A plus sign
// joins attributes to one part.
func parseSubject(text string) ([]byte, error) {
	var name pkix.RDNSequence
	if text == "" {
		return asn1.Marshal(name)
	}
	parts, err := splitSubject(text)
	if err != nil {
		return nil, err
	}
	for _, part := range parts {
		var rdn pkix.RelativeDistinguishedNameSET
		for _, one := range part {
			a, err := one.attribute()
			if err != nil {
				return nil, err
			}
			if slices.ContainsFunc(rdn, func(other pkix.AttributeTypeAndValue) bool { return other.Type.Equal(a.Type) }) {
				return nil, fmt.Errorf("--subject: there is %s twice in one part: write a comma between them", one.key)
			}
			rdn = append(rdn, a)
		}
		name = append(name, rdn)
	}
	return asn1.Marshal(name)
}

// A written attribute is a part of a subject as it is written, without its escapes.
type writtenAttribute struct{ key, value string }

func (w writtenAttribute) attribute() (pkix.AttributeTypeAndValue, error) {
	known, ok := attributes[w.key]
	var problem error
	switch length := utf8.RuneCountInString(w.value); {
	case !ok:
		problem = fmt.Errorf("--subject: no attribute %q: use CN, O, OU, L, ST, STREET, POSTALCODE, C or SERIALNUMBER", w.key)
	case w.key == "C" && !countryPattern.MatchString(w.value):
		problem = fmt.Errorf("--subject: C=%s: a country has two letters", w.value)
	case !utf8.ValidString(w.value) || strings.ContainsFunc(w.value, unicode.IsControl):
		problem = fmt.Errorf("--subject: %s has control characters, or is not UTF-8", w.key)
	case length > known.most:
		problem = fmt.Errorf("--subject: %s has %d characters, and may have %d (RFC 5280, Appendix A, and X.520)", w.key, length, known.most)
	case known.printable && !printablePattern.MatchString(w.value):
		problem = fmt.Errorf("--subject: %s=%s: it may have letters, digits, spaces and '()+,-./:=? only (PrintableString)", w.key, w.value)
	}
	return pkix.AttributeTypeAndValue{Type: known.id, Value: w.value}, problem
}

// splitSubject splits at the commas and at the plus signs, and takes the escapes away.
func splitSubject(text string) (parts [][]writtenAttribute, err error) {
	malformed := fmt.Errorf(`--subject: %q: write it like "CN=Root CA,O=Example,C=DE", with \, or \+ for a comma or a plus sign in a value`, text)
	var part []writtenAttribute
	var key, value []byte
	valued, kept := false, 0 // kept: so much of value is not to be trimmed
	end := func() error {
		name, content := strings.ToUpper(strings.TrimSpace(string(key))), string(value)
		content = content[:kept] + strings.TrimRight(content[kept:], " ")
		if !valued || content == "" {
			return malformed
		}
		part = append(part, writtenAttribute{name, content})
		key, value, valued, kept = nil, nil, false, 0
		return nil
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case !valued && c == '=':
			valued = true
		case !valued && (c == ',' || c == '+'):
			return nil, malformed
		case !valued:
			key = append(key, c)
		case c == '\\':
			plain, n, err := unescapeSubject(text[i+1:])
			if err != nil {
				return nil, err
			}
			i += n
			value = append(value, plain)
			kept = len(value)
		case c == ',' || c == '+':
			if err := end(); err != nil {
				return nil, err
			}
			if c == ',' {
				parts, part = append(parts, part), nil
			}
		case strings.IndexByte(`";<>`, c) >= 0 || c == '#' && len(value) == 0:
			return nil, fmt.Errorf("--subject: write \\%c for %c (RFC 4514 section 2.4)", c, c)
		case c == ' ' && len(value) == 0: // before it
		default:
			value = append(value, c)
		}
	}
	if err := end(); err != nil {
		return nil, err
	}
	return append(parts, part), nil
}

// unescapeSubject reads what follows a backslash: the character itself, or two hexadecimal
// digits of a byte of UTF-8.
func unescapeSubject(rest string) (plain byte, n int, err error) {
	if len(rest) >= 2 {
		if b, err := hex.DecodeString(rest[:2]); err == nil {
			return b[0], 2, nil
		}
	}
	if rest == "" || strings.IndexByte(`"+,;<>#= \`, rest[0]) < 0 {
		return 0, 0, errors.New(`--subject: after a backslash comes one of "+,;<>#=\, a space, or a byte in two hexadecimal digits`)
	}
	return rest[0], 1, nil
}
