// Package lib is of another module.
package lib

import (
	"crypto/rand"
	"crypto/rsa"
	"io"

	"lib.example/far"
)

type Reader struct{ r io.Reader }

func (r *Reader) Read(p []byte) (int, error) { return r.r.Read(p) }

func New() *Reader { return Wrap(rand.Reader) }

func Wrap(r io.Reader) *Reader { return &Reader{r} }

// Use is called by nobody.
func Use(r io.Reader) { rand.Reader = r }

func Key() { far.Key(); rsa.GenerateKey(rand.Reader, 2048) }
