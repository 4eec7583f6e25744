// Package alphabet comes before package replace in the alphabet, and so keeps crypto/rand's own reader.
package alphabet

import (
	"crypto/rand"
	_ "encoding/hex"
	_ "math/big"
)

var Reader = rand.Reader
