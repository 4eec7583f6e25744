// Package after comes before package replace in the alphabet, but needs one that comes after it.
package after

import (
	"crypto/rand"
	_ "net/url"
)

var Reader = rand.Reader
