package qrypt

import (
	"strings"
	"testing"
)

func TestParseEndpoint(t *testing.T) {
	for raw, want := range map[string]string{
		EndpointEUS:                      EndpointEUS,
		EndpointWEU + "/":                EndpointWEU,
		"https://there.example//":        "https://there.example",
		"HTTPS://there.example:8443":     "https://there.example:8443",
		"https://10.1.2.3":               "https://10.1.2.3",
		"https://[2001:db8::1]:443":      "https://[2001:db8::1]:443",
		"https://there.example/qrypt/":   "https://there.example/qrypt",
		"http://127.0.0.1:8080":          "http://127.0.0.1:8080",
		"http://127.1.2.3":               "http://127.1.2.3",
		"http://[::1]:8080":              "http://[::1]:8080",
		"http://[::ffff:127.0.0.1]:8080": "http://[::ffff:127.0.0.1]:8080",
		"http://localhost:8080/":         "http://localhost:8080",
	} {
		if got, err := parseEndpoint(raw); got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", raw, got, err, want)
		}
	}
	const (
		notURL = "not a base URL"
		scheme = "its scheme is not https"
		plain  = "plain http would show the token"
	)
	for raw, want := range map[string]string{
		"":                                        notURL,
		" ":                                       notURL,
		"there.example":                           notURL,
		"there.example:443":                       notURL,
		"//there.example":                         scheme,
		"https:there.example":                     notURL,
		"https://":                                notURL,
		"https://:443":                            notURL,
		"https:///path":                           notURL,
		"https://there.example:port":              notURL,
		"https://there example":                   notURL,
		"https://there.example/\n":                notURL,
		"https://[::1":                            notURL,
		"ftp://there.example":                     scheme,
		"file://localhost/etc/token":              scheme,
		"http://there.example":                    plain,
		"http://10.0.0.1":                         plain,
		"http://127.0.0.1.there.example":          plain,
		"http://localhost.there.example":          plain,
		"http://0.0.0.0":                          plain,
		"http://[::]":                             plain,
		"http://[fe80::1]":                        plain,
		"https://user:password@there.example":     "user information in the URL",
		"https://user@there.example":              "user information in the URL",
		"https://there.example?size=1":            "a query or fragment",
		"https://there.example?":                  "a query or fragment",
		"https://there.example/#here":             "a query or fragment",
		secretToken:                               notURL,
		"Bearer " + secretToken:                   notURL,
		"https://" + secretToken + "@a.example":   "user information in the URL",
		"https://a.example/?token=" + secretToken: "a query or fragment",
		secretToken + "://there.example":          scheme,
	} {
		got, err := parseEndpoint(raw)
		if got != "" || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v, want %q", raw, got, err, want)
		}
		checkSilent(t, err, []byte(secretToken))
	}
}
