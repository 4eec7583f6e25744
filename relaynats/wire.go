package relaynats

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/http"
	"time"

	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// A request has a fixed length. Integers are big-endian.
//
//	 1  version: 1
//	 2  blocks asked for: 1 to 512
//	 8  when it was made: Unix time in ns
//	16  the ID of the client's key
//	1216 a one-time public key of X-Wing
//	32  HMAC-SHA-256 under the client's key, over requestLabel and all that is above
//
// The digest of a request is the SHA-256 of it all.
const (
	version     = 1
	publicSize  = 1184 + 32 // draft-connolly-cfrg-xwing-kem: ML-KEM-768 and X25519
	authSize    = sha256.Size
	requestSize = 1 + 2 + 8 + 16 + publicSize + authSize

	requestLabel = "qrand relay nats v1 request"
)

// The HPKE suite is X-Wing, HKDF-SHA-256 and AES-256-GCM (RFC 9180 section 7,
// draft-ietf-hpke-pq).
var (
	kem  = hpke.MLKEM768X25519()
	kdf  = hpke.HKDFSHA256()
	aead = hpke.AES256GCM()
)

type request struct {
	blocks int
	made   time.Time
	id     [16]byte
	public []byte // X-Wing

	authenticated []byte // all but the HMAC
	auth          []byte
	digest        [sha256.Size]byte
}

// encodeRequest returns a request of a client with a key.
func encodeRequest(blocks int, made time.Time, key clients.Key, public []byte) []byte {
	p := make([]byte, 0, requestSize)
	p = append(p, version)
	p = binary.BigEndian.AppendUint16(p, uint16(blocks))
	p = binary.BigEndian.AppendUint64(p, uint64(made.UnixNano()))
	p = append(p, key.ID[:]...)
	p = append(p, public...)
	return append(p, requestAuth(key, p)...)
}

func requestAuth(key clients.Key, p []byte) []byte {
	h := hmac.New(sha256.New, key.MAC[:])
	h.Write([]byte(requestLabel))
	h.Write(p)
	return h.Sum(nil)
}

var errMalformedRequest = errors.New("the request is malformed")

// parseRequest checks the form of a request. It may keep p.
func parseRequest(p []byte) (r request, err error) {
	if len(p) != requestSize || p[0] != version {
		return r, errMalformedRequest
	}
	r.blocks = int(binary.BigEndian.Uint16(p[1:]))
	nano := binary.BigEndian.Uint64(p[3:])
	if r.blocks < 1 || r.blocks > qrypt.MaxBlocks || nano > 1<<63-1 {
		return r, errMalformedRequest
	}
	r.made = time.Unix(0, int64(nano))
	rest := p[11:]
	rest = rest[copy(r.id[:], rest):]
	r.public, r.auth = rest[:publicSize], rest[publicSize:]
	r.authenticated = p[:requestSize-authSize]
	r.digest = sha256.Sum256(p)
	return r, nil
}

// madeWith reports whether a request was made with a client's key, and is as it was made.
func (r *request) madeWith(key clients.Key) bool {
	return hmac.Equal(r.auth, requestAuth(key, r.authenticated))
}

// An answer is good for one request.
//
//	 1  version: 1
//	 2  status, as in HTTP
//	 4  Retry-After in seconds; zero: none
//	32  the relay's public key
//	    if the status is 200, what is below, sealed with HPKE to the request's key; info is
//	    answerLabel and the digest of the request
//	64  Ed25519 of the relay, over answerLabel, the digest of the request, and all that is
//	    above
//
// These are sealed:
//
//	4  age in seconds, rounded up
//	1  1 if some of it is emulated, otherwise 0
//	   the blocks that were asked for
const (
	headSize   = 1 + 2 + 4 + ed25519.PublicKeySize
	insideSize = 4 + 1
	sealSize   = 1088 + 32 + 16 // X-Wing's ciphertext and AES-GCM's tag
	maxSeconds = 365 * 24 * 60 * 60

	answerLabel = "qrand relay nats v1 answer"
)

// answerSize is the length of an answer with n blocks.
func answerSize(n int) int {
	return headSize + sealSize + insideSize + n*qrypt.BlockSize + ed25519.SignatureSize
}

// classes are what package qrypt calls the statuses other than 200 that an answer may have.
var classes = map[int]error{
	http.StatusBadRequest:          qrypt.ErrBadRequest,
	http.StatusUnauthorized:        qrypt.ErrUnauthorized,
	http.StatusForbidden:           qrypt.ErrQuota,
	http.StatusTooManyRequests:     qrypt.ErrRateLimited,
	http.StatusInternalServerError: qrypt.ErrServer,
	http.StatusServiceUnavailable:  qrypt.ErrNoSupply,
}

