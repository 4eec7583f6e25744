// Package indirect needs package after.
package indirect

import (
	"crypto/rand"

	_ "alphabet.example/after"
)

var Reader = rand.Reader
