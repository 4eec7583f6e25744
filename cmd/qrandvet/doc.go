// Command qrandvet reports readers that a program passes to the standard library,
// and that the standard library does not read.
//
// # Why
//
// Since Go 1.26 ecdsa.GenerateKey, rsa.GenerateKey and others still have a parameter for a
// reader, but always use the generator of crypto/rand, and return no error. A program that
// passes a qrand.Source, a hardware generator or a deterministic stream gets a good key
// that contains nothing of it. A test that only looks at keys does not find out.
//
// # What is reported
//
// Calls of these functions with a reader that can be another than crypto/rand.Reader and
// nil:
//
//   - ecdsa.GenerateKey, ecdh.Curve.GenerateKey, rsa.GenerateKey
//   - rsa.GenerateMultiPrimeKey, rand.Prime, rsa.EncryptPKCS1v15
//   - ecdsa.Sign, ecdsa.SignASN1, dsa.Sign, the methods Sign of *ecdsa.PrivateKey and
//     (since Go 1.27) *mldsa.PrivateKey
//   - crypto.SignMessage, x509.CreateCertificate, CreateCertificateRequest,
//     CreateRevocationList and Certificate.CreateCRL, if the signer's static type
//     is *ecdsa.PrivateKey or *mldsa.PrivateKey
//
// And tls.Config.Rand, which reaches few keys now, and which Go 1.27 deprecates.
//
// Not reported: functions that read their reader (ed25519.GenerateKey, rsa.SignPSS,
// rsa.EncryptOAEP, rand.Int), those whose result never depended on it (PKCS #1 v1.5 and
// Ed25519 signatures), calls through crypto.Signer or a function value, and functions of
// other modules.
//
// # Programs that set rand.Reader
//
// Where a program sets rand.Reader, qrandvet reports what does not see that:
//
//   - variables that were set to the earlier rand.Reader, or to something that holds it, while
//     their package was initialized, in all packages that the program imports; and the function
//     that sets such a variable, if there is one (as SetRand of github.com/google/uuid)
//   - calls that use Go's own generator, such as ecdsa.GenerateKey(c, rand.Reader),
//     ed25519.GenerateKey(nil) and mlkem.GenerateKey768(), in this module and in packages
//     that it imports itself
//
// The report is at the assignment, or at the import in package main that leads to it. Left out
// are tests, and variables that package example.com/qrand/replace reaches. Not found: readers that
// a package gives to a function which returns nothing, and bytes drawn during initialization.
//
// # What -fix changes
//
// It calls keygen.ECDSA, ECDH or RSA of example.com/qrand/keygen, which read the reader, if they
// certainly take the curve (a call such as elliptic.P256(), or a local variable that holds
// nothing else) or the size (a constant of 2048 to 8192, a multiple of 16, that is the same
// under all build tags). It leaves readers that can be nil or that end, such as a bytes.Reader,
// variables of a package that a test sets, and generated files. A broken reader is an error then.
//
// # When
//
// The main module decides, as for any GODEBUG setting. Readers are read if its go line is
// 1.25 or lower, or if it is built with cryptocustomrand=1. Then only signatures of ML-DSA
// are reported, which read their reader under no setting.
//
// qrandvet looks at //go:debug lines first: those of package main are for that package,
// those of _test.go files for the tests. Then come the godebug lines of go.work if a
// workspace is in force, and those of go.mod otherwise; then default= and the go line, from
// the same places. (The go.work is the one that GOWORK names, or the nearest in the
// directory of the package and above.)
//
// For a package that is not main, go.work or its own go.mod counts as that of the program.
// So nothing is reported for a library with an old go line, though its readers are ignored
// in every program with a newer one: check libraries with -go=1.26. The environment
// variable GODEBUG of a running program is not known here, and neither is a -modfile on the
// command line of go vet: set it in GOFLAGS. Build qrandvet with no older Go than go vet's.
//
// # How to run it
//
//	go vet -vettool="$(go env GOPATH)/bin/qrandvet" ./...
//	qrandvet ./...
//	qrandvet -fix ./...
//
// The exit status is 0 if there is nothing to report. With -fix it is 0, too, where calls are
// left that it does not change: run it again without -fix to see them. Flags, of both forms:
//
//	-fix         make these changes (the module must require keygen: run go mod tidy after
//	             it, and go mod vendor if there is a vendor directory)
//	-diff        with -fix, show the changes and do not make them
//	-json        print JSON
//	-go=1.26     assume a main module with this go line and no godebug lines
//	-test=false  leave out tests (not with go vet)
//	-version     print the version of qrandvet (not with go vet)
//
// # Suppression
//
// Where a reader is ignored on purpose, say why: at the end of the first or last line of the
// call, alone on the line before, or for a whole function or variable in its comment:
//
//	key, err := ecdsa.GenerateKey(curve, src) //qrandvet:ignore shows that src is not read
//
// A comment without a reason has no effect, and is reported.
package main
