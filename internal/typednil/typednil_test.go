package typednil

import (
	"bytes"
	"io"
	"testing"
)

func TestIs(t *testing.T) {
	var (
		none   io.Reader
		buffer *bytes.Buffer
		reader io.Reader = buffer
	)
	for name, v := range map[string]any{
		"nil":                        nil,
		"interface":                  none,
		"pointer":                    buffer,
		"pointer in an interface":    reader,
		"func":                       (func())(nil),
		"map":                        map[string]int(nil),
		"chan":                       (chan int)(nil),
		"slice":                      []byte(nil),
		"pointer to a pointer, none": (**int)(nil),
	} {
		if !Is(v) {
			t.Errorf("a nil %s is not recognised", name)
		}
	}
	var inner *int
	for name, v := range map[string]any{
		"pointer":                new(bytes.Buffer),
		"func":                   func() {},
		"map":                    map[string]int{},
		"chan":                   make(chan int),
		"slice":                  []byte{},
		"pointer to a nil":       &inner,
		"struct":                 struct{}{},
		"struct with a nil":      struct{ r io.Reader }{},
		"number":                 0,
		"text":                   "",
		"array of nil pointers":  [1]*int{},
		"pointer to a nil slice": new([]byte),
	} {
		if Is(v) {
			t.Errorf("a %s is taken for nil", name)
		}
	}
}
