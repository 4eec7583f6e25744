package version

import (
	"runtime/debug"
	"testing"
)

func TestGet(t *testing.T) {
	qrand := &debug.Module{Path: Path, Version: "v1.2.3"}
	folder := &debug.Module{Path: Path, Version: "v0.0.0", Replace: &debug.Module{Path: "../", Version: "(devel)"}}
	for _, test := range []struct {
		main debug.Module
		deps []*debug.Module
		want string
	}{
		{debug.Module{Path: Path, Version: "v1.2.3"}, nil, "v1.2.3"},
		{debug.Module{Path: Path}, nil, "(devel)"},
		{debug.Module{Path: Path + "/relaynats", Version: "v1.2.3"}, []*debug.Module{folder}, "v1.2.3"},
		{debug.Module{Path: "example.com/app", Version: "v9.9.9"}, []*debug.Module{{Path: "example.com/a", Version: "v8.8.8"}, qrand}, "v1.2.3"},
		{debug.Module{Path: "example.com/qrandom", Version: "v9.9.9"}, []*debug.Module{folder}, "(devel)"},
		{debug.Module{Path: "example.com/app", Version: "v9.9.9"}, nil, "(devel)"},
	} {
		if got := of(&debug.BuildInfo{Main: test.main, Deps: test.deps}); got != test.want {
			t.Errorf("%s: %s, want %s", test.main.Path, got, test.want)
		}
	}
}