func seconds(d time.Duration) uint32 {
	return uint32(min(max(0, (d+time.Second-1)/time.Second), maxSeconds))
}

// info binds what is sealed or signed to one request.
func info(digest [sha256.Size]byte) []byte { return append([]byte(answerLabel), digest[:]...) }

func encodeHead(status int, retryAfter time.Duration, key ed25519.PrivateKey, size int) []byte {
	p := make([]byte, 0, size)
	p = append(p, version)
	p = binary.BigEndian.AppendUint16(p, uint16(status))
	p = binary.BigEndian.AppendUint32(p, seconds(retryAfter))
	return append(p, key.Public().(ed25519.PublicKey)...)
}

func sign(p []byte, digest [sha256.Size]byte, key ed25519.PrivateKey) []byte {
	return append(p, ed25519.Sign(key, append(info(digest), p...))...)
}

// encodeRefusal returns an answer without blocks.
func encodeRefusal(r *request, status int, retryAfter time.Duration, key ed25519.PrivateKey) []byte {
	return sign(encodeHead(status, retryAfter, key, headSize+ed25519.SignatureSize), r.digest, key)
}

// encodeBlocks returns an answer with blocks. The caller wipes these.
func encodeBlocks(r *request, public hpke.PublicKey, blocks []byte, age time.Duration, emulated bool, key ed25519.PrivateKey) ([]byte, error) {
	inside := make([]byte, insideSize, insideSize+len(blocks))
	binary.BigEndian.PutUint32(inside, seconds(age))
	if emulated {
		inside[4] = 1
	}
	inside = append(inside, blocks...)
	defer clear(inside)
	sealed, err := hpke.Seal(public, kdf, aead, info(r.digest), inside)
	if err != nil {
		return nil, err
	}
	p := append(encodeHead(http.StatusOK, 0, key, answerSize(len(blocks)/qrypt.BlockSize)), sealed...)
	return sign(p, r.digest, key), nil
}

// An answer is one whose signature is good.
type answer struct {
	status     int
	retryAfter time.Duration
	age        time.Duration
	emulated   bool
	blocks     []byte // the caller wipes them
}

var (
	errMalformedAnswer = errors.New("it has not the form of an answer")
	errUnknownRelay    = errors.New("it comes from a relay whose key is not in the configuration")
	errSignature       = errors.New("its signature is wrong: it belongs to another request, or was altered")
	errSealed          = errors.New("what is sealed in it cannot be opened")
)

// parseAnswer reads the answer to a request for n blocks.
func parseAnswer(p []byte, n int, digest [sha256.Size]byte, private hpke.PrivateKey, relays []ed25519.PublicKey) (a answer, err error) {
	if len(p) < headSize+ed25519.SignatureSize || len(p) > answerSize(n) || p[0] != version {
		return a, errMalformedAnswer
	}
	a.status = int(binary.BigEndian.Uint16(p[1:]))
	after := binary.BigEndian.Uint32(p[3:])
	relay := ed25519.PublicKey(p[7:headSize])
	signed, signature := p[:len(p)-ed25519.SignatureSize], p[len(p)-ed25519.SignatureSize:]
	sealed := signed[headSize:]
	known := false
	for _, key := range relays {
		known = known || bytes.Equal(key, relay)
	}
	switch {
	case !known:
		return a, errUnknownRelay
	case !ed25519.Verify(relay, append(info(digest), signed...), signature):
		return a, errSignature
	case after > maxSeconds:
		return a, errMalformedAnswer
	}
	a.retryAfter = time.Duration(after) * time.Second
	if a.status != http.StatusOK {
		if len(sealed) > 0 || classes[a.status] == nil {
			return a, errMalformedAnswer
		}
		return a, nil
	}
	if len(p) != answerSize(n) || after != 0 {
		return a, errMalformedAnswer
	}
	inside, err := hpke.Open(private, kdf, aead, info(digest), sealed)
	if err != nil {
		return a, errSealed
	}
	age := binary.BigEndian.Uint32(inside)
	if len(inside) != insideSize+n*qrypt.BlockSize || age > maxSeconds || inside[4] > 1 {
		clear(inside)
		return a, errMalformedAnswer
	}
	a.age, a.emulated, a.blocks = time.Duration(age)*time.Second, inside[4] == 1, inside[insideSize:]
	return a, nil
}
