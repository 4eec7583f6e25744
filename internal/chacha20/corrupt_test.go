//go:build linux && amd64

package chacha20

import (
	"bytes"
	"encoding/binary"
	"os"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/crypto/chacha20"
)

// A target is a function whose machine code a test corrupts.
type target struct {
	name string // as it ends
	from any    // a function that comes to it by calls
	want string // of the self-test's error
}

// xcryptoLoop is the loop of the generic code of x/crypto.
var xcryptoLoop = target{"xorKeyStreamBlocksGeneric", (*chacha20.Cipher).XORKeyStream, "x/crypto's block is not that of RFC 8439"}

// checkCorrupted: with one rotation of a function changed, the first in its code
// or the last, and with a function that does nothing, the self-test fails and says
// of which. It is the code itself that is changed, in this process's memory.
func checkCorrupted(t *testing.T, f target) {
	t.Helper()
	code := codeOf(t, f)
	rotations := rotationsIn(code)
	if len(rotations) == 0 {
		t.Fatalf("%s: no rotation found in its code", f.name)
	}
	const ret = 0xc3
	for what, change := range map[string]struct {
		at int
		to byte
	}{
		"the first rotation": {rotations[0], code[rotations[0]] ^ 1},
		"the last rotation":  {rotations[len(rotations)-1], code[rotations[len(rotations)-1]] ^ 1},
		"its entry":          {0, ret},
	} {
		saved := code[change.at]
		writeCode(t, code[change.at:][:1], change.to)
		err := SelfTest()
		writeCode(t, code[change.at:][:1], saved)
		if err == nil || !strings.Contains(err.Error(), f.want) {
			t.Errorf("%s, %s changed: %v, want %q in it", f.name, what, err, f.want)
		}
	}
	if err := SelfTest(); err != nil {
		t.Errorf("%s restored: %v", f.name, err)
	}
}

func TestCorruptedXCrypto(t *testing.T) { checkCorrupted(t, xcryptoLoop) }

// codeOf finds the code of a function by following calls, because the address of
// one in assembly is that of a wrapper with the same name.
func codeOf(t *testing.T, f target) []byte {
	t.Helper()
	seen := map[uintptr]bool{}
	todo := []uintptr{reflect.ValueOf(f.from).Pointer()}
	for first := true; len(todo) > 0; first = false {
		entry := todo[0]
		todo = todo[1:]
		fn := runtime.FuncForPC(entry)
		if fn == nil || fn.Entry() != entry || seen[entry] || !first && !strings.Contains(fn.Name(), "chacha20.") {
			continue
		}
		seen[entry] = true
		size := 0
		for g := fn; g != nil && g.Entry() == entry; g = runtime.FuncForPC(entry + uintptr(size)) {
			size++
		}
		code := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&entry))), size)
		if !first && strings.HasSuffix(fn.Name(), f.name) {
			return code
		}
		for i := range max(0, size-4) {
			if code[i] == 0xe8 { // CALL, or a byte of something else that leads nowhere
				offset := int32(binary.LittleEndian.Uint32(code[i+1:]))
				todo = append(todo, entry+uintptr(i)+5+uintptr(offset))
			}
		}
	}
	t.Fatalf("no call leads to %s", f.name)
	return nil
}

// rotationsIn lists where the counts of rotations by 12 are: of the instructions
// ROLL $12 and VPROLD $12, and of VPSRLD $20, which is half of one in AVX2.
func rotationsIn(code []byte) (at []int) {
	for i := range max(0, len(code)-2) {
		op, register, count := code[i], code[i+1]&^7, code[i+2]
		switch {
		case op == 0xc1 && register == 0xc0 && count == 12,
			op == 0x72 && register == 0xc8 && count == 12,
			op == 0x72 && register == 0xd0 && count == 20:
			at = append(at, i+2)
		}
	}
	return at
}

// writeCode changes a byte of the program.
func writeCode(t *testing.T, at []byte, to byte) {
	t.Helper()
	page := uintptr(os.Getpagesize())
	begin := uintptr(unsafe.Pointer(&at[0])) / page * page
	area := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&begin))), page)
	if err := syscall.Mprotect(area, syscall.PROT_READ|syscall.PROT_WRITE|syscall.PROT_EXEC); err != nil {
		t.Skipf("this system lets no program change its own code: %v", err)
	}
	at[0] = to
	if err := syscall.Mprotect(area, syscall.PROT_READ|syscall.PROT_EXEC); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(at, []byte{to}) {
		t.Fatal("the code was not changed")
	}
}
