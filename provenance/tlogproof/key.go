package tlogproof

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"golang.org/x/mod/sumdb/note"
)

// Signature types of https://c2sp.org/signed-note.
const (
	typeEd25519            = 0x01 // of the text
	typeEd25519Cosignature = 0x04 // with a time, https://c2sp.org/tlog-cosignature
	typeMLDSA44Cosignature = 0x06 // with a time; logs sign with it, too
)

// A Key verifies the signatures of a log or of a witness. It is a note.Verifier.
type Key struct {
	name   string
	hash   uint32
	public []byte // after its type
	verify func(text, sig []byte) bool
}

var _ note.Verifier = (*Key)(nil)

// ParseKey reads a verifier key ("vkey") as https://c2sp.org/signed-note writes it. Its type
// is Ed25519, or the cosignature of Ed25519 or ML-DSA-44.
func ParseKey(vkey string) (*Key, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	hash, text, _ := strings.Cut(rest, "+")
	public, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(public) == 0 || name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsSpace) {
		return nil, fmt.Errorf("%.100q is not a verifier key: write NAME+HASH+KEY", vkey)
	}
	sum := sha256.Sum256(append([]byte(name+"\n"), public...))
	if hash != fmt.Sprintf("%x", sum[:4]) || base64.StdEncoding.EncodeToString(public) != text {
		return nil, fmt.Errorf("the verifier key of %.100q is damaged: name, hash and key do not fit each other", name)
	}
	k := &Key{name: name, hash: binary.BigEndian.Uint32(sum[:]), public: public}
	key := public[1:]
	switch {
	case k.kind() == typeEd25519 && len(key) == ed25519.PublicKeySize:
		k.verify = func(text, sig []byte) bool { return ed25519.Verify(key, text, sig) }
	case k.kind() == typeEd25519Cosignature && len(key) == ed25519.PublicKeySize:
		k.verify = func(text, sig []byte) bool { return verifyEd25519Cosignature(key, text, sig) }
	case k.kind() == typeMLDSA44Cosignature && len(key) == mldsa44.PublicKeySize:
		var p mldsa44.PublicKey
		if err := p.UnmarshalBinary(key); err != nil {
			return nil, fmt.Errorf("the verifier key of %.100q: %w", name, err)
		}
		k.verify = func(text, sig []byte) bool { return verifyMLDSA44Cosignature(&p, name, text, sig) }
	default:
		return nil, fmt.Errorf("the verifier key of %.100q has type %d and %d bytes: types 1 (Ed25519), 4 and 6 (cosignatures of Ed25519 and ML-DSA-44) are known", name, k.kind(), len(key))
	}
	return k, nil
}

func (k *Key) kind() byte { return k.public[0] }

// Name is the key's name. That of a log is its origin.
func (k *Key) Name() string { return k.name }

// KeyHash is the key ID of https://c2sp.org/signed-note.
func (k *Key) KeyHash() uint32 { return k.hash }

// Verify reports whether sig is this key's signature of the text of a checkpoint.
func (k *Key) Verify(text, sig []byte) bool { return k.verify(text, sig) }

// String is the key's name and key ID.
func (k *Key) String() string { return fmt.Sprintf("%.100s+%08x", k.name, k.hash) }

// timestampSize is the size of the time before a cosignature, in seconds since 1970.
const timestampSize = 8

func verifyEd25519Cosignature(key ed25519.PublicKey, text, sig []byte) bool {
	if len(sig) != timestampSize+ed25519.SignatureSize {
		return false
	}
	seconds := binary.BigEndian.Uint64(sig)
	message := fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", seconds, text)
	return seconds <= math.MaxInt64 && ed25519.Verify(key, message, sig[timestampSize:])
}

// verifyMLDSA44Cosignature verifies a signature of the structure cosigned_message.
func verifyMLDSA44Cosignature(key *mldsa44.PublicKey, name string, text, sig []byte) bool {
	c, err := ParseCheckpoint(string(text))
	if err != nil || len(sig) != timestampSize+mldsa44.SignatureSize || len(name) > math.MaxUint8 || len(c.Origin) > math.MaxUint8 {
		return false
	}
	var m bytes.Buffer
	m.WriteString("subtree/v1\n\x00")
	m.WriteByte(byte(len(name)))
	m.WriteString(name)
	m.Write(sig[:timestampSize])
	m.WriteByte(byte(len(c.Origin)))
	m.WriteString(c.Origin)
	m.Write(make([]byte, 8)) // the first entry
	m.Write(binary.BigEndian.AppendUint64(nil, uint64(c.Size)))
	m.Write(c.Hash[:])
	return binary.BigEndian.Uint64(sig) <= math.MaxInt64 && mldsa44.Verify(key, m.Bytes(), nil, sig[timestampSize:])
}

// lastTime is the last one that RFC 3339 can write. A time.Time of math.MaxInt64 seconds is
// before all others.
var lastTime = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)

// timeOf returns the time in a cosignature that was verified, or lastTime if that is before.
func timeOf(s note.Signature) time.Time {
	b, _ := base64.StdEncoding.DecodeString(s.Base64) // note.Open has read it
	return time.Unix(min(int64(binary.BigEndian.Uint64(b[4:])), lastTime.Unix()), 0).UTC()
}
