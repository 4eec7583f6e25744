// Package exempt is about //qrandvet:ignore.
package exempt

import (
	"crypto/ecdh"
	"io"
)

func calls(src io.Reader, curve ecdh.Curve) {
	curve.GenerateKey(src) //qrandvet:ignore the end of the line

	//qrandvet:ignore the line before
	curve.GenerateKey(src)
	curve.GenerateKey(src) // want `no byte of src`

	//qrandvet:ignore	two lines before

	curve.GenerateKey(src) // want `no byte of src`

	var _ int              /* a line that ends so is another's */ //qrandvet:ignore this line
	curve.GenerateKey(src) // want `no byte of src`

	//qrandvet:ignore a call of several lines
	curve.GenerateKey(
		src,
	)
	curve.GenerateKey( // want `no byte of src`
		src,
	)

	curve.GenerateKey(
		src,
	) //qrandvet:ignore its last line
	curve.GenerateKey(src) // want `no byte of src`

	curve.GenerateKey(src) /* want `no byte of src` `needs a reason, and does nothing without one` */ //qrandvet:ignore
	curve.GenerateKey(src) /* want `no byte of src` `needs a reason` */                               //qrandvet:ignore // nothing
	_ = src                /* want `needs a reason` */                                                //qrandvet:ignore
	curve.GenerateKey(src) /* want `no byte of src` */                                                //qrandvet:ignored by another name
	curve.GenerateKey(src) /* want `no byte of src` */                                                // qrandvet:ignore is no directive with a space
}

// all is exempt as a whole.
//
//qrandvet:ignore a declaration
func all(src io.Reader, curve ecdh.Curve) {
	curve.GenerateKey(src)

	curve.GenerateKey(src)
}

func next(src io.Reader, curve ecdh.Curve) {
	curve.GenerateKey(src) // want `no byte of src`
}

// table is exempt, too.
//
//qrandvet:ignore a declaration of variables
var table = []func(io.Reader, ecdh.Curve){

	func(src io.Reader, curve ecdh.Curve) { curve.GenerateKey(src) },
}

//qrandvet:ignore a comment apart from what follows

func apart(src io.Reader, curve ecdh.Curve) {
	curve.GenerateKey(src) // want `no byte of src`
}
