package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"runtime"
	"strings"
	"time"

	"example.com/qrand"
	"example.com/qrand/internal/pemfile"
	"example.com/qrand/qrypt"
)

// settings are what the environment says, as far as it can be used.
type settings struct {
	dialect   qrypt.Dialect
	auth      qrypt.Auth
	endpoints []string
	roots     *x509.CertPool  // nil: those of this system
	token     qrypt.TokenFunc // nil: there is none
	noToken   bool            // none is needed
	broken    bool            // something is set that cannot be used, so a fetch would prove nothing
}

func checkRandom(r *report) {
	var b [32]byte
	if _, err := rand.Reader.Read(b[:]); err != nil {
		r.add(fail, "crypto/rand", "the operating system gives no random bytes: "+err.Error(), "fix this before anything else")
		return
	}
	r.add(ok, "crypto/rand", "the operating system gives random bytes", "")
}

// checkGo tells what Go's key generation does in this program. Another program may
// be built with another GODEBUG.
func checkGo(r *report) {
	detail := runtime.Version() + ": here crypto/ecdsa makes keys from the reader it is passed, as before Go 1.26; package keygen always does"
	if !qrand.CustomReaderHonored() {
		detail = runtime.Version() + ": here crypto/ecdsa and others ignore the reader they are passed; make keys with package example.com/qrand/keygen, which does not"
	}
	r.add(ok, "go", detail, "")
}

func checkEnvironment(r *report, getenv func(string) string) (s settings) {
	var set []string
	for _, name := range []string{qrypt.EnvToken, qrypt.EnvTokenFile, qrypt.EnvEndpoints, qrypt.EnvDialect, qrypt.EnvAuth, qrypt.EnvCAFile} {
		if getenv(name) != "" {
			set = append(set, name)
		}
	}
	if len(set) == 0 {
		set = []string{"none of qrand's variables"}
	}
	r.add(ok, "environment", strings.Join(set, ", ")+" set", "")

	s.checkDialect(r, getenv(qrypt.EnvDialect))
	s.checkAuth(r, getenv(qrypt.EnvAuth))
	s.checkEndpoints(r, getenv(qrypt.EnvEndpoints))
	s.checkCA(r, getenv(qrypt.EnvCAFile))
	s.noToken = s.dialect == qrypt.DialectOpenAPI && strings.TrimSpace(getenv(qrypt.EnvEndpoints)) != ""
	return s
}

func (s *settings) checkDialect(r *report, name string) {
	if name == "" {
		r.add(ok, "dialect", s.dialect.String()+", the default", "")
		return
	}
	d, err := qrypt.ParseDialect(name)
	if err != nil {
		s.broken = true
		r.add(fail, "dialect", qrypt.EnvDialect+" names no dialect", "set it to quantum-entropy or open-api, or unset it")
		return
	}
	s.dialect = d
	r.add(ok, "dialect", d.String(), "")
}

func (s *settings) checkAuth(r *report, name string) {
	if name == "" {
		return
	}
	auth, err := qrypt.ParseAuth(name)
	if err != nil {
		s.broken = true
		r.add(fail, "auth", qrypt.EnvAuth+" names no way to send the token", "set it to bearer or x-api-key, or unset it")
		return
	}
	s.auth = auth
	r.add(ok, "auth", auth.String(), "")
}

// checkEndpoints finds what is wrong with each endpoint by making a client for it
// alone. It never prints text that is no URL, because that may be a token.
func (s *settings) checkEndpoints(r *report, list string) {
	endpoints, from := []string{qrypt.EndpointEUS, qrypt.EndpointWEU}, "Qrypt's own: "
	if strings.TrimSpace(list) != "" {
		endpoints, from = strings.Split(list, ","), ""
	}
	for i, endpoint := range endpoints {
		client, err := qrypt.New(qrypt.Config{Endpoints: []string{strings.TrimSpace(endpoint)}, Token: qrypt.StaticToken("none")})
		if err != nil {
			text := err.Error()
			if _, after, found := strings.Cut(text, "endpoint 1 of 1: "); found {
				text = after
			}
			r.add(fail, "endpoints", fmt.Sprintf("%d of %d in %s: %s", i+1, len(endpoints), qrypt.EnvEndpoints, text), "")
			continue
		}
		s.endpoints = append(s.endpoints, client.Endpoints()...)
	}
	if len(s.endpoints) > 0 {
		r.add(ok, "endpoints", from+strings.Join(s.endpoints, ", "), "")
	}
}

func (s *settings) checkCA(r *report, path string) {
	if path == "" {
		r.add(ok, "ca", "the CAs of this system", "")
		return
	}
	const advice = "name a file with PEM certificates, or unset " + qrypt.EnvCAFile
	data, pool, err := pemfile.CAs(path)
	if err != nil {
		text := err.Error()
		if named := (*fs.PathError)(nil); errors.As(err, &named) { // not its path, which may be a token that was set by mistake
			text = qrypt.EnvCAFile + ": the file cannot be read: " + named.Err.Error()
		}
		s.broken = true
		r.add(fail, "ca", text, advice)
		return
	}
	s.roots = pool
	certs := certificates(data)
	for _, cert := range certs {
		if time.Now().After(cert.NotAfter) {
			r.add(warn, "ca", fmt.Sprintf("%s: the certificate of %q expired on %s", path, cert.Subject.CommonName, day(cert.NotAfter)), "replace the file")
			return
		}
	}
	if len(certs) == 1 {
		r.add(ok, "ca", fmt.Sprintf("%s: %q until %s, the only one trusted", path, certs[0].Subject.CommonName, day(certs[0].NotAfter)), "")
		return
	}
	r.add(ok, "ca", fmt.Sprintf("%s: %s, the only ones trusted", path, count(int64(len(certs)), "certificate")), "")
}

