package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"example.com/qrand/qrypt"
)

// A variable of the environment, with which programs find an emulator or a relay.
type variable struct{ name, value string }

// String is the variable in the syntax of a shell.
func (v variable) String() string { return v.name + "=" + shellQuote(v.value) }

// shellQuote quotes what a POSIX shell would change.
func shellQuote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:,@%+=") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// pasteText tells what to paste in another shell, and an example for url. If the variables are
// also in a file, it says how to read that. If they have no token, noToken says where to get one.
func pasteText(vars []variable, envFile, noToken, url string) string {
	var b strings.Builder
	b.WriteString("Paste this in another shell:\n\n")
	hasToken := false
	for _, v := range vars {
		fmt.Fprintf(&b, "  export %s\n", v)
		hasToken = hasToken || v.name == qrypt.EnvToken
	}
	if !hasToken {
		fmt.Fprintf(&b, "  export %s=  # %s\n", qrypt.EnvToken, noToken)
	}
	if absolute, err := filepath.Abs(envFile); envFile != "" && err == nil { // a shell looks for other names in PATH
		fmt.Fprintf(&b, "\nOr read the file of variables:\n\n  set -a; . %s; set +a\n", shellQuote(absolute))
	}
	fmt.Fprintf(&b, "\nThen, for example:\n\n  qrand read --format hex\n")
	fmt.Fprintf(&b, "  curl --cacert \"$%s\" -H \"Authorization: Bearer $%s\" \\\n    '%s/api/v1/quantum-entropy?size=1'\n\n", qrypt.EnvCAFile, qrypt.EnvToken, url)
	return b.String()
}

// The first line of a file of variables. It tells the next emulator or relay that
// the file may be replaced.
const (
	emulatorEnvHead = "# qrand emulate: EMULATED entropy, not quantum\n"
	relayEnvHead    = "# qrand relay --dev\n"
)

// envFileUsage says what the file of variables is good for. It has no export, which neither
// systemd's EnvironmentFile= nor docker run --env-file takes.
const envFileUsage = "write the variables to this `FILE` while it runs, for set -a; . ./FILE; set +a, or for systemd (and docker, if no path in it has a space)"

// writeEnvFile writes the variables to a file, for its owner only.
func writeEnvFile(path, head string, vars []variable) error {
	b := []byte(head)
	for _, v := range vars {
		b = append(b, v.String()+"\n"...)
	}
	return writeFile(path, b, 0o600)
}

// checkReplaceable refuses a path with a file that the command did not write. An empty file, as
// of mktemp, may be replaced. owner is whose file it would have to be, for the error. No path is
// fine.
func checkReplaceable(flag, path, owner string, isOurs func([]byte) bool) error {
	if path == "" {
		return nil
	}
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() { // reading a pipe could wait forever
		return fmt.Errorf("%s: %s is not a regular file: name a new file, or leave the flag out", flag, path)
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(data) > 0 && !isOurs(data):
		return fmt.Errorf("%s: %s is not %s file, it is left alone: name another", flag, path, owner)
	}
	return nil
}

// checkDevFiles is checkReplaceable for the two files of an emulator or of a relay's --dev.
func checkDevFiles(caFile, caName, envFile, envHead, owner string) error {
	if envFile != "" && sameName(caFile, envFile) {
		return fmt.Errorf("--ca-file and --env-file both name %s: give each a name of its own", envFile)
	}
	if err := errors.Join(checkReplaceable("--ca-file", caFile, owner, isCANamed(caName)), checkReplaceable("--env-file", envFile, owner, beginsWith(envHead))); err != nil {
		return err
	}
	return checkWritable(slices.DeleteFunc([]string{caFile, envFile}, func(path string) bool { return path == "" })...)
}

// sameName reports whether two names lead to one file, which need not be there yet.
func sameName(a, b string) bool {
	real := func(path string) string {
		folder, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			folder = filepath.Dir(path)
		}
		absolute, err := filepath.Abs(filepath.Join(folder, filepath.Base(path)))
		if err != nil {
			return path
		}
		return absolute
	}
	return real(a) == real(b)
}

func beginsWith(head string) func([]byte) bool {
	return func(data []byte) bool { return bytes.HasPrefix(data, []byte(head)) }
}

// isCANamed recognizes a file with one certificate, of a CA with this name.
func isCANamed(name string) func([]byte) bool {
	return func(data []byte) bool {
		certs := certificates(data)
		return len(certs) == 1 && certs[0].Subject.CommonName == name
	}
}
