// Package late does the same as package early, if the environment says REACH=late. But it imports
// qrand, as a package has to that puts a qrand.Source into rand.Reader.
package late

import (
	"crypto/rand"
	"os"

	_ "example.com/qrand"
	"example.com/qrand/lab/reach/early"
)

func init() {
	if os.Getenv("REACH") == "late" {
		rand.Reader = early.Source
	}
}
