package clients

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestReplaceFile(t *testing.T) {
	path := listFile(t, "old")
	if runtime.GOOS != "windows" {
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := replaceFile(path, []byte("new"))
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(path)
	if err != nil || after.Mode() != before.Mode() || !os.SameFile(after, info) || os.SameFile(after, before) {
		t.Errorf("%v, was %v; %v", after, before, err)
	}
	if data, err := os.ReadFile(path); err != nil || !bytes.Equal(data, []byte("new")) {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := replaceFile(filepath.Join(path, "x"), nil); err == nil {
		t.Error("a file was put in a file")
	}
	folder := filepath.Join(filepath.Dir(path), "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := replaceFile(folder, nil); err == nil {
		t.Error("a file was put in place of a folder")
	}
	if names, err := os.ReadDir(filepath.Dir(path)); err != nil || len(names) != 2 {
		t.Errorf("files were left: %v, %v", names, err)
	}
}