// certificates returns the certificates in PEM that can be parsed.
func certificates(data []byte) (certs []*x509.Certificate) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return certs
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			certs = append(certs, cert)
		}
	}
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// checkToken checks the form of the token. Only the service knows if it is valid.
func (s *settings) checkToken(ctx context.Context, r *report, getenv func(string) string) {
	value, path := getenv(qrypt.EnvToken), getenv(qrypt.EnvTokenFile)
	var from string
	var read qrypt.TokenFunc
	switch {
	case value != "" && path != "":
		s.broken = true
		r.add(fail, "token", "both "+qrypt.EnvToken+" and "+qrypt.EnvTokenFile+" are set", "unset one")
		return
	case value != "":
		from, read = qrypt.EnvToken, qrypt.StaticToken(strings.TrimSpace(value))
	case path != "":
		from, read = path, qrypt.TokenFromFile(path)
		if info, err := os.Stat(path); err == nil { // an error is reported when the token is read
			switch mode := info.Mode().Perm(); {
			case runtime.GOOS == "windows" || mode&0o077 == 0:
				r.add(ok, "token-file", "only its owner may read "+path, "")
			case mode&0o027 == 0: // as in a secret of Kubernetes, whose owner is root
				r.add(ok, "token-file", fmt.Sprintf("only its owner and its group may read %s (mode %04o)", path, mode), "")
			default:
				r.add(warn, "token-file", fmt.Sprintf("others than its owner and its group may read or change %s (mode %04o)", path, mode), "chmod 600 "+shellQuote(path))
			}
		}
	case s.noToken:
		r.add(ok, "token", "none, and "+s.dialect.String()+" devices need none", "")
		return
	default:
		r.add(fail, "token", "there is none", tokenAdvice("one", s.endpoints)+", and set "+qrypt.EnvToken+", or "+qrypt.EnvTokenFile+" to a file that holds it")
		return
	}
	token, err := read(ctx)
	if err != nil {
		r.add(fail, "token", err.Error(), "put the token there, and let this user read it")
		return
	}
	state, shape, advice := describeToken(token, s.endpoints, time.Now())
	if _, isJWT := jwtExpiry(token); state != fail || isJWT {
		s.token = read // even if it has expired by this host's clock, which may be wrong
	}
	r.add(state, "token", "from "+from+": "+shape, advice)
}

// maxTokenLen is the longest token that package qrypt takes.
const maxTokenLen = 16 << 10

// describeToken describes a token without showing any part of it.
func describeToken(token string, endpoints []string, now time.Time) (s status, detail, advice string) {
	n := len(token)
	switch {
	case n == 0:
		return fail, "it is empty", "copy the token there"
	case n > maxTokenLen:
		return fail, fmt.Sprintf("%d characters, more than a token has", n), "check whether it is the right file"
	case strings.HasPrefix(strings.ToLower(token), "bearer "):
		return fail, "it begins with the word Bearer", "leave that word out: only the token belongs there"
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fail, "it has characters that cannot be in an HTTP header", "copy the whole token, on one line, and nothing else"
	case strings.ContainsAny(token, `"'<>{}`):
		return warn, fmt.Sprintf("%d characters, with quotes or brackets", n), "check whether they belong to it"
	}
	detail = fmt.Sprintf("%d characters", n)
	expiry, isJWT := jwtExpiry(token)
	switch {
	case !isJWT:
		return ok, detail, ""
	case expiry.IsZero():
		return ok, detail + ", a JWT without expiry", ""
	case !now.Before(expiry):
		return fail, fmt.Sprintf("%s, a JWT that expired on %s", detail, day(expiry)), tokenAdvice("a new one", endpoints)
	case expiry.Sub(now) < 7*24*time.Hour:
		return warn, fmt.Sprintf("%s, a JWT that expires soon, on %s", detail, expiry.UTC().Format("2006-01-02 15:04 MST")), tokenAdvice("a new one", endpoints)
	}
	return ok, fmt.Sprintf("%s, a JWT that expires on %s", detail, day(expiry)), ""
}

// tokenAdvice says where to get a token for the endpoints: for Qrypt's own at the
// portal, for others from whoever runs them.
func tokenAdvice(token string, endpoints []string) string {
	var ways []string
	var hosts []string
	for _, endpoint := range endpoints {
		if host, qrypts := qrypt.Operator(endpoint); !qrypts {
			hosts = append(hosts, host)
		}
	}
	if len(hosts) < len(endpoints) || len(endpoints) == 0 {
		ways = append(ways, "generate "+token+" at https://portal.qrypt.com")
	}
	if len(hosts) > 0 {
		ways = append(ways, "ask whoever runs "+strings.Join(hosts, " and ")+" for "+token)
	}
	return strings.Join(ways, ", or ")
}

// jwtExpiry decodes the exp claim of a JSON Web Token (RFC 7519 section 4.1.4). It
// is zero if there is none. The service checks the signature.
func jwtExpiry(token string) (expiry time.Time, isJWT bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	var header struct {
		Alg string `json:"alg"`
	}
	var claims struct {
		Exp *float64 `json:"exp"`
	}
	for i, into := range []any{&header, &claims} {
		data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[i], "="))
		if err != nil || json.Unmarshal(data, into) != nil {
			return time.Time{}, false
		}
	}
	if header.Alg == "" {
		return time.Time{}, false
	}
	// A NumericDate may have a fraction, and be any number.
	const latest = 253402300799 // the end of the year 9999
	if claims.Exp == nil || *claims.Exp <= 0 || *claims.Exp > latest {
		return time.Time{}, true
	}
	seconds, fraction := math.Modf(*claims.Exp)
	return time.Unix(int64(seconds), int64(fraction*1e9)), true
}
