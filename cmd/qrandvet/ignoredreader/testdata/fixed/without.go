package fixed

// without imports nothing: the variables are of another file.
func without() {
	curve.GenerateKey(source) // want `ecdh.Curve`
}
