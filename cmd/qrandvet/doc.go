// Command qrandvet reports readers that a program passes to the standard library,
// and that the standard library does not read.
//
// # Why
//
// Since Go 1.26 ecdsa.GenerateKey, rsa.GenerateKey and others still take a
// reader, but draw on crypto/rand's own generator whatever they are passed, and
// return no error. A program that passes a qrand.Source, a hardware generator or
// a deterministic stream gets a good key with nothing of that in it, and no test
// that only looks at keys can tell.
//
// # What is reported
//
// Calls of these with a reader that is not crypto/rand.Reader and not nil, on
// whatever way it came there:
//
//   - ecdsa.GenerateKey, ecdh.Curve.GenerateKey, rsa.GenerateKey: call
//     keygen.ECDSA, ECDH, RSA of example.com/qrand/keygen instead; -fix does.
//   - rsa.GenerateMultiPrimeKey, rand.Prime, rsa.EncryptPKCS1v15
//   - ecdsa.Sign, ecdsa.SignASN1, the method Sign of *ecdsa.PrivateKey, dsa.Sign
//   - crypto.SignMessage, x509.CreateCertificate, CreateCertificateRequest,
//     CreateRevocationList and Certificate.CreateCRL, if the signer's static type
//     is *ecdsa.PrivateKey
//
// And tls.Config.Rand, which no longer reaches most key exchanges and which Go
// 1.27 deprecates. The list is the same for Go 1.26 and 1.27.
//
// Not reported: functions that read their reader (ed25519.GenerateKey,
// rsa.SignPSS, rsa.EncryptOAEP, rand.Int), those whose result never depended on
// it (PKCS #1 v1.5 and Ed25519 signatures), calls through crypto.Signer or a
// function value, and what other modules do with a reader.
//
// # When
//
// The main module decides, as for any GODEBUG: readers are read where its go line
// is 1.25 or lower, and where it is built with cryptocustomrand=1. A //go:debug
// line is looked at first, in the files of package main for their own package, and
// in _test.go files for these; then the godebug lines of go.work if a workspace
// is in force, else of go.mod; then default= and the go line, from the same places.
// (The go.work is the one that GOWORK names, or else the nearest in the package's
// directory and above.) Where readers are read, nothing is reported.
//
// Of a package that is not main, go.work or its own go.mod is taken to be that of
// the program. A library with an old go line is reported nothing, and yet its
// readers are ignored in every program whose go line is newer: check libraries
// with -go=1.26. What the environment variable GODEBUG will say when the program
// runs is not known here.
//
// # How to run it
//
//	go install example.com/qrand/cmd/qrandvet
//	go vet -vettool=$(which qrandvet) ./...
//	qrandvet ./...
//	qrandvet -fix ./...
//
// The exit status is 0 if there is nothing to report. Flags, of both forms:
//
//	-fix         change calls that package keygen has a function for, and nothing else;
//	             if the module does not require it yet: go get example.com/qrand/keygen
//	-diff        with -fix, show the changes and make none
//	-json        print JSON
//	-go=1.26     assume a main module with this go line and no godebug lines
//	-test=false  leave out tests (not with go vet)
//
// # Suppression
//
// Where a reader is ignored on purpose, say why at the end of the line, or alone
// on the line before, or for a whole function or variable in its comment:
//
//	key, err := ecdsa.GenerateKey(curve, src) //qrandvet:ignore shows that src is not read
//
// Without a reason the comment does nothing, and is reported itself.
package main
