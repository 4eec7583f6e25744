package clients

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/relay/internal/testca"
)

func TestIdentify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.json")
	token := add(t, path, Client{Name: "web-1"})
	put(t, filepath.Join(filepath.Dir(path), "other.json"), `{"clients":[{"name":"odd","token_sha256":"`+hashOf("tök")+`"}]}`)
	c := open(t, path)
	for name, values := range map[string][]string{
		"plain":      {"Bearer " + token},
		"lower case": {"bearer " + token},
		"capitals":   {"BEARER " + token},
		"two spaces": {"Bearer  " + token},
	} {
		if cl, err := c.Identify(with(values...)); err != nil || cl.Name != "web-1" {
			t.Errorf("%s: %v, %v", name, cl, err)
		}
	}
	for name, test := range map[string]struct {
		values []string
		want   error
	}{
		"none":              {nil, errNoCredentials},
		"empty":             {[]string{""}, errBadCredentials},
		"no token":          {[]string{"Bearer"}, errBadCredentials},
		"an empty token":    {[]string{"Bearer "}, errBadCredentials},
		"no scheme":         {[]string{token}, errBadCredentials},
		"another scheme":    {[]string{"Basic " + token}, errBadCredentials},
		"no space":          {[]string{"Bearer" + token}, errBadCredentials},
		"a tab":             {[]string{"Bearer\t" + token}, errBadCredentials},
		"a space before":    {[]string{" Bearer " + token}, errBadCredentials},
		"a space after":     {[]string{"Bearer " + token + " "}, errBadCredentials},
		"two tokens":        {[]string{"Bearer " + token + " " + token}, errBadCredentials},
		"several":           {[]string{"Bearer " + token, "Bearer " + token}, errBadCredentials},
		"a control":         {[]string{"Bearer " + token + "\x01"}, errBadCredentials},
		"a NUL":             {[]string{"Bearer \x00" + token}, errBadCredentials},
		"unicode":           {[]string{"Bearer tök"}, errBadCredentials},
		"a folded scheme":   {[]string{"Be\u0430rer " + token}, errBadCredentials},
		"too long":          {[]string{"Bearer " + strings.Repeat("x", maxAuthorization-6)}, errBadCredentials},
		"as long as may be": {[]string{"Bearer " + strings.Repeat("x", maxAuthorization-7)}, errUnknown},
		"unknown":           {[]string{"Bearer " + token + "x"}, errUnknown},
		"in capitals":       {[]string{"Bearer " + strings.ToUpper(token)}, errUnknown},
		"its hash":          {[]string{"Bearer " + hashOf(token)}, errUnknown},
	} {
		if cl, err := c.Identify(with(test.values...)); !errors.Is(err, test.want) || cl != nil {
			t.Errorf("%s: %v, %v, want %v", name, cl, err, test.want)
		}
	}
}

// TestAPIKey: a token may come as X-API-KEY, but not beside another.
func TestAPIKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.json")
	token := add(t, path, Client{Name: "web-1"})
	c := open(t, path)
	for name, test := range map[string]struct {
		header http.Header
		want   error
	}{
		"a key":               {http.Header{"X-Api-Key": {token}}, nil},
		"a wrong key":         {http.Header{"X-Api-Key": {token + "x"}}, errUnknown},
		"an empty key":        {http.Header{"X-Api-Key": {""}}, errBadCredentials},
		"two keys":            {http.Header{"X-Api-Key": {token, token}}, errBadCredentials},
		"a key and a token":   {http.Header{"X-Api-Key": {token}, "Authorization": {"Bearer " + token}}, errBadCredentials},
		"a key with a scheme": {http.Header{"X-Api-Key": {"Bearer " + token}}, errBadCredentials},
	} {
		cl, err := c.Identify(&http.Request{Header: test.header})
		if !errors.Is(err, test.want) || (cl != nil) != (test.want == nil) {
			t.Errorf("%s: %v, %v, want %v", name, cl, err, test.want)
		}
	}
}

