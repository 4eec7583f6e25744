package qrypt

import "fmt"

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

// ParseDialect reads the names that String writes. Its error does not repeat
// the name: a token set in the wrong variable would be in it.
func ParseDialect(name string) (Dialect, error) {
	for i, known := range dialects {
		if name == known {
			return Dialect(i), nil
		}
	}
	return 0, fmt.Errorf("qrypt: unknown dialect: use %s or %s", dialects[0], dialects[1])
}
