// Package typednil recognises a nil pointer in an interface, which is what a
// constructor that failed leaves in a field if nobody looks at its error. The
// interface is then not nil, and the first call of a method crashes.
package typednil

import "reflect"

// Is reports whether v is nil, or holds a nil pointer, func, map, chan or slice.
func Is(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Chan, reflect.Slice:
		return r.IsNil()
	}
	return false
}
