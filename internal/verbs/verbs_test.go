package verbs

import (
	"slices"
	"testing"
)

const secret = "a-secret-of-just-32-ASCII-bytes."

// TestShowing: the search finds a secret wherever fmt prints it, by each verb.
func TestShowing(t *testing.T) {
	array := [32]byte([]byte(secret))
	type inner struct{ a [32]byte }
	for name, v := range map[string]any{
		"array":                       array,
		"array in a struct":           struct{ a [32]byte }{array},
		"slice":                       array[:],
		"slice in a struct":           struct{ s []byte }{array[:]},
		"string in a struct":          struct{ s string }{secret},
		"slice from an odd place on":  struct{ s []byte }{append([]byte("x"), secret...)},
		"array in a struct, a struct": struct{ i inner }{inner{array}},
		"interface":                   struct{ i any }{inner{array}},
	} {
		shown := Showing(v, secret)
		for _, format := range Formats() {
			verb := format[len(format)-1] // %T prints the type, %p an address if there is one
			if verb != 'T' && verb != 'p' && !slices.Contains(shown, format) {
				t.Errorf("%s: not found by %s", name, format)
			}
		}
	}
	behind := struct{ a *[32]byte }{&array} // of which %v prints the address, and %s more
	if shown := Showing(behind, secret); !slices.Contains(shown, "%s") || slices.Contains(shown, "%v") {
		t.Errorf("array behind a pointer: found by %v", shown)
	}
	if shown := Showing(struct{ s string }{"nothing of the sort, and long enough"}, secret); shown != nil {
		t.Errorf("found where it is not by %v", shown)
	}
}
