//go:build solaris || aix || (!unix && !windows)

package clients

import "os"

// tryLock has no lock that fails at once. That two relays write one file is then
// found by stillOurs.
func tryLock(*os.File) error { return nil }
