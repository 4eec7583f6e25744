// Package kept has variables that keep rand.Reader, and some that look like it.
package kept

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"io"
	"math/big"
	"sync"

	"lib.example"
)

type generator struct {
	name string
	rand io.Reader
}

func (g *generator) read(p []byte) { io.ReadFull(g.rand, p) }

type reader interface{ read(p []byte) }

func newGenerator() *generator { return &generator{"new", rand.Reader} }

func newReader() reader {
	g := new(generator)
	g.rand = (rand.Reader)
	return g
}

func newChecked() (*generator, error) { return newGenerator(), nil }

// Kept.
var (
	plain         = rand.Reader
	converted     = io.Reader(rand.Reader)
	copied        = plain
	buffered      = bufio.NewReaderSize(rand.Reader, 16)
	literal       = generator{rand: rand.Reader}
	pointer       = &generator{"", rand.Reader}
	list          = []io.Reader{nil, rand.Reader}
	byName        = map[string]io.Reader{"rand": rand.Reader}
	config        = &tls.Config{Rand: rand.Reader}
	called        = newGenerator()
	inInterface   = newReader()
	checked, _    = newChecked()
	method        = rand.Reader.Read
	spot          = func() io.Reader { return rand.Reader }()
	fromLib       = lib.New()
	throughLib    = lib.Wrap(rand.Reader)
	methodOfOther = newGenerator().self()
	Exported      = rand.Reader
	settable      = rand.Reader
	wrapped       = bufio.NewReader(rand.Reader)

	inInit, inHelper io.Reader
	field            generator
)

func (g *generator) self() *generator { return g }

func init() {
	inInit = rand.Reader
	field.rand = rand.Reader
	set()
}

func set() { inHelper = rand.Reader }

// SetReader sets settable, and SetWrapped wrapped.
func SetReader(r io.Reader) {
	if r == nil {
		settable = rand.Reader
		return
	}
	settable = r
}

func SetWrapped(r io.Reader) { wrapped = bufio.NewReader(r) }

// Not kept: what reads rand.Reader when it is used, and what is no reader.
var (
	late       = func() io.Reader { return rand.Reader }
	function   = rand.Read
	address    = &rand.Reader
	once       = sync.OnceValue(func() io.Reader { return rand.Reader })
	atRunTime  io.Reader
	number, _  = rand.Int(rand.Reader, big.NewInt(100))
	_, key, _  = ed25519.GenerateKey(rand.Reader)
	isReader   = rand.Reader != nil
	seed       = make([]byte, 8)
	seeded, _  = io.ReadFull(rand.Reader, seed)
	drawn      = draw(rand.Reader)
	other      = bytes.NewReader(nil)
	exempt     = rand.Reader //qrandvet:ignore keeps the system's on purpose
	fromExempt = exempt
)

// A value has an interface in it, of which a reader has not the methods.
type value struct {
	io.Closer
	b [8]byte
}

func draw(r io.Reader) (v value) {
	r.Read(v.b[:])
	return v
}

// Set sets atRunTime when it is called, and is not called in an init.
func Set() { atRunTime = rand.Reader }

// Reads reads something through each variable that is a reader, but those that are exempt.
var Reads = map[string]func(){}

func init() {
	p := make([]byte, 16)
	for name, r := range map[string]io.Reader{
		"plain": plain, "converted": converted, "copied": copied, "buffered": buffered, "list": list[1],
		"byName": byName["rand"], "config": config.Rand, "spot": spot, "Exported": Exported, "settable": settable,
		"wrapped": wrapped, "inInit": inInit, "inHelper": inHelper, "throughLib": throughLib,
	} {
		Reads[name] = func() { io.ReadFull(r, p) }
	}
	for name, r := range map[string]reader{
		"literal": &literal, "pointer": pointer, "called": called, "inInterface": inInterface, "checked": checked,
		"methodOfOther": methodOfOther, "field": &field,
	} {
		Reads[name] = func() { r.read(p) }
	}
	Reads["method"] = func() { method(p) }
	Reads["fromLib"] = func() { fromLib.Read(p) }
	Reads["late"] = func() { late().Read(p) }
	Reads["function"] = func() { function(p) }
	Reads["address"] = func() { (*address).Read(p) }
	Reads["once"] = func() { once().Read(p) }
	Reads["atRunTime"] = func() { Set(); atRunTime.Read(p) }
}
