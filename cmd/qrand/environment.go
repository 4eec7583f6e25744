package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// A variable is one of the environment's.
type variable struct{ name, value string }

// String is the variable as a shell reads it.
func (v variable) String() string { return v.name + "=" + shellQuote(v.value) }

// shellQuote quotes what a POSIX shell would not take as it is.
func shellQuote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:,@%+=[]") == "" && !strings.ContainsAny(s, "[]") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// The first line of a file with variables, by which the next emulator or relay
// knows that it may replace it.
const (
	envHead      = "# qrand emulate: EMULATED entropy, not quantum\n"
	relayEnvHead = "# qrand relay --dev\n"
)

func envFile(head string, vars []variable) []byte {
	b := []byte(head)
	for _, v := range vars {
		b = append(b, v.String()+"\n"...)
	}
	return b
}

func begins(head string) func([]byte) bool {
	return func(data []byte) bool { return bytes.HasPrefix(data, []byte(head)) }
}

// caName is the subject of the emulator's certificates.
const caName = "qrypttest emulator CA"

func isOurCA(data []byte) bool {
	certs := certificates(data)
	return len(certs) == 1 && certs[0].Subject.CommonName == caName
}

// ours refuses a path where there is a file that no earlier run of the command
// wrote, which the error calls whose.
func ours(path, whose string, isOurs func([]byte) bool) error {
	if path == "" {
		return nil
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !isOurs(data):
		return fmt.Errorf("%s is not %s file, it is left alone: name another", path, whose)
	}
	return nil
}
