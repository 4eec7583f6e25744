package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"example.com/qrand/qrypt"
)

// maxTokenLen is what qrypt takes.
const maxTokenLen = 16 << 10

// describeToken says what can be seen of a token without showing any of it.
func describeToken(token string, endpoints []string, now time.Time) (s status, detail, advice string) {
	n := len(token)
	switch {
	case n == 0:
		return fail, "it is empty", "copy the token there"
	case n > maxTokenLen:
		return fail, fmt.Sprintf("%d characters, which no token has", n), "is it the right file?"
	case strings.HasPrefix(strings.ToLower(token), "bearer "):
		return fail, "it begins with the word Bearer", "leave that word out: only the token belongs there"
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fail, "it has characters that cannot be in an HTTP header", "copy the token whole, on one line, and nothing else"
	case strings.ContainsAny(token, `"'<>{}`):
		return warn, fmt.Sprintf("%d characters, with quotes or brackets", n), "are they part of it?"
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

// tokenAdvice says where there is a token for the endpoints: at Qrypt's portal for
// its own, elsewhere from whoever runs them.
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

// jwtExpiry decodes the exp claim of a JSON Web Token (RFC 7519 section 4.1.4),
// zero if it has none. The signature is the service's business.
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
	// A NumericDate may have a fraction, and anything may be a number.
	const latest = 253402300799 // the end of the year 9999
	if claims.Exp == nil || *claims.Exp <= 0 || *claims.Exp > latest {
		return time.Time{}, true
	}
	seconds, fraction := math.Modf(*claims.Exp)
	return time.Unix(int64(seconds), int64(fraction*1e9)), true
}
