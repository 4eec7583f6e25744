package kernel

// A pool is the kernel's, or a test's. Its errors are those of this package where
// they are known.
type pool interface {
	mix(p []byte) error              // without a privilege
	credit(p []byte, bits int) error // mixes p, too; whole, or it fails
	reseed() error
	close() error
}
