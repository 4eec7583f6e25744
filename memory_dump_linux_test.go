//go:build !race

package qrand

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/qrand/internal/chacha20"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// dumpEnv is set in the process that TestDump starts: this test binary, again.
const dumpEnv = "QRAND_TEST_DUMP"

// tlsRecord is the most that crypto/tls decrypts in one place, RFC 8446 section 5.1.
// The answers are longer.
const tlsRecord = 1 << 14

// TestDump reads all memory of a process, as a core dump would have it. In that process
// Sources of each Mix are read and reseeded, and then closed. While they are open it finds
// no block, seed, key or keystream that was used, no bytes of crypto/rand and nothing that
// was read. After Close it finds no secret at all. Over HTTPS it finds the text of answers,
// in pieces no longer than those that crypto/tls and net/http had. It does find what the
// process keeps on purpose.
//
// (The race detector has too much memory of its own to read.)
func TestDump(t *testing.T) {
	for _, tc := range []struct {
		name        string
		https, keep bool
	}{{"direct", false, false}, {"https", true, false}, {"kept", true, true}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel() // most of the time goes by between requests, which a Source keeps apart
			if os.Getenv(dumpEnv) != "" {
				if err := runDumped(tc.https, tc.keep); err != nil {
					t.Error(err)
				}
				return
			}
			p := startDumped(t, tc.https)
			for _, when := range []string{"open", "closed"} {
				p.listen()
				found := p.search(when == "open")
				for kind, runs := range found {
					t.Logf("%s: %d runs of %v, the longest of %d bytes", when, len(runs), kind, slices.Max(runs))
					switch kind {
					case marker:
						continue
					case aText:
						if tc.https && slices.Max(runs) <= tlsRecord {
							continue
						}
					}
					if !tc.keep {
						t.Errorf("%s: %v: left in %d places, up to %d bytes in a row", when, kind, len(runs), slices.Max(runs))
					}
				}
				must := []secretKind{marker}
				if tc.keep && when == "closed" {
					must = []secretKind{marker, aBlock, aSeed, fromOS, lastKey, output, aText}
				}
				for _, kind := range must {
					if len(found[kind]) == 0 || kind == aText && slices.Max(found[kind]) <= tlsRecord {
						t.Errorf("%s: %v: the copy that the process keeps is not found", when, kind)
					}
				}
				p.in.Write([]byte{1})
			}
		})
	}
}

// A dumped is that process.
type dumped struct {
	t       *testing.T
	pid     int
	in      io.Writer
	secrets *bufio.Reader
	told    map[secretKind][][]byte
}

// startDumped runs this test in another process, with a service of its own.
func startDumped(t *testing.T, https bool) *dumped {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	cmd := exec.CommandContext(ctx, exe, "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$")
	// The registers that the runtime saves when it interrupts a goroutine would
	// be found now and then: SECURITY.md has them.
	cmd.Env = append(os.Environ(), dumpEnv+"=1", "GODEBUG=asyncpreemptoff=1")
	if https {
		cmd.Env = append(cmd.Env, emulatorEnv(t, qrypttest.Config{Rate: -1})...)
	}
	cmd.ExtraFiles = []*os.File{w}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the process: %v\n%s", err, out.Bytes())
		}
		cancel()
		r.Close()
	})
	return &dumped{t, cmd.Process.Pid, in, bufio.NewReader(r), map[secretKind][][]byte{}}
}

