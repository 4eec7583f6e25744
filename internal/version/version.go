// Package version tells the version of this module, in whatever program it is.
package version

import (
	"cmp"
	"runtime/debug"
	"strings"
	"sync"
)

// Path is the module's path.
const Path = "example.com/qrand"

// Get returns the version of the module that has this package, such as v1.2.3, or "(devel)"
// where the go command recorded none: in go run, and without git. Where a tag names the commit,
// it is the tag. The commands of this repository's other modules have a tag of their own, such
// as relaynats/v1.2.3, and it is the version of those modules.
func Get() string { return get() }

var get = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(devel)"
	}
	return of(info)
})

func of(info *debug.BuildInfo) string {
	if main := info.Main; main.Path == Path || strings.HasPrefix(main.Path, Path+"/") {
		return cmp.Or(main.Version, "(devel)")
	}
	for _, m := range info.Deps {
		if m.Path == Path {
			if m.Replace != nil { // by a folder, which has no version, or by a fork
				m = m.Replace
			}
			return cmp.Or(m.Version, "(devel)")
		}
	}
	return "(devel)"
}
