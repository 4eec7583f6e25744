package qrypt

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"example.com/qrand/internal/loopback"
)

// The service's own endpoints: api-eus in the eastern United States, api-weu
// in western Europe.
const (
	EndpointEUS = "https://api-eus.qrypt.com"
	EndpointWEU = "https://api-weu.qrypt.com"
)

// MaxBlocks is how many blocks one request may ask for.
const MaxBlocks = 512

// EmulatedHeader marks the answers of an emulator of the service. Blocks that
// came with it say so in their [Origin]: they are not quantum entropy.
const EmulatedHeader = "Qrypt-Emulated"

// ReceiptKeyHeader is in a request that asks a relay for a receipt: base64 of the key, of
// ReceiptKeySize bytes, with which the receipt is to name the blocks. An answer has the
// receipt in its member "receipt". See [Client.BlocksWithReceipt].
const (
	ReceiptKeyHeader = "Qrand-Receipt-Key"
	ReceiptKeySize   = 32
)

// defaultTimeout bounds one whole request. A full answer is 700 kB.
const defaultTimeout = 30 * time.Second

// Config says where the service is and how to reach it.
type Config struct {
	// Endpoints are base URLs, the preferred one first. [Client.Blocks] asks only that
	// one. Package qrand asks the others when it fails, and so may you, with
	// [Client.Each]. They are https, or http to a loopback address. The token is sent
	// to any of them. Nil: EndpointEUS, EndpointWEU.
	Endpoints []string

	// Dialect is the API the endpoints speak. Zero: DialectQuantumEntropy.
	Dialect Dialect

	// Token gives the access token for each request. Nil is an error, except in
	// DialectOpenAPI, where devices on a private network need none.
	Token TokenFunc

	// Auth is how the token is sent. Zero: AuthBearer.
	Auth Auth

	// CAFile is a file with certificates in PEM. Only CAs in it are trusted. It is read
	// again for each request. While it cannot be read, or has no certificate, those that
	// were read last are trusted, and Logger gets one Warn. A pipe is read once. Empty:
	// HTTPClient says who is trusted; unless it does, the system's CAs are, which Go reads
	// once.
	CAFile string

	// Logger says when CAFile cannot be read, and when it can again. Nil: slog.Default().
	Logger *slog.Logger

	// HTTPClient carries the requests. For proxies or client certificates, change what
	// [NewHTTPClient] returns. It is copied. The copy follows no redirects
	// and has no cookies. If its Transport is nil or an *http.Transport, it speaks
	// HTTP/1.1 and keeps no connections; a DialTLSContext must not negotiate anything
	// else. Another RoundTripper must not repeat requests. Nil: NewHTTPClient().
	HTTPClient *http.Client

	// Timeout bounds the call of Token, and then one whole request with its connection
	// and answer. Zero: 30 s.
	Timeout time.Duration
}

// A Dialect is one of the two APIs over which blocks are served.
type Dialect int

const (
	// DialectQuantumEntropy is the API of Qrypt's public service:
	// GET /api/v1/quantum-entropy?size=N.
	DialectQuantumEntropy Dialect = iota

	// DialectOpenAPI is the QRNG Open API, which Qrypt's appliance and other
	// vendors' devices speak: POST /api/v1/entropy.
	DialectOpenAPI
)

var dialects = [...]string{"quantum-entropy", "open-api"}

// String returns the dialect's name in QRYPT_DIALECT.
func (d Dialect) String() string {
	if d < 0 || int(d) >= len(dialects) {
		return fmt.Sprintf("Dialect(%d)", int(d))
	}
	return dialects[d]
}

// ParseDialect reads the names that String returns. Its error does not repeat the name,
// which is a token if the wrong variable was set.
func ParseDialect(name string) (Dialect, error) {
	for i, known := range dialects {
		if name == known {
			return Dialect(i), nil
		}
	}
	return 0, fmt.Errorf("qrypt: unknown dialect: use %s or %s", dialects[0], dialects[1])
}

// An Auth is a way to send the token.
type Auth int

const (
	AuthBearer Auth = iota // Authorization: Bearer, as RFC 6750 has it
	AuthAPIKey             // X-API-KEY, which the QRNG Open API has besides
)

var auths = [...]string{"bearer", "x-api-key"}

// String returns the name in QRYPT_AUTH.
func (a Auth) String() string {
	if a < 0 || int(a) >= len(auths) {
		return fmt.Sprintf("Auth(%d)", int(a))
	}
	return auths[a]
}

// ParseAuth reads the names that String returns. Its error does not repeat the name, which
// is a token if the wrong variable was set.
func ParseAuth(name string) (Auth, error) {
	for i, known := range auths {
		if name == known {
			return Auth(i), nil
		}
	}
	return 0, fmt.Errorf("qrypt: unknown way to send the token: use %s or %s", auths[0], auths[1])
}

// parseEndpoint checks a base URL and returns it without a trailing slash. Its errors do
// not repeat the URL, which is a token if the wrong variable was set.
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

// The environment variables that FromEnv reads.
const (
	EnvToken     = "QRYPT_TOKEN"      // the access token
	EnvTokenFile = "QRYPT_TOKEN_FILE" // or a file that has it, which is read again for each request
	EnvEndpoints = "QRYPT_ENDPOINTS"  // base URLs, comma-separated; empty: Qrypt's own
	EnvDialect   = "QRYPT_DIALECT"    // quantum-entropy (the default) or open-api
	EnvAuth      = "QRYPT_AUTH"       // bearer (the default) or x-api-key: how the token is sent
	EnvCAFile    = "QRYPT_CA_FILE"    // PEM; if set, only these CAs are trusted; read again for each request
)

// FromEnv returns the Client that the environment describes. A token is
// needed, except for an open-api device named in QRYPT_ENDPOINTS.
func FromEnv() (*Client, error) {
	cfg, err := ConfigFromEnv()
	if err != nil {
		return nil, err
	}
	return New(cfg)
}

// ConfigFromEnv returns what FromEnv passes to New, for callers who want to change it.
func ConfigFromEnv() (Config, error) {
	var cfg Config
	if list := strings.TrimSpace(os.Getenv(EnvEndpoints)); list != "" {
		for _, endpoint := range strings.Split(list, ",") {
			cfg.Endpoints = append(cfg.Endpoints, strings.TrimSpace(endpoint))
		}
	}
	if name := os.Getenv(EnvDialect); name != "" {
		dialect, err := ParseDialect(name)
		if err != nil {
			return Config{}, fmt.Errorf("%w (in %s)", err, EnvDialect)
		}
		cfg.Dialect = dialect
	}
	if name := os.Getenv(EnvAuth); name != "" {
		auth, err := ParseAuth(name)
		if err != nil {
			return Config{}, fmt.Errorf("%w (in %s)", err, EnvAuth)
		}
		cfg.Auth = auth
	}
	value, file := os.Getenv(EnvToken), os.Getenv(EnvTokenFile)
	switch {
	case value != "" && file != "":
		return Config{}, fmt.Errorf("qrypt: both %s and %s are set: unset one", EnvToken, EnvTokenFile)
	case value != "":
		cfg.Token = TokenFromEnv(EnvToken)
	case file != "":
		cfg.Token = TokenFromFile(file)
	case cfg.Dialect != DialectOpenAPI || cfg.Endpoints == nil:
		return Config{}, fmt.Errorf("qrypt: %w: set %s, or %s to a file that holds it", ErrNoToken, EnvToken, EnvTokenFile)
	}
	cfg.CAFile = os.Getenv(EnvCAFile) // which New reads: a pipe can be read once
	return cfg, nil
}
