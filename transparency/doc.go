// Package transparency keeps a transparency log of envelopes: statements about keys that
// nobody can change or withdraw quietly. It is an append-only Merkle tree on Tessera's POSIX
// storage, with the tiles and checkpoints of C2SP (https://c2sp.org/tlog-tiles,
// https://c2sp.org/tlog-checkpoint). Witnesses cosign its heads.
//
// Most people need the command qrandlog, and not this package: see docs/transparency.md. Use
// [Create], [Open] and [Log.Add] to run a log of your own, [Handler] to serve it, and
// [Monitor] to follow one. To verify the proofs that a log gives, import
// example.com/qrand/provenance/tlogproof, which needs none of this.
//
// Tessera locks files as POSIX systems do: a log cannot be kept on Windows, and qrandlog is not
// for it, but a Monitor works there.
package transparency