// listen reads secrets until the memory can be read.
func (d *dumped) listen() {
	d.t.Helper()
	for {
		var head [5]byte
		if _, err := io.ReadFull(d.secrets, head[:]); err != nil {
			d.t.Fatalf("the process has ended too early: %v", err)
		}
		secret := make([]byte, binary.BigEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(d.secrets, secret); err != nil {
			d.t.Fatal(err)
		}
		for i := range secret {
			secret[i] = ^secret[i]
		}
		kind := secretKind(head[0])
		if kind == ready {
			return
		}
		d.told[kind] = append(d.told[kind], secret)
	}
}

// index returns what to look for, while the Sources are open or after that.
func (d *dumped) index(open bool) traceIndex {
	index := traceIndex{}
	add := func(kind secretKind, secret []byte) { index.add(kind.String(), secret) }
	for _, kind := range []secretKind{marker, output, usedKey, lastKey, fromOS, aBlock} {
		for _, secret := range d.told[kind] {
			add(kind, secret)
		}
	}
	for _, answer := range d.told[anAnswer] {
		var blocks []string
		for block := range slices.Chunk(answer, qrypt.BlockSize) {
			blocks = append(blocks, base64.StdEncoding.EncodeToString(block))
		}
		add(aText, []byte(strings.Join(blocks, `","`)))
	}
	for _, os := range d.told[fromOS] {
		if len(os) != 32 {
			continue
		}
		for _, pad := range []byte{0x36, 0x5c} {
			padded := bytes.Clone(os)
			for i := range padded {
				padded[i] ^= pad
			}
			add(aPad, padded)
		}
		for _, block := range d.told[aBlock] { // any that was used may have met it
			if slices.ContainsFunc(d.told[inStock], func(other []byte) bool { return bytes.Equal(block, other) }) {
				continue
			}
			for shard := range byte(2) {
				seed := modelSeed(os, shard, block)
				add(aSeed, bytes.Clone(seed))
				for i := 0; i < len(seed); i += 8 { // as the words that SHA-512 computes with
					slices.Reverse(seed[i : i+8])
				}
				add(aSeed, seed)
			}
		}
	}
	if !open {
		for _, key := range d.told[usedKey] { // of chunks in progress something is still to come
			chunk := make([]byte, chunkSize)
			chacha20.Blocks(chunk, (*[32]byte)(key), 0)
			add(stream, chunk)
		}
		return index
	}
	for _, block := range d.told[inStock] { // still needed
		for at := range len(block) - 7 {
			delete(index, binary.NativeEndian.Uint64(block[at:]))
		}
	}
	return index
}

// search reads the process's memory and returns how long the runs of secrets in it
// are. Eight bytes may be missing from their ends.
func (d *dumped) search(open bool) map[secretKind][]int {
	d.t.Helper()
	kinds := map[string]secretKind{}
	for kind, name := range kindNames {
		kinds[name] = secretKind(kind)
	}
	found := map[secretKind][]int{}
	index := d.index(open)
	d.eachMapping(func(memory []byte) {
		for {
			f, where, ok := index.find(memory, 8)
			if !ok {
				return
			}
			run := 8
			for where+run < len(memory) && f.at+run < len(f.secret) && memory[where+run] == f.secret[f.at+run] {
				run++
			}
			found[kinds[f.kind]] = append(found[kinds[f.kind]], run)
			memory = memory[where+run&^7:]
		}
	})
	return found
}

// eachMapping stops the process while it hands out all memory that it can write to.
func (d *dumped) eachMapping(f func(memory []byte)) {
	d.t.Helper()
	if err := syscall.Kill(d.pid, syscall.SIGSTOP); err != nil {
		d.t.Fatal(err)
	}
	defer syscall.Kill(d.pid, syscall.SIGCONT)
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(d.pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		d.t.Fatalf("the process does not stop: %v, %v", status, err)
	}
	mappings, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", d.pid))
	if err != nil {
		d.t.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", d.pid))
	if errors.Is(err, os.ErrPermission) {
		d.t.Skipf("this system does not let a process read its child's memory: %v", err)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	defer mem.Close()
	for line := range strings.Lines(string(mappings)) { // proc_pid_maps(5)
		var begin, end uint64
		var permissions string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &begin, &end, &permissions); err != nil {
			d.t.Fatal(err)
		}
		if !strings.HasPrefix(permissions, "rw") {
			continue
		}
		memory := make([]byte, end-begin)
		if _, err := mem.ReadAt(memory, int64(begin)); err != nil {
			d.t.Fatalf("reading the memory %s: %v", line, err)
		}
		f(memory)
	}
}
