// Package verbs looks, in tests, for what package fmt prints of a secret.
package verbs

import (
	"fmt"
	"strings"
)

// Formats are all letters as verbs, those that fmt knows and those that it does
// not, with the flags that change how bytes are printed.
func Formats() (formats []string) {
	for _, flags := range []string{"", "+", "#", " "} {
		for letter := 'A'; letter <= 'z'; letter++ {
			if letter <= 'Z' || letter >= 'a' {
				formats = append(formats, "%"+flags+string(letter))
			}
		}
	}
	return formats
}

// Showing lists the formats by which fmt prints eight bytes of a secret when it
// is given v. The secret is text in ASCII, of which %q quotes nothing.
func Showing(v any, secret string) (formats []string) {
	for _, format := range Formats() {
		text := fmt.Sprintf(format, v)
		for at := 0; at+8 <= len(secret); at += 8 {
			if shows(text, format, [8]byte([]byte(secret[at:]))) {
				formats = append(formats, format)
				break
			}
		}
	}
	return formats
}

// shows compares with how fmt prints the part alone: by the same verb, and by %v,
// which it falls back on for verbs that do not suit a value.
func shows(text, format string, part [8]byte) bool {
	flags := format[:len(format)-1]
	for _, as := range []string{format, flags + "v"} {
		for _, alone := range []any{part, part[:], string(part[:])} {
			trace := fmt.Sprintf(as, alone)
			if strings.HasSuffix(as, "T") || strings.HasSuffix(as, "p") {
				continue // the type, or an address
			}
			if i := strings.LastIndexAny(trace, "{["); i >= 0 && !strings.HasPrefix(trace, "[%!") {
				trace = trace[i+1:] // without the bracket, and the type that is before it
			}
			trace = strings.Trim(trace, "[]{}()`\"")
			trace = strings.TrimPrefix(strings.TrimPrefix(trace, "0x"), "0X")
			if strings.Contains(text, trace) {
				return true
			}
		}
	}
	return false
}
