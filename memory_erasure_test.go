package qrand

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"example.com/qrand/internal/chacha20"
)

// A traceIndex finds parts of secrets in memory, by any 8 consecutive bytes of a secret.
// Random bytes do not equal those by chance: there are 2^64.
type traceIndex map[uint64]trace

// A trace is a place in a secret.
type trace struct {
	kind   string
	secret []byte
	at     int
}

func (x traceIndex) add(kind string, secret []byte) {
	for at := range max(0, len(secret)-7) {
		word := binary.NativeEndian.Uint64(secret[at:])
		if _, ok := x[word]; !ok && bytes.Count(secret[at:at+8], []byte{0}) < 4 {
			x[word] = trace{kind, secret, at}
		}
	}
}

// find looks at each stride-th place of memory, and reports where the first trace is. With
// a stride of 8 it misses no trace of 15 bytes or more.
func (x traceIndex) find(memory []byte, stride int) (found trace, where int, ok bool) {
	for where = 0; where+8 <= len(memory); where += stride {
		if found, ok = x[binary.NativeEndian.Uint64(memory[where:])]; ok {
			return found, where, true
		}
	}
	return trace{}, 0, false
}

// memoryOf copies all memory that can be reached from a value through pointers, slices (up
// to their capacity), strings, maps and interfaces. It cannot see what a func has captured,
// or what a chan holds. A chan that holds something is an error.
func memoryOf(t *testing.T, v any) (memory [][]byte) {
	type place struct {
		at   unsafe.Pointer
		typ  reflect.Type
		many int
	}
	seen := map[place]bool{}
	var walk func(typ reflect.Type, at unsafe.Pointer)
	object := func(typ reflect.Type, at unsafe.Pointer, n int) {
		if at == nil || n == 0 || typ.Size() == 0 || seen[place{at, typ, n}] {
			return
		}
		seen[place{at, typ, n}] = true
		memory = append(memory, bytes.Clone(unsafe.Slice((*byte)(at), n*int(typ.Size()))))
		for i := range n {
			walk(typ, unsafe.Add(at, i*int(typ.Size())))
		}
	}
	value := func(v reflect.Value) {
		c := reflect.New(v.Type())
		c.Elem().Set(v)
		object(v.Type(), c.UnsafePointer(), 1)
	}
	walk = func(typ reflect.Type, at unsafe.Pointer) {
		if typ.Kind() <= reflect.Complex128 || typ.Kind() == reflect.Array && typ.Elem().Kind() <= reflect.Complex128 {
			return // numbers lead nowhere
		}
		v := reflect.NewAt(typ, at).Elem()
		switch typ.Kind() {
		case reflect.Pointer:
			object(typ.Elem(), v.UnsafePointer(), 1)
		case reflect.Slice:
			object(typ.Elem(), v.UnsafePointer(), v.Cap())
		case reflect.String:
			object(reflect.TypeFor[byte](), unsafe.Pointer(unsafe.StringData(v.String())), v.Len())
		case reflect.Interface:
			if !v.IsNil() {
				value(v.Elem())
			}
		case reflect.Map:
			for entries := v.MapRange(); entries.Next(); {
				value(entries.Key())
				value(entries.Value())
			}
		case reflect.Array:
			for i := range typ.Len() {
				walk(typ.Elem(), unsafe.Add(at, i*int(typ.Elem().Size())))
			}
		case reflect.Struct:
			if typ.PkgPath() == "sync/atomic" && strings.HasPrefix(typ.Name(), "Pointer[") {
				elem := typ.Field(0).Type.Elem().Elem() // of its [0]*T
				object(elem, *(*unsafe.Pointer)(at), 1)
				return
			}
			for i := range typ.NumField() {
				walk(typ.Field(i).Type, unsafe.Add(at, typ.Field(i).Offset))
			}
		case reflect.Chan:
			if v.Len() > 0 && typ.Elem().Size() > 0 {
				t.Errorf("a %v holds something that cannot be seen", typ)
			}
		case reflect.UnsafePointer:
			if v.UnsafePointer() != nil && typ.PkgPath() != "" {
				t.Errorf("a %v leads to what cannot be seen", typ)
			}
		}
	}
	c := reflect.New(reflect.TypeOf(v))
	c.Elem().Set(reflect.ValueOf(v))
	walk(c.Elem().Type(), c.UnsafePointer())
	return memory
}

// TestMemoryOf: memoryOf finds bytes wherever a field could keep them.
func TestMemoryOf(t *testing.T) {
	secret := testKey(9)
	mark := func() [32]byte { return secret }
	type inner struct{ hidden [32]byte }
	array := mark()
	for what, holder := range map[string]any{
		"array":              &inner{mark()},
		"pointer":            &struct{ p **[32]byte }{new(*[32]byte)},
		"slice's capacity":   &struct{ s []byte }{array[:0]},
		"string":             &struct{ s string }{string(array[:])},
		"interface":          &struct{ i any }{inner{mark()}},
		"pointer in another": &struct{ i any }{&inner{mark()}},
		"map's key":          &struct{ m map[inner]bool }{map[inner]bool{{mark()}: true}},
		"map's value":        &struct{ m map[int]*inner }{map[int]*inner{1: {mark()}}},
		"array of pointers":  &struct{ a [3]*inner }{[3]*inner{2: {mark()}}},
	} {
		if p, ok := holder.(*struct{ p **[32]byte }); ok {
			*p.p = &array
		}
		if all := bytes.Join(memoryOf(t, holder), nil); !bytes.Contains(all, secret[:]) {
			t.Errorf("not seen: %s", what)
		}
	}
}