// TestExpiry: a client is refused from the time of its expiry on.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "clients.json")
		token := add(t, path, Client{Name: "web-1", Expires: time.Now().Add(time.Hour)})
		c := open(t, path)
		time.Sleep(time.Hour - time.Nanosecond)
		known(t, c, token)
		time.Sleep(time.Nanosecond)
		cl, err := c.Identify(with("Bearer " + token))
		if !errors.Is(err, errExpired) || cl != nil || !strings.Contains(err.Error(), "web-1 expired on 2000-01-01T01:00:00Z") {
			t.Errorf("%v, %v", cl, err)
		}
	})
}

// verified is a request with a certificate for these names.
func verified(commonName string, dnsNames ...string) *http.Request {
	leaf := &x509.Certificate{Subject: pkix.Name{CommonName: commonName}, DNSNames: dnsNames, NotAfter: time.Now().Add(time.Hour)}
	return &http.Request{Header: http.Header{}, TLS: &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: [][]*x509.Certificate{{leaf}}}}
}

func TestIdentifyCertificate(t *testing.T) {
	c := open(t, listFile(t, `{"clients":[{"name":"db","certificate":"db.internal.example"},{"name":"device","certificate":"Device 7"},
		{"name":"late","certificate":"late.example","expires":"2001-01-01T00:00:00Z"},{"name":"web","token_sha256":"`+hashOf("secret")+`"}]}`))
	unverified := verified("", "db.internal.example")
	unverified.TLS.VerifiedChains = nil
	past := verified("", "db.internal.example")
	past.TLS.VerifiedChains[0][0].NotAfter = time.Now().Add(-time.Second)
	wrong := verified("", "db.internal.example")
	wrong.Header.Set("Authorization", "Bearer wrong")
	both := verified("", "db.internal.example")
	both.Header.Set("Authorization", "Bearer secret")
	for name, test := range map[string]struct {
		r    *http.Request
		want string
		err  error
	}{
		"its DNS name":                    {verified("", "db.internal.example"), "db", nil},
		"its second DNS name":             {verified("", "x.example", "db.internal.example"), "db", nil},
		"the first of two":                {verified("", "db.internal.example", "Device 7"), "db", nil},
		"its common name":                 {verified("Device 7"), "device", nil},
		"a common name, but a DNS name":   {verified("Device 7", "x.example"), "", errUnknown},
		"another name":                    {verified("", "db2.internal.example"), "", errUnknown},
		"another case":                    {verified("", "DB.internal.example"), "", errUnknown},
		"a wildcard":                      {verified("", "*.internal.example"), "", errUnknown},
		"no name":                         {verified(""), "", errUnknown},
		"not verified":                    {unverified, "", errNoCredentials},
		"over since the connection began": {past, "", errExpired},
		"an expired entry":                {verified("", "late.example"), "", errExpired},
		"and a wrong token":               {wrong, "", errUnknown},
		"and another's token":             {both, "web", nil},
	} {
		cl, err := c.Identify(test.r)
		if !errors.Is(err, test.err) || (cl == nil) != (test.want == "") || cl != nil && cl.Name != test.want {
			t.Errorf("%s: %v, %v, want %q, %v", name, cl, err, test.want, test.err)
		}
	}
}

// TestIdentifyTLS: clients are identified by real certificates over real TLS. One is of
// a CA that the relay does not trust.
func TestIdentifyTLS(t *testing.T) {
	c := open(t, listFile(t, `{"clients":[{"name":"db","certificate":"db.internal.example"}]}`))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cl, err := c.Identify(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		io.WriteString(w, cl.Name)
	}))
	ca, other := testca.New(t), testca.New(t)
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // that it refuses another CA's
	server.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: roots}
	server.StartTLS()
	defer server.Close()
	for name, test := range map[string]struct {
		certificates []tls.Certificate
		want         string
	}{
		"ours":         {[]tls.Certificate{ca.Issue(t, "db.internal.example")}, "200 db"},
		"of no client": {[]tls.Certificate{ca.Issue(t, "web.internal.example")}, `401 relay: not a client of this relay: nobody has a certificate for "web.internal.example"` + "\n"},
		"none":         {nil, "401 relay: no access token: send it as Authorization: Bearer\n"},
		"another CA's": {[]tls.Certificate{other.Issue(t, "db.internal.example")}, "no answer"},
	} {
		transport := server.Client().Transport.(*http.Transport).Clone()
		transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if test.certificates == nil {
				return new(tls.Certificate), nil
			}
			return &test.certificates[0], nil // even if the server asks for another CA's
		}
		got := "no answer"
		if resp, err := (&http.Client{Transport: transport}).Get(server.URL); err == nil {
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			got = fmt.Sprint(resp.StatusCode, " ", string(body))
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
		transport.CloseIdleConnections()
	}
}

