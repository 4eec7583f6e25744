package clients

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"
)

// A Key authenticates the requests of a client that must not show its token, because they
// pass through other hands than the relay's. It is made of the SHA-256 of the token, which
// is what the relay has: whoever can read the list of clients can make such requests, too.
// And whoever sees a request can search for its token: that must be one of those that Add
// makes, which cannot be guessed.
type Key struct {
	ID  [16]byte // names the key; it is no secret
	MAC [32]byte // is the secret key of an HMAC
}

// Format shows nothing of the key, for any verb.
func (Key) Format(f fmt.State, _ rune) { io.WriteString(f, "clients.Key(redacted)") }

// KeyOf returns the key of the client that has a token.
func KeyOf(token string) Key { return keyOf(hashToken(token)) }

// keyOf is HKDF (RFC 5869) without a salt: the token has 256 random bits.
func keyOf(hash [sha256.Size]byte) (k Key) {
	out, err := hkdf.Key(sha256.New, hash[:], nil, "qrand relay client key v1", len(k.ID)+len(k.MAC))
	if err != nil {
		panic(err) // only for a length that HKDF does not have
	}
	defer clear(out)
	copy(k.MAC[:], out[copy(k.ID[:], out):])
	return k
}

// ErrNotVerified is IdentifyKey's error for a request that verify refused.
var ErrNotVerified = errors.New("relay: the request was not made with the client's key, or was altered")

// IdentifyKey finds out who makes a request that names a Key. It is the client that has the
// key, if verify says that the request was made with it.
func (l *List) IdentifyKey(id [16]byte, verify func(*Member, Key) bool) (*Member, error) {
	found, ok := l.current.Load().byKey()[id]
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: nobody has the token of this key", errUnknown)
	case !verify(found.member, found.key):
		return nil, ErrNotVerified
	}
	return found.member.admit(time.Now())
}

type keyedMember struct {
	member *Member
	key    Key
}

// keys has the members with a token.
func (x *index) keys() map[[16]byte]keyedMember {
	keys := make(map[[16]byte]keyedMember, len(x.byToken))
	for hash, m := range x.byToken {
		k := keyOf(hash)
		keys[k.ID] = keyedMember{m, k}
	}
	return keys
}
