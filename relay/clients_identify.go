package relay

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

// Why a request is refused with 401. No text of an error contains a token.
var (
	errNoCredentials  = errors.New("relay: no access token: send it as Authorization: Bearer")
	errBadCredentials = errors.New("relay: the Authorization header is not one Bearer token")
	errUnknownClient  = errors.New("relay: not a client of this relay")
	errExpiredClient  = errors.New("relay: no longer a client of this relay")
)

// maxAuthorization is far more than a token of ours needs.
const maxAuthorization = 4 << 10

// identify finds out who asks. Who sends an Authorization header is known by that
// alone: a wrong token is refused even where a certificate would do, because
// whoever sends it believes that it is used.
func (c *Clients) identify(r *http.Request) (*client, error) {
	now := time.Now()
	cl, err := c.list.Load().find(r, now)
	if err != nil {
		return nil, err
	}
	if !cl.Expires.IsZero() && !now.Before(cl.Expires) {
		return nil, fmt.Errorf("%w: %s expired on %s", errExpiredClient, cl.Name, cl.Expires.Format(time.RFC3339))
	}
	cl.account.used(now)
	return cl, nil
}

func (l *clientList) find(r *http.Request, now time.Time) (*client, error) {
	switch values := r.Header["Authorization"]; len(values) {
	case 0:
		return l.findCertificate(r, now)
	case 1:
		token, ok := bearerToken(values[0])
		if !ok {
			return nil, errBadCredentials
		}
		if cl := l.byToken[hashToken(token)]; cl != nil {
			return cl, nil
		}
		return nil, fmt.Errorf("%w: nobody has this access token", errUnknownClient)
	}
	return nil, errBadCredentials
}

// bearerToken is what RFC 6750, section 2.1, calls credentials, with any visible
// characters for a token. The scheme's case does not matter (RFC 9110, section
// 11.1).
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

// findCertificate trusts only what TLS has verified. A connection may outlive the
// certificate it began with.
func (l *clientList) findCertificate(r *http.Request, now time.Time) (*client, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil, errNoCredentials
	}
	leaf := r.TLS.VerifiedChains[0][0]
	var name string
	var cl *client
	switch {
	case len(leaf.DNSNames) == 0 && slices.ContainsFunc(r.TLS.VerifiedChains, isConstrained):
		return nil, fmt.Errorf("%w: a CA of this certificate is limited to some names, which binds DNS names only: it needs one", errUnknownClient)
	case len(leaf.DNSNames) == 0:
		name = leaf.Subject.CommonName
		cl = l.byCertificate[name]
	default:
		name = leaf.DNSNames[0]
		for _, dnsName := range leaf.DNSNames {
			if cl = l.byCertificate[dnsName]; cl != nil {
				break
			}
		}
	}
	if cl == nil {
		return nil, fmt.Errorf("%w: nobody has a certificate for %.100q", errUnknownClient, name)
	}
	if now.After(leaf.NotAfter) {
		return nil, fmt.Errorf("%w: the certificate of %s expired on %s", errExpiredClient, cl.Name, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return cl, nil
}

// nameConstraints is id-ce-nameConstraints, RFC 5280 section 4.2.1.10.
var nameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}

// isConstrained reports whether a CA of the chain may issue for some names only.
// x509.Verify holds alternative names against that, and common names against
// nothing: such a CA could issue for any client by its common name.
func isConstrained(chain []*x509.Certificate) bool {
	return slices.ContainsFunc(chain, func(c *x509.Certificate) bool {
		return slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(nameConstraints) })
	})
}

// hashToken does not allocate for tokens of the length that ours have.
func hashToken(token string) [sha256.Size]byte {
	var b [64]byte
	return sha256.Sum256(append(b[:0], token...))
}
