package clients

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// These are the reasons why a request is refused with 401. No text of an error
// contains a token.
var (
	errNoCredentials  = errors.New("relay: no access token: send it as Authorization: Bearer")
	errBadCredentials = errors.New("relay: this is not one access token, as Authorization: Bearer or as X-API-KEY")
	errUnknown        = errors.New("relay: not a client of this relay")
	errExpired        = errors.New("relay: no longer a client of this relay")
)

// maxAuthorization is far more than a token needs.
const maxAuthorization = 4 << 10

// Identify finds out who makes a request. If it has an Authorization header, or the
// X-API-KEY of the QRNG Open API, that alone counts: a wrong token is refused even where the
// certificate would do, because whoever sends a token believes that it is used.
func (l *List) Identify(r *http.Request) (*Member, error) {
	now := time.Now()
	var m *Member
	var err error
	switch bearer, key := r.Header["Authorization"], r.Header["X-Api-Key"]; {
	case len(bearer)+len(key) == 0:
		m, err = l.current.Load().findCertificate(r, now)
	case len(bearer)+len(key) > 1:
		err = errBadCredentials
	case len(key) == 1:
		m, err = l.current.Load().findToken("Bearer " + key[0])
	default:
		m, err = l.current.Load().findToken(bearer[0])
	}
	if err != nil {
		return nil, err
	}
	return m.admit(now)
}

// admit returns m itself, unless it has expired.
func (m *Member) admit(now time.Time) (*Member, error) {
	if !m.Expires.IsZero() && !now.Before(m.Expires) {
		return nil, fmt.Errorf("%w: %s expired on %s", errExpired, m.Name, m.Expires.Format(time.RFC3339))
	}
	m.used.seen(now)
	return m, nil
}

func (x *index) findToken(authorization string) (*Member, error) {
	token, ok := bearerToken(authorization)
	if !ok {
		return nil, errBadCredentials
	}
	if m := x.byToken[hashToken(token)]; m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("%w: nobody has this access token", errUnknown)
}

// bearerToken reads what RFC 6750, section 2.1, calls credentials, but accepts any
// visible characters in the token. The case of the scheme does not matter (RFC 9110,
// section 11.1).
func bearerToken(value string) (token string, ok bool) {
	if len(value) > maxAuthorization {
		return "", false
	}
	scheme, token, _ := strings.Cut(value, " ")
	token = strings.TrimLeft(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", false
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return "", false
		}
	}
	return token, true
}

// findCertificate trusts only what TLS has verified. It looks at the expiry again:
// a connection may live longer than the certificate it began with.
func (x *index) findCertificate(r *http.Request, now time.Time) (*Member, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil, errNoCredentials
	}
	leaf := r.TLS.VerifiedChains[0][0]
	var name string
	var m *Member
	switch {
	case len(leaf.DNSNames) == 0 && slices.ContainsFunc(r.TLS.VerifiedChains, isConstrained):
		return nil, fmt.Errorf("%w: a CA of this certificate is limited to some names, which binds DNS names only: it needs one", errUnknown)
	case len(leaf.DNSNames) == 0:
		name = leaf.Subject.CommonName
		m = x.byCertificate[name]
	default:
		name = leaf.DNSNames[0]
		for _, dnsName := range leaf.DNSNames {
			if m = x.byCertificate[dnsName]; m != nil {
				break
			}
		}
	}
	if m == nil {
		return nil, fmt.Errorf("%w: nobody has a certificate for %.100q", errUnknown, name)
	}
	if now.After(leaf.NotAfter) {
		return nil, fmt.Errorf("%w: the certificate of %s expired on %s", errExpired, m.Name, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return m, nil
}

// nameConstraints is id-ce-nameConstraints, RFC 5280 section 4.2.1.10.
var nameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}

// isConstrained reports whether a CA of the chain may issue for some names only.
// x509.Verify checks alternative names against that, but not common names: such a
// CA could issue for any client by its common name.
func isConstrained(chain []*x509.Certificate) bool {
	return slices.ContainsFunc(chain, func(c *x509.Certificate) bool {
		return slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(nameConstraints) })
	})
}

// hashToken does not allocate for a token as long as those that Add makes.
func hashToken(token string) [sha256.Size]byte {
	var b [64]byte
	return sha256.Sum256(append(b[:0], token...))
}
