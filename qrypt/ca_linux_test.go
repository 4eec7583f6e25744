package qrypt

import (
	"fmt"
	"os"
	"testing"
)

// TestCAFileIsPipe: a shell's <(...) is a pipe, which can be read once.
func TestCAFileIsPipe(t *testing.T) {
	s := newService(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.Write(s.CAPEM()); err != nil { // it fits into the pipe
		t.Fatal(err)
	}
	w.Close()
	environment(t, map[string]string{EnvToken: s.Token(), EnvEndpoints: s.URL, EnvCAFile: fmt.Sprintf("/proc/self/fd/%d", r.Fd())})
	logged := captureLog(t)
	c, err := FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		mustBlocks(t, c, 1)
	}
	if logged.Len() > 0 {
		t.Errorf("logged: %s", logged)
	}
}
