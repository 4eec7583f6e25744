package qrand

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand/internal/supply"
	"example.com/qrand/internal/verbs"
	"example.com/qrand/qrypt"
)

// heard keeps all that a program could see of a Source in the tests: each log line, event,
// error and Status, printed in each way. At the end of the run it is searched for the
// tokens of the tests, and for the mark that is in all of their blocks.
var heard struct {
	sync.Mutex
	bytes.Buffer
}

const (
	testToken  = "tok-9f2c77e1-secret-of-the-root-tests"
	testToken2 = "tok-4b1d09aa-other-secret-of-the-root-tests"
	blockMark  = "MARK-of-a-block-in-root-tests"
)

type heardWriter struct{}

func (heardWriter) Write(p []byte) (int, error) {
	heard.Lock()
	defer heard.Unlock()
	return heard.Write(p)
}

// hear keeps a value as programs may print it.
func hear(values ...any) {
	for _, v := range values {
		text, _ := json.Marshal(v)
		fmt.Fprintf(heardWriter{}, "%v %+v %#v %s %q %x %s\n", v, v, v, v, v, v, text)
		slog.New(slog.NewJSONHandler(heardWriter{}, nil)).Info("heard", "value", v)
	}
}

// leaks lists the forms in which a secret is in text.
func leaks(text []byte, secret string) (found []string) {
	traces := map[string]string{
		"as it is":   secret,
		"hex":        hex.EncodeToString([]byte(secret)),
		"upper hex":  strings.ToUpper(hex.EncodeToString([]byte(secret))),
		"decimal":    strings.Trim(fmt.Sprint([]byte(secret)), "[]"),
		"Go literal": strings.Trim(fmt.Sprintf("%#v", []byte(secret)), "[]byte{}"),
	}
	for shift := range 3 { // of the secret in base64's groups of three bytes
		whole := (len(secret) - shift) / 3 * 3
		traces[fmt.Sprintf("base64 at %d", shift)] = base64.StdEncoding.EncodeToString([]byte(secret)[shift : shift+whole])
	}
	for form, trace := range traces {
		if bytes.Contains(text, []byte(trace)) {
			found = append(found, form)
		}
	}
	return found
}

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewTextHandler(heardWriter{}, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if os.Getenv(customReaderEnv) == "" {
		noteCustomReader(slog.Default()) // the process's one line, which no other test is to count
	}
	code := m.Run()
	for what, secret := range map[string]string{"a token": testToken, "another token": testToken2, "a block": blockMark} {
		if forms := leaks(heard.Bytes(), secret); forms != nil {
			fmt.Printf("FAIL: what was printed, logged or returned in the tests shows %s (%s)\n", what, strings.Join(forms, ", "))
			code = 1
		}
	}
	os.Exit(code)
}

// TestLeaks: leaks finds a secret in each form.
func TestLeaks(t *testing.T) {
	block := newTestBlock(1)
	for _, form := range []string{"%s", "%x", "%X", "%v", "%#v"} {
		if text := fmt.Appendf(nil, form, block.Bytes()); leaks(text, blockMark) == nil {
			t.Errorf("a block printed with %s is not found", form)
		}
	}
	for skip := range 3 {
		if text := base64.StdEncoding.EncodeToString(block.Bytes()[skip:]); leaks([]byte(text), blockMark) == nil {
			t.Errorf("a block in base64, %d bytes on, is not found", skip)
		}
	}
	if leaks([]byte("nothing of the sort"), blockMark) != nil {
		t.Error("found in a text without it")
	}
}

// TestPrintedSource: every verb prints the same line of a Source, and none a secret of it, alone or in
// a struct.
func TestPrintedSource(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newTestSource(t, Config{Blocks: &fakeBlocks{}}, 2)
		synctest.Wait() // fmt looks into some structs without anyone's lock
		holder := struct{ s *Source }{s}
		hear(s, holder, s.Status(), s.cfg.Blocks)
		var logged bytes.Buffer
		log := slog.New(slog.NewTextHandler(io.MultiWriter(&logged, heardWriter{}), nil))
		log.Info("it", "source", s, "holder", holder)
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%d", "%s"} {
			fmt.Fprintf(&logged, verb+" "+verb+"\n", s, holder)
			if got := fmt.Sprintf(verb, s); got != s.String() || !strings.HasPrefix(got, "qrand.Source(Seeded") {
				t.Errorf("%s prints %q", verb, got)
			}
		}
		for _, sh := range s.shards {
			for _, secret := range []string{string(sh.gen.Load().key[:]), string(sh.gen.Load().key[4:12])} {
				if forms := leaks(logged.Bytes(), secret); forms != nil {
					t.Errorf("a key is printed (%v)", forms)
				}
			}
		}
	})
}

// TestPrintedCopies: no verb prints a secret of a copy of a Source, whose methods are not
// called, or of a part of one, whatever holds it.
func TestPrintedCopies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const (
			key   = "shardkey-of-a-generator-as-text."
			os    = "what-crypto/rand-gave-for-a-key."
			chunk = "buffered-output,nobody's-so-far."
			named = "fingerprints-have-this-MAC-key.."
		)
		fingerprintKey, err := NewFingerprintKey([]byte(named))
		if err != nil {
			t.Fatal(err)
		}
		s := newTestSource(t, Config{Blocks: &fakeBlocks{}, FingerprintKey: fingerprintKey}, 2)
		synctest.Wait()
		for _, sh := range s.shards {
			g := sh.gen.Load()
			copy(g.key[:], key)
			copy(g.os[:], os)
			copy(g.chunk[:], strings.Repeat(chunk, chunkSize/len(chunk)))
		}
		r := newReseeder(s, time.Now())
		r.stock = []qrypt.Block{newTestBlock(1)}
		o := supply.Outcome{Blocks: r.stock}

		// By reflection, because vet does not let us copy a lock.
		aSource, aShard, aReseeder := reflect.ValueOf(s).Elem(), reflect.ValueOf(s.shards[0]).Elem(), reflect.ValueOf(r).Elem()
		for name, v := range map[string]any{
			"Source":                     s,
			"copy of a Source":           aSource.Interface(),
			"Source by value in a field": fieldOf(aSource),
			"Source in a field":          struct{ s *Source }{s},
			"Sources":                    struct{ s []*Source }{[]*Source{s}},
			"pointer to a pointer":       &s,
			"Config":                     s.cfg,
			"FingerprintKey":             fingerprintKey,
			"shard":                      s.shards[0],
			"copy of a shard":            aShard.Interface(),
			"shard by value in a field":  fieldOf(aShard),
			"shards":                     s.shards,
			"shards in a field":          struct{ s []*shard }{s.shards},
			"reseeder":                   r,
			"copy of a reseeder":         aReseeder.Interface(),
			"reseeder in a field":        struct{ r any }{r},
			"outcome":                    o,
			"outcome in a field":         struct{ o *supply.Outcome }{&o},
		} {
			for what, secret := range map[string]string{"key": key, "os": os, "chunk": chunk, "key of fingerprints": named, "block": blockMark} {
				if shown := verbs.Showing(v, secret); shown != nil {
					t.Errorf("%s: %s shows the %s", name, strings.Join(shown, " "), what)
				}
			}
		}
	})
}

// fieldOf returns a struct with a copy of v in an unexported field.
func fieldOf(v reflect.Value) any {
	holder := reflect.New(reflect.StructOf([]reflect.StructField{{Name: "held", PkgPath: "held", Type: v.Type()}})).Elem()
	reflect.NewAt(v.Type(), holder.Field(0).Addr().UnsafePointer()).Elem().Set(v)
	return holder.Interface()
}
