package main

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// openSSL is the openssl command, the one program here that is not a reader.
type openSSL struct{ path, name string }

// findOpenSSL returns nil and says why if there is none that can be measured.
func findOpenSSL() (*openSSL, error) {
	path, err := exec.LookPath("openssl")
	if err != nil {
		return nil, err
	}
	out, err := exec.Command(path, "version").Output()
	if err != nil {
		return nil, fmt.Errorf("openssl version: %w", err)
	}
	fields := strings.Fields(string(out))
	if len(fields) < 2 || fields[0] != "OpenSSL" { // LibreSSL's speed has other flags
		return nil, fmt.Errorf("%s is not OpenSSL", strings.TrimSpace(string(out)))
	}
	return &openSSL{path, "openssl speed, " + fields[0] + " " + fields[1]}, nil
}

// speed returns the nanoseconds that openssl takes to encrypt size bytes with
// ChaCha20, by its own clock, which is the processor time it got.
func (o *openSSL) speed(size int) (float64, error) {
	args := []string{"speed", "-mr", "-seconds", "1", "-evp", "chacha20", "-bytes", strconv.Itoa(size)}
	out, err := exec.Command(o.path, args...).Output()
	if err != nil {
		return 0, fmt.Errorf("openssl %s: %w", strings.Join(args, " "), err)
	}
	return parseSpeed(string(out), size)
}

// parseSpeed takes bytes a second from the line +F:25:ChaCha20:493625728.00.
func parseSpeed(out string, size int) (float64, error) {
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "+F:") {
			continue
		}
		rate, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndex(line, ":")+1:]), 64)
		if err == nil && rate > 0 {
			return float64(size) / rate * 1e9, nil
		}
	}
	return 0, fmt.Errorf("openssl speed: no rate in %q", out)
}
