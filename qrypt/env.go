package qrypt

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"
)

// The environment variables that FromEnv reads.
const (
	EnvToken     = "QRYPT_TOKEN"      // the access token
	EnvTokenFile = "QRYPT_TOKEN_FILE" // or a file with it, read anew for each request
	EnvEndpoints = "QRYPT_ENDPOINTS"  // base URLs, comma-separated; empty: Qrypt's own
	EnvDialect   = "QRYPT_DIALECT"    // quantum-entropy (the default) or open-api
	EnvCAFile    = "QRYPT_CA_FILE"    // PEM; if set, only these CAs are trusted
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

// ConfigFromEnv returns what FromEnv passes to New, for callers who want to
// change something about it.
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
	if path := os.Getenv(EnvCAFile); path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			return Config{}, fmt.Errorf("qrypt: %s: the file cannot be read: %w", EnvCAFile, withoutPath(err))
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return Config{}, fmt.Errorf("qrypt: %s: %s holds no PEM certificate", EnvCAFile, path)
		}
		cfg.HTTPClient = NewHTTPClient()
		cfg.HTTPClient.Transport.(*http.Transport).TLSClientConfig.RootCAs = roots
	}
	return cfg, nil
}
