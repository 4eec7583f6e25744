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

// envHead is the first line of a file with variables, by which the next
// emulator knows that it may replace it.
const envHead = "# qrand emulate: EMULATED entropy, not quantum\n"

func envFile(vars []variable) []byte {
	b := []byte(envHead)
	for _, v := range vars {
		b = append(b, v.String()+"\n"...)
	}
	return b
}

func isOurEnv(data []byte) bool { return bytes.HasPrefix(data, []byte(envHead)) }

// caName is the subject of the emulator's certificates.
const caName = "qrypttest emulator CA"

func isOurCA(data []byte) bool {
	certs := certificates(data)
	return len(certs) == 1 && certs[0].Subject.CommonName == caName
}

// ours refuses a path where there is a file that an emulator did not write.
func ours(path string, isOurs func([]byte) bool) error {
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
		return fmt.Errorf("%s is not an emulator's file, it is left alone: name another", path)
	}
	return nil
}