// unseen is a reader into which memoryOf does not look.
type unseen func(p []byte) (int, error)

func (f unseen) Read(p []byte) (int, error) { return f(p) }

// reproduce looks for what was handed out in memory, and in what an attacker can compute
// from it. Any 32 bytes could be a key, as they are or XORed with some of these bytes of
// crypto/rand, so it computes the chunk of each. (With our own kernels, which TestStream
// compares with the model, because the model is slow.)
func reproduce(memory [][]byte, handedOut traceIndex, os [][]byte) string {
	tried := map[[32]byte]bool{}
	chunk := make([]byte, chunkSize)
	for _, object := range memory {
		if found, where, ok := handedOut.find(object, 1); ok {
			return fmt.Sprintf("byte %d of an object of %d is byte %d of the %s", where, len(object), found.at, found.kind)
		}
		for at := range max(0, len(object)-31) {
			key := [32]byte(object[at:])
			if tried[key] || bytes.Count(key[:], []byte{0}) > 4 { // a key has none or one
				continue
			}
			tried[key] = true
			for i := range len(os) + 1 {
				k := key
				if i < len(os) {
					subtle.XORBytes(k[:], k[:], os[i])
				}
				chacha20.Blocks(chunk, &k, 0)
				if found, where, ok := handedOut.find(chunk, 8); ok {
					return fmt.Sprintf("byte %d of an object of %d is a key, with byte %d of its chunk byte %d of the %s", at, len(object), where, found.at, found.kind)
				}
			}
		}
	}
	return ""
}

// TestNothingReadIsKept: after a Read, what was read is not in what the Source holds, and
// cannot be computed from it, even by somebody who knows the part of crypto/rand. The same
// search finds it in what the Source held before.
func TestNothingReadIsKept(t *testing.T) {
	sizes := []int{1, 16, 32, 33, 992, 4064, 4065, pieceSize + 100}
	if testing.Short() {
		sizes = []int{1, 33, 4065}
	}
	for _, mix := range mixes {
		t.Run(mix.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				os := newTape()
				blocks := &fakeBlocks{}
				s := newTestSource(t, Config{Blocks: blocks, Mix: mix, BatchBlocks: 2, ReseedBytes: 1 << 40}, 2, parts{os: unseen(os.Read)})
				synctest.Wait()
				mustRead(t, s, 100)
				for _, size := range sizes {
					before := memoryOf(t, s)
					os.reads = nil
					var got []byte
					for len(got) < 32 {
						got = append(got, mustRead(t, s, size)...)
					}
					synctest.Wait()
					after := memoryOf(t, s)

					handedOut := traceIndex{}
					handedOut.add("output", got)
					keys := os.reads
					if mix == MixXOR {
						stream := bytes.Join(os.reads, nil)
						handedOut.add("part of crypto/rand", bytes.Clone(stream))
						for i := range stream {
							stream[i] ^= got[i]
						}
						handedOut.add("part of the generator", stream)
						keys = nil
					}
					keys = keys[max(0, len(keys)-4):]
					if how := reproduce(after, handedOut, keys); how != "" {
						t.Errorf("Reads of %d bytes leave a trace: %s", size, how)
					}
					if size < pieceSize && mix != MixRekey || size >= 32 && size < pieceSize {
						if reproduce(before, handedOut, keys) == "" {
							t.Errorf("Reads of %d bytes: the search does not find what was held before them", size)
						}
					}
				}
				if len(blocks.given) == 0 {
					t.Error("the stock was not searched")
				}
			})
		})
	}
}

// TestWiped: blocks are wiped when used, and at Close.
func TestWiped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		blocks := &fakeBlocks{}
		s := newTestSource(t, Config{Blocks: blocks}, 1)
		wiped := func() (n int) {
			synctest.Wait()
			for _, b := range blocks.given {
				if allZero(b.Bytes()) {
					n++
				}
			}
			return n
		}
		if got := wiped(); got != 1 {
			t.Errorf("after the first reseed %d blocks are wiped", got)
		}
		time.Sleep(time.Hour)
		mustRead(t, s, 1)
		if got := wiped(); got != 2 {
			t.Errorf("after the second reseed %d blocks are wiped", got)
		}
		s.Close()
		if got := wiped(); got != len(blocks.given) {
			t.Errorf("after Close %d blocks of %d are wiped", got, len(blocks.given))
		}
	})
}
