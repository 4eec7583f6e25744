// Package version tells the version of this module, in whatever program it is.
package version

import (
	"cmp"
	"runtime/debug"
	"sync"
)

// Path is the module's path.
const Path = "example.com/qrand"

// Get returns the module's version, such as v1.2.3, or "(devel)" where the go
// command recorded none.
func Get() string { return get() }

var get = sync.OnceValue(func() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == Path {
				return cmp.Or(m.Version, "(devel)")
			}
		}
	}
	return "(devel)"
})
