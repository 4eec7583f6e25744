// Package verbs finds the verbs of package fmt that print a secret. It is for tests.
package verbs

import (
	"fmt"
	"strings"
)

// Formats returns all letters as verbs, also those that fmt does not know, with the flags
// that change how bytes are printed.
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

// Showing returns the formats with which fmt prints eight bytes of a secret of v. The
// secret is ASCII text in which %q escapes nothing.
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

// shows reports whether the text contains the part as fmt prints that alone: with the same
// verb, or with %v, which fmt uses where a verb does not suit a value.
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