// TestConstrainedCA: a CA with name constraints of any kind identifies no client by a
// common name.
func TestConstrainedCA(t *testing.T) {
	c := open(t, listFile(t, `{"clients":[{"name":"db","certificate":"db.prod.example"},{"name":"web","certificate":"web.dev.example"}]}`))
	root := testca.New(t)
	_, network, err := net.ParseCIDR("192.0.2.0/24")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		limits x509.Certificate
		leaf   x509.Certificate
		known  bool
	}{
		"no limits":    {x509.Certificate{}, x509.Certificate{Subject: pkix.Name{CommonName: "db.prod.example"}}, true},
		"one domain":   {x509.Certificate{PermittedDNSDomains: []string{"dev.example"}, PermittedDNSDomainsCritical: true}, x509.Certificate{Subject: pkix.Name{CommonName: "db.prod.example"}}, false},
		"its domain":   {x509.Certificate{PermittedDNSDomains: []string{"dev.example"}}, x509.Certificate{DNSNames: []string{"web.dev.example"}}, true},
		"not a domain": {x509.Certificate{ExcludedDNSDomains: []string{"prod.example"}}, x509.Certificate{Subject: pkix.Name{CommonName: "db.prod.example"}}, false},
		"addresses":    {x509.Certificate{PermittedIPRanges: []*net.IPNet{network}}, x509.Certificate{Subject: pkix.Name{CommonName: "db.prod.example"}}, false},
		"mail":         {x509.Certificate{PermittedEmailAddresses: []string{"dev.example"}}, x509.Certificate{Subject: pkix.Name{CommonName: "db.prod.example"}}, false},
	} {
		test.limits.Subject.CommonName, test.limits.IsCA = "middle", true
		middle := root.Sign(t, &test.limits)
		leaf := middle.Sign(t, &test.leaf).Certificate
		roots, between := x509.NewCertPool(), x509.NewCertPool()
		roots.AddCert(root.Certificate)
		between.AddCert(middle.Certificate)
		chains, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, err = c.Identify(&http.Request{Header: http.Header{}, TLS: &tls.ConnectionState{VerifiedChains: chains}})
		if (err == nil) != test.known || err != nil && !errors.Is(err, errUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	path := filepath.Join(b.TempDir(), "clients.json")
	token := add(b, path, Client{Name: "web-1", Rate: maxRate, Quota: Quota{1 << 62, 24 * time.Hour}})
	c := open(b, path)
	r := with("Bearer " + token)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		cl, err := c.Identify(r)
		if err != nil {
			b.Fatal(err)
		}
		now = now.Add(time.Second) // so that none is refused
		if _, reached, _ := cl.Charge(32, now); reached != NoLimit {
			b.Fatal("refused")
		}
	}
}

// TestNoAllocations: to admit a request of a known client allocates nothing.
func TestNoAllocations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.json")
	token := add(t, path, Client{Name: "web-1", Rate: 100, Quota: Quota{1 << 20, 24 * time.Hour}})
	c := open(t, path)
	r, now := with("Bearer "+token), time.Now()
	if n := testing.AllocsPerRun(1000, func() { // most are refused by the limiter
		cl, _ := c.Identify(r)
		paid, _, _ := cl.Charge(1, now)
		cl.Refund(paid)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
