package abuse

import (
	"context"
	"crypto/cipher"
	"crypto/des"
	"encoding/binary"
	"errors"
	"sync"

	"example.com/qrand/qrypt"
)

const (
	word  = des.BlockSize // bytes that tell where in a Numbered's stream they are
	block = qrypt.BlockSize
)

// Numbered is a BlockSource whose stream tells of each place which it is: its
// words of eight bytes are encrypted word numbers, 0, 1, 2 and so on. DES serves
// because it permutes words of that length; its key is no secret.
type Numbered struct {
	words cipher.Block

	mu      sync.Mutex
	stream  []byte
	ended   bool
	refused chan struct{}
}

// NewNumbered returns a source that goes on until End.
func NewNumbered() *Numbered {
	words, err := des.NewCipher([]byte("numbered"))
	if err != nil {
		panic(err)
	}
	return &Numbered{words: words, refused: make(chan struct{})}
}

// errEnded is what Blocks returns after End.
var errEnded = errors.New("abuse: the numbered source has ended")

// Blocks is a qrand.BlockSource's. The blocks are labelled as emulated.
func (u *Numbered) Blocks(_ context.Context, n int) ([]qrypt.Block, error) {
	p, err := u.Give(n)
	if err != nil {
		return nil, err
	}
	blocks := make([]qrypt.Block, n)
	for i := range blocks {
		if blocks[i], err = qrypt.NewBlock(p[i*block:][:block], qrypt.Origin{Endpoint: "numbered", Emulated: true}); err != nil {
			return nil, err
		}
	}
	return blocks, nil
}

// Give is the next n blocks of the stream.
func (u *Numbered) Give(n int) ([]byte, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		if !closed(u.refused) {
			close(u.refused)
		}
		return nil, errEnded
	}
	from := len(u.stream)
	for range n * block / word {
		var w [word]byte
		binary.BigEndian.PutUint64(w[:], uint64(len(u.stream)/word))
		u.words.Encrypt(w[:], w[:])
		u.stream = append(u.stream, w[:]...)
	}
	return u.stream[from:len(u.stream):len(u.stream)], nil
}

// End ends the stream. The channel is closed at the next request. A caller who
// makes one request at a time has then received all that came before.
func (u *Numbered) End() (refused <-chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = true
	return u.refused
}

// Given is how many bytes were given.
func (u *Numbered) Given() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return int64(len(u.stream))
}

// place is where in the stream a word is; false if it is in none.
func (u *Numbered) place(w []byte) (int, bool) {
	var n [word]byte
	u.words.Decrypt(n[:], w)
	at := binary.BigEndian.Uint64(n[:])
	return int(at) * word, at < uint64(len(u.stream)/word)
}
