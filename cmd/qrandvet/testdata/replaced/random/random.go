// Package random sets rand.Reader.
package random

import (
	"crypto/rand"
	"io"
)

func Use(r io.Reader) { rand.Reader = r }

func Exempt(r io.Reader) { rand.Reader = r } //qrandvet:ignore the program knows what it reaches
