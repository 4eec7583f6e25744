package qrypt

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// environment sets the variables that FromEnv reads, and no others of them.
func environment(t *testing.T, values map[string]string) {
	t.Helper()
	for _, name := range []string{EnvToken, EnvTokenFile, EnvEndpoints, EnvDialect, EnvCAFile} {
		t.Setenv(name, values[name])
	}
}

func TestFromEnv(t *testing.T) {
	s := newService(t)
	dir := t.TempDir()
	ca, tokenFile := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	write(t, ca, "A comment, as bundles have them.\n"+string(s.CAPEM()))
	write(t, tokenFile, s.Token()+"\n")
	for _, c := range []struct {
		name   string
		values map[string]string
		path   string
		token  int // index, or -1 for none
	}{
		{"token", map[string]string{EnvToken: s.Token()}, "/api/v1/quantum-entropy", 0},
		{"token file", map[string]string{EnvTokenFile: tokenFile}, "/api/v1/quantum-entropy", 0},
		{"dialect", map[string]string{EnvToken: s.Token(), EnvDialect: "quantum-entropy"}, "/api/v1/quantum-entropy", 0},
		{"open-api", map[string]string{EnvToken: s.Token(), EnvDialect: "open-api"}, "/api/v1/entropy", 0},
		{"open-api without token", map[string]string{EnvDialect: "open-api"}, "/api/v1/entropy", -1},
	} {
		c.values[EnvEndpoints], c.values[EnvCAFile] = s.URL, ca
		environment(t, c.values)
		client, err := FromEnv()
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		mustBlocks(t, client, 1)
		requests := s.Requests()
		if last := requests[len(requests)-1]; last.Path != c.path || last.Token != c.token {
			t.Errorf("%s: %s with token %d", c.name, last.Path, last.Token)
		}
	}
}

func TestFromEnvEndpoints(t *testing.T) {
	for list, want := range map[string][]string{
		"":                   {EndpointEUS, EndpointWEU},
		"  ":                 {EndpointEUS, EndpointWEU},
		"https://a.example/": {"https://a.example"},
		" https://b.example ,\thttps://a.example, https://b.example": {"https://b.example", "https://a.example", "https://b.example"},
	} {
		environment(t, map[string]string{EnvToken: "token", EnvEndpoints: list})
		c, err := FromEnv()
		if err != nil {
			t.Errorf("%q: %v", list, err)
		} else if !reflect.DeepEqual(c.Endpoints(), want) {
			t.Errorf("%q: %q, want %q", list, c.Endpoints(), want)
		}
	}
}

// The token is read anew for each request, from either place.
func TestFromEnvRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write(t, path, "first")
	for _, c := range []struct {
		values map[string]string
		rotate func()
	}{
		{map[string]string{EnvToken: "first"}, func() { t.Setenv(EnvToken, "second") }},
		{map[string]string{EnvTokenFile: path}, func() { write(t, path, "second") }},
	} {
		environment(t, c.values)
		cfg, err := ConfigFromEnv()
		if err != nil {
			t.Fatal(err)
		}
		first, _ := cfg.Token(t.Context())
		c.rotate()
		second, _ := cfg.Token(t.Context())
		if first != "first" || second != "second" {
			t.Errorf("%q and %q", first, second)
		}
	}
}

func TestFromEnvRefuses(t *testing.T) {
	const secret = secretToken
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	write(t, empty, "no certificate")
	for _, c := range []struct {
		name   string
		values map[string]string
		want   []string // in the error
		is     error
	}{
		{"nothing", nil, []string{EnvToken, EnvTokenFile, "set"}, ErrNoToken},
		{"no token for Qrypt's own", map[string]string{EnvDialect: "open-api"}, []string{EnvToken, EnvTokenFile}, ErrNoToken},
		{"two tokens", map[string]string{EnvToken: secret, EnvTokenFile: secret}, []string{EnvToken, EnvTokenFile, "unset one"}, nil},
		{"token for endpoint", map[string]string{EnvToken: "x", EnvEndpoints: secret},
			[]string{"endpoint 1 of 1", "write it like https://"}, nil},
		{"token among endpoints", map[string]string{EnvToken: "x", EnvEndpoints: EndpointEUS + "," + secret},
			[]string{"endpoint 2 of 2", "write it like https://"}, nil},
		{"token in endpoint", map[string]string{EnvToken: "x", EnvEndpoints: "https://" + secret + "@api-eus.qrypt.com"},
			[]string{"endpoint 1 of 1", EnvToken}, nil},
		{"trailing comma", map[string]string{EnvToken: "x", EnvEndpoints: EndpointEUS + ","}, []string{"endpoint 2 of 2"}, nil},
		{"token for dialect", map[string]string{EnvToken: "x", EnvDialect: secret}, []string{EnvDialect, "use quantum-entropy or open-api"}, nil},
		{"token for CA file", map[string]string{EnvToken: "x", EnvCAFile: secret}, []string{EnvCAFile, "cannot be read"}, fs.ErrNotExist},
		{"long token for CA file", map[string]string{EnvToken: "x", EnvCAFile: strings.Repeat(secret, 20)}, []string{EnvCAFile}, nil},
		{"no certificate", map[string]string{EnvToken: "x", EnvCAFile: empty}, []string{EnvCAFile, empty, "no PEM certificate"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			environment(t, c.values)
			client, err := FromEnv()
			if client != nil || err == nil {
				t.Fatalf("accepted: %v", client)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want %q in it", err, want)
				}
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error %q is not %v", err, c.is)
			}
			if strings.Count(err.Error(), "qrypt: ") != 1 {
				t.Errorf("error %q has the package's name not once", err)
			}
			checkSilent(t, err, []byte(secret))
		})
	}
}

// A CA in QRYPT_CA_FILE is the only one trusted.
func TestFromEnvTrustsOneCA(t *testing.T) {
	s, other := newService(t), newService(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, other.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	environment(t, map[string]string{EnvToken: s.Token(), EnvEndpoints: s.URL, EnvCAFile: ca})
	c, err := FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	mustFail(t, c, 1, ErrTLS, []byte(s.Token()))
}

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
