package qrypt

import (
	"errors"
	"net/url"
	"strings"

	"example.com/qrand/internal/loopback"
)

// parseEndpoint checks a base URL and returns it without a trailing slash. Its
// errors do not repeat what they were given: a token set in the wrong variable
// would be in them.
func parseEndpoint(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Hostname() == "" {
		return "", errors.New("not a base URL: write it like " + EndpointEUS)
	}
	switch {
	case u.User != nil:
		return "", errors.New("user information in the URL: the token goes in Config.Token or QRYPT_TOKEN")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("a query or fragment in the URL: write it like " + EndpointEUS)
	case u.Scheme == "http" && !loopback.Is(u.Hostname()):
		return "", errors.New("plain http would show the token to the network: use https (http is for loopback addresses)")
	case u.Scheme != "https" && u.Scheme != "http":
		return "", errors.New("its scheme is not https: write it like " + EndpointEUS)
	}
	return strings.TrimRight(u.String(), "/"), nil
}
